"""The sweeper of `python -m src.settle`: it hands rounds of seeds to the launcher until the questions are settled."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.utils import get_class
from omegaconf import OmegaConf

from hydra_plugins.segsweep.launchers import SegsweepLauncher
from hydra_plugins.segsweep.sweeper import GridSweeper
from src.base.errors import ConfigError
from src.cli.hydra_entry import as_config_errors, errors_of_task
from src.cli.overrides import parse_options

if TYPE_CHECKING:
    from src.settle import SettleOptions
    from src.sweep.plan import Point


class SettleSweeper(GridSweeper):
    """Settings are the product of all values given, as of the grid; their seeds are chosen round by round."""

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Looks at the runs, launches those that the next look needs, and so on; prints the answers."""
        from src.settle import KEYS, NEEDED, SettleOptions  # Hydra imports this module at every start

        assert self.config is not None
        own = [one for one in arguments if _key(one) in KEYS]
        given = OverridesParser.create().parse_overrides(own)
        if several := [one.lstrip("+") for one, parsed in zip(own, given, strict=True) if parsed.is_sweep_override()]:
            raise ConfigError([f"{_key(one)}: got several values in {one}; it takes one" for one in several])
        options = parse_options(SettleOptions, OmegaConf.masked_copy(self.config, [*KEYS]), NEEDED)
        grid = self.grid([one for one in arguments if one not in own])
        swept = {_key(one) for job in grid for one in job}
        launcher, problems = self.launcher, [f"{key}: not taken from a grid" for key in KEYS if key in swept]
        if not isinstance(launcher, SegsweepLauncher):
            problems.append("hydra/launcher: settling takes local, slurm or ray")
        if "seed" in swept:
            problems.append("seed: not taken; seeds are chosen round by round, from first_seed on")
        if problems or not isinstance(launcher, SegsweepLauncher):
            raise ConfigError(problems)
        launcher.not_of_runs = KEYS
        launcher.begin()
        with as_config_errors(arguments):
            points = launcher.compose([[*job, f"++seed={options.first_seed}"] for job in grid])
        with errors_of_task():
            self._settle(options, grid, points)
        return []

    def _settle(self, options: "SettleOptions", grid: Sequence[list[str]], points: Sequence["Point"]) -> None:
        """`points`: the first run of each setting of `grid`."""
        from src.analysis.report.options import claims_named
        from src.analysis.settle import Planned, Run, Settling
        from src.sweep.plan import make_jobs

        assert self.config is not None and isinstance(self.launcher, SegsweepLauncher)
        launcher, asked = self.launcher, options.claim_files
        file = None if asked is None else claims_named([asked])[0]
        device_here = get_class(launcher.backend).device_here
        jobs = make_jobs(points, launcher.sweep_name(), device_here, make_data=not options.dry_run)
        overrides = {job.identity.config_id: own for job, own in zip(jobs, grid, strict=True)}
        settings = {
            job.identity.config_id: Planned(
                job.swept or job.identity.run_id, job.config.model_dump(mode="json"), job.data_fingerprint
            )
            for job in jobs
        }

        def train(runs: Sequence[Run]) -> None:
            launcher.launch([[*overrides[setting], f"++seed={seed}"] for setting, seed in runs], 0)

        folder = jobs[0].record.folder.parent
        Settling(folder, file, settings, options.budget, options.margin, options.first_seed, train).run(options.dry_run)


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]
