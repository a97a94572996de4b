"""The sweeper: every combination of the values given, handed to the launcher at once."""

import itertools
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.segsweep.launchers import SegsweepLauncher
from src.base.errors import ConfigError, shown
from src.cli.hydra_entry import as_config_errors
from src.cli.overrides import force_overrides


class GridSweeper(Sweeper):
    """The product of all values, as of Hydra's basic sweeper, but each run resolves interpolations with its own values.

    `params`: values by key; `dry_run`, `skip_invalid`: see conf/hydra/sweeper/grid.yaml. All are read in the config.
    """

    def __init__(self, **settings: Any) -> None:
        self.switches = {key: settings.get(key, False) for key in ("dry_run", "skip_invalid")}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launches the product of `hydra.sweeper.params` and `arguments`, which replace params of the same key.

        Ends the program if a run failed.
        """
        assert self.hydra_context is not None and self.launcher is not None and self.config is not None
        # not the settings, whose interpolations Hydra has resolved: each job resolves them with its own values
        sweeper: Any = OmegaConf.to_container(self.config.hydra.sweeper, resolve=False)
        if not isinstance(sweeper["params"], dict | None):
            raise ConfigError([f"hydra.sweeper.params: got {shown(sweeper['params'])}; it takes key: values"])
        self._check_switches()
        params = [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = [*force_overrides(params), *arguments]
        with as_config_errors(overrides):
            values: dict[str, list[str]] = {}
            for override in parser.parse_overrides(overrides):
                key, given = override.get_key_element(), [override.input_line]
                if override.is_interval_sweep():
                    got = f"{key.lstrip('+')}: got {shown(override.get_value_string())}"
                    raise ConfigError([f"{got}; a grid takes a,b, choice(…), range(…) or glob(…); a search, intervals"])
                if override.is_sweep_override():
                    given = [f"{key}={value}" for value in override.sweep_string_iterator()]
                values[key] = given
        jobs = [list(job) for job in itertools.product(*values.values())]
        if not jobs:
            raise ConfigError(["the grid is empty: a range or list without values was given"])
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        failed = [job for job in returns if job.status != JobStatus.COMPLETED]
        if failed and isinstance(self.launcher, SegsweepLauncher):  # which has said how each run ended
            raise SystemExit(1)
        for job in failed:
            _ = job.return_value  # raises what the job raised
        return returns

    def _check_switches(self) -> None:
        """Raises ConfigError for a switch that is not one, or that the launcher does not know."""
        ours = isinstance(self.launcher, SegsweepLauncher)
        problems = []
        for key, got in self.switches.items():
            if not isinstance(got, bool):
                problems.append(f"hydra.sweeper.{key}: got {shown(got)}; true or false")
            elif got and not ours:
                problems.append(f"hydra.sweeper.{key}: this launcher cannot do it; hydra/launcher=local does")
        if problems:
            raise ConfigError(problems)
