"""Jobs as an array in SLURM's queue, through submitit; or as its processes on this machine, to try it out."""

import importlib.util
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

from src.base.config import Section, problems_of
from src.base.errors import ConfigError
from src.base.record import SweepFolder
from src.sweep.cluster import JobLost, RemoteJob, follow, remote_jobs
from src.sweep.job import Job
from src.sweep.progress import Progress

ARRAY_SIZE = 1000  # SLURM's MaxArraySize is 1001 unless a site raises it
QUEUE_PAUSE = 20.0  # seconds between two calls of squeue
# States of jobs that SLURM or a user ended, without a fault of the run.
TAKEN_AWAY = ("CANCELLED", "PREEMPTED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL")


class SlurmSettings(Section):
    """See conf/hydra/launcher/slurm.yaml."""

    cluster: Literal["slurm", "local"]
    wait: bool
    partition: str | None
    timeout_min: int = Field(ge=1)
    max_timeouts: int = Field(ge=0)
    signal_delay_s: int = Field(ge=1)
    gpus_per_node: int = Field(ge=0)
    cpus_per_task: int = Field(ge=1)
    mem_gb: float | None = Field(gt=0)
    array_parallelism: int | None = Field(ge=1)
    setup: list[str]
    additional_parameters: dict[str, str | int | float | bool] | None


class SlurmBackend:
    """Runs jobs through SLURM. Raises ConfigError with every wrong setting, and if submitit or SLURM is missing."""

    device_here = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        problems = problems_of(SlurmSettings, dict(settings), prefix="hydra.launcher.")
        if importlib.util.find_spec("submitit") is None:
            problems.append("hydra/launcher=slurm needs submitit: pip install 'submitit>=1.5.4,<1.6'")
        if not problems:
            self.settings = SlurmSettings.model_validate(settings)
            problems += _problems_together(self.settings)
        if problems:
            raise ConfigError(problems)

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        """Submits all `jobs` and follows them; returns the signal that stopped it, if any.

        With `wait: false` it prints the ids of the submitted arrays and ends the program.
        """
        sweep = jobs[0].record.folder.parent
        cores = str(self.settings.cpus_per_task)
        environment = {"OMP_NUM_THREADS": cores, "SEGSWEEP_CORES": cores}
        cluster = (Slurm if self.settings.cluster == "slurm" else LocalSubmitit)(self.settings, sweep)
        if self.settings.wait:
            return follow(jobs, cluster, environment, progress)
        handles = cluster.submit(remote_jobs(jobs, environment))
        print(f"submitted as {', '.join(_arrays(handles))}; their state: python -m src.status sweep={sweep}")
        raise SystemExit(0)


class Slurm:
    """The queue of the SLURM cluster that this machine belongs to."""

    at_once: int | None = None

    def __init__(self, settings: SlurmSettings, sweep: Path) -> None:
        from submitit import AutoExecutor

        self.executor = AutoExecutor(
            SweepFolder(sweep).jobs / "submitit",
            cluster=settings.cluster,
            slurm_max_num_timeout=settings.max_timeouts,
            local_max_num_timeout=settings.max_timeouts,
        )
        self.executor.update_parameters(
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
        self._queue = Queue()

    def submit(self, jobs: Sequence[RemoteJob]) -> list[Any]:
        """One array, or several for more jobs than an array may hold."""
        from submitit.core.utils import FailedJobError

        handles: list[Any] = []
        with _as_outside_a_job():
            try:
                for start in range(0, len(jobs), ARRAY_SIZE):
                    handles += self.executor.submit_array(list(jobs[start : start + ARRAY_SIZE]))
            except FailedJobError as error:
                raise ValueError(f"SLURM refuses the jobs: {str(error).strip()}") from error
        return handles

    def has_ended(self, handle: Any) -> bool:
        """Whether it left its result, or left the queue without one."""
        return handle.paths.result_pickle.exists() or self._queue.is_gone(handle.job_id)

    def result(self, handle: Any) -> str:
        """The status that the job returned; raises JobLost with SLURM's state of it if it returned none."""
        if handle.paths.result_pickle.exists():
            return _answer(handle)
        state = _state(handle.job_id)
        reason = f"SLURM job {handle.job_id} ended as {state} without an answer"
        raise JobLost(reason, handle.stderr() or "", resumable=state in TAKEN_AWAY)

    def cancel(self, handles: Sequence[Any]) -> None:
        """Cancels whole arrays at once; finished jobs are unaffected."""
        subprocess.run(["scancel", *_arrays(handles)], check=False)


class LocalSubmitit(Slurm):
    """submitit's processes on this machine: the same jobs, signals and files, without a queue."""

    def __init__(self, settings: SlurmSettings, sweep: Path) -> None:
        super().__init__(settings, sweep)
        self.at_once = settings.array_parallelism or 1

    def has_ended(self, handle: Any) -> bool:
        """Whether its process has ended."""
        return bool(handle.done())

    def result(self, handle: Any) -> str:
        """The status that the job returned; raises JobLost if it returned none."""
        return _answer(handle)

    def cancel(self, handles: Sequence[Any]) -> None:
        """Sends SIGTERM as SLURM would: submitit's own cancel gives a checkpoint only a second."""
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


def _answer(handle: Any) -> str:
    from submitit.core.utils import UncompletedJobError

    try:
        return str(handle.result())
    except UncompletedJobError as error:
        raise JobLost(f"its job {handle.job_id} ended without an answer", str(error), resumable=False) from error


@contextmanager
def _as_outside_a_job() -> Iterator[None]:
    """Hides SLURM's variables of the job that we may run in: new jobs would inherit its size."""
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
