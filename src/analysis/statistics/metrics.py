"""What can be asked of a run: its scores, a stretch of its curves, what it cost; each with its unit and its rule."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.analysis.records.loading import Records

END = 0.1  # share of a run's epochs that "at the end" and "at the start" mean: the last and the first 5 of 50
EARLY = 0.2  # and "early in training": the first 10 of 50
NEARLY = 0.95  # of its own best validation Dice: from there on a run counts as converged
LEAST_EPOCHS = 3  # of a run; one or two have no curve
LEARNT = 0.5  # validation Dice; a run that never gets there has learnt nothing that could converge
Scores = npt.NDArray[np.float64]
Curve = pd.DataFrame  # the epochs of one run, in order


@dataclass(frozen=True)
class Measure:
    """One number a run, or one for each of its test images.

    `says`: what it is. `unit`: points (hundredths of Dice or IoU), %, another word, or "". Where it comes from:
    `image_column`, scores of single images, whose mean is meant unless `of_images` makes another number of them;
    `of_curve`, the epochs of a run, of which it takes `least_epochs`; `run_column`, its row. `cost`: a time or a
    memory, compared as how many times one is the other, and only between runs that had a device of one kind to
    themselves.
    """

    says: str
    unit: str = "points"
    image_column: str | None = None
    of_curve: Callable[[Curve], float] | None = None
    run_column: str | None = None
    of_images: Callable[[Scores], float] | None = None
    cost: bool = False
    least_epochs: int = LEAST_EPOCHS

    @property
    def scale(self) -> float:
        """What a value is multiplied with to be shown in `unit`."""
        return 100.0 if self.unit in ("points", "%") else 1.0

    @property
    def speaks_of(self) -> str:
        """What an interval of this measure holds for beside the seeds."""
        if self.cost:
            return "new runs on this kind of device"
        if self.is_of_single_images:
            return "new seeds and new images"
        return "new seeds, these test images" if self.image_column else "new seeds, these validation images"

    @property
    def is_of_single_images(self) -> bool:
        """Whether images vary beside the seeds."""
        return self.image_column is not None and self.of_images is None

    def arms(self, records: Records, folders: Sequence[Sequence[str]]) -> list[Scores]:
        """The values of the counted runs in each of `folders`: (runs, images) for scores of images, else (runs, 1).

        Each of `folders` names one run at least. Runs of which the value is not known are left out, so an arm may be
        empty. Raises ValueError when the runs were scored on different images.
        """
        if self.image_column:
            records.check_same_images(folder for own in folders for folder in own)
        # arm by arm, since the scores of one setting are a part of the table, those of two would be copied
        return [_known(self._values(records, own)) for own in folders]

    def _values(self, records: Records, folders: Sequence[str]) -> Scores:
        if self.image_column:
            scores = records.per_image(folders, self.image_column)
            return scores if self.of_images is None else np.array([[self.of_images(row)] for row in scores])
        if self.run_column:
            values = records.of_runs(folders, self.run_column)
            return values.to_numpy(np.float64, na_value=np.nan).reshape(-1, 1)
        return np.array([[self._of_curve(records, folder)] for folder in folders], dtype=np.float64)

    def _of_curve(self, records: Records, folder: str) -> float:
        """nan where the curve is too short, or it or a column of it is not on record, or it divides by zero."""
        assert self.of_curve is not None, self
        try:
            curve = records.curve(folder)
            return math.nan if len(curve) < self.least_epochs else self.of_curve(curve)
        except (KeyError, IndexError, ZeroDivisionError):
            return math.nan

    def too_short(self, records: Records, folders: Iterable[str]) -> str:
        """Why this is not known of some of the counted runs in `folders`: their curves are too short; empty else."""
        if self.of_curve is None:
            return ""
        epochs = records.of_runs(folders, "epoch")
        short = epochs[epochs.gt(0) & epochs.lt(self.least_epochs)]
        if short.empty:
            return ""
        return (
            f"a run of {short.min()} epoch{'' if short.min() == 1 else 's'} has no curve that shows the {self.says}; "
            f"that takes {self.least_epochs}"
        )


def effect_text(measure: Measure, shown: float) -> str:
    """An effect as shown (see `Question.shown`): `+0.62 points`, `1.88 times`, `−0.0123`."""
    return f"{_number(measure, shown)} {_unit(measure)}".rstrip()


def interval_text(measure: Measure, low: float, high: float) -> str:
    """The two ends of an interval as shown, the unit left to the effect before it: `−0.10 to +0.62`."""
    return f"{_number(measure, low)} to {_number(measure, high)}" if math.isfinite(low + high) else "unknown"


def bound_text(measure: Measure, shown: float) -> str:
    """A bound that an effect is held against, as short as it goes: `0`, `−0.5`, `1.25 times`."""
    return f"{shown:.4g}{' times' if measure.cost else ''}".replace("-", "−")


def _number(measure: Measure, shown: float) -> str:
    if measure.cost:
        return f"{shown:.3g}"
    digits = {"points": 2, "%": 1, "epochs": 1}.get(measure.unit, 4)
    return f"{shown:+.{digits}f}".replace("-", "−")


def _unit(measure: Measure) -> str:
    return "times" if measure.cost else measure.unit


def at_end(column: str) -> Callable[[Curve], float]:
    """Mean of `column` over the last tenth of the run's epochs, at least one."""
    return lambda curve: _mean(curve[column].tail(_share(curve, END)))


