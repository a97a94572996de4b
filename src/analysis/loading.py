"""The records of sweeps as three tidy tables, runs, epochs and test images, and which of the runs count."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals
from tqdm import tqdm

from src.analysis.runs import LAYOUT, load_runs_and_epochs

HEADLINE = "headline"  # docs/record.md
IMAGE_COLUMNS = {"stem": "category", "dice": "float64", "iou": "float64", "tp": "int64", "fp": "int64", "fn": "int64"}
ROUNDING = 1e-9  # a mean of scores as text against the mean that the run itself took


@dataclass(frozen=True)
class Records:
    """What the runs of some sweeps left behind.

    `runs`: as `load_runs` gives them, and `left_out`, why a finished run does not count (missing for those that do),
    and `counted`. `epochs`: one row an epoch of any run, `folder` and the keys of its line. `images`: one row a test
    image of each counted run, `folder`, stem, dice, iou, tp, fp, fn (pixels), under one protocol.
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    images: pd.DataFrame
    protocol: str

    @cached_property
    def counted(self) -> pd.DataFrame:
        """The runs that answers are computed from: finished, on record in whole, each once."""
        return self.runs[self.runs["counted"]]

    def per_image(self, folders: Iterable[str], column: str) -> npt.NDArray[np.float64]:
        """`column` of the counted runs in `folders`, (runs, images), the images in the same order for all.

        Raises ValueError when the runs were not scored on the same images.
        """
        values, stems = self.images[column].to_numpy(), self.images["stem"].cat.codes.to_numpy()
        rows = [self._rows_of[folder] for folder in folders]
        if any(not np.array_equal(stems[rows[0]], stems[other]) for other in rows[1:]):
            raise ValueError("the runs were scored on different images")
        return np.stack([values[own] for own in rows])

    def stems(self, folder: str) -> list[str]:
        """The test images of a counted run, in the order of `per_image`."""
        return self.images["stem"].iloc[self._rows_of[folder]].astype(str).tolist()

    def curve(self, folder: str) -> pd.DataFrame:
        """The epochs of a run, in order. Raises KeyError where none is on record."""
        return self.epochs.iloc[self._epochs_of[folder]]

    @cached_property
    def _epochs_of(self) -> dict[Any, Any]:
        return dict(self.epochs.groupby("folder").indices) if len(self.epochs) else {}

    @cached_property
    def _rows_of(self) -> dict[Any, Any]:
        return dict(self.images.groupby("folder", observed=True).indices)


def find_sweeps(patterns: Sequence[str]) -> list[Path]:
    """The folders that `patterns` name, globs such as `multirun_outputs/report_*` among them, each once.

    A glob takes only what is a sweep. Raises ValueError for one that meets none.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        sweeps = [Path(pattern)]
        if glob.has_magic(pattern) and not sweeps[0].exists():
            matches = glob.glob(pattern)  # noqa: PTH207, since Path.glob takes no absolute pattern
            sweeps = [path for path in map(Path, sorted(matches)) if _is_sweep(path)]
        if not sweeps:
            raise ValueError(f"{pattern}: matches no folder of runs; expected {LAYOUT}")
        found |= {sweep.resolve(): sweep for sweep in sweeps if sweep.resolve() not in found}
    return list(found.values())


def load_records(sweeps: Sequence[Path], protocol: str = HEADLINE) -> Records:
    """Everything on record in the folders `sweeps`, with test images as `protocol` scored them.

    No run is left out of `runs`. Raises ValueError for a folder that is no sweep, naming the layout expected.
    """
    runs, epochs = load_runs_and_epochs(*sweeps)
    runs["left_out"] = _left_out(runs, [str(sweep) for sweep in sweeps])
    frames = []
    for index in tqdm(runs.index[_may_count(runs)], "test images", unit="run", disable=None, leave=False):
        try:
            frames.append(_read_images(runs.loc[index], protocol))
        except (ValueError, OSError, KeyError) as error:
            runs.loc[index, "left_out"] = f"test_images.csv cannot be used: {error}"
    runs["counted"] = _may_count(runs)
    return Records(runs, epochs, _joined(frames), protocol)


def _is_sweep(folder: Path) -> bool:
    return (folder / "plan.json").exists() or any(folder.glob("[!.]*/run.json"))


def _may_count(runs: pd.DataFrame) -> pd.Series:
    return runs["status"].eq("finished") & runs["left_out"].isna()


def _left_out(runs: pd.DataFrame, sweeps: Sequence[str]) -> pd.Series:
    """Why a finished run does not count, from what run.json says: it was a trial, or it is there twice."""
    finished = runs["status"].eq("finished")
    reasons = pd.Series(pd.NA, index=runs.index, dtype="object")
    if "debug" in runs:
        reasons[finished & runs["debug"].notna()] = "a debug run: it saw only a few batches"
    candidates = runs[finished & reasons.isna()].sort_values("sweep", key=lambda names: names.map(sweeps.index))
    for _, same in candidates.groupby(["run_id", "fingerprint"], dropna=False):
        first = same.iloc[0]
        for index in same.index[1:]:
            other = same.loc[index]
            differs = abs(other["test_dice"] - first["test_dice"]) > ROUNDING
            and_gave = f", and gave test Dice {first['test_dice']:.4f} there but {other['test_dice']:.4f} here"
            reasons[index] = f"the same run counts from {first['sweep']} already{and_gave if differs else ''}"
    return reasons


def _read_images(run: pd.Series, protocol: str) -> pd.DataFrame:
    """The rows of one protocol, sorted by stem. Raises ValueError for a file that is broken or contradicts run.json."""
    table = pd.read_csv(
        Path(run["folder"]) / "test_images.csv",
        usecols=["protocol", *IMAGE_COLUMNS],
        dtype={"protocol": "category", **IMAGE_COLUMNS},
        keep_default_na=False,  # an image may be called NA
        na_values={column: [""] for column in IMAGE_COLUMNS if column != "stem"},
    )
    images = table[table["protocol"] == protocol].drop(columns="protocol")
    if images.empty:
        raise ValueError(
            f"it has no protocol {protocol!r}, only {', '.join(table['protocol'].cat.categories) or 'none'}"
        )
    if images["stem"].duplicated().any() or not images["dice"].between(0, 1).all():
        raise ValueError("an image is there twice, or its Dice is not between 0 and 1")
    if protocol == HEADLINE and abs(images["dice"].mean() - run["test_dice"]) > ROUNDING:
        raise ValueError(f"its mean Dice is {images['dice'].mean():.6f}, but run.json says {run['test_dice']:.6f}")
    return images.sort_values("stem").assign(folder=run["folder"])


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of all runs; a million names of images take the room of a million numbers."""
    if not frames:
        empty = {column: pd.Series(dtype=dtype) for column, dtype in IMAGE_COLUMNS.items()}
        return pd.DataFrame({"folder": pd.Series(dtype="category"), **empty})
    names = [frame["folder"].iloc[0] for frame in frames]
    joined = pd.concat([frame.drop(columns=["folder", "stem"]) for frame in frames], ignore_index=True)
    stems = union_categoricals([frame["stem"] for frame in frames], sort_categories=True)
    rows = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    return joined.assign(stem=stems, folder=pd.Categorical.from_codes(rows, pd.Index(names)))
