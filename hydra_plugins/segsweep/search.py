"""The sweeper that searches: ranges in Hydra's grammar become Optuna's, and its trials runs of the launcher."""

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus, env_override
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.segsweep.launchers import SegsweepLauncher
from hydra_plugins.segsweep.sweeper import GridSweeper, parsed
from src.base.config import neutral_keys, problems_of
from src.base.errors import ConfigError, shown
from src.cli.hydra_entry import as_config_errors, errors_of_task
from src.cli.overrides import force_overrides, source_folders, task_overrides

NOT_SEARCHED = {  # by section, or key: why its best value is not an answer
    "seed": "the best seed is luck; hydra.sweeper.confirm trains the best settings on new ones",
    "data": "scores on different data cannot be compared; give it one value",
    "debug": "scores of debug runs do not count; give it one value",
}
FIRST_DECISION = 3  # epochs: those before say little about the last ones
SAME_DATA = {"image_size", "resize", "mean", "std"} | neutral_keys("data") - {"name", "root"}  # keys of the section


class SearchSweeper(GridSweeper):
    """Proposes settings one after another; settings as in conf/hydra/sweeper/search.yaml."""

    def __init__(self, **settings: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra. `composer` composes the runs for every launcher."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.composer = self.launcher if isinstance(self.launcher, SegsweepLauncher) else SegsweepLauncher()
        self.composer.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Searches among the ranges of `hydra.sweeper.params` and `arguments`, then confirms the best settings.

        Ends the program if a run failed.
        """
        assert self.hydra_context is not None and self.launcher is not None and self.config is not None
        try:
            from src.sweep import search
        except ModuleNotFoundError as error:
            raise ConfigError(["hydra/sweeper=search: needs optuna, not installed; pip install '.[search]'"]) from error
        from src.sweep.plan import make_jobs

        config = self.config
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        folders = source_folders(config.hydra)
        # not of the settings, whose interpolations Hydra has resolved: each run resolves them with its own values
        params: Any = config.hydra.sweeper.get("params")
        params = OmegaConf.to_container(params, resolve=False) if isinstance(params, DictConfig) else {}
        overrides = parsed(parser, params, arguments, folders)
        is_ours = self.composer is self.launcher
        samplers = partial(_sampler, self.settings.get("sampler"))
        pruners = partial(_pruner, self.settings.get("pruner"))
        problems = problems_of(search.SearchSettings, self.settings, "hydra.sweeper.")
        ranges = _ranges(overrides, problems)
        self._check_settings(problems, {"sampler": samplers, "pruner": pruners}, bool(ranges))
        if problems:
            raise ConfigError(problems)
        settings = search.SearchSettings.model_validate(self.settings)

        fixed = {one.get_key_element(): one.input_line for one in overrides.values() if not one.is_sweep_override()}
        lines: dict[str, list[str]] = {}  # the overrides of each run

        def typed(values: Mapping[str, Any]) -> list[str]:
            others = [line for key, line in fixed.items() if key not in values]
            # forced, a key that a network lacks reaches the schema, which says what is allowed
            return force_overrides([*others, *(f"{key}={value}" for key, value in values.items())], folders)

        def jobs_of(points: Sequence[Mapping[str, Any]]) -> list[Any]:
            with as_config_errors(task_overrides(config.hydra)):
                composed = self.composer.compose([typed(values) for values in points])
            jobs = make_jobs(composed, self.composer.sweep_name(), executor.device_here)
            lines.update({job.identity.run_id: typed(values) for job, values in zip(jobs, points, strict=True)})
            return [replace(job, swept=search.text(values)) for job, values in zip(jobs, points, strict=True)]

        self.composer.begin()
        executor = (
            get_class(self.composer.backend)(self.composer.settings) if is_ours else _Batches(self.launcher, lines)
        )
        with errors_of_task(), env_override(config.hydra.job.env_set):
            # launchers of others stop no run, so that none may count as stopped
            chosen = pruners if is_ours else partial(_pruner, None)
            to_confirm, failed = search.search(settings, ranges, jobs_of, executor, samplers, chosen)
        if to_confirm:
            self.composer.settings |= {"budget_hours": None} if "budget_hours" in self.composer.settings else {}
            print("confirming the best settings on new seeds", file=sys.stderr)
            returns = self.launcher.launch([typed(values) for values in to_confirm], initial_job_idx=0)
            failed += sum(job.status != JobStatus.COMPLETED for job in returns)
        if failed:
            raise SystemExit(1)

    def _check_settings(
        self, problems: list[str], makers: Mapping[str, Callable[[int], Any]], has_ranges: bool
    ) -> None:
        """Adds to `problems` what is wrong with the search as a whole; `makers` of the sampler and the pruner."""
        if not has_ranges and not problems:
            problems.append("the search is empty: give a key a range, as 'optimizer.lr=tag(log, interval(1e-5, 1e-2))'")
        if not (self.settings.get("n_trials") or self.composer.settings.get("budget_hours") or problems):
            problems.append("hydra.sweeper.n_trials: got None; without it, hydra.launcher.budget_hours must set an end")
        if self.composer.settings.get("wait") is False:
            problems.append("hydra.launcher.wait: got False, but a search proposes as its runs end; leave it out")
        pruner = self.settings.get("pruner")
        factor = pruner.get("reduction_factor", 2) if isinstance(pruner, dict) else 2
        if not isinstance(factor, int) or factor < 2:
            got = f"hydra.sweeper.pruner.reduction_factor: got {shown(factor)}"
            problems.append(f"{got}; a whole number from 2 on")
            makers = {"sampler": makers["sampler"]}
        for key, make in makers.items():
            if not isinstance(self.settings.get(key), dict):
                continue  # null, or of a type that is among the problems
            try:
                with as_config_errors([]):  # arguments that Optuna does not take
                    made = make(1)
            except ConfigError as error:
                problems += [f"hydra.sweeper.{key}: {problem}" for problem in error.problems]
            else:
                wanted = f"Base{key.capitalize()}"
                if wanted not in [kind.__name__ for kind in type(made).__mro__]:
                    target = shown(self.settings[key].get("_target_"))
                    problems.append(f"hydra.sweeper.{key}._target_: got {target}; it takes a class of optuna.{key}s")


def _ranges(overrides: Mapping[str, Override], problems: list[str]) -> dict[str, Any]:
    """Optuna's distribution for each key with a range; adds to `problems` why one cannot be searched."""
    ranges = {}
    for key, override in overrides.items():
        if override.is_sweep_override():
            try:
                ranges[override.get_key_element()] = _distribution(key, override)
            except (ValueError, TypeError) as error:
                problems.append(f"{key}: got {shown(override.get_value_string())}; {error}")
    return ranges


class _Batches:
    """A launcher of others as what executes jobs: the next trials start when all of a batch have ended.

    `lines`: the overrides of each run.
    """

    device_here = False

    def __init__(self, launcher: Launcher, lines: Mapping[str, list[str]]) -> None:
        self._launcher, self._lines = launcher, lines

    def run(self, jobs: Sequence[Any], progress: Any) -> None:
        """Runs `jobs` and those that `progress` adds."""
        number = 0
        while jobs:
            overrides = [self._lines[job.identity.run_id] for job in jobs]
            returns = self._launcher.launch(overrides, initial_job_idx=number)
            for job, one in zip(jobs, returns, strict=True):
                if job.record.read() is None:
                    _ = one.return_value  # raises why the run was refused
                progress.ended(job, job.record.status())
            number += len(jobs)
            jobs = progress.more()


def _sampler(given: Mapping[str, Any], number: int) -> Any:
    """The sampler of one trial. Its own random numbers are the same however often the search was stopped before."""
    seed = given.get("seed")
    return instantiate(given if seed is None else {**given, "seed": random.Random(f"{seed} {number}").getrandbits(32)})


def _pruner(given: Mapping[str, Any] | None, epochs: int) -> Any:
    """The pruner for runs of so many epochs; None stops no run."""
    if given is None:
        return instantiate({"_target_": "optuna.pruners.NopPruner"})
    if given.get("min_resource", 1) is None:
        least = epochs // given.get("reduction_factor", 4) ** 2
        given = {**given, "min_resource": max(FIRST_DECISION, least)}
    return instantiate(given)


def _distribution(key: str, override: Override) -> Any:
    """The range of `key` as Optuna's. Raises ValueError or TypeError for one that cannot be searched."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    section, _, inner = key.partition(".")
    if section in NOT_SEARCHED and inner not in SAME_DATA:
        raise ValueError(NOT_SEARCHED[section])
    sweep: Any = override.value()
    if unknown := sweep.tags - {"log", "int"}:
        raise ValueError(f"unknown tag {', '.join(sorted(unknown))}; allowed: log, int")
    log, whole = "log" in sweep.tags, "int" in sweep.tags
    if override.is_interval_sweep():
        if not (math.isfinite(sweep.start) and math.isfinite(sweep.end) and sweep.start < sweep.end):
            raise ValueError("an interval needs two bounds, the smaller one first")
        if whole or isinstance(sweep.start, int):
            low, high = math.ceil(sweep.start), math.floor(sweep.end)
            if low >= high:
                raise ValueError("it has no two whole numbers")
            return IntDistribution(low, high, log=log)
        return FloatDistribution(sweep.start, sweep.end, log=log)
    sweep.shuffle = False  # the order of proposals is the sampler's, and the same at each call
    texts = list(override.sweep_string_iterator())
    if not texts:
        raise ValueError("it has no values")
    if not override.is_range_sweep() or len(texts) == 1:
        return CategoricalDistribution(texts)
    numbers = sorted(round(float(text), 12) for text in texts)  # 0.9 for 0.3 + 0.3 + 0.3
    if all(map(float.is_integer, numbers)):
        return IntDistribution(int(numbers[0]), int(numbers[-1]), log=log, step=int(numbers[1] - numbers[0]))
    return FloatDistribution(numbers[0], numbers[-1], log=log, step=round(numbers[1] - numbers[0], 12))
