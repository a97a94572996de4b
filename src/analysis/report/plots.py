"""Plots of a sweep: each function draws a table into the axes that it is given, and returns them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.analysis.statistics.estimates import Scores
from src.display.figure_style import (
    BLACK,
    BLUE,
    GREY,
    LOOKS,
    VERMILLION,
    label_rows,
    legend_above,
    note,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CURVES = {  # report A's figures 2 to 19
    "lr": "learning rate",
    "train_loss": "training loss",
    "train_dice": "training Dice",
    "valid_loss": "validation loss",
    "valid_dice": "validation Dice",
    "train_dice_batch_flattened": "training Dice of whole batches",
    "valid_dice_batch_flattened": "validation Dice of whole batches",
}
LEVEL = 18  # characters per line of a level in `parallel`
LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
NAME, NOTE = 36, 24  # characters per line of a name in `paired`, beside the axes and inside
MANY_IMAGES = 1000  # from here on points are faint, so that their density shows
VERDICTS = {  # edge, marker, filling
    "better": (BLUE, "o", BLUE),
    "worse": (VERMILLION, "s", VERMILLION),
    "undecided": (BLACK, "D", "white"),
    "part of a mean": (GREY, "^", "white"),
}


def within_epochs(epochs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The beginning, the middle and the end of each epoch, (epochs, 3), on an axis on which epoch 1 ends at 1."""
    return np.asarray(epochs, dtype=float)[:, None] + np.array([-0.99, -0.5, 0.0])


def learning_rates(epochs: Mapping[Any, Any]) -> npt.NDArray[np.float64]:
    """The learning rates at `within_epochs`, (epochs, 3), of the columns lr, lr_first and lr_max.

    A peak within an epoch stands in its middle. Records without the two last have only the end; the rest is nan.
    """
    last = np.asarray(epochs["lr"], dtype=float)
    unknown = np.full(len(last), np.nan)
    first, largest = (np.asarray(epochs.get(name, unknown), dtype=float) for name in ("lr_first", "lr_max"))
    middle = np.where(largest > np.maximum(first, last), largest, (first + last) / 2)
    return np.stack([first, middle, last], axis=1)


