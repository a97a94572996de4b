"""The searches of a sweep, as search.json has them: their trials, and the settings that were confirmed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from src.analysis.records.files import FolderName, FromRecord, Share, Text, parse_record
from src.base.files import read_json
from src.base.record import SweepFolder

OF_A_SEARCH = "a trial of a search, which counts as no seed of its setting: its score decided what was tried next"


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
    """The searches of `sweep` by name. Raises ValueError for a damaged file: its trials would count as settings."""
    file = SweepFolder(sweep).search_file
    if not file.exists():
        return {}
    return parse_record(_File, read_json(file), f"{file}: is damaged, the same search writes it again").searches


def trial_folders(sweep: Path, searches: Sequence[Search]) -> set[str]:
    """The folders of the runs of all trials."""
    return {str(sweep / trial.run_id) for search in searches for trial in search.trials if trial.run_id is not None}
