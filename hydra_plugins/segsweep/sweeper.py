"""The sweeper: every combination of the values given, handed to the launcher at once."""

import itertools
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from src.base.errors import ConfigError, shown
from src.cli.hydra_entry import as_config_errors
from src.cli.overrides import force_overrides


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, but it writes no multirun.yaml and leaves composing the runs to the launcher.

    `dry_run`, `skip_invalid`: see conf/hydra/sweeper/grid.yaml; the launcher reads them in the config.
    """

    def __init__(self, *, dry_run: bool = False, skip_invalid: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.switches = {"dry_run": dry_run, "skip_invalid": skip_invalid}

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Launches the product of `hydra.sweeper.params` and `arguments`, which replace params of the same key."""
        assert self.hydra_context is not None and self.launcher is not None and self.config is not None
        # not self.params, whose interpolations Hydra has resolved: each job resolves them with its own values
        sweeper: Any = OmegaConf.to_container(self.config.hydra.sweeper, resolve=False)
        if not isinstance(sweeper["params"], dict | None):
            raise ConfigError([f"hydra.sweeper.params: got {shown(sweeper['params'])}; it takes key: values"])
        wrong = {key: value for key, value in self.switches.items() if not isinstance(value, bool)}
        if wrong:
            raise ConfigError([f"hydra.sweeper.{key}: got {shown(got)}; true or false" for key, got in wrong.items()])
        params = [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = [*force_overrides(params), *arguments]
        with as_config_errors(overrides):
            values: dict[str, list[str]] = {}
            for override in parser.parse_overrides(overrides):
                key, given = override.get_key_element(), [override.input_line]
                if override.is_sweep_override():
                    given = [f"{key}={value}" for value in override.sweep_string_iterator()]
                values[key] = given
        return self.launcher.launch([list(job) for job in itertools.product(*values.values())], initial_job_idx=0)
