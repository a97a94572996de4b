"""The launchers: a grid of overrides becomes checked runs, each a separate process."""

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError
from src.cli.hydra_entry import as_config_errors, network_names
from src.cli.overrides import check_by_model, plain_values, strip_plus, sweep_name, task_overrides

SEED = re.compile(r"\+\+seed=(0|[1-9][0-9]*)")


class SegsweepLauncher(Launcher):
    """What all launchers share: every run is composed before the first one starts; `backend` executes them."""

    backend: str  # the class in src/sweep that executes the jobs

    def __init__(self, **settings: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; the task function is not used, since runs are processes."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Composes and runs all; exits with a code other than 0 unless every run finished."""
        setup_globals()
        with as_config_errors([]):
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        # torch is imported from here on; Hydra imports this module at every start
        from src.sweep.launch import launch

        with as_config_errors(task_overrides(self.config.hydra)):
            points = self.compose(job_overrides)
        experiment = self.config.hydra.runtime.choices.get("experiment")
        name, backend = sweep_name(None, experiment, "adhoc"), get_class(self.backend)(self.settings)
        switches = {key: bool(self.config.hydra.sweeper.get(key)) for key in ("dry_run", "skip_invalid")}
        if code := launch(points, name, backend, **switches):
            raise SystemExit(code)
        return []

    def compose(self, job_overrides: Sequence[Sequence[str]]) -> list[tuple[dict[str, Any], list[str]]]:
        """The config of each job as plain values, as Hydra would compose it, and its overrides.

        Composing takes Hydra up to half a second, so jobs that differ in their seeds only are composed once.
        """
        loader = self.context.config_loader
        if not job_overrides:
            raise ConfigError(["the grid is empty: a range or list without values was given"])
        named = {one.partition("=")[2] for overrides in job_overrides for one in overrides if "model.name=" in one}
        networks = network_names(loader) | named
        composed: dict[tuple[str, ...], DictConfig] = {}
        points = []
        for overrides in job_overrides:
            others = tuple("++seed=0" if SEED.fullmatch(one) else one for one in overrides)
            if others not in composed:
                composed[others] = loader.load_sweep_config(self.config, list(others))
                OmegaConf.set_struct(composed[others], False)
                del composed[others]["hydra"]  # as for a task function
            for seed in filter(None, map(SEED.fullmatch, overrides)):
                composed[others].seed = int(seed[1])
            plain = plain_values(composed[others])
            check_by_model(plain, overrides, networks)
            points.append((plain, strip_plus(overrides)))
        return points


class LocalLauncher(SegsweepLauncher):
    """Processes on this machine; settings as in conf/hydra/launcher/local.yaml."""

    backend = "src.sweep.local.LocalBackend"


class SlurmLauncher(SegsweepLauncher):
    """An array of jobs in SLURM's queue; settings as in conf/hydra/launcher/slurm.yaml."""

    backend = "src.sweep.slurm.SlurmBackend"


class RayLauncher(SegsweepLauncher):
    """Tasks of a Ray cluster; settings as in conf/hydra/launcher/ray.yaml."""

    backend = "src.sweep.ray_cluster.RayBackend"
