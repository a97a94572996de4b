"""A sweep's jobs handed to what executes them, and followed: which started, ended or were lost."""

import importlib.util
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from src.base.config import AnySection, problems_of
from src.base.errors import ConfigError
from src.sweep.process import Job, record_end
from src.sweep.progress import Progress
from src.sweep.worker import PATIENCE
from src.training.stopping import StopRequest

LONGEST_PAUSE = 30.0  # seconds between two looks at a sweep of many jobs
Handle = Any  # an executor's object for a job


class JobLost(Exception):
    """A job ended without a result.

    `reason`: a short clause; `output`: its last output; `resumable`: the cluster ended it, the run did not fail;
    `again`: an interrupted run may start again at once, since no user ended it.
    """

    def __init__(self, reason: str, output: str, resumable: bool, again: bool = False) -> None:
        self.reason, self.output, self.resumable, self.again = reason, output, resumable, again
        super().__init__(reason)


class Executor(Protocol):
    """What runs jobs: processes here, SLURM, Ray. Made of a launcher's settings; raises ConfigError with every problem.

    What follows here is what `follow` needs.
    """

    device_here: bool = False  # whether the jobs run on this machine, so that their device can be checked
    restarts: int = 0  # how often a run that the cluster ended starts again in one launch

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """Runs all `jobs`, with `follow`; returns the signal that stopped it, if any."""

    def choose(self, waiting: Sequence[Job], running: int) -> Sequence[Job]:
        """Those of `waiting` that it takes now, beside as many `running` ones; all, if it has a queue."""
        return waiting

    def submit(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """Submits `jobs`; raises ValueError if they are refused."""

    def has_ended(self, handle: Handle) -> bool:
        """Whether the job has ended, well or not, and will not be queued again."""

    def result(self, handle: Handle) -> str:
        """The status of an ended job's run, or `busy`; raises JobLost if the job returned none."""

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Removes waiting jobs and asks running ones for a checkpoint and an end."""


def parse_settings(model: type[AnySection], given: Mapping[str, Any], package: str | None = None) -> AnySection:
    """The settings of a launcher that needs `package`. Raises ConfigError with every problem."""
    problems = problems_of(model, dict(given), prefix="hydra.launcher.")
    if package is not None and importlib.util.find_spec(package) is None:
        problems.append(f"hydra/launcher: it needs {package}, not installed here; pip install '.[slurm]' or '.[ray]'")
    if problems:
        raise ConfigError(problems)
    return model.model_validate(given)


def core_limits(cores: float) -> dict[str, str]:
    """The environment variables that give a run its share of a machine's cores."""
    share = str(max(1, int(cores)))
    return {"OMP_NUM_THREADS": share, "SEGSWEEP_CORES": share}


@dataclass
class _Followed:
    job: Job
    handle: Handle
    stamp: tuple[int, int] | None  # of the record at submission
    started: bool = False
    given_up: bool = False


def follow(jobs: Sequence[Job], executor: Executor, progress: Progress) -> int | None:
    """Has `executor` run all `jobs` and those that `progress` adds; returns the signal that stopped it, if any."""
    waiting, followed, stop, restarts = list(jobs), list[_Followed](), StopRequest(), Counter[str]()
    with stop.listening():
        while stop.signal_number is None:
            waiting = waiting or progress.more()
            now = executor.choose(waiting, len(followed))
            taken = {job.identity.run_id for job in now}
            waiting = [job for job in waiting if job.identity.run_id not in taken]
            stamps = [_stamp(job) for job in now]
            handles = executor.submit(now) if now else []
            followed += [_Followed(*known) for known in zip(now, handles, stamps, strict=True)]
            if not followed:
                break  # there are none, or it takes no more
            _pause(len(followed), stop)
            for entry in followed:
                if not entry.started and _stamp(entry.job) != entry.stamp:
                    entry.started = True
                    progress.started(entry.job)
                if entry.started and progress.gives_up(entry.job):
                    entry.given_up = True
                    executor.cancel([entry.handle])
            for entry in [entry for entry in followed if executor.has_ended(entry.handle)]:
                followed.remove(entry)
                status, is_lost = _status(entry, executor)
                run_id = entry.job.identity.run_id
                is_lost = is_lost and status == "interrupted" and not entry.given_up
                if is_lost and restarts[run_id] < executor.restarts:
                    restarts[run_id] += 1
                    waiting.append(entry.job)
                    reason = (entry.job.record.read() or {}).get("error")
                    progress.say(f"lost         {entry.job.title}: {reason}; it starts again")
                else:
                    progress.ended(entry.job, status)
        if followed:
            executor.cancel([entry.handle for entry in followed])
        running = [entry.job for entry in followed if entry.started]
        _wait_until_free(running, 3 * PATIENCE)
        for job in running:
            progress.ended(job, "busy" if job.record.is_held() else job.record.status() or "interrupted")
    return stop.signal_number


def _status(entry: _Followed, executor: Executor) -> tuple[str, bool]:
    """The status of an ended job's run, and whether it may start again; records the end, if the run has not."""
    try:
        return executor.result(entry.handle), False
    except JobLost as lost:
        _wait_until_free([entry.job], PATIENCE)  # the run may outlive the job to write a checkpoint
        run = entry.job.record.read()
        if run is not None and run["status"] != "running" and _stamp(entry.job) != entry.stamp:
            return str(run["status"]), lost.again
        status = "interrupted" if lost.resumable else "failed"
        return record_end(entry.job, status, lost.reason, lost.output), lost.again


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


def _pause(jobs: int, stop: StopRequest) -> None:
    """Waits for the next look, longer for more jobs: file systems and queues are shared."""
    until = time.monotonic() + min(LONGEST_PAUSE, max(0.2, jobs / 50))
    while time.monotonic() < until and stop.signal_number is None:
        time.sleep(0.05)
