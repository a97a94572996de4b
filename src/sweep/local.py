"""Jobs on this machine: a process each, a fixed number at a time, GPUs and CPU cores divided among them."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field

from src.base.config import Section, problems_of
from src.base.environment import usable_cores
from src.base.errors import ConfigError
from src.sweep.job import Job
from src.sweep.process import JobProcess, collected_signals, stop_all
from src.sweep.progress import Progress

CORES_PER_JOB = 4  # without a GPU, unless `jobs` is set
Slot = dict[str, str]  # the environment variables that give a job its share of the machine


class LocalSettings(Section):
    """See conf/hydra/launcher/local.yaml."""

    jobs: int | None = Field(ge=1)
    slots_per_gpu: int = Field(ge=1)
    on_error: str = Field(pattern=r"^(continue|stop|stop_after_[1-9]\d*)$")

    def gives_up(self, failures: int) -> bool:
        """Whether no further run starts after so many failed ones."""
        if self.on_error == "continue":
            return False
        most = 1 if self.on_error == "stop" else int(self.on_error.rpartition("_")[2])
        return failures >= most


class LocalBackend:
    """Runs jobs in slots. Raises ConfigError with every wrong setting."""

    device_here = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if problems := problems_of(LocalSettings, dict(settings), prefix="hydra.launcher."):
            raise ConfigError(problems)
        self.settings = LocalSettings.model_validate(settings)

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """Runs all `jobs`; returns the signal that stopped it, if any."""
        slots = self.slots(jobs)
        waiting, failures = list(jobs), 0
        running: list[tuple[JobProcess, Slot]] = []
        with collected_signals() as received:
            while (waiting or running) and not received:
                while waiting and slots and not self.settings.gives_up(failures):
                    slot = slots.pop(0)
                    running.append((JobProcess(waiting.pop(0), slot), slot))
                    progress.started(running[-1][0].job)
                if not running:
                    break  # gave up
                time.sleep(0.05)
                for process, slot in [entry for entry in running if entry[0].exit_code() is not None]:
                    running.remove((process, slot))
                    slots.append(slot)
                    status = process.finish()
                    failures += status == "failed"
                    progress.ended(process.job, status)
                progress.show([process.job for process, _ in running])
            stop_all([process for process, _ in running])
            for process, _ in running:
                progress.ended(process.job, process.finish(stopped=True))
        return received[0] if received else None

    def slots(self, jobs: Sequence[Job]) -> list[Slot]:
        """One entry for each job that may run at a time, with its GPU and its share of the CPU cores."""
        gpus = visible_gpus() if any(job.config.device.startswith(("auto", "cuda")) for job in jobs) else []
        places: list[str | None] = [gpu for _ in range(self.settings.slots_per_gpu) for gpu in gpus]
        places = places or [None] * (self.settings.jobs or max(1, usable_cores() // CORES_PER_JOB))
        places = places[: self.settings.jobs]
        cores = str(max(1, usable_cores() // len(places)))
        share = {"OMP_NUM_THREADS": cores, "SEGSWEEP_CORES": cores}
        return [share | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}) for gpu in places]


def visible_gpus() -> list[str]:
    """The name that CUDA_VISIBLE_DEVICES has for each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(index) for index in range(count)])[:count]
