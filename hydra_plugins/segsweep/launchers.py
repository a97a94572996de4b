"""The launchers: a grid of overrides becomes checked runs, each a separate process."""

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from src.base.errors import Ended
from src.cli.hydra_entry import as_config_errors, errors_of_task
from src.cli.hydra_limits import check_hydra
from src.cli.overrides import (
    check_by_model,
    network_names,
    plain_values,
    source_folders,
    strip_plus,
    sweep_name,
    task_overrides,
)

SWITCHES = ("dry_run", "skip_invalid")  # of hydra.sweeper, for the launcher
SEED = re.compile(r"\+{0,2}seed=(0|[1-9][0-9]*)")


class SegsweepLauncher(Launcher):
    """What all launchers share: every run is composed before the first one starts; `backend` executes them."""

    backend: str  # the class in src/sweep that executes the jobs
    not_of_runs: Sequence[str] = ()  # keys of the composed config that a sweeper reads

    def __init__(self, **settings: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; the task function is not used, since runs are processes."""
        check_hydra(config.hydra)
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Composes and runs all of a batch; the returns hold the best validation Dice of each run."""
        self.begin()
        # torch is imported from here on; Hydra imports this module at every start
        from src.sweep.launch import launch

        with as_config_errors(task_overrides(self.config.hydra)):
            points = self.compose(job_overrides)
        switches = {key: bool(self.config.hydra.sweeper.get(key)) for key in SWITCHES}
        with errors_of_task(), env_override(self.config.hydra.job.env_set):
            ends = launch(points, self.sweep_name(), get_class(self.backend)(self.settings), **switches)
        return [_job_return(end, overrides) for end, overrides in zip(ends, job_overrides, strict=False)]

    def begin(self) -> None:
        """Sets up what every launcher of Hydra's does."""
        setup_globals()
        with as_config_errors([]):
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def sweep_name(self) -> str:
        """The name of the sweep if the config sets none."""
        return sweep_name(None, self.config.hydra.runtime.choices.get("experiment"), "adhoc")

    def compose(self, job_overrides: Sequence[Sequence[str]]) -> list[tuple[dict[str, Any], list[str]]]:
        """The config of each job as plain values, as Hydra would compose it, and its overrides.

        Composing takes Hydra up to half a second, so jobs that differ in their seeds only are composed once.
        """
        loader = self.context.config_loader
        named = {one.partition("=")[2] for overrides in job_overrides for one in overrides if "model.name=" in one}
        networks = network_names(source_folders(self.config.hydra)) | named
        composed: dict[tuple[str, ...], DictConfig] = {}
        points = []
        for overrides in job_overrides:
            others = tuple("++seed=0" if SEED.fullmatch(one) else one for one in overrides)
            if others not in composed:
                composed[others] = loader.load_sweep_config(self.config, list(others))
                OmegaConf.set_struct(composed[others], False)
                for key in ("hydra", *self.not_of_runs):  # as for a task function
                    del composed[others][key]
            for seed in filter(None, map(SEED.fullmatch, overrides)):
                composed[others].seed = int(seed[1])
            plain = plain_values(composed[others])
            check_by_model(plain, overrides, networks)
            points.append((plain, strip_plus(overrides)))
        return points


def _job_return(end: float | str, overrides: Sequence[str]) -> JobReturn:
    """`end`: the objective, or why there is none."""
    value, status = (Ended(end), JobStatus.FAILED) if isinstance(end, str) else (end, JobStatus.COMPLETED)
    return JobReturn(overrides=overrides, status=status, _return_value=value)


class LocalLauncher(SegsweepLauncher):
    """Processes on this machine; settings as in conf/hydra/launcher/local.yaml."""

    backend = "src.sweep.local.LocalBackend"


class SlurmLauncher(SegsweepLauncher):
    """An array of jobs in SLURM's queue; settings as in conf/hydra/launcher/slurm.yaml."""

    backend = "src.sweep.slurm.SlurmBackend"


class RayLauncher(SegsweepLauncher):
    """Tasks of a Ray cluster; settings as in conf/hydra/launcher/ray.yaml."""

    backend = "src.sweep.ray_cluster.RayBackend"
