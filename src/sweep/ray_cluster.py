"""Jobs as tasks of a Ray cluster."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from src.base.config import Section
from src.sweep.follow import Executor, JobLost, core_limits, follow, parse_settings
from src.sweep.process import Job, RemoteJob
from src.sweep.progress import Progress
from src.sweep.worker import PATIENCE


def _checked_address(address: str) -> str:
    if not re.fullmatch(r"auto|local|[^/]+:\d+", address):
        raise ValueError(
            "launch on a machine of the Ray cluster with address=auto (or host:port), since the launcher reads the "
            "records that the runs write"
        )
    return address


class RaySettings(Section):
    """See conf/hydra/launcher/ray.yaml."""

    address: Annotated[str, AfterValidator(_checked_address)] | None
    num_cpus: float = Field(gt=0)
    num_gpus: float = Field(ge=0)
    restarts: int = Field(ge=0)


class RayBackend(Executor):
    """Runs jobs on a Ray cluster."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = parse_settings(RaySettings, settings, package="ray")
        self.restarts = self.settings.restarts

    def run(self, jobs: Sequence[Job], progress: Progress) -> int | None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports from a Ray that we start
        ray.init(address=self.settings.address or "local", log_to_driver=False, logging_level="warning")
        try:
            self._check_size(ray.nodes())
            # Ray's own would not wait until the lost process has left the run; ours do, see `follow`
            options = {"num_cpus": self.settings.num_cpus, "num_gpus": self.settings.num_gpus, "max_retries": 0}
            self._ray, self._task = ray, ray.remote(**options)(RemoteJob.__call__)
            return follow(jobs, self, progress)
        finally:
            ray.shutdown()

    def _check_size(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Reports that no machine is large enough for a run: Ray itself would wait without a message.

        Raises ValueError for a Ray that we started, which no machine can join.
        """
        needed = {"CPU": self.settings.num_cpus, "GPU": self.settings.num_gpus}
        have = [node["Resources"] for node in nodes if node["Alive"]]
        if any(all(node.get(kind, 0) >= number for kind, number in needed.items()) for node in have):
            return
        problem = (
            f"hydra.launcher.num_cpus, num_gpus: got {needed['CPU']:g} and {needed['GPU']:g}; no machine of the Ray "
            "cluster is that large"
        )
        if self.settings.address in (None, "local"):
            raise ValueError(problem)
        print(f"{problem}; waiting for one to join", file=sys.stderr)

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        environment = core_limits(self.settings.num_cpus)
        return [self._task.remote(RemoteJob(job, environment)) for job in jobs]

    def has_ended(self, handle: Any) -> bool:
        return bool(self._ray.wait([handle], timeout=0, fetch_local=False)[0])

    def result(self, handle: Any) -> str:
        try:
            return str(self._ray.get(handle))
        except self._ray.exceptions.RayError as error:
            own_fault = isinstance(error, self._ray.exceptions.RayTaskError)
            reason = f"its Ray task ended without an answer ({type(error).__name__})"
            raise JobLost(reason, str(error), resumable=not own_fault, again=not own_fault) from error

    def cancel(self, handles: Sequence[Any]) -> None:
        """Cancels waiting tasks, interrupts running ones and waits for their end: Ray stops with this program."""
        for handle in handles:
            self._ray.cancel(handle)
        self._ray.wait(list(handles), num_returns=len(handles), timeout=3 * PATIENCE, fetch_local=False)
