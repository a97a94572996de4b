"""A sweep executed by a cluster and followed from the launcher: which jobs started, ended or were lost."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from src.sweep.job import Job
from src.sweep.process import JobProcess, collected_signals, record_end
from src.sweep.progress import Progress
from src.sweep.worker import PATIENCE

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
LONGEST_PAUSE = 30.0  # seconds between two looks at a sweep of many jobs
Handle = Any  # a cluster's object for a job


@dataclass
class RemoteJob:
    """`job` as a cluster runs it: its process starts another one for the run, as the local launcher does.

    It is pickled and called on the other machine: in `folder`, the launcher's working folder, which all machines must
    see under the same path, with `environment` added to the cluster's.
    """

    job: Job
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: JobProcess | None = field(default=None, init=False)
    _is_requeued: bool = field(default=False, init=False)

    def __call__(self) -> str:
        """Runs the job; returns the status of the run, or `busy`.

        SIGINT, SIGTERM and SIGUSR1 to this process leave a checkpoint, then end it with exit code 128 + n. If this
        process is lost, the run notices, leaves a checkpoint and ends too.
        """
        os.chdir(self.folder)
        before = {number: signal.signal(number, self._end) for number in ENDS}
        try:
            self._process = JobProcess(self.job, self.environment)
            while not self._process.has_ended():
                time.sleep(0.2)  # short: Ray's SIGINT does not interrupt a longer wait
            return self._process.finish()
        except SystemExit:  # from a signal handler, ours or submitit's
            if self._process is not None:
                self._process.finish(stopped=True)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def checkpoint(self) -> Any:
        """What submitit queues again; the run leaves the checkpoint from which it then resumes.

        submitit calls this on its signal: before the time limit, or when the job is pre-empted.
        """
        from submitit.helpers import DelayedSubmission

        self._is_requeued = True
        self._stop()
        return DelayedSubmission(replace(self))

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._is_requeued:  # else submitit still needs this process
            self._stop()
            sys.exit(128 + number)

    def _stop(self) -> None:
        """Stops the run with a checkpoint, however long that takes: the cluster sets the limit."""
        if self._process is None:
            return
        self._process.stop()
        while not self._process.has_ended():
            time.sleep(0.05)


class JobLost(Exception):
    """A job ended without a result.

    `reason`: a short clause; `output`: its last output; `resumable`: the cluster ended it, the run did not fail.
    """

    def __init__(self, reason: str, output: str, resumable: bool) -> None:
        self.reason, self.output, self.resumable = reason, output, resumable
        super().__init__(reason)


class Cluster(Protocol):
    """A remote scheduler that runs submitted jobs."""

    at_once: int | None  # jobs that it may have at a time; None if it has a queue

    def submit(self, jobs: Sequence[RemoteJob]) -> Sequence[Handle]:
        """Submits `jobs`; raises ValueError if the cluster refuses them."""

    def has_ended(self, handle: Handle) -> bool:
        """Whether the job has ended, well or not, and will not be queued again."""

    def result(self, handle: Handle) -> str:
        """The status that an ended job returned; raises JobLost if it returned none."""

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Removes waiting jobs and asks running ones for a checkpoint and an end."""


@dataclass
class _Followed:
    job: Job
    handle: Handle
    stamp: tuple[int, int] | None  # of the record at submission
    started: bool = False


def follow(jobs: Sequence[Job], cluster: Cluster, environment: Mapping[str, str], progress: Progress) -> int | None:
    """Has `cluster` run all `jobs`, reporting to `progress`; returns the signal that stopped it, if any."""
    waiting = list(jobs)
    followed: list[_Followed] = []
    with collected_signals() as received:
        while (waiting or followed) and not received:
            now = waiting if cluster.at_once is None else waiting[: cluster.at_once - len(followed)]
            waiting = waiting[len(now) :]
            followed += _submit(now, cluster, environment)
            _pause(len(followed), received)
            for entry in followed:
                if not entry.started and _stamp(entry.job) != entry.stamp:
                    entry.started = True
                    progress.started(entry.job)
            for entry in [entry for entry in followed if cluster.has_ended(entry.handle)]:
                followed.remove(entry)
                progress.ended(entry.job, _status(entry, cluster))
            progress.show([entry.job for entry in followed if entry.started])
        if followed:
            cluster.cancel([entry.handle for entry in followed])
        running = [entry.job for entry in followed if entry.started]
        _wait_until_free(running, 3 * PATIENCE)
        for job in running:
            progress.ended(job, job.record.status() or "interrupted")
    return received[0] if received else None


def remote_jobs(jobs: Sequence[Job], environment: Mapping[str, str]) -> list[RemoteJob]:
    """`jobs` ready to be submitted."""
    return [RemoteJob(job, Path.cwd(), dict(environment)) for job in jobs]


def _submit(jobs: Sequence[Job], cluster: Cluster, environment: Mapping[str, str]) -> list[_Followed]:
    if not jobs:
        return []
    stamps = [_stamp(job) for job in jobs]
    handles = cluster.submit(remote_jobs(jobs, environment))
    return [_Followed(*known) for known in zip(jobs, handles, stamps, strict=True)]


def _status(entry: _Followed, cluster: Cluster) -> str:
    """The status of an ended job's run; records the end of a lost job, if its run has not."""
    try:
        return cluster.result(entry.handle)
    except JobLost as lost:
        _wait_until_free([entry.job], PATIENCE)  # the run may outlive the job to write a checkpoint
        run = entry.job.record.read()
        if run is not None and run["status"] != "running" and _stamp(entry.job) != entry.stamp:
            return str(run["status"])
        return record_end(entry.job, "interrupted" if lost.resumable else "failed", lost.reason, lost.output)


def _stamp(job: Job) -> tuple[int, int] | None:
    """Changes whenever the record of `job` does; None if there is none."""
    try:
        found = job.record.run_file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _wait_until_free(jobs: Sequence[Job], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(job.record.is_held() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)


def _pause(jobs: int, received: list[int]) -> None:
    """Waits for the next look, longer for more jobs: file systems and queues are shared."""
    until = time.monotonic() + min(LONGEST_PAUSE, max(0.2, jobs / 50))
    while time.monotonic() < until and not received:
        time.sleep(0.05)
