"""The sweeper: every combination of the values given, handed to the launcher at once."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.command_line import forcing_values
from src.composing import one_line_each


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper without two habits: a multirun.yaml left behind, and every run composed an extra time.

    It composes them to see whether it can; here the launcher composes and checks all before the first one starts.
    """

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Launches the product of `hydra.sweeper.params` and `arguments`, which replace params of the same key."""
        assert self.hydra_context is not None and self.launcher is not None
        params = [f"{key}={value}" for key, value in (self.params or {}).items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        typed = [*forcing_values(params), *arguments]
        with one_line_each(typed):
            (batch,) = self.split_arguments(parser.parse_overrides(typed), max_batch_size=None)
        return self.launcher.launch(batch, initial_job_idx=0)