@styled
def curves(ax: Axes, epochs: pd.DataFrame, column: str) -> Axes:
    """A line per setting over epochs: the mean of its seeds, with a band from the smallest to the largest.

    `epochs`: one row per epoch with `setting` (in the order of colors and legend), `seed`, `epoch` (from 1) and
    `column`. Where not all seeds of a setting have a value, single seeds continue as thin lines. The first 8 settings
    are drawn, losses on a log axis. The learning rate is drawn within epochs too, if lr_first and lr_max are known.
    Raises ValueError for two rows with the same setting, seed and epoch.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if column == "lr":
        within = {"epoch": within_epochs(epochs["epoch"]).ravel(), "lr": learning_rates(dict(epochs)).ravel()}
        epochs = epochs.loc[epochs.index.repeat(3)].assign(**within)
        epochs = epochs[epochs["lr"].notna() | (epochs["epoch"] % 1 == 0)]
    names = list(dict.fromkeys(epochs["setting"]))
    drawn = names[: len(LOOKS)]
    tables = [_by_seed(epochs[epochs["setting"] == name], column) for name in drawn]
    lines = [_curve(ax, table, number) for number, table in enumerate(tables)]
    ax.set(xlabel="epoch", ylabel=CURVES.get(column, column.replace("_", " ")))
    last = max((table.index.max() for table in tables), default=1)
    ax.set_xlim(0, max(1.02 * last, last + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if column.endswith("loss") and any((table > 0).any(axis=None) for table in tables):
        # so that a few high losses do not flatten all others
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    omitted = f"{len(drawn)} of {len(names)} settings" if len(drawn) < len(names) else ""
    note(ax, omitted, "top right" if column.endswith("loss") else "bottom right")
    legend_above(ax, list(zip(lines, drawn, strict=True)))
    return ax


@styled
def dots(ax: Axes, settings: pd.DataFrame) -> Axes:
    """A row per setting, the first on top: its mean, the 95 % interval as a bar, each seed as a small hollow dot.

    `settings`: `setting`, `mean`, `low` and `high` (NaN without an interval), `per_seed` (a list of means) and,
    optionally, `reported` (NaN if none).
    """
    from matplotlib.lines import Line2D

    rows = np.arange(len(settings))
    mean, low, high = (_numbers(settings, name) for name in ("mean", "low", "high"))
    reported = _numbers(settings, "reported") if "reported" in settings else np.full(len(rows), np.nan)
    # below the row, on three levels, so that seeds with equal scores can be seen
    seeds = [
        (value, row + 0.2 + 0.1 * (n % 3))
        for row, own in enumerate(settings["per_seed"])
        for n, value in enumerate(own)
    ]
    ax.hlines(rows, low, high, color=BLUE, linewidth=1.8)
    ax.plot(mean, rows, "o", color=BLUE, markersize=5)
    (single,) = ax.plot([value for value, _ in seeds], [height for _, height in seeds], "o", color=BLACK)
    single.set(markerfacecolor="white", markersize=3, markeredgewidth=0.6)
    (printed,) = ax.plot(reported, rows, "D", color=VERMILLION, markerfacecolor="white", markersize=4.5)
    label_rows(ax, settings["setting"], "test Dice (mean per image)")
    known = bool(np.isfinite(low).any())
    mark = Line2D([], [], color=BLUE, marker="o", markersize=5, linewidth=1.8, linestyle="-" if known else "")
    entries = [(mark, "mean, 95 % interval" if known else "mean"), (single, "one seed")]
    legend_above(ax, entries + [(printed, "reported")] * bool(np.isfinite(reported).any()))
    return ax


def rows_height(rows: int) -> float:
    """Inches for a figure of `dots` or `effects` with so many rows: names on three lines have room."""
    return 0.85 + 0.38 * rows


@styled
def history(ax: Axes, trials: pd.DataFrame) -> Axes:
    """The trials of a search in their order: the best Dice of each, and the highest of the finished ones so far.

    `trials`: `number`, `status` and `dice`.
    """
    from matplotlib.ticker import MaxNLocator

    finished = trials["status"].eq("finished")
    rest = trials[~finished]
    (done,) = ax.plot(trials["number"][finished], trials["dice"][finished], "o", color=BLUE, markersize=4)
    (other,) = ax.plot(rest["number"], rest["dice"], "x", color=GREY, markersize=4)
    highest = trials["dice"].where(finished).cummax().ffill()
    (line,) = ax.plot(trials["number"], highest, color=BLACK, drawstyle="steps-post")
    ax.set(xlabel="trial", ylabel="validation Dice")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(ax, [(done, "finished"), (other, "pruned or failed"), (line, "highest so far")])
    return ax


@styled
def parallel(ax: Axes, settings: pd.DataFrame, score: str = "test Dice") -> Axes:
    """Parallel coordinates: a line per setting through its level of each factor to its `score`, which colors it.

    `settings`: a column of texts for each factor, then `mean`. The levels of a factor with better means are higher.
    """
    from matplotlib import colormaps

    *factors, _ = settings.columns
    dice = settings["mean"].to_numpy(dtype=float)
    low, high = dice.min(), dice.max()
    shares = (dice - low) / (high - low or 1)
    heights = []
    for x, factor in enumerate(factors):
        levels = settings.groupby(factor, sort=False)["mean"].mean().sort_values(kind="stable").index
        numbers = settings[factor].map({level: number for number, level in enumerate(levels)})
        heights.append((numbers + 0.2 + 0.6 * shares) / len(levels))  # side by side, so that each can be followed
        for number, level in enumerate(levels):
            ax.text(
                x,
                (number + 0.5) / len(levels),
                wrapped(str(level), LEVEL),
                ha="center",
                va="center",
                fontsize=7,
                bbox=LABEL,
                zorder=3,
            )
    colors = colormaps["viridis_r"](0.9 * shares)
    for line, color in list(zip(np.array([*heights, shares]).T, colors, strict=True))[::-1]:  # the best on top
        ax.plot(range(len(line)), line, color=color, linewidth=1)
    for share, value in ((0.0, low), (1.0, high)):
        ax.text(len(factors) + 0.06, share, f"{value:.3f}", ha="left", va="center", fontsize=7)
    ax.set_xticks(range(len(factors) + 1), [*(wrapped(name, LEVEL) for name in factors), score])
    ax.set(xlim=(-0.4, len(factors) + 0.4), ylim=(-0.05, 1.05), yticks=[])
    ax.spines["left"].set_visible(False)
    return ax


@styled
def paired(ax: Axes, first: Scores, second: Scores, names: tuple[str, str]) -> Axes:
    """Dice of each image under one setting (x) against another (y), (images,) each, in the same order.

    Raises ValueError for arrays of different lengths.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"got {len(first)} and {len(second)} images; both settings need the same images")
    many = len(first) > MANY_IMAGES
    ax.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    ax.scatter(first, second, s=9, color=BLUE, alpha=0.1 if many else 0.45, linewidths=0, rasterized=many)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set_xlabel(wrapped(f"Dice: {names[0]}", NAME, lines=2))
    ax.set_ylabel(wrapped(f"Dice: {names[1]}", NAME, lines=2))
    below, above, equal = (first > second).sum(), (second > first).sum(), (first == second).sum()
    note(ax, wrapped(f"{above} better under {names[1]}", NOTE) + f"\n{equal} equal" * bool(equal), "top left")
    note(ax, wrapped(f"{below} better under {names[0]}", NOTE), "bottom right")
    return ax


