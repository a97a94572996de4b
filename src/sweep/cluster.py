"""A sweep in the hands of a cluster, followed from the launcher: what began, what ended, and what was lost."""

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


@dataclass
class RemoteJob:
    """`job` as a process of a cluster does it, in a process of its own as on the launcher's machine.

    It is pickled there and called here: in `folder`, the launcher's working folder, which all machines must see under
    the same path, with `environment` beside the cluster's own.
    """

    job: Job
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: JobProcess | None = field(default=None, init=False)
    _goes_on_later: bool = field(default=False, init=False)

    def __call__(self) -> str:
        """Does the job; returns the status of the run, or `busy`.

        SIGINT, SIGTERM and SIGUSR1 to this process leave a checkpoint, then end it with exit code 128 + n. If this
        process is lost, the run sees it, leaves a checkpoint and ends too.
        """
        os.chdir(self.folder)
        before = {number: signal.signal(number, self._end) for number in ENDS}
        try:
            self._process = JobProcess(self.job, self.environment)
            while not self._process.has_ended():
                time.sleep(0.2)  # awake now and then: what Ray sends as SIGINT would not wake us from a longer wait
            return self._process.finish()
        except SystemExit:  # from a signal's handler, ours or that of submitit
            if self._process is not None:
                self._process.finish(stopped=True)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def checkpoint(self) -> Any:
        """What submitit is to queue again; the run leaves the checkpoint from which that goes on.

        submitit calls this when its own signal came: time is nearly up, or the machine is wanted for something else.
        """
        from submitit.helpers import DelayedSubmission

        self._goes_on_later = True
        self._stop()
        return DelayedSubmission(replace(self))

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._goes_on_later:  # else the job is being queued again, which needs this process
            self._stop()
            sys.exit(128 + number)

    def _stop(self) -> None:
        """Has the run end with a checkpoint, however long that takes: the cluster's patience is the limit."""
        if self._process is None:
            return
        self._process.stop()
        while not self._process.has_ended():
            time.sleep(0.05)


LONGEST_LOOK = 30.0  # seconds between two looks at a sweep of many jobs
Handle = Any  # what a cluster calls a job


class Lost(Exception):
    """A job ended without an answer.

    `reason`: in half a sentence; `output`: its last words; `resumable`: the cluster ended it, which is no fault of
    the run.
    """

    def __init__(self, reason: str, output: str, resumable: bool) -> None:
        self.reason, self.output, self.resumable = reason, output, resumable
        super().__init__(reason)


class Cluster(Protocol):
    """What does the jobs that are handed over."""

    at_once: int | None  # jobs it may have at a time; None where it has a queue

    def submit(self, jobs: Sequence[RemoteJob]) -> Sequence[Handle]:
        """Takes over `jobs`; raises ValueError if it will not."""

    def has_ended(self, handle: Handle) -> bool:
        """Whether the job is over, well or not, and will not be queued again."""

    def result(self, handle: Handle) -> str:
        """The answer of a job that is over; raises Lost where there is none."""

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Has jobs that wait not begin, and asks those at work for a checkpoint and an end."""


@dataclass
class _Followed:
    job: Job
    handle: Handle
    stamp: tuple[int, int] | None  # of the record when the job was handed over
    began: bool = False


def follow(jobs: Sequence[Job], cluster: Cluster, environment: Mapping[str, str], progress: Progress) -> int | None:
    """Has `cluster` do all `jobs`, telling `progress`; returns the signal that stopped it, if one did."""
    waiting = list(jobs)
    followed: list[_Followed] = []
    with collected_signals() as received:
        while (waiting or followed) and not received:
            now = waiting if cluster.at_once is None else waiting[: cluster.at_once - len(followed)]
            waiting = waiting[len(now) :]
            followed += _hand_over(now, cluster, environment)
            _rest(len(followed), received)
            for entry in followed:
                if not entry.began and _stamp(entry.job) != entry.stamp:
                    entry.began = True
                    progress.started(entry.job)
            for entry in [entry for entry in followed if cluster.has_ended(entry.handle)]:
                followed.remove(entry)
                progress.ended(entry.job, _answer(entry, cluster))
            progress.show([entry.job for entry in followed if entry.began])
        if followed:
            cluster.cancel([entry.handle for entry in followed])
        at_work = [entry.job for entry in followed if entry.began]
        _wait_until_free(at_work, 3 * PATIENCE)
        for job in at_work:
            progress.ended(job, job.record.status() or "interrupted")
    return received[0] if received else None


def remote_jobs(jobs: Sequence[Job], environment: Mapping[str, str]) -> list[RemoteJob]:
    """`jobs` ready to be sent."""
    return [RemoteJob(job, Path.cwd(), dict(environment)) for job in jobs]


def _hand_over(jobs: Sequence[Job], cluster: Cluster, environment: Mapping[str, str]) -> list[_Followed]:
    if not jobs:
        return []
    stamps = [_stamp(job) for job in jobs]
    handles = cluster.submit(remote_jobs(jobs, environment))
    return [_Followed(*known) for known in zip(jobs, handles, stamps, strict=True)]


def _answer(entry: _Followed, cluster: Cluster) -> str:
    """How a job ended; an end of which nobody has written is put on record."""
    try:
        return cluster.result(entry.handle)
    except Lost as lost:
        _wait_until_free([entry.job], PATIENCE)  # its run may have outlived it to write a checkpoint
        run = entry.job.record.read()
        if run is not None and run["status"] != "running" and _stamp(entry.job) != entry.stamp:
            return str(run["status"])
        return record_end(entry.job, "interrupted" if lost.resumable else "failed", lost.reason, lost.output)


def _stamp(job: Job) -> tuple[int, int] | None:
    """Changes whenever the record of `job` does; None where there is none."""
    try:
        found = job.record.run_file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _wait_until_free(jobs: Sequence[Job], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(job.record.is_held() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)


def _rest(jobs: int, received: list[int]) -> None:
    """Waits for the next look, the longer the more jobs there are to look at: file systems and queues are shared."""
    until = time.monotonic() + min(LONGEST_LOOK, max(0.2, jobs / 50))
    while time.monotonic() < until and not received:
        time.sleep(0.05)
