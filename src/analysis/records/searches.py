"""The searches of a sweep, as search.json has them: their trials, and the settings that were confirmed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from src.analysis.records.files import FolderName, FromRecord, Share, Text, parse_record
from src.base.files import read_json
from src.base.record import SweepFolder

MADE_AGAIN = "the same search command writes it again"
OF_A_SEARCH = "a trial of a search, which counts as no seed of its setting: its score decided what was tried next"
TAKEN_OVER = f"the same run, in a sweep beside this one, is {OF_A_SEARCH}"


class Trial(FromRecord):
    """One setting that was tried. `values`: of what is searched; `valid_dice`: of a finished trial the best."""

    values: dict[Text, Text | int | float]
    status: Literal["running", "finished", "pruned", "failed"]
    valid_dice: Share | None
    run_id: FolderName | None
    config_id: Text | None
    pruned_after_epoch: int | None


class Confirmation(FromRecord):
    """`settings` (config_ids) and the `baseline`, trained again on `seeds`."""

    seeds: list[int] = Field(min_length=1)
    settings: list[Text]
    baseline: Text


class Search(FromRecord):
    """All trials in their order; `confirm`: None before the end, or if none was asked for."""

    trials: list[Trial]
    confirm: Confirmation | None = None


class _File(FromRecord):
    searches: dict[Text, Search]


def read_searches(sweep: Path) -> dict[str, Search]:
    """The searches of `sweep` by name.

    Raises ValueError for a damaged file, or one that is missing beside its journal: its trials would count as seeds.
    """
    file = SweepFolder(sweep).search_file
    if not file.exists():
        if file.with_name("search.journal").exists():
            raise ValueError(f"{file}: is missing, {MADE_AGAIN}")
        return {}
    try:
        content = read_json(file)
    except ValueError as error:
        raise ValueError(f"{file}: is not valid JSON, {MADE_AGAIN}") from error
    return parse_record(_File, content, f"{file}: is damaged, {MADE_AGAIN}").searches


def trial_runs(sweeps: Iterable[Path]) -> set[str]:
    """The run_ids of the trials of `sweeps` and of those beside them, which take over each other's runs.

    The same run is the same draw in each of them, so its score counts as chosen in each.
    """
    parents = {sweep.resolve().parent for sweep in sweeps}
    beside = {plan.parent for parent in parents for plan in parent.glob("[!.]*/plan.json")}
    searches = [search for sweep in {*sweeps, *beside} for search in read_searches(sweep).values()]
    return {trial.run_id for search in searches for trial in search.trials if trial.run_id is not None}
