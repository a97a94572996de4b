"""The sweeper: every combination of the values given, less those left out, handed to the launcher at once."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from pydantic import BeforeValidator, Field

from hydra_plugins.segsweep.launchers import SWITCHES, SegsweepLauncher
from src.base.config import Section, parse_section
from src.base.errors import ConfigError, did_you_mean, shown
from src.cli.hydra_entry import as_config_errors
from src.cli.overrides import force_overrides, source_folders

Values = dict[str, list[str]]  # of each key, in its place in the grid, the overrides that give it its values


def _on_or_off(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError("true or false")
    return given


class Grid(Section):
    """What hydra.sweeper says of the combinations; see conf/hydra/sweeper/grid.yaml."""

    params: dict[str, Any] | None = None
    grids: list[dict[str, Any]] | None = None
    pairs: list[Annotated[list[str], Field(min_length=2)]] | None = None
    exclude: list[Annotated[dict[str, Any], Field(min_length=1)]] | None = None
    dry_run: Annotated[bool, BeforeValidator(_on_or_off)] = False
    skip_invalid: Annotated[bool, BeforeValidator(_on_or_off)] = False


class GridSweeper(Sweeper):
    """The product of all values, as of Hydra's basic sweeper, but each run resolves interpolations with its own values.

    Its settings, all read in the config: conf/hydra/sweeper/grid.yaml.
    """

    def __init__(self, **settings: Any) -> None: ...

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launches the combinations of the grid and `arguments`; ends the program if a run failed."""
        jobs = self.grid(arguments)
        assert self.launcher is not None
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        failed = [job for job in returns if job.status != JobStatus.COMPLETED]
        if failed and isinstance(self.launcher, SegsweepLauncher):  # which has said how each run ended
            raise SystemExit(1)
        for job in failed:
            _ = job.return_value  # raises what the job raised
        return returns

    def grid(self, arguments: list[str]) -> list[list[str]]:
        """The combinations of the grid and `arguments`, which replace what the grid has for the same key."""
        assert self.hydra_context is not None and self.launcher is not None and self.config is not None
        # not the settings, whose interpolations Hydra has resolved: each job resolves them with its own values
        sweeper: Any = OmegaConf.to_container(self.config.hydra.sweeper, resolve=False)
        sweeper.pop("_target_", None)
        sweeper |= {key: self.config.hydra.sweeper[key] for key in SWITCHES if key in sweeper}  # of no job
        grid = parse_section(Grid, sweeper, "hydra.sweeper.")
        switched_on = [key for key in SWITCHES if getattr(grid, key)]
        if switched_on and not isinstance(self.launcher, SegsweepLauncher):
            cannot = "this launcher cannot do it; hydra/launcher=local does"
            raise ConfigError([f"hydra.sweeper.{key}: {cannot}" for key in switched_on])
        params = grid.params or {}
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        folders = source_folders(self.config.hydra)
        arguments = force_overrides(arguments, folders)  # a key that a network lacks is one problem of its jobs
        all_params = [{**params, **_as_choices(parser, own)} for own in grid.grids or [{}]]
        grids = [_values(parsed(parser, own, arguments, folders)) for own in all_params]
        jobs = [job for values in grids for job in _combinations(values, grid.pairs or [])]
        if not jobs or any([] in own.values() for own in grid.grids or []):
            raise ConfigError(["the grid is empty: a range or list without values was given"])
        return _without(jobs, grid.exclude or [], parser)


def _as_choices(parser: OverridesParser, grid: Mapping[str, Any]) -> dict[str, Any]:
    """`grid` with each list of values, as YAML has it, in the form of an override: `a,b`."""
    lists = {key: value for key, value in grid.items() if isinstance(value, list)}
    return {**grid, **{key: ",".join(_as_choice(parser, one) for one in lists[key]) for key in lists}}


def _as_choice(parser: OverridesParser, value: Any) -> str:
    """One value of a list in YAML in the form of an override; a text in quotes unless it is one value as it is."""
    if isinstance(value, str) and value:
        with suppress(HydraException):
            read = parser.parse_override(f"key={value}").value()
            if not (isinstance(read, ChoiceSweep) and read.simple_form):  # a,b
                return value
    return _in_grammar(value)


def _in_grammar(value: Any) -> str:
    """A `value` of YAML as an override has it: null, lists and mappings of any depth, texts in quotes."""
    return Override._get_value_element_as_str(_in_quotes(value))