@styled
def effects(ax: Axes, effects: pd.DataFrame) -> Axes:
    """A forest plot: a row per comparison, its effect with interval against a line at zero.

    `effects`: `comparison`, `effect`, `low` and `high` (Dice × 100, NaN if unknown) and `verdict` (of VERDICTS).
    """
    rows = np.arange(len(effects))
    effect, low, high = (_numbers(effects, name) for name in ("effect", "low", "high"))
    ax.axvline(0, color=BLACK, linewidth=0.8)
    entries = []
    for verdict in dict.fromkeys(effects["verdict"]):
        own = effects["verdict"].to_numpy() == verdict
        color, marker, filling = VERDICTS[verdict]
        ax.hlines(rows[own], low[own], high[own], color=color, linewidth=1.4)
        (points,) = ax.plot(effect[own], rows[own], marker, color=color, markerfacecolor=filling, markersize=5)
        entries.append((points, verdict))
    label_rows(ax, effects["comparison"], "difference in test Dice × 100")
    legend_above(ax, entries)
    return ax


def _by_seed(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The values of one setting, (epochs, seeds), all epochs in order; NaN for missing and infinite values."""
    table = rows.pivot(index="epoch", columns="seed", values=column).astype(float)
    every_epoch = table.index.union(list(range(math.ceil(table.index.min()), int(table.index.max()) + 1)))
    return table.reindex(every_epoch).replace([np.inf, -np.inf], np.nan)


def _curve(ax: Axes, table: pd.DataFrame, number: int) -> Line2D:
    """Draws the setting of this number, (epochs, seeds); returns the line of its mean."""
    look, epochs = LOOKS[number], table.index.to_numpy()
    complete = table.notna().all(axis=1)
    step = max(1, len(table) // 5)  # about five markers, staggered between settings
    (line,) = ax.plot(epochs, table.mean(axis=1).where(complete), **look._asdict(), markersize=3.5)
    line.set_markevery((number * step // len(LOOKS), step))
    if table.shape[1] > 1:
        lowest, highest = table.min(axis=1), table.max(axis=1)
        ax.fill_between(epochs, lowest, highest, where=complete, color=look.color, alpha=0.2, linewidth=0)
    # from the last epoch that all seeds reach, so that the thin lines continue the thick one
    beyond = table.where(~(complete & complete.shift(-1, fill_value=True)))
    for seed in table.columns[table[~complete].notna().any()]:
        ax.plot(epochs, beyond[seed], color=look.color, marker=look.marker, markersize=2, linewidth=0.6)
    return line


def _numbers(frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    return frame[column].to_numpy(dtype=float, na_value=np.nan)
