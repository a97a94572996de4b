"""The metrics of a run: its test scores, parts of its curves and its costs, each with its unit."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from src.analysis.records.loading import Records
from src.analysis.statistics.estimates import Scores, of_groups

END = 0.1  # share of a run's epochs that "at the end" and "at the start" mean: the last and the first 5 of 50
EARLY = 0.2  # and "early in training": the first 10 of 50
NEARLY = 0.95  # of a run's best validation Dice: from there on it counts as converged
LEAST_EPOCHS = 3  # of a curve
LEARNED = 0.5  # validation Dice; a run that never reaches it has not learned anything that could converge
Curve = Mapping[str, npt.NDArray[np.float64]]  # by column, of the epochs of one run, in order


@dataclass(frozen=True)
class Metric:
    """One number per run, or one per test image of a run.

    `unit`: points (hundredths of Dice or IoU), %, another word, or "". The source is one of `image_column` (scores of
    single images; their mean, unless `of_images` reduces them otherwise), `of_curve` (a function of the run's epochs,
    of which it needs `least_epochs`), `best_column` (of the epoch that was selected as the best) and `run_column`. A
    `cost` is a time or a memory: compared as a ratio, and only between runs that had a device of the same kind to
    themselves. A `quality` is in [0, 1], and a run that failed has 0.
    """

    description: str
    unit: str = "points"
    image_column: str | None = None
    of_curve: Callable[[Curve], float] | None = None
    best_column: str | None = None
    run_column: str | None = None
    of_images: Callable[[Scores], Any] | None = None
    cost: bool = False
    quality: bool = False
    least_epochs: int = LEAST_EPOCHS

    @property
    def scale(self) -> float:
        """The factor that converts a value to `unit`."""
        return 100.0 if self.unit in ("points", "%") else 1.0

    @property
    def scope(self) -> str:
        """What its intervals cover."""
        if self.cost:
            return "new runs on this kind of device"
        if self.is_per_image:
            return "new seeds and new images"
        return "new seeds, these test images" if self.image_column else "new seeds, these validation images"

    @property
    def is_per_image(self) -> bool:
        """Whether it has a value per test image."""
        return self.image_column is not None and self.of_images is None

    def samples(self, records: Records, folders: Sequence[Sequence[str]]) -> list[Scores]:
        """The values of the included runs in each of `folders`: of `unit_scores` if per image, else (runs, 1).

        Runs whose value is unknown are left out, so a sample may be empty. Raises ValueError if the runs were scored
        on different images.
        """
        if self.image_column:
            records.check_same_images(folder for own in folders for folder in own)
        return [_known(self._values(records, own)) for own in folders]

    def _values(self, records: Records, folders: Sequence[str]) -> Scores:
        if self.image_column:
            if self.of_images is None:
                return unit_scores(records, folders, self.image_column)
            return np.array([[self.of_images(row)] for row in records.per_image(folders, self.image_column)])
        if self.run_column:
            values = records.of_runs(folders, self.run_column)
            values = values.mask(values.le(0) & self.cost)  # 0 has no ratio: it was not measured
            return values.to_numpy(np.float64, na_value=np.nan).reshape(-1, 1)
        return np.array([[self._of_epochs(records, folder)] for folder in folders], dtype=np.float64)

    def _of_epochs(self, records: Records, folder: str) -> float:
        """nan if the curve is too short, it or a column of it is not on record, or it divides by zero."""
        try:
            curve = records.curve(folder)
            if self.of_curve is None:
                best = records.of_runs([folder], "best_epoch").iloc[0]
                return float(curve[str(self.best_column)][curve["epoch"] == best][0])
            return math.nan if len(curve["epoch"]) < self.least_epochs else self.of_curve(curve)
        except (KeyError, IndexError, ValueError, ZeroDivisionError):
            return math.nan


def unit_scores(records: Records, folders: Sequence[str], column: str) -> Scores:
    """`column` of the included runs in `folders` for each sampled unit: (runs, images), or (runs, groups of images)."""
    scores = records.per_image(folders, column)
    return of_groups(scores, records.group_numbers(folders[0])) if records.groups else scores


def mean_over(column: str, share: float) -> Callable[[Curve], float]:
    """Mean of `column` over a `share` of the run's epochs, at least one: the first ones, or the last if negative."""

    def mean(curve: Curve) -> float:
        values = curve[column]
        epochs = _epochs_in(abs(share), len(values))
        return _mean(values[:epochs] if share > 0 else values[-epochs:])

    return mean


