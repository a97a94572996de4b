"""Jobs as an array in SLURM's queue, through submitit; or as its processes on this machine, to try it out."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from src.base.config import Section
from src.base.errors import ConfigError, Ended
from src.base.record import SweepFolder
from src.sweep.follow import Executor, JobLost, core_limits, follow, parse_settings
from src.sweep.process import Job, RemoteJob
from src.sweep.progress import Progress

ARRAY_SIZE = 1000  # SLURM's MaxArraySize is 1001 unless a site raises it
QUEUE_PAUSE = 20.0  # seconds between two calls of squeue
# States of jobs that SLURM or a user ended, without a fault of the run.
TAKEN_AWAY = ("CANCELLED", "PREEMPTED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL")
# States in which a run that left a checkpoint starts again. SLURM queues most of these jobs again itself, but not one
# that ends within the GraceTime of its pre-emption: that has FAILED, with the exit code of SIGTERM.
RESTARTED = ("FAILED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL")


class SlurmSettings(Section):
    """See conf/hydra/launcher/slurm.yaml."""

    cluster: Literal["slurm", "local"]
    wait: bool
    partition: str | None
    timeout_min: int = Field(ge=1)
    max_timeouts: int = Field(ge=0)
    restarts: int = Field(ge=0)
    signal_delay_s: int = Field(ge=1)
    gpus_per_node: int = Field(ge=0)
    cpus_per_task: int = Field(ge=1)
    mem_gb: float | None = Field(gt=0)
    array_parallelism: int | None = Field(ge=1)
    setup: list[str]
    additional_parameters: dict[str, str | int | float | bool] | None


class SlurmBackend(Executor):
    """Runs jobs through SLURM."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = parse_settings(SlurmSettings, settings, package="submitit")
        if problems := _problems_together(self.settings):
            raise ConfigError(problems)
        self.restarts = self.settings.restarts

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """With `wait: false` it prints the ids of the submitted arrays and ends the program."""
        sweep = jobs[0].record.folder.parent
        self._executor = self._make_executor(sweep)
        if self.settings.wait:
            return follow(jobs, self, progress)
        arrays = ", ".join(_arrays(self.submit(jobs)))
        print(f"submitted as {arrays}; their state: python -m src.status sweep={sweep}")
        raise Ended("left to SLURM", code=0)

    def _make_executor(self, sweep: Path) -> Any:
        from submitit import AutoExecutor

        settings = self.settings
        executor = AutoExecutor(
            SweepFolder(sweep).jobs / "submitit",
            cluster=settings.cluster,
            slurm_max_num_timeout=settings.max_timeouts,
            local_max_num_timeout=settings.max_timeouts,
        )
        executor.update_parameters(
            name=f"segsweep-{sweep.name}",
            timeout_min=settings.timeout_min,
            gpus_per_node=settings.gpus_per_node,
            cpus_per_task=settings.cpus_per_task,
            mem_gb=settings.mem_gb,
            slurm_partition=settings.partition,
            slurm_array_parallelism=settings.array_parallelism or ARRAY_SIZE,
            slurm_signal_delay_s=settings.signal_delay_s,
            slurm_setup=settings.setup,
            slurm_additional_parameters=settings.additional_parameters,
            # since SLURM 22.05 srun does not inherit this from sbatch
            slurm_srun_args=[f"--cpus-per-task={settings.cpus_per_task}"],
        )
        return executor

    def choose(self, waiting: Sequence[Job], running: int) -> Sequence[Job]:
        """All, since SLURM has a queue; cluster=local has none."""
        most = len(waiting) if self.settings.cluster == "slurm" else (self.settings.array_parallelism or 1) - running
        return waiting[:most]

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        """One array, or several for more jobs than an array may hold."""
        from submitit.core.utils import FailedJobError

        environment = core_limits(self.settings.cpus_per_task)
        remote = [RemoteJob(job, environment) for job in jobs]
        self._queue = Queue()  # earlier looks do not list these jobs
        with outside_a_job():
            try:
                parts = [remote[start : start + ARRAY_SIZE] for start in range(0, len(remote), ARRAY_SIZE)]
                return [handle for part in parts for handle in self._executor.submit_array(part)]
            except FailedJobError as error:
                raise ValueError(f"SLURM refuses the jobs: {str(error).strip()}") from error

    def has_ended(self, handle: Any) -> bool:
        """Whether it left its result, or left the queue without one."""
        if self.settings.cluster == "local":
            return bool(handle.done())
        return handle.paths.result_pickle.exists() or self._queue.is_gone(handle.job_id)

    def result(self, handle: Any) -> str:
        from submitit.core.utils import UncompletedJobError

        if self.settings.cluster == "local" or handle.paths.result_pickle.exists():
            try:
                return str(handle.result())
            except UncompletedJobError as error:
                reason = f"its job {handle.job_id} ended without an answer"
                raise JobLost(reason, str(error), resumable=False) from error
        state = _state(handle.job_id)
        reason = f"SLURM job {handle.job_id} ended as {state} without an answer"
        raise JobLost(reason, handle.stderr() or "", state in TAKEN_AWAY, again=state in RESTARTED)

    def cancel(self, handles: Sequence[Any]) -> None:
        """Cancels one job, or whole arrays at once; finished jobs are unaffected.

        Sends processes of this machine SIGTERM as SLURM would: submitit's cancel gives a checkpoint only a second.
        """
        if self.settings.cluster == "slurm":
            subprocess.run(["scancel", *([handles[0].job_id] if len(handles) == 1 else _arrays(handles))], check=False)
            return
        for handle in handles:
            with suppress(ProcessLookupError):
                os.kill(int(handle.job_id), signal.SIGTERM)


