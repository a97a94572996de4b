"""The records of sweeps as three tidy tables, runs, epochs and test images, and which runs are included."""

import glob
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals
from tqdm import tqdm

from src.analysis.records.runs import LAYOUT, load_runs_and_epochs
from src.base.errors import one_line, unquoted
from src.base.files import open_regular
from src.base.record import HEADLINE, LARGEST_IMAGES, SweepFolder

NUMBERS = {"dice": "float64", "iou": "float64", "tp": "int64", "fp": "int64", "fn": "int64"}  # of each test image
LARGEST = {"dice": 1, "iou": 1, "tp": 10**12, "fp": 10**12, "fn": 10**12}
ROUNDING = 1e-9  # a mean of scores as text against the mean that the run itself took


@dataclass(frozen=True)
class Records:
    """The records of the runs of some sweeps.

    `runs`: of `load_runs`, with `left_out`, why a finished run is excluded (missing if it is not), and `included`.
    `epochs`: one row per epoch of any run, `folder` and the keys of its line. `images`: one row per test image of each
    included run, `folder`, stem, dice, iou, tp, fp, fn (pixels), under one protocol.
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    images: pd.DataFrame
    protocol: str

    @cached_property
    def included(self) -> pd.DataFrame:
        """The runs that results are computed from: finished, completely recorded, each once."""
        return self.runs[self.runs["included"]]

    def per_image(self, folders: Iterable[str], column: str) -> npt.NDArray[np.float64]:
        """`column` of the included runs in `folders`, (runs, images), the images in the same order for all.

        Read-only: for consecutive runs, such as those of a setting, it is a view of the table. Raises ValueError if the
        runs were not scored on the same images.
        """
        folders = list(folders)
        self.check_same_images(folders)
        rows, values = [self._rows_of[folder] for folder in folders], self.images[column].to_numpy()
        if all(one.stop == other.start for one, other in itertools.pairwise(rows)):
            return values[rows[0].start : rows[-1].stop].reshape(len(rows), -1)
        return np.stack([values[own] for own in rows])

    def check_same_images(self, folders: Iterable[str]) -> None:
        """Raises ValueError if the included runs in `folders` were not scored on the same images."""
        first, *others = [self._stems_of[folder] for folder in folders]
        if not all(np.array_equal(first, other) for other in others):
            raise ValueError("the runs were scored on different images")

    def of_runs(self, folders: Iterable[str], column: str) -> pd.Series:
        """`column` of `runs` for the included runs in `folders`, by folder, in their order."""
        return self._included_by_folder.loc[list(folders), column]

    def stems(self, folder: str) -> list[str]:
        """The test images of an included run, in the order of `per_image`."""
        return self.images["stem"].iloc[self._rows_of[folder]].astype(str).tolist()

    def curve(self, folder: str) -> pd.DataFrame:
        """The epochs of a run, in order. Raises KeyError if none is on record."""
        return self.epochs.iloc[self._epochs_of[folder]]

    @cached_property
    def _included_by_folder(self) -> pd.DataFrame:
        return self.included.set_index("folder")

    @cached_property
    def _epochs_of(self) -> dict[Any, Any]:
        return dict(self.epochs.groupby("folder").indices) if len(self.epochs) else {}

    @cached_property
    def _stems_of(self) -> dict[str, npt.NDArray[Any]]:
        """The images of each run as numbers."""
        stems = self.images["stem"].cat.codes.to_numpy()
        return {folder: stems[rows] for folder, rows in self._rows_of.items()}

    @cached_property
    def _rows_of(self) -> dict[str, slice]:
        """Where in `images` each run has its rows, one after another."""
        folders = self.images["folder"].cat
        counts = np.bincount(folders.codes)
        rows = zip(folders.categories, counts.tolist(), counts.cumsum().tolist(), strict=True)
        return {folder: slice(end - count, end) for folder, count, end in rows}


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


def load_records(sweeps: Sequence[Path], protocol: str = HEADLINE) -> Records:
    """The records in the folders `sweeps`, with the test images' scores under `protocol`.

    `runs` has all runs. Raises ValueError for a folder that is not a sweep, with the expected layout.
    """
    runs, epochs = load_runs_and_epochs(*sweeps)
    runs["left_out"] = _debug_runs(runs)
    images: dict[str, pd.DataFrame] = {}
    names = pd.Index([])
    candidates = runs.loc[_can_be_included(runs), ["folder", "test_dice"]]
    progress = tqdm(candidates.itertuples(), "test images", len(candidates), unit="run", disable=None, leave=False)
    for index, folder, test_dice in progress:
        try:
            images[folder] = _read_images(Path(folder), protocol, test_dice, names)
            names = images[folder]["stem"].cat.categories
        except (ValueError, OSError) as error:
            runs.loc[index, "left_out"] = f"test_images.csv cannot be used: {error}"
    for reasons_of in (_duplicates, _of_other_images):
        for folder, reason in reasons_of(runs, images).items():
            runs.loc[runs["folder"] == folder, "left_out"] = reason
            del images[folder]
    runs["included"] = _can_be_included(runs)
    return Records(runs, epochs, _joined(images), protocol)


def _is_sweep(folder: Path) -> bool:
    sweep = SweepFolder(folder)
    return sweep.plan_file.exists() or bool(sweep.run_files())


def _can_be_included(runs: pd.DataFrame) -> pd.Series:
    return runs["status"].eq("finished") & runs["left_out"].isna()


def _debug_runs(runs: pd.DataFrame) -> pd.Series:
    """Why a finished run is excluded, whatever its scores."""
    reasons = pd.Series(pd.NA, index=runs.index, dtype="object")
    if "debug" in runs:
        reasons[runs["status"].eq("finished") & runs["debug"].notna()] = "a debug run: it saw only a few batches"
    return reasons


def _duplicates(runs: pd.DataFrame, images: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The reason for each run to exclude because it exists several times.

    Copies are included once, runs that disagree not at all: it is unknown which one is right, and the order in which
    sweeps are named must not matter.
    """
    candidates = runs.set_index("folder").loc[list(images)]
    data = candidates["fingerprint"].fillna(candidates.groupby("config_id")["fingerprint"].transform("first"))
    reasons: dict[str, str] = {}
    # a setting has one run per seed, whatever the name of its folder
    for _, same in candidates.groupby(["config_id", "seed", data], dropna=False):
        if len(same) == 1:
            continue
        first, *others = sorted(same.index)
        if all(_agree(images[first], images[other]) for other in others):
            reasons |= dict.fromkeys(others, f"the same run is included from {same.loc[first, 'sweep']} already")
        else:
            scores = ", ".join(f"{same.loc[folder, 'test_dice']:.6f} in {folder}" for folder in (first, *others))
            reason = f"runs with the same config and seed have different scores, so none is included: {scores}"
            reasons |= dict.fromkeys(same.index, reason)
    return reasons


