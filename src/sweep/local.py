"""Jobs on this machine: a process each, a fixed number at a time, GPUs and CPU cores shared out among them."""

import os
import re
import time
from collections.abc import Sequence

import torch

from src.base.environment import usable_cores
from src.base.errors import ConfigError
from src.sweep.job import Job
from src.sweep.process import JobProcess, collected_signals, stop_all
from src.sweep.progress import Progress

CORES_PER_JOB = 4  # without a GPU, unless `jobs` says how many
Slot = dict[str, str]  # the environment variables that give a job its share of the machine


class LocalBackend:
    """Runs jobs in `jobs` slots; see conf/hydra/launcher/local.yaml. Raises ConfigError with every wrong setting."""

    device_here = True

    def __init__(self, jobs: int | None = None, slots_per_gpu: int = 1, on_error: str = "continue") -> None:
        problems = []
        if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
            problems.append(f"hydra.launcher.jobs: got {jobs!r}; a number from 1 on, or null")
        if not isinstance(slots_per_gpu, int) or slots_per_gpu < 1:
            problems.append(f"hydra.launcher.slots_per_gpu: got {slots_per_gpu!r}; a number from 1 on")
        if not re.fullmatch(r"continue|stop|stop_after_[1-9]\d*", str(on_error)):
            problems.append(f"hydra.launcher.on_error: got {on_error!r}; continue, stop or stop_after_<number>")
        if problems:
            raise ConfigError(problems)
        self.jobs, self.slots_per_gpu = jobs, slots_per_gpu
        last = on_error.rpartition("_")[2]
        self.most_failures = int(last) if last.isdigit() else {"continue": None, "stop": 1}[on_error]

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """Does all `jobs`; returns the signal that stopped it, if one did."""
        slots = self.slots(jobs)
        waiting, failures = list(jobs), 0
        running: list[tuple[JobProcess, Slot]] = []
        with collected_signals() as received:
            while (waiting or running) and not received:
                while waiting and slots and not self._gave_up(failures):
                    slot = slots.pop(0)
                    running.append((JobProcess(waiting.pop(0), slot), slot))
                    progress.started(running[-1][0].job)
                if not running:
                    break  # what is left waits, because too much failed
                time.sleep(0.05)
                for entry in [entry for entry in running if entry[0].exit_code() is not None]:
                    running.remove(entry)
                    slots.append(entry[1])
                    status = entry[0].finish()
                    failures += status == "failed"
                    progress.ended(entry[0].job, status)
                progress.show([process.job for process, _ in running])
            stop_all([process for process, _ in running])
            for process, _ in running:
                progress.ended(process.job, process.finish(stopped=True))
        return received[0] if received else None

    def slots(self, jobs: Sequence[Job]) -> list[Slot]:
        """One entry for each job that may run at a time, with its GPU and its share of the CPU cores."""
        gpus = visible_gpus() if any(job.config.device.startswith(("auto", "cuda")) for job in jobs) else []
        places: list[str | None] = [gpu for _ in range(self.slots_per_gpu) for gpu in gpus]
        places = places or [None] * (self.jobs or max(1, usable_cores() // CORES_PER_JOB))
        places = places[: self.jobs] if self.jobs else places
        cores = str(max(1, usable_cores() // len(places)))
        share = {"OMP_NUM_THREADS": cores, "SEGSWEEP_CORES": cores}
        return [share | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}) for gpu in places]

    def _gave_up(self, failures: int) -> bool:
        return self.most_failures is not None and failures >= self.most_failures


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(index) for index in range(count)])[:count]
