"""The launchers: a grid of overrides becomes checked runs, each a separate process."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError
from src.cli.hydra_entry import as_config_errors, network_names
from src.cli.overrides import check_by_model, plain_values, strip_plus, sweep_name, task_overrides


class SegsweepLauncher(Launcher):
    """What all launchers share: every run is composed before the first one starts; `backend` executes them."""

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
        if code := launch(points, sweep_name(None, experiment, "adhoc"), self.backend()):
            raise SystemExit(code)
        return []

    def backend(self) -> Any:
        """The backend that executes the jobs, see src/sweep. Raises ConfigError for wrong settings."""
        raise NotImplementedError

    def compose(self, job_overrides: Sequence[Sequence[str]]) -> list[tuple[dict[str, Any], list[str]]]:
        """The config of each job as plain values, as Hydra would compose it, and its overrides.

        Composing takes Hydra about 0.1 s. Jobs that choose the same options and differ in plain values only, such as
        seeds, are composed once, and the values are set on that config, as Hydra itself does it.
        """
        loader = self.context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        if not job_overrides:
            raise ConfigError(["the grid is empty: a range or list without values was given"])
        shared = set(job_overrides[0]).intersection(*job_overrides)
        parsed = {text: parser.parse_override(text) for text in set().union(*job_overrides)}
        # what sets or deletes whole sections is applied by Hydra in the order of the overrides
        whole = [one for one in parsed.values() if one.is_delete() or isinstance(one.value(), dict | list)]
        sections = tuple(f"{one.key_or_group}." for one in whole)
        values = {
            text: one
            for text, one in parsed.items()
            if text not in shared and _is_plain_value(one) and not f"{one.key_or_group}.".startswith(sections)
        }
        named = {str(one.value()) for one in parsed.values() if one.key_or_group == "model.name"}
        networks = network_names(loader) | named
        composed: dict[tuple[str, ...], DictConfig] = {}
        points = []
        for overrides in job_overrides:
            chosen = tuple(one for one in overrides if one not in values)
            if chosen not in composed:
                composed[chosen] = loader.load_sweep_config(self.config, list(chosen))
                OmegaConf.set_struct(composed[chosen], False)
                del composed[chosen]["hydra"]  # as for a task function
            for one in overrides:  # a grid gives every job the same keys, so no value of the job before remains
                if one in values:
                    OmegaConf.update(composed[chosen], values[one].key_or_group, values[one].value(), force_add=True)
            plain = plain_values(composed[chosen])
            check_by_model(plain, overrides, networks)
            points.append((plain, strip_plus(overrides)))
        return points


class LocalLauncher(SegsweepLauncher):
    """Processes on this machine; settings as in conf/hydra/launcher/local.yaml."""

    def backend(self) -> Any:
        from src.sweep.local import LocalBackend

        return LocalBackend(self.settings)


class SlurmLauncher(SegsweepLauncher):
    """An array of jobs in SLURM's queue; settings as in conf/hydra/launcher/slurm.yaml."""

    def backend(self) -> Any:
        from src.sweep.slurm import SlurmBackend

        return SlurmBackend(self.settings)


class RayLauncher(SegsweepLauncher):
    """Tasks of a Ray cluster; settings as in conf/hydra/launcher/ray.yaml."""

    def backend(self) -> Any:
        from src.sweep.ray_cluster import RayBackend

        return RayBackend(self.settings)


def _is_plain_value(override: Override) -> bool:
    ours = override.is_force_add() and not override.key_or_group.startswith("hydra")
    return ours and isinstance(override.value(), int | float | bool | str | None)
