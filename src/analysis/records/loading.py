"""The records of sweeps: their runs, epochs and test images, and which runs are included."""

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.analysis.records.image_scores import NUMBERS, Orders, checked_scores, read_tables
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.runs import LAYOUT, Configs, load_runs_and_epochs
from src.analysis.records.searches import OF_A_SEARCH, TAKEN_OVER, Search, read_searches, trial_runs
from src.base.errors import did_you_mean, one_line, shown
from src.base.progress import ProgressBar
from src.base.record import HEADLINE, SweepFolder
from src.display.text import count_text

LEAST_GROUPS = 5  # of test images, for an interval for new groups
A_COPY = "the same run is included from"


@dataclass(frozen=True)
class Records:
    """The records of the runs of some sweeps.

    `runs`: of `load_runs`, with `left_out`, why a finished run is excluded (missing if it is not), and `included`.
    `epochs`: one row per epoch of any run, `folder` and the keys of its line. `configs`: by config_id. `scores`: for
    the folder of each included run dice, iou, tp, fp, fn (pixels) by sorted stem, under one protocol. `groups`: of each
    stem, if images of a group belong together; empty if not. `searches`: by name, those of each sweep.
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    configs: Configs
    scores: Mapping[str, pd.DataFrame]
    protocol: str
    groups: Mapping[str, str] = field(default_factory=dict)
    searches: Mapping[Path, Mapping[str, Search]] = field(default_factory=dict)
    _stacked: dict[tuple[str, ...], npt.NDArray[np.float64]] = field(default_factory=dict, compare=False)

    @cached_property
    def included(self) -> pd.DataFrame:
        """The runs that results are computed from: finished, completely recorded, each once."""
        return self.runs[self.runs["included"]]

    @property
    def candidates(self) -> pd.DataFrame:
        """The runs with a known config that are, or may become, replicates of a setting: all but trials of searches."""
        return self.runs[self.runs["config_id"].notna() & ~self.runs["left_out"].isin([OF_A_SEARCH, TAKEN_OVER])]

    @property
    def images(self) -> pd.DataFrame:
        """`scores` as one tidy table, with the columns folder and stem."""
        if not self.scores:
            return pd.DataFrame(columns=["folder", "stem", *NUMBERS])
        return pd.concat(self.scores, names=["folder"]).reset_index()

    def per_image(self, folders: Iterable[str], column: str) -> npt.NDArray[np.float64]:
        """`column` of the included runs in `folders`, (runs, images), the images in the same order for all.

        Read-only, since all who ask for the same share it. Raises ValueError if the runs were not scored on the same
        images.
        """
        folders = list(folders)
        self.check_same_images(folders)
        key = (column, *folders)
        if key not in self._stacked:
            self._stacked[key] = np.stack([self.scores[folder][column].to_numpy() for folder in folders])
            self._stacked[key].flags.writeable = False
        return self._stacked[key]

    def check_same_images(self, folders: Iterable[str]) -> None:
        """Raises ValueError if the included runs in `folders` were not scored on the same images."""
        first, *others = [self.scores[folder].index for folder in folders]
        if not all(first.equals(other) for other in others):
            raise ValueError("the runs were scored on different images")

    def of_runs(self, folders: Iterable[str], column: str) -> pd.Series:
        """`column` of `runs` for the included runs in `folders`, by folder, in their order."""
        return self._included_by_folder[column].iloc[[self._row_of[folder] for folder in folders]]

    def stems(self, folder: str) -> list[str]:
        """The test images of an included run, in the order of `per_image`."""
        return self.scores[folder].index.tolist()

    def grouped(self, group_of: Callable[[str], str | None]) -> "Records":
        """The same with the group of each stem. Raises ValueError for a stem without one, and for too few groups."""
        orders = {id(own.index): own.index for own in self.scores.values()}.values()
        found = {stem: group_of(stem) for stems in orders for stem in stems}
        if lacking := [stem for stem, group in found.items() if not group]:
            raise ValueError(
                f"cluster: {len(lacking):,} of {len(found):,} test images lack a group, such as {one_line(lacking[0])}"
            )
        groups = {stem: group for stem, group in found.items() if group}
        fewest = min((stems.map(groups).nunique() for stems in orders), default=LEAST_GROUPS)
        if fewest < LEAST_GROUPS:
            raise ValueError(f"cluster: {count_text(fewest, 'group')} of test images; an interval needs {LEAST_GROUPS}")
        return replace(self, groups=groups)

    def group_numbers(self, folder: str) -> npt.NDArray[np.intp]:
        """The number of the group of each test image of an included run, (images,), in the order of `per_image`."""
        return pd.factorize(self.scores[folder].index.map(self.groups))[0]

    def curve(self, folder: str) -> dict[str, npt.NDArray[np.float64]]:
        """The numbers of a run's epochs, in order, by column. Raises KeyError if none is on record."""
        epochs = self._epochs_of[folder]
        return {name: values[epochs] for name, values in self._curves.items()}

    @cached_property
    def _included_by_folder(self) -> pd.DataFrame:
        return self.included.set_index("folder")

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {folder: row for row, folder in enumerate(self.included["folder"])}

    @cached_property
    def _curves(self) -> dict[str, npt.NDArray[np.float64]]:
        numbers = self.epochs.drop(columns=["folder", "device"], errors="ignore")
        return {str(name): column.to_numpy(np.float64, na_value=np.nan) for name, column in numbers.items()}

    @cached_property
    def _epochs_of(self) -> dict[Any, Any]:
        return dict(self.epochs.groupby("folder").indices) if len(self.epochs) else {}


