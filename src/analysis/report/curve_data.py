"""The curves of a page as numbers, which its script draws."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.report.plots import CURVES, learning_rates, within_epochs
from src.display.figure_style import LOOKS

SHOWN = {  # by column of epochs.jsonl, in the order of the choice
    "valid_dice": CURVES["valid_dice"],
    "train_dice": CURVES["train_dice"],
    "valid_loss": CURVES["valid_loss"],
    "train_loss": CURVES["train_loss"],
    "lr": CURVES["lr"],
    "valid_iou": "validation IoU",
    "valid_accuracy": "validation accuracy",
    "train_accuracy": "training accuracy",
    "valid_dice_batch_flattened": CURVES["valid_dice_batch_flattened"],
    "train_dice_batch_flattened": CURVES["train_dice_batch_flattened"],
    "images_per_second": "images per second",
}
MOST_SETTINGS = 24
MOST_NUMBERS = 60_000  # in the page: some 400 kB
Curve = dict[str, npt.NDArray[np.float64]]  # of a run, by column


def curve_data(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> dict[str, Any]:
    """What the script of a page draws: the curves of the best settings, as plain values for JSON; empty without any.

    With too many runs for a page each setting has the mean, the smallest and the largest of its runs in place of them
    (`summarized`), with too many epochs every n-th (`step`). Numbers have five digits; unknown ones are None.
    """
    by_label = {one.label: one for one in settings}
    best = [by_label[label] for label in scores.loc[scores["n"] > 0, "setting"].head(MOST_SETTINGS)]
    curves = {one.label: _curves_of(records, one) for one in best}
    known = [own for runs in curves.values() for own in runs]
    metrics = [name for name in SHOWN if any(np.isfinite(own[name]).any() for own in known if name in own)]
    if not metrics:
        return {}
    epochs = max(len(own["epoch"]) for own in known)
    summarized = len(known) * len(metrics) * epochs > MOST_NUMBERS
    lines = 3 * len(best) if summarized else len(known)
    step = math.ceil(lines * len(metrics) * epochs / MOST_NUMBERS)
    shown = [
        {
            "name": one.label,
            "color": LOOKS[number % len(LOOKS)].color,
            "dash": _dash(LOOKS[number % len(LOOKS)].linestyle),
            "curves": {name: _curve(curves[one.label], name, step, summarized) for name in metrics},
        }
        for number, one in enumerate(best)
        if curves[one.label]
    ]
    names = [{"key": name, "name": SHOWN[name], "log": name.endswith("loss")} for name in metrics]
    return {"metrics": names, "settings": shown, "step": step}


def _curves_of(records: Records, setting: Setting) -> list[Curve]:
    found = []
    for folder in setting.folders:
        with suppress(KeyError):  # without epochs on record
            found.append(records.curve(folder))
    return found


def _curve(runs: Sequence[Curve], name: str, step: int, summarized: bool) -> dict[str, Any]:
    """Points x (epochs, for the learning rate also within them), and y with a line for each run."""
    longest = max(runs, key=lambda own: len(own["epoch"]))["epoch"]
    kept = sorted({*range(0, len(longest), step), len(longest) - 1})
    if name == "lr":
        x, lines = within_epochs(longest), [learning_rates(own) for own in runs]
    else:
        x, lines = longest[:, None], [own.get(name, np.full(len(own["epoch"]), np.nan))[:, None] for own in runs]
    y = np.full((len(lines), *x.shape), np.nan)  # (runs, epochs, points of an epoch)
    for number, line in enumerate(lines):
        y[number, : len(line)] = line
    y[~np.isfinite(y)] = np.nan
    y = y[:, kept].reshape(len(lines), -1)
    if summarized:
        y = np.stack([y.mean(axis=0), y.min(axis=0), y.max(axis=0)])
    return {"x": _plain(x[kept].ravel()), "y": [_plain(line) for line in y], "summarized": summarized}


def _plain(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values.tolist()]


def _dash(linestyle: str | tuple[int, tuple[float, ...]]) -> str:
    """As SVG has it, in pixels."""
    return "" if isinstance(linestyle, str) else " ".join(f"{2 * length:g}" for length in linestyle[1])
