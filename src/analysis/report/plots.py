"""Plots of a sweep: each function draws data that others have computed into the axes it is given, and returns them."""

from itertools import cycle

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

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

Values = npt.NDArray[np.float64]

TEST_DICE = "test Dice (mean per image)"
LABELS = {
    "lr": "learning rate",
    "train_loss": "training loss (mean per image)",
    "valid_loss": "validation loss (mean per image)",
    "train_dice": "training Dice (mean per image)",
    "valid_dice": "validation Dice (mean per image)",
    "images_per_second": "speed (images per second)",
    "train_seconds": "training time (seconds)",
    "peak_memory_bytes": "peak memory (bytes)",
}
SCORES = ("dice", "iou", "flattened")  # how the names of columns end that rise to 1
NAME, NOTE = 36, 24  # characters of a line of a name in `paired`, beside the axes and in them
FAR_APART = 30  # a learning rate 30 times smaller than another is a flat line at the bottom of a linear axis
MANY_IMAGES = 1000  # from here on single points hide each other, and cells that count them say more
FEW_TO_MANY = LinearSegmentedColormap.from_list("few_to_many", ["#A6CBE3", BLUE, "#001A29"])
VERDICTS = {"better": (BLUE, "o", BLUE), "worse": (VERMILLION, "s", VERMILLION)}  # edge, marker, filling
OTHER_VERDICTS = "D^vPX*"  # markers, all black and hollow