class Queue:
    """This user's jobs in SLURM's queue; one squeue for all jobs, at most every QUEUE_PAUSE seconds."""

    def __init__(self) -> None:
        self._looks: list[set[str]] = []  # ids in the queue at the last two calls
        self._looked = float("-inf")

    def is_gone(self, job_id: str) -> bool:
        """Whether the last two calls did not list it: its result file may appear after it left the queue."""
        if time.monotonic() - self._looked > QUEUE_PAUSE:
            self._look()
        return len(self._looks) == 2 and not any(job_id in look for look in self._looks)

    def _look(self) -> None:
        self._looked = time.monotonic()
        command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:  # else the controller is busy or down
            self._looks = [*self._looks[-1:], set(answer.stdout.split())]


@contextmanager
def outside_a_job() -> Iterator[None]:
    """Hides SLURM's variables of the job that this process may run in: new jobs would inherit its size.

    SLURM_CONF, where sbatch finds the cluster, and SBATCH_*, the user's own defaults, stay.
    """
    in_a_job = "SLURM_JOB_ID" in os.environ
    names = [name for name in os.environ if in_a_job and name.startswith("SLURM_") and name != "SLURM_CONF"]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _arrays(handles: Sequence[Any]) -> list[str]:
    return sorted({handle.job_id.split("_")[0] for handle in handles})


def _state(job_id: str) -> str:
    """SLURM's state of a job, such as OUT_OF_MEMORY; UNKNOWN once SLURM has forgotten it."""
    command = ["scontrol", "show", "job", "--oneliner", job_id]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"JobState=(\w+)", answer.stdout)
    return found[1] if found else "UNKNOWN"


def _problems_together(settings: SlurmSettings) -> list[str]:
    """One line for each combination of settings that cannot work."""
    problems = []
    if settings.cluster == "slurm" and shutil.which("sbatch") is None:
        problems.append(
            "hydra/launcher=slurm: found no sbatch on this machine; launch from a login node of the cluster, or try "
            "it without one: hydra.launcher.cluster=local"
        )
    if settings.cluster == "local" and not settings.wait:
        problems.append("hydra.launcher.wait: got false with cluster=local, which has no queue to run the jobs later")
    if settings.signal_delay_s >= 60 * settings.timeout_min:
        problems.append(
            f"hydra.launcher.signal_delay_s: got {settings.signal_delay_s} with timeout_min={settings.timeout_min}; "
            "the warning must come after the start"
        )
    return problems