def _agree(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two runs have the same scores on the same images."""
    same_images = np.array_equal(first["stem"].astype("object"), second["stem"].astype("object"))
    return same_images and np.array_equal(first[list(NUMBERS)], second[list(NUMBERS)])


def _of_other_images(runs: pd.DataFrame, images: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The reason for each run to exclude because most runs on its data were scored on other images."""
    stems = {folder: "\0".join(own["stem"].astype("object")) for folder, own in images.items()}
    data = runs.set_index("folder").loc[list(images), "fingerprint"]
    reasons = {}
    for _, own in data.groupby(data, dropna=False):
        usual = pd.Series({folder: stems[folder] for folder in own.index}).mode()[0]
        for folder in own.index[[stems[folder] != usual for folder in own.index]]:
            counts = (len(images[folder]), usual.count("\0") + 1)
            reasons[folder] = "was scored on {:,} test images, most runs on its data on {:,} other ones".format(*counts)
    return reasons


def _read_images(folder: Path, protocol: str, test_dice: float, names: pd.Index) -> pd.DataFrame:
    """The rows of one protocol, sorted by stem; `names`: the sorted stems of another run, which are likely the same.

    Raises ValueError for a file that is broken or contradicts `test_dice` of run.json.
    """
    table = _read_table(folder / "test_images.csv")
    images = table[table["protocol"] == protocol].drop(columns="protocol")
    if images.empty:
        raise ValueError(
            f"protocol {protocol!r} is missing; it has {', '.join(table['protocol'].cat.categories) or 'none'}"
        )
    for column, most in LARGEST.items():
        wrong = images[~images[column].between(0, most)]
        if len(wrong):
            value = "empty" if wrong[column].isna().any() else f"{wrong[column].iloc[0]}"
            raise ValueError(f"the {column} of {one_line(wrong['stem'].iloc[0])} is {value}; allowed: 0 to {most}")
    images["stem"] = _as_categories(images["stem"].map(unquoted), names)
    if images["stem"].duplicated().any():
        raise ValueError("an image is listed twice")
    if protocol == HEADLINE and abs(images["dice"].mean() - test_dice) > ROUNDING:
        raise ValueError(f"its mean Dice is {images['dice'].mean():.6f}, but that in run.json is {test_dice:.6f}")
    return images.sort_values("stem", ignore_index=True)


def _read_table(path: Path) -> pd.DataFrame:
    """The needed columns of test_images.csv. Raises ValueError or OSError, without the name of the file."""
    with open_regular(path, LARGEST_IMAGES) as file, np.errstate(invalid="ignore"):
        try:
            return pd.read_csv(
                file,
                usecols=["protocol", "stem", *NUMBERS],
                dtype={"protocol": "category", "stem": "object", **NUMBERS},
                keep_default_na=False,  # an image may be called NA
                na_values={column: [""] for column in NUMBERS},
            )
        except Exception as error:  # a parser raises nearly anything on a damaged file, such as OverflowError
            raise ValueError(str(error)) from error


def _as_categories(stems: pd.Series, names: pd.Index) -> pd.Categorical:
    """`stems` as codes of sorted names; those of `names` if they suffice, since sorting takes most of the time."""
    codes = names.get_indexer(pd.Index(stems))
    return pd.Categorical(stems) if (codes < 0).any() else pd.Categorical.from_codes(codes, names)


def _joined(images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of all runs, with categories for names to save memory."""
    if not images:
        empty = {column: pd.Series(dtype=dtype) for column, dtype in {"stem": "category", **NUMBERS}.items()}
        return pd.DataFrame({"folder": pd.Series(dtype="category"), **empty})
    stems = _joined_stems([own["stem"].array for own in images.values()])
    joined = pd.concat([own[list(NUMBERS)] for own in images.values()], ignore_index=True)
    runs = np.repeat(np.arange(len(images)), [len(own) for own in images.values()])
    return joined.assign(stem=stems, folder=pd.Categorical.from_codes(runs, pd.Index(list(images))))


def _joined_stems(stems: Sequence[pd.Categorical]) -> pd.Categorical:
    names = stems[0].categories
    if all(own.categories.equals(names) for own in stems):  # union_categoricals would take a second to see this
        return pd.Categorical.from_codes(np.concatenate([own.codes for own in stems]), names)
    return union_categoricals(list(stems), sort_categories=True)