def at_start(column: str) -> Callable[[Curve], float]:
    """Mean of `column` over the first tenth of the run's epochs, at least one."""
    return lambda curve: _mean(curve[column].head(_share(curve, END)))


def over_all(column: str) -> Callable[[Curve], float]:
    """Mean of `column` over all epochs of the run."""
    return lambda curve: _mean(curve[column])


def early(column: str) -> Callable[[Curve], float]:
    """Mean of `column` over the first fifth of the run's epochs, at least one."""
    return lambda curve: _mean(curve[column].head(_share(curve, EARLY)))


def rise_after(share: float) -> Callable[[Curve], float]:
    """How much higher validation loss ends than it was at `share` of the run, relative: 0.05 is 5 %.

    Its level there is the mean over the tenth of the epochs that ends there; that at the end, over the last tenth.
    """

    def rise(curve: Curve) -> float:
        until = max(1, round(share * len(curve)))
        level = _mean(curve["valid_loss"].iloc[max(0, until - _share(curve, END)) : until])
        return at_end("valid_loss")(curve) / level - 1

    return rise


def epochs_to_converge(curve: Curve) -> float:
    """When validation Dice first reaches 95 % of the run's own best, on straight lines between epochs from 0 on.

    nan for a run whose best is below 0.5.
    """
    dice = np.concatenate([[0.0], curve["valid_dice"].to_numpy(np.float64)])
    wanted = NEARLY * dice.max()
    if dice.max() < LEARNT:
        return math.nan
    after = int(np.argmax(dice >= wanted))  # the first epoch that is there, from 1 on
    return after - 1 + float((wanted - dice[after - 1]) / (dice[after] - dice[after - 1]))


def _gap(curve: Curve) -> float:
    return at_end("train_dice")(curve) - at_end("valid_dice")(curve)


def _test(statistic: str, of_images: Callable[[Scores], float]) -> Measure:
    return Measure(f"{statistic} of the test images' Dice", image_column="dice", of_images=of_images)


CURVES = {
    "train_loss": ("training loss", ""),
    "valid_loss": ("validation loss", ""),
    "train_dice": ("training Dice", "points"),
    "valid_dice": ("validation Dice", "points"),
    "train_accuracy": ("training pixel accuracy", "points"),
    "valid_accuracy": ("validation pixel accuracy", "points"),
}
STRETCHES: dict[str, tuple[str, Callable[[str], Callable[[Curve], float]]]] = {
    "end": ("at the end", at_end),
    "start": ("at the start", at_start),
    "early": ("early in training", early),
    "mean": ("over all epochs", over_all),
}
MEASURES: Mapping[str, Measure] = {
    "test_dice": Measure("test Dice", image_column="dice"),
    "test_iou": Measure("test IoU", image_column="iou"),
    "test_dice_median": _test("median", lambda dice: float(np.median(dice))),
    "test_dice_std": _test("standard deviation", lambda dice: float(dice.std())),
    "test_dice_min": _test("minimum", lambda dice: float(dice.min())),
    "test_dice_max": _test("maximum", lambda dice: float(dice.max())),
    "test_iou_median": Measure(
        "IoU that the better half of the test images reaches",
        image_column="iou",
        of_images=lambda iou: float(np.median(iou)),
    ),
    "valid_dice_best": Measure("best validation Dice", run_column="valid_dice"),
    **{
        f"{name}_{suffix}": Measure(f"{says} {when}", unit, of_curve=stretch(name))
        for name, (says, unit) in CURVES.items()
        for suffix, (when, stretch) in STRETCHES.items()
    },
    "valid_loss_fluctuation": Measure(
        "change of validation loss from epoch to epoch",
        "",
        of_curve=lambda curve: _mean(curve["valid_loss"].diff().abs()),
    ),
    "valid_dice_early_minus_end": Measure(
        "validation Dice early in training less that at the end",
        of_curve=lambda curve: early("valid_dice")(curve) - at_end("valid_dice")(curve),
    ),
    "generalisation_gap": Measure("training Dice less validation Dice at the end", of_curve=_gap),
    "epochs_to_converge": Measure(
        "epochs until 95 % of its best validation Dice", "epochs", of_curve=epochs_to_converge
    ),
    "train_seconds": Measure("training time", "s", run_column="train_seconds", cost=True),
    "images_per_second": Measure("images a second in training", "1/s", run_column="images_per_second", cost=True),
    "peak_memory": Measure("peak memory", "bytes", run_column="peak_memory_bytes", cost=True),
}


def valid_loss_rise(share: float) -> Measure:
    """Relative rise of validation loss after `share` of the run; see `rise_after`."""
    least = next(epochs for epochs in itertools.count(LEAST_EPOCHS) if _has_passed(share, epochs))
    return Measure(
        f"rise of validation loss after {share:.0%} of the run", "%", of_curve=rise_after(share), least_epochs=least
    )


def _has_passed(share: float, epochs: int) -> bool:
    """Whether the epochs at `share` of a run of `epochs` and those at its end have none in common."""
    return max(1, round(share * epochs)) <= epochs - max(1, round(END * epochs))


def _known(arm: Scores) -> Scores:
    """The runs of `arm`, (runs, images), whose values are all known."""
    known = np.isfinite(arm).all(axis=1)
    return arm if known.all() else arm[known]


def _mean(values: pd.Series) -> float:
    return float(values.mean())


def _share(curve: Curve, share: float) -> int:
    return max(1, round(share * len(curve)))
