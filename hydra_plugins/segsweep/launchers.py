"""The launchers: a grid of overrides becomes checked runs, which go to processes of their own."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.command_line import plain_values, refusal, sweep_name, typed


class SegsweepLauncher(Launcher):
    """What all launchers share: composing every run before the first one starts, then `start` of the one at hand."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra gives what a launcher works with; the task function is not needed, since runs are processes."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Composes and runs all; leaves the program with an exit code other than 0 unless every run finished."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        # torch is imported from here on; Hydra imports this module at every start
        from src.sweep.launch import launch

        experiment = self.config.hydra.runtime.choices.get("experiment")
        try:
            points = [(plain_values(config), typed(overrides)) for config, overrides in self.compose(job_overrides)]
            code = launch(points, sweep_name(self.config.sweep.name, experiment, "adhoc"), self.backend())
        except ValueError as error:
            raise SystemExit(refusal(error)) from error
        if code:
            raise SystemExit(code)
        return []

    def backend(self) -> Any:
        """What runs the jobs: see src/sweep."""
        raise AssertionError("each launcher has its own")

    def compose(self, job_overrides: Sequence[Sequence[str]]) -> list[tuple[DictConfig, Sequence[str]]]:
        """The config of each job, as Hydra would compose it.

        Composing takes Hydra about 0.1 s. Jobs that choose the same options and differ in plain values only, such as
        seeds, are composed once; the values are set on copies, which is what Hydra does with them too.
        """
        loader = self.context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        composed: dict[tuple[str, ...], DictConfig] = {}
        configs = []
        for overrides in job_overrides:
            parsed = parser.parse_overrides(list(overrides))
            values = [one for one in parsed if one.is_force_add() and not one.key_or_group.startswith("hydra")]
            groups = tuple(one.input_line or "" for one in parsed if one not in values)
            if groups not in composed:
                composed[groups] = loader.load_sweep_config(self.config, list(groups))
                OmegaConf.set_struct(composed[groups], False)
                del composed[groups]["hydra"]  # as for a task function
            config = composed[groups].copy() if values else composed[groups]
            for value in values:
                OmegaConf.update(config, value.key_or_group, value.value(), merge=True, force_add=True)
            configs.append((config, overrides))
        return configs


class LocalLauncher(SegsweepLauncher):
    """Processes on this machine; arguments as in conf/hydra/launcher/local.yaml."""

    def __init__(self, jobs: int | None, slots_per_gpu: int, on_error: str) -> None:
        self.arguments = {"jobs": jobs, "slots_per_gpu": slots_per_gpu, "on_error": on_error}

    def backend(self) -> Any:
        from src.sweep.local import LocalBackend

        return LocalBackend(**self.arguments)