def _in_quotes(value: Any) -> Any:
    """`value` with its texts, at any depth, as Hydra has those in quotes."""
    if isinstance(value, str):
        return QuotedString(value, Quote.single)
    if isinstance(value, list):
        return [_in_quotes(one) for one in value]
    return {key: _in_quotes(one) for key, one in value.items()} if isinstance(value, dict) else value


def parsed(
    parser: OverridesParser, params: Mapping[str, Any], arguments: Sequence[str], folders: Sequence[Path]
) -> dict[str, Override]:
    """`params`, forced but for groups of `folders`, and `arguments`, which replace params of the same key, by key."""
    texts = {key: value if isinstance(value, str) else _in_grammar(value) for key, value in params.items()}
    overrides = [*force_overrides([f"{key}={text}" for key, text in texts.items()], folders), *arguments]
    with as_config_errors(overrides):
        return {one.get_key_element().lstrip("+"): one for one in parser.parse_overrides(overrides)}


def _values(overrides: Mapping[str, Override]) -> Values:
    """Each value of each of `overrides`, which are by key."""
    values: Values = {}
    for key, override in overrides.items():
        values[key] = [override.input_line]
        if override.is_interval_sweep():
            got = f"{key}: got {shown(override.get_value_string())}"
            choices = "a grid takes a,b, choice(…), range(…) or glob(…)"
            raise ConfigError([f"{got}; {choices}; hydra/sweeper=search takes intervals"])
        if override.is_sweep_override():
            with as_config_errors([override.input_line]):
                values[key] = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return values


def _combinations(values: Values, pairs: Sequence[Sequence[str]]) -> list[list[str]]:
    """The product of all values; the keys of each of `pairs` move together. Raises ConfigError for unfit pairs."""
    problems = []
    for key in {key for pair in pairs for key in pair if sum(other.count(key) for other in pairs) > 1}:
        problems.append(f"hydra.sweeper.pairs: got {shown(key)} twice; a key moves with one pair")
    for pair in pairs:
        lengths = {key: len(values.get(key, ())) for key in pair}
        for key in [key for key in pair if key not in values]:
            problems.append(
                f"hydra.sweeper.pairs: got {shown(key)}, which is not swept; {did_you_mean(key, [*values])}"
            )
        if not problems and len(set(lengths.values())) > 1:
            got = ", ".join(f"{length} of {key}" for key, length in lengths.items())
            problems.append(f"hydra.sweeper.pairs: got {got}; values that move together are equally many")
    if problems:
        raise ConfigError(problems)
    pair_of = {key: tuple(pair) for pair in pairs for key in pair}
    groups = dict.fromkeys(pair_of.get(key, (key,)) for key in values)
    axes = [list(zip(*(values[key] for key in group), strict=True)) for group in groups]
    return [list(itertools.chain.from_iterable(point)) for point in itertools.product(*axes)]


def _without(jobs: list[list[str]], rules: Sequence[Mapping[str, Any]], parser: OverridesParser) -> list[list[str]]:
    """`jobs` but those that have all the values of one of `rules`, in which a list is any of its values.

    Raises ConfigError for a key that no job has, a rule that leaves out nothing, and rules that leave out everything.
    """
    if not rules:
        return jobs
    parsed = {one: parser.parse_override(one) for one in {one for job in jobs for one in job}}
    points = [{parsed[one].get_key_element().lstrip("+"): parsed[one].value() for one in job} for job in jobs]
    keys = sorted({key for point in points for key in point})
    unknown = dict.fromkeys(key for rule in rules for key in rule if key not in keys)
    problems = [
        f"hydra.sweeper.exclude: got {shown(key)}, which is not swept; {did_you_mean(key, keys)}" for key in unknown
    ]
    left_out = [{number for number, point in enumerate(points) if _has(point, rule)} for rule in rules]
    if not problems:
        problems = [
            f"hydra.sweeper.exclude: got {shown(dict(rule))}, which leaves out nothing; no combination has these values"
            for rule, numbers in zip(rules, left_out, strict=True)
            if not numbers
        ]
    kept = [job for number, job in enumerate(jobs) if not any(number in numbers for numbers in left_out)]
    if problems or not kept:
        raise ConfigError(problems or ["hydra.sweeper.exclude: leaves out every combination"])
    return kept


def _has(point: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    return all(
        key in point and any(_is_same(point[key], one) for one in [value, *(value if isinstance(value, list) else ())])
        for key, value in rule.items()
    )


def _is_same(value: Any, other: Any) -> bool:
    """Whether they are equal, and both or neither a switch: to Python 1 equals true."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)