def epochs_to_converge(curve: Curve) -> float:
    """When validation Dice first reaches 95 % of the run's best, on straight lines between epochs from 0 on.

    nan for a run whose best is below 0.5.
    """
    dice = np.concatenate([[0.0], curve["valid_dice"]])
    wanted = NEARLY * dice.max()
    if dice.max() < LEARNED:
        return math.nan
    after = int(np.argmax(dice >= wanted))  # the first epoch that reaches it, from 1 on
    return after - 1 + float((wanted - dice[after - 1]) / (dice[after] - dice[after - 1]))


def valid_loss_rise(share: float) -> Metric:
    """By how much validation loss ends above its level at `share` of the run, relative: 0.05 is 5 %.

    Its level there is the mean over the tenth of the epochs that ends there; that at the end, over the last tenth.
    """

    def rise(curve: Curve) -> float:
        loss = curve["valid_loss"]
        level = _mean(loss[: _epochs_in(share, len(loss))][-_epochs_in(END, len(loss)) :])
        return mean_over("valid_loss", -END)(curve) / level - 1

    # the two tenths of the epochs must not overlap
    least = next(n for n in itertools.count(LEAST_EPOCHS) if _epochs_in(share, n) <= n - _epochs_in(END, n))
    name = f"rise of validation loss after {share:.0%} of the run"
    return Metric(name, "%", of_curve=rise, least_epochs=least)


def _mean(values: npt.NDArray[np.float64]) -> float:
    """The mean of the known `values`, (epochs,); nan without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _known(sample: Scores) -> Scores:
    """The runs of `sample`, (runs, images), whose values are all known."""
    known = np.isfinite(sample).all(axis=1)
    return sample if known.all() else sample[known]


def _epochs_in(share: float, epochs: int) -> int:
    return max(1, round(share * epochs))


def _of_images(column: str, statistic: str, function: Callable[[Scores], Any]) -> Metric:
    name = {"dice": "Dice", "iou": "IoU"}[column]
    description = f"{statistic} of the test images' {name}"
    return Metric(description, image_column=column, of_images=function, quality=function is not np.std)


CURVES = {
    "train_loss": ("training loss", ""),
    "valid_loss": ("validation loss", ""),
    "train_dice": ("training Dice", "points"),
    "valid_dice": ("validation Dice", "points"),
    "train_dice_batch_flattened": ("batch-flattened training Dice", "points"),
    "valid_dice_batch_flattened": ("batch-flattened validation Dice", "points"),
    "train_accuracy": ("training pixel accuracy", "points"),
    "valid_accuracy": ("validation pixel accuracy", "points"),
}
STRETCHES = {
    "end": ("at the end", -END),
    "start": ("at the start", END),
    "early": ("early in training", EARLY),
    "mean": ("over all epochs", 1.0),
}
METRICS: Mapping[str, Metric] = {
    "test_dice": Metric("test Dice", image_column="dice", quality=True),
    "test_iou": Metric("test IoU", image_column="iou", quality=True),
    "test_dice_median": _of_images("dice", "median", np.median),
    "test_dice_std": _of_images("dice", "standard deviation", np.std),
    "test_dice_min": _of_images("dice", "minimum", np.min),
    "test_dice_max": _of_images("dice", "maximum", np.max),
    "test_iou_median": _of_images("iou", "median", np.median),
    **{
        f"{column}_{suffix}": Metric(
            f"{description} {when}", unit, of_curve=mean_over(column, share), quality=unit == "points"
        )
        for column, (description, unit) in CURVES.items()
        for suffix, (when, share) in STRETCHES.items()
    },
    **{
        f"{column}_best": Metric(f"{description} of the best epoch", unit, best_column=column, quality=unit == "points")
        for column, (description, unit) in CURVES.items()
    },
    "valid_dice_best": Metric("validation Dice of the best epoch", run_column="valid_dice", quality=True),
    "valid_loss_fluctuation": Metric(
        "change of validation loss from epoch to epoch",
        "",
        of_curve=lambda curve: _mean(np.abs(np.diff(curve["valid_loss"]))),
    ),
    "valid_dice_early_minus_end": Metric(
        "validation Dice early in training minus that at the end",
        of_curve=lambda curve: mean_over("valid_dice", EARLY)(curve) - mean_over("valid_dice", -END)(curve),
    ),
    "generalisation_gap": Metric(
        "training Dice minus validation Dice at the end",
        of_curve=lambda curve: mean_over("train_dice", -END)(curve) - mean_over("valid_dice", -END)(curve),
    ),
    "epochs_to_converge": Metric(
        "epochs until 95 % of the best validation Dice", "epochs", of_curve=epochs_to_converge
    ),
    "train_seconds": Metric("training time", "s", run_column="train_seconds", cost=True),
    "images_per_second": Metric("images per second in training", "1/s", run_column="images_per_second", cost=True),
    "peak_memory": Metric("peak memory", "bytes", run_column="peak_memory_bytes", cost=True),
}
