"""Jobs on this machine: a process each, a fixed number at a time, GPUs and CPU cores divided among them."""

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pydantic import Field

from src.base.config import Section
from src.base.environment import usable_cores
from src.base.errors import ConfigError
from src.base.record import RunRecord, SweepFolder
from src.cli.console import STARTED
from src.display.text import count_text
from src.sweep.follow import Executor, core_limits, follow, parse_settings
from src.sweep.process import Job, JobProcess
from src.sweep.progress import Progress
from src.sweep.worker import PATIENCE

CORES_PER_JOB = 4  # without a GPU, unless `jobs` is set


class LocalSettings(Section):
    """See conf/hydra/launcher/local.yaml."""

    jobs: int | None = Field(ge=1)
    slots_per_gpu: int = Field(ge=1)
    on_error: str = Field(pattern=r"^(continue|stop|stop_after_[1-9]\d*)$")
    budget_hours: float | None = Field(gt=0)

    def gives_up(self, failures: int) -> bool:
        """Whether no further run starts after so many failed ones."""
        if self.on_error == "continue":
            return False
        most = 1 if self.on_error == "stop" else int(self.on_error.rpartition("_")[2])
        return failures >= most


class Budget:
    """Which runs are likely to end in time, by the seconds that finished runs of their sweep took."""

    def __init__(self, hours: float | None, started: float = STARTED) -> None:
        self._end = None if hours is None else started + 3600 * hours
        self._seconds: dict[str, list[float]] = defaultdict(list)  # by setting and by network

    def learn(self, record: RunRecord) -> None:
        """Takes in how long a finished run took; others, and records that cannot be read, are passed over."""
        if self._end is None:
            return
        with suppress(ValueError, OSError, LookupError, TypeError):
            run = record.read() or {}
            if run.get("status") == "finished":
                for key in (run["config_id"], run["choices"]["model"]):
                    self._seconds[key].append(float(run["seconds"]))

    def allows(self, job: Job) -> bool:
        """Whether `job` is likely to end in time; as long as no run of its setting or network is known, it may try."""
        if self._end is None:
            return True
        known = self._seconds.get(job.identity.config_id) or self._seconds.get(job.config.model["name"]) or [0.0]
        return time.monotonic() + median(known) <= self._end


@dataclass
class Slot:
    """A share of this machine, and the process that waits there for the next job.

    `environment`: the variables that give a job that share.
    """

    environment: Mapping[str, str]
    spare: JobProcess | None = None

    def prepare(self, sweep: Path) -> None:
        """Starts the process of the next job; a machine that has no room for it now gets that job's later."""
        with suppress(OSError):
            self.spare = JobProcess(sweep, self.environment)

    def start(self, job: Job) -> JobProcess:
        """Has the waiting process do `job`, or another, if that one has ended or knows only older code."""
        spare, self.spare = self.spare, None
        if spare is not None and spare.is_usable():
            spare.give(job)
            return spare
        if spare is not None:
            spare.kill()
        return JobProcess(job.record.folder.parent, self.environment, job)


class LocalBackend(Executor):
    """Runs jobs in slots."""

    device_here = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = parse_settings(LocalSettings, settings)
        self._free: list[Slot] = []
        self._taken: dict[JobProcess, Slot] = {}
        self._submitted = self._failures = self._to_come = 0
        self._budget = Budget(self.settings.budget_hours)
        self.is_late = False  # whether nothing that waits is likely to end in time

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """Runs those of `jobs` for which there is time."""
        self._free, self._progress = [Slot(environment) for environment in self.slots(jobs)], progress
        for file in SweepFolder(jobs[0].record.folder.parent).run_files():
            self._budget.learn(RunRecord(file.parent))
        try:
            stopped = follow(jobs, self, progress)
        finally:
            for spare in filter(None, [slot.spare for slot in (*self._free, *self._taken.values())]):
                spare.kill()
        late = len(jobs) - self._submitted
        if late > 0 and stopped is None and not self.settings.gives_up(self._failures):
            progress.say(
                f"not started  {count_text(late, 'run')}: not likely to end within hydra.launcher.budget_hours="
                f"{self.settings.budget_hours:g}; the same command starts them"
            )
        return stopped

    def choose(self, waiting: Sequence[Job], running: int) -> Sequence[Job]:
        """As many as slots are free, if they are likely to end in time; none after as many failures as allowed."""
        if not self._free or self.settings.gives_up(self._failures):
            return []
        allowed = list(filter(self._budget.allows, waiting))
        self.is_late = bool(waiting) and not allowed
        self._to_come = max(0, len(allowed) - len(self._free)) + self._progress.to_come()
        return allowed[: len(self._free)]

    def submit(self, jobs: Sequence[Job]) -> list[JobProcess]:
        """Starts a process for each, in a free slot, and there another one for a job that is still to come."""
        self._free.sort(key=lambda slot: slot.spare is None)  # first those where a process waits
        slots = [self._free.pop(0) for _ in jobs]
        started = [slot.start(job) for slot, job in zip(slots, jobs, strict=True)]
        self._taken |= zip(started, slots, strict=True)
        self._submitted += len(jobs)
        waiting = sum(slot.spare is not None for slot in (*self._free, *self._taken.values()))
        for slot in slots[: max(0, self._to_come - waiting)]:
            slot.prepare(jobs[0].record.folder.parent)
        return started

    def has_ended(self, handle: JobProcess) -> bool:
        return handle.has_ended()

    def result(self, handle: JobProcess) -> str:
        self._free.append(self._taken.pop(handle))
        status = handle.finish()
        self._failures += status == "failed"
        self._budget.learn(handle.job.record)
        return status

    def cancel(self, handles: Sequence[JobProcess]) -> None:
        """Asks all to stop, and kills those that run longer than PATIENCE."""
        for process in handles:
            process.stop()
        deadline = time.monotonic() + PATIENCE
        while not all(process.has_ended() for process in handles) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in handles:
            process.kill()
            process.finish()

    def slots(self, jobs: Sequence[Job]) -> list[dict[str, str]]:
        """One entry for each job that may run at a time, with its GPU and its share of the CPU cores.

        Raises ConfigError for jobs that name one of several GPUs: a job sees no other than that of its entry.
        """
        gpus = visible_gpus() if any(job.config.device.startswith(("auto", "cuda")) for job in jobs) else []
        named = dict.fromkeys(job.config.device for job in jobs if job.config.device.startswith("cuda:"))
        if named and len(gpus) > 1:
            advice = "a sweep gives each run its GPU: take device=cuda, and choose GPUs with CUDA_VISIBLE_DEVICES"
            raise ConfigError([f"device: got {device!r}; {advice}" for device in named])
        places: list[str | None] = [gpu for _ in range(self.settings.slots_per_gpu) for gpu in gpus]
        places = places or [None] * (self.settings.jobs or max(1, usable_cores() // CORES_PER_JOB))
        places = places[: self.settings.jobs]
        share = core_limits(usable_cores() / len(places))
        return [share | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}) for gpu in places]


def visible_gpus() -> list[str]:
    """The name that CUDA_VISIBLE_DEVICES has for each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(index) for index in range(count)])[:count]