def find_sweeps(patterns: Sequence[str]) -> list[Path]:
    """The folders that `patterns` name, each once; globs such as `multirun_outputs/report_*` match only sweeps.

    Raises ValueError for a glob without a match.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        sweeps = [Path(pattern)]
        if glob.has_magic(pattern) and not sweeps[0].exists():
            matches = glob.glob(pattern)  # noqa: PTH207, since Path.glob takes no absolute pattern
            sweeps = [path for path in map(Path, sorted(matches)) if _is_sweep(path)]
        if not sweeps:
            raise ValueError(f"{pattern}: does not match any folder of runs; expected {LAYOUT}")
        found |= {sweep.resolve(): sweep for sweep in sweeps if sweep.resolve() not in found}
    return list(found.values())


def load_records(sweeps: Sequence[Path], protocol: str = HEADLINE, kept: KeptReads | None = None) -> Records:
    """The records in the folders `sweeps`, with the test images' scores under `protocol`.

    `runs` has all runs. `kept`: of the same folders; by default everything is read, and nothing is kept. Raises
    ValueError for a folder that is not a sweep, with the expected layout, and for a protocol that no run has.
    """
    kept = kept or KeptReads()
    runs, epochs, configs = load_runs_and_epochs(sweeps, kept)
    runs["left_out"] = pd.Series(pd.NA, index=runs.index, dtype="object")
    if "debug" in runs:
        is_debug = runs["status"].eq("finished") & runs["debug"].notna()
        runs.loc[is_debug, "left_out"] = "a debug run: it saw only a few batches"
    searches = {sweep: read_searches(sweep) for sweep in sweeps}
    is_trial = runs["run_id"].isin(trial_runs(sweeps)) & ~_confirm(runs, searches)
    has_search = runs["sweep"].isin([str(sweep) for sweep, own in searches.items() if own])
    runs.loc[is_trial, "left_out"] = has_search[is_trial].map({True: OF_A_SEARCH, False: TAKEN_OVER})
    scores: dict[str, pd.DataFrame] = {}
    candidates = runs.loc[_can_be_included(runs), ["folder", "test_dice"]]
    tables = read_tables([Path(folder) / "test_images.csv" for folder in candidates["folder"]], kept)
    progress = ProgressBar(candidates.itertuples(), "test images", len(candidates), unit="run", leave=False)
    orders: Orders = {}
    other_protocols: set[str] = set()
    for (index, folder, test_dice), table in zip(progress, tables, strict=True):
        try:
            scores[folder] = checked_scores(table, protocol, test_dice, orders)
        except (ValueError, OSError) as error:
            runs.loc[index, "left_out"] = f"test_images.csv cannot be used: {error}"
            other_protocols |= set() if isinstance(table, Exception) else set(map(str, table["protocol"]))
    kept.save()
    if not scores and other_protocols and protocol not in {HEADLINE, *other_protocols}:
        raise ValueError(f"protocol: got {shown(protocol)}; {did_you_mean(protocol, sorted(other_protocols))}")
    for reasons_of in (_duplicates, _of_other_images):
        for folder, reason in reasons_of(runs, scores).items():
            runs.loc[runs["folder"] == folder, "left_out"] = reason
            del scores[folder]
    runs["included"] = _can_be_included(runs)
    return Records(runs, epochs, configs, scores, protocol, searches=searches)


def no_records() -> Records:
    """Those of a sweep that has not begun."""
    columns = ["run_id", "config_id", "seed", "status", "failure_kind", "fingerprint", "included", "folder"]
    runs = pd.DataFrame(columns=columns).astype({"included": "bool", "seed": "Int64"})
    return Records(runs, pd.DataFrame(), {}, {}, HEADLINE)


def _is_sweep(folder: Path) -> bool:
    sweep = SweepFolder(folder)
    return sweep.plan_file.exists() or bool(sweep.run_files())


def _confirm(runs: pd.DataFrame, searches: Mapping[Path, Mapping[str, Search]]) -> pd.Series:
    """Whether each run confirms what a search of its sweep chose; a later search may try the same run."""
    confirms = pd.Series(False, index=runs.index)
    for sweep, own in searches.items():
        for confirm in filter(None, (search.confirm for search in own.values())):
            is_meant = runs["config_id"].isin([*confirm.settings, confirm.baseline]) & runs["seed"].isin(confirm.seeds)
            confirms |= runs["sweep"].eq(str(sweep)) & is_meant
    return confirms


def _can_be_included(runs: pd.DataFrame) -> pd.Series:
    return runs["status"].eq("finished") & runs["left_out"].isna()


def _duplicates(runs: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The reason for each run to exclude because it exists several times.

    Copies are included once, runs that disagree not at all: it is unknown which one is right, and the order in which
    sweeps are named must not matter.
    """
    candidates = runs.set_index("folder").loc[list(scores)]
    data = candidates["fingerprint"].fillna(candidates.groupby("config_id")["fingerprint"].transform("first"))
    reasons: dict[str, str] = {}
    # a setting has one run per seed, whatever the name of its folder
    run = candidates[["config_id", "seed"]].assign(data=data)
    several = run.duplicated(keep=False)
    for _, same in candidates[several].groupby([column[several] for _, column in run.items()], dropna=False):
        first, *others = sorted(same.index)
        if all(scores[first].equals(scores[other]) for other in others):
            reasons |= dict.fromkeys(others, f"{A_COPY} {same.loc[first, 'sweep']} already")
        else:
            different = ", ".join(f"{same.loc[folder, 'test_dice']:.6f} in {folder}" for folder in (first, *others))
            reason = f"runs with the same config and seed have different scores, so none is included: {different}"
            reasons |= dict.fromkeys(same.index, reason)
    return reasons


def _of_other_images(runs: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The reason for each run to exclude because most runs on its data were scored on other images."""
    data = runs.set_index("folder").loc[list(scores), "fingerprint"]
    reasons: dict[str, str] = {}
    for _, own in data.groupby(data, dropna=False):
        stems_of = {folder: tuple(scores[folder].index.to_numpy()) for folder in own.index}
        counts = Counter(stems_of.values())
        usual = min(counts, key=lambda stems: (-counts[stems], stems))
        if list(counts.values()).count(counts[usual]) > 1:
            tied = "was scored on other test images than as many runs on its data, so none of them is included"
            reasons |= dict.fromkeys(stems_of, tied)
            continue
        for folder, stems in stems_of.items():
            if stems != usual:
                sizes = (len(stems), len(usual))
                reasons[folder] = "was scored on {:,} test images, most runs on its data on {:,} other ones".format(
                    *sizes
                )
    return reasons