@styled
def curves(ax: Axes, epochs: pd.DataFrame, column: str) -> Axes:
    """A line for each setting over epochs: the mean of its seeds, in a band from the smallest to the largest.

    `epochs`: one row an ended epoch, with `setting` (its order is that of colors and legend), `seed`, `epoch` (from 1)
    and `column`. Where not all seeds of a setting have a value, there is no mean, and single seeds go on as thin lines;
    where none has one, there is a gap. The first 8 settings are drawn. The learning rate is on a log axis where the
    peaks of two settings are more than 30 times apart. An axis of loss is cut at the top and one of Dice at the bottom
    where a few values would flatten all others (`_limit_y` has the rule); a note counts what is not seen. Raises
    ValueError for two rows of one setting, seed and epoch.
    """
    names = list(dict.fromkeys(epochs["setting"]))
    shown = names[: len(LOOKS)]
    tables = [_by_seed(epochs[epochs["setting"] == name], name, column) for name in shown]
    lines = [_curve(ax, table, number) for number, table in enumerate(tables)]
    ax.set(xlabel="epoch", ylabel=_unit_below(LABELS.get(column, column.replace("_", " "))))
    last = max((table.index.max() for table in tables), default=1)
    ax.set_xlim(0, max(1.02 * last, last + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    notes = [_limit_y(ax, column, tables), _count_of(len(shown), len(names))]
    note(ax, "\n".join(filter(None, notes)), "bottom right" if column.endswith(SCORES) else "top right")
    legend_above(ax, list(zip(lines, shown, strict=True)))
    return ax


@styled
def dots(ax: Axes, settings: pd.DataFrame, quantity: str = TEST_DICE) -> Axes:
    """A row for each setting, the first on top: its mean, the 95 % interval as a bar, each seed as a small hollow dot.

    `settings`: `setting`, `mean`, `low` and `high` (NaN where there is no interval), `seeds` (a list: the mean of each
    seed) and, optionally, `reported` (NaN where nothing was). Seeds that coincide lie one below the other.
    """
    rows = np.arange(len(settings))
    mean, low, high = (_numbers(settings, name) for name in ("mean", "low", "high"))
    reported = _numbers(settings, "reported") if "reported" in settings else np.full(len(rows), np.nan)
    seeds = [np.asarray(values, dtype=float) for values in settings["seeds"]]
    apart = 0.025 * _span(mean, low, high, reported, *seeds)
    heights = [row + _below(values, apart) for row, values in zip(rows, seeds, strict=True)]
    ax.hlines(rows, low, high, color=BLUE, linewidth=1.8)
    ax.plot(mean, rows, "o", color=BLUE, markersize=5)
    (single,) = ax.plot(np.concatenate([[], *seeds]), np.concatenate([[], *heights]), "o", color=BLACK)
    single.set(markerfacecolor="white", markersize=3, markeredgewidth=0.6)
    (printed,) = ax.plot(reported, rows, "D", color=VERMILLION, markerfacecolor="white", markersize=4.5)
    label_rows(ax, settings["setting"], quantity)
    known = bool(np.isfinite(low).any())
    mark = Line2D([], [], color=BLUE, marker="o", markersize=5, linewidth=1.8, linestyle="-" if known else "")
    entries = [(mark, "mean, 95 % interval" if known else "mean"), (single, "one seed")]
    legend_above(ax, entries + [(printed, "reported")] * bool(np.isfinite(reported).any()))
    return ax


def rows_height(rows: int) -> float:
    """Inches for a figure of `dots` or `effects` with so many rows: names on three lines have room."""
    return 0.85 + 0.38 * rows


@styled
def paired(ax: Axes, first: Values, second: Values, names: tuple[str, str]) -> Axes:
    """Dice of each image under one setting (x) against another (y), (images,) each, in [0, 1], images in one order.

    Points up to 1,000 images, beyond that cells that are darker the more images they hold. Raises ValueError for
    arrays of different lengths.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} and {len(second)} images: give the Dice of the same images under both settings")
    ax.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set_xlabel(wrapped(f"Dice: {names[0]}", NAME, most=2))
    ax.set_ylabel(wrapped(f"Dice: {names[1]}", NAME, most=2))
    if len(first) > MANY_IMAGES:
        legend_above(ax, _cells(ax, first, second))
    else:
        ax.scatter(first, second, s=9, color=BLUE, alpha=0.45, linewidths=0)
    _count_better(ax, first, second, names)
    return ax


@styled
def effects(ax: Axes, effects: pd.DataFrame) -> Axes:
    """A forest plot: a row for each comparison, its effect with interval against a line at zero.

    `effects`: `comparison`, `effect`, `low` and `high` (Dice × 100, NaN where unknown) and `verdict`. `better` and
    `worse` are filled, every other verdict is hollow.
    """
    rows, verdicts = np.arange(len(effects)), list(dict.fromkeys(effects["verdict"]))
    effect, low, high = (_numbers(effects, name) for name in ("effect", "low", "high"))
    others = [verdict for verdict in verdicts if verdict not in VERDICTS]
    looks = VERDICTS | {name: (BLACK, mark, "white") for name, mark in zip(others, cycle(OTHER_VERDICTS), strict=False)}
    ax.axvline(0, color=BLACK, linewidth=0.8)
    entries = []
    for verdict in verdicts:
        here = effects["verdict"].to_numpy() == verdict
        color, marker, filling = looks[verdict]
        ax.hlines(rows[here], low[here], high[here], color=color, linewidth=1.4)
        (points,) = ax.plot(effect[here], rows[here], marker, color=color, markerfacecolor=filling, markersize=5)
        entries.append((points, verdict))
    label_rows(ax, effects["comparison"], "difference in test Dice × 100")
    legend_above(ax, entries)
    return ax


@styled
def dice_against_time(ax: Axes, settings: pd.DataFrame, quantity: str = TEST_DICE) -> Axes:
    """What a setting scores against what it costs: a marker each with its interval, hollow where the time says little.

    `settings`: `setting`, `mean`, `low` and `high` (Dice, NaN where there is no interval), `minutes` (mean training
    time) and `alone` (whether all its runs had the device to themselves). The first 8 with a mean and a time are drawn.
    """
    known = settings.dropna(subset=["mean", "minutes"]).head(len(LOOKS))
    entries = []
    for row, look in zip(known.to_dict("records"), LOOKS, strict=False):
        filling = look.color if row["alone"] else "white"
        ax.vlines(row["minutes"], row["low"], row["high"], color=look.color, linewidth=1)
        (point,) = ax.plot(
            row["minutes"], row["mean"], look.marker, color=look.color, markerfacecolor=filling, markersize=6
        )
        entries.append((point, row["setting"]))
    if not known["alone"].all():
        hollow = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", markersize=6, linestyle="")
        entries.append((hollow, "hollow: shared the device, time not comparable"))
    ax.set(xlabel="mean training time (minutes)", ylabel=_unit_below(quantity))
    ax.set_xlim(0, 1.08 * known["minutes"].max() if len(known) else 1)
    note(ax, _count_of(len(known), len(settings)), "bottom right")
    legend_above(ax, entries)
    return ax


def _by_seed(rows: pd.DataFrame, name: str, column: str) -> pd.DataFrame:
    """The values of one setting, (epochs, seeds), without a hole in the epochs; NaN where there is no finite value."""
    if rows.duplicated(["seed", "epoch"]).any():
        raise ValueError(f"two runs of {name!r} have the same seed: give what differs between them another label")
    table = rows.pivot(index="epoch", columns="seed", values=column).astype(float)
    every_epoch = range(int(table.index.min()), int(table.index.max()) + 1)
    return table.reindex(every_epoch).replace([np.inf, -np.inf], np.nan)


def _curve(ax: Axes, table: pd.DataFrame, number: int) -> Line2D:
    """Draws the setting of this number, (epochs, seeds); returns the line of its mean."""
    look, epochs = LOOKS[number], table.index.to_numpy()
    complete = table.notna().all(axis=1)
    (line,) = ax.plot(epochs, table.mean(axis=1).where(complete), **look._asdict(), markersize=3.5)
    line.set_markevery(_marked(complete.to_numpy(), number))
    if table.shape[1] > 1:
        lowest, highest = table.min(axis=1), table.max(axis=1)
        ax.fill_between(epochs, lowest, highest, where=complete, color=look.color, alpha=0.2, linewidth=0)
    # from the last epoch that all seeds reach, so that nothing is torn off
    beyond = table.where(~(complete & complete.shift(1, fill_value=True) & complete.shift(-1, fill_value=True)))
    for seed in table.columns[table[~complete].notna().any()]:
        last = np.flatnonzero(table[seed].notna())[-1:].tolist()
        ax.plot(epochs, beyond[seed], color=look.color, marker=look.marker, markevery=last, markersize=2, linewidth=0.6)
    return line


def _marked(complete: npt.NDArray[np.bool_], number: int) -> list[int]:
    """Where a line has markers: about five, not where other lines have theirs, and wherever nothing else would show."""
    step = max(1, len(complete) // 5)
    inside = np.concatenate([[False], complete, [False]])
    lonely = np.flatnonzero(complete & ~inside[:-2] & ~inside[2:])
    return sorted({*range(number * step // len(LOOKS), len(complete), step), *lonely.tolist()})


def _limit_y(ax: Axes, column: str, tables: list[pd.DataFrame]) -> str:
    """Sets the y axis for the values of each setting, (epochs, seeds); returns what is to be said of values beyond it.

    The range between the 10 % and 90 % quantiles of all values after the first epoch is to fill a quarter of the axis:
    values more than three times this range above it (loss) or below it (Dice) are not shown.
    """
    values = np.concatenate([[], *(_finite(table) for table in tables)])
    if not len(values):
        return "no values"
    if column == "lr":
        return _limit_learning_rate(ax, values, [_finite(table).max() for table in tables if len(_finite(table))])
    is_score = column.endswith(SCORES)
    if not is_score and not column.endswith("loss"):
        return ""
    later = np.concatenate([_finite(table.iloc[1:]) for table in tables])
    low, high = np.quantile(later if len(later) else values, [0.1, 0.9])
    reach = 3 * (high - low) or np.inf  # where nearly all values are the same one, none is too far from it
    kept = values[values >= low - reach] if is_score else values[values <= high + reach]
    bottom, top = kept.min(), kept.max()
    margin = 0.05 * (top - bottom) or 0.01
    ax.set_ylim(max(bottom - margin, min(bottom, 0)), min(top + margin, 1) if is_score else top + margin)
    return _hidden(len(values) - len(kept), len(values), "below" if is_score else "above")


def _limit_learning_rate(ax: Axes, values: Values, peaks: list[float]) -> str:
    """From 0 on, so that the shape of a schedule is seen; a log axis only for settings that are far apart."""
    if values.min() <= 0 or max(peaks) / min(peaks) <= FAR_APART:
        ax.set_ylim(bottom=min(0, values.min()))
        ax.yaxis.set_major_formatter("{x:g}")
        return ""
    bottom = min(peaks) / FAR_APART  # schedules end as good as at 0: decades that nobody needs to see
    ax.set(yscale="log", ylim=(bottom, 2 * max(peaks)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    return _hidden(int((values < bottom).sum()), len(values), "below")


def _hidden(count: int, there: int, where: str) -> str:
    return f"{count} of {there} values {where} the axis" if count else ""


def _count_of(shown: int, there: int) -> str:
    return f"{shown} of {there} settings" if shown < there else ""


def _unit_below(label: str) -> str:
    """A label with what stands in brackets on a line of its own: y axes are often short."""
    return label.replace(" (", "\n(")


def _finite(table: pd.DataFrame) -> Values:
    values = table.to_numpy()
    return values[np.isfinite(values)]


def _numbers(frame: pd.DataFrame, column: str) -> Values:
    return frame[column].to_numpy(dtype=float, na_value=np.nan)


def _span(*values: Values) -> float:
    """From the smallest to the largest of all `values`; 0 where there are none."""
    finite = [value for value in np.concatenate(values) if np.isfinite(value)]
    return max(finite) - min(finite) if finite else 0.0


def _below(values: Values, apart: float) -> Values:
    """How far below its row each seed lies: those nearer to each other than `apart` one below the other."""
    levels = np.zeros(len(values))
    rightmost: list[float] = []  # of each level
    for index in np.argsort(values):
        level = next((level for level, last in enumerate(rightmost) if values[index] - last > apart), len(rightmost))
        rightmost[level : level + 1] = [values[index]]
        levels[index] = level
    return 0.2 + levels * min(0.1, 0.25 / max(1, len(rightmost) - 1))


def _cells(ax: Axes, first: Values, second: Values) -> list[tuple[Artist, str]]:
    """Draws hexagons that are darker the more images they hold; returns a legend of some, 1, 10, … to the most."""
    cells = ax.hexbin(
        first, second, gridsize=50, extent=(0, 1, 0, 1), bins="log", mincnt=1, vmin=1, cmap=FEW_TO_MANY, linewidths=0.1
    )
    most = int(np.asarray(cells.get_array()).max())
    counts = sorted({*(10**digits for digits in range(len(str(most)))), most})
    colors = cells.to_rgba(np.array(counts))
    marks = [Line2D([], [], color=to_hex(color), marker="h", linestyle="") for color in colors]
    return list(zip(marks, ["1 image in a cell", *map(str, counts[1:])], strict=True))


def _count_better(ax: Axes, first: Values, second: Values, names: tuple[str, str]) -> None:
    """How many images are better under each setting, on its side of the diagonal, and how many are equal."""
    below, above, equal = (first > second).sum(), (second > first).sum(), (first == second).sum()
    left = wrapped(f"{above} better under {names[1]}", NOTE) + f"\n{equal} equal" * bool(equal)
    right = wrapped(f"{below} better under {names[0]}", NOTE)
    note(ax, left, "top left")
    note(ax, right, "bottom right")
