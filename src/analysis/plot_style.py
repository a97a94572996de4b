"""One look for every figure: colours, markers, sizes of text, notes, legends, and files that repeat byte for byte."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from src.analysis.tables import shortened_inside
from src.analysis.words import one_line
from src.files import replacing

COLUMN_WIDTH = 3.5  # inches, a column of a two-column paper
TEXT, SMALL = 8, 7  # points
FONT = "DejaVu Sans"  # comes with matplotlib, so texts are as wide everywhere; a browser without it has a sans-serif
LINE_HEIGHT = 10  # points of a line of TEXT
BELOW_AXIS = 18  # points from the axes down to a legend, besides the lines of the axis label
MARGINS = 14  # points at the sides of a figure: the layout's, and what the last number of the axis needs
LEGEND_HANDLE = 26  # points that a legend needs beside the text of an entry
BREAKS = (r"(?<=\s)", r"(?<=[_/:,-])", r"(?<=.)")  # where a line may end, best first
LONGEST_NAME = 120  # characters, before lines are counted

# colours that people with any colour vision tell apart: M. Okabe and K. Ito, Color Universal Design (2002, 2008),
# https://jfly.uni-koeln.de/color/; their yellow is too pale for lines on white, so R's grey of that palette stands in
BLACK, BLUE, VERMILLION, GREEN, ORANGE = "#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY_BLUE, GREY = "#CC79A7", "#56B4E9", "#999999"


class Look(NamedTuple):
    """How one setting is drawn: three ways to tell it apart, two of which survive a print without colour."""

    color: str
    linestyle: str | tuple[int, tuple[float, ...]]
    marker: str


LOOKS = (
    Look(BLUE, "-", "o"),
    Look(VERMILLION, (0, (4, 1.5)), "s"),
    Look(GREEN, (0, (1, 1)), "^"),
    Look(BLACK, (0, (6, 1.5, 1, 1.5)), "D"),
    Look(ORANGE, "-", "v"),
    Look(PURPLE, (0, (8, 2)), "P"),
    Look(SKY_BLUE, (0, (3, 1, 1, 1, 1, 1)), "X"),
    Look(GREY, "-", "*"),
)

STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": [FONT],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "text.parse_math": False,  # names come from files: a $ is a $
    "svg.fonttype": "none",
    "svg.hashsalt": "segsweep",
    "savefig.facecolor": "white",
    "savefig.dpi": 200,
}

Arguments = ParamSpec("Arguments")


@contextmanager
def in_style() -> Iterator[None]:
    """Matplotlib's defaults and STYLE, whatever a notebook or a matplotlibrc has set; afterwards all is as before."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def styled(draw: Callable[Concatenate[Axes, Arguments], Axes]) -> Callable[Concatenate[Axes, Arguments], Axes]:
    """`draw` in the one style, on axes that look alike whoever made them."""

    @wraps(draw)
    def drawn(ax: Axes, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Axes:
        with in_style():
            _dress(ax)
            return draw(ax, *args, **kwargs)

    return drawn


def new_figure(width: float = COLUMN_WIDTH, height: float = 2.6) -> tuple[Figure, Axes]:
    """A figure of `width` × `height` inches in the one style with one axes, laid out so that all texts fit."""
    with in_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def saved(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `<name>.svg` (text stays text) and `<name>.png` (200 dpi) into `folder`, each whole or not at all.

    The same data give the same bytes: no date, no random ids. Returns both paths; raises OSError as the disk does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    with in_style():
        for path, metadata in zip(paths, ({"Date": None}, {}), strict=True):
            _forget_layout(figure)
            with replacing(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    return paths


def _forget_layout(figure: Figure) -> None:
    """Lets the next layout start where the first one did: from the end of another, it ends a little elsewhere."""
    for ax in figure.axes:
        if (spec := ax.get_subplotspec()) is not None:
            ax.set_subplotspec(spec)


def note(ax: Axes, text: str, corner: str) -> None:
    """Small text in a `corner` of the axes, such as "top right", behind the data; an empty text is none."""
    vertical, horizontal = corner.split()
    right, top = horizontal == "right", vertical == "top"
    if text:
        ax.annotate(
            text,
            xy=(int(right), int(top)),
            xycoords="axes fraction",
            xytext=(-3 if right else 3, -3 if top else 3),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if top else "bottom",
            fontsize=SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            zorder=0.9,  # grid lines have 0.5, data at least 1
        )


def legend_below(ax: Axes, entries: Sequence[tuple[Artist, str]], centred: bool = True) -> None:
    """A legend of (artist, name) under the label of the x axis, in as many columns as fit, long names on more lines.

    `centred` under the axes, where it is narrow enough; else it ends where they end.
    """
    if not entries:
        return
    labels = [name for _, name in entries]
    for most in (3, 2, 1):  # lines of a name, so that the axes keep half of a figure that is not high
        names, columns, width = _legend_layout(labels, room(ax), most)
        if _legend_lines(names, columns) * LINE_HEIGHT < 0.5 * ax.bbox.height / ax.figure.dpi * 72:
            break
    centred = centred and width < 0.75 * room(ax)
    down = BELOW_AXIS + LINE_HEIGHT * len(ax.get_xlabel().split("\n"))
    legend = ax.legend(
        [artist for artist, _ in entries],
        ["name"] * len(entries),
        loc="upper center" if centred else "upper right",
        bbox_to_anchor=(0.5 if centred else 1, 0),
        bbox_transform=ax.transAxes + ScaledTranslation(0, -down / 72, ax.figure.dpi_scale_trans),
        borderaxespad=0,
        ncols=columns,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # given to ax.legend, a name that begins with _ would be left out


def legend_height(names: Sequence[str], width: float = COLUMN_WIDTH) -> float:
    """Inches that a legend of `names` takes below axes in a figure `width` inches wide: it is to be so much higher."""
    texts, columns, _ = _legend_layout(names, 72 * width - MARGINS)
    return LINE_HEIGHT / 72 * _legend_lines(texts, columns)


def label_rows(ax: Axes, names: Iterable[str], quantity: str) -> None:
    """A row for each of `names`, the first on top, over an x axis of `quantity`; long names leave room for the data."""
    lines = [wrapped(name, 0.43 * room(ax), SMALL) for name in names]
    ax.set_yticks(range(len(lines)), lines, parse_math=False)
    ax.set_ylim(max(1, len(lines)) - 0.4, -0.4)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(max(2, int(room(ax) / 45)), steps=[1, 2, 5, 10]))
    ax.set_xlabel(wrapped(quantity, 0.55 * room(ax), TEXT))


def room(ax: Axes) -> float:
    """About the points from left to right that `ax` has together with its labels, before the layout is made."""
    left, right = 0.125, 0.9  # matplotlib's figure.subplot.left and .right: what is outside is meant for the labels
    return ax.bbox.width / ax.figure.dpi * 72 / (right - left) - MARGINS


def wrapped(text: str, width: float, size: float, most: int = 3) -> str:
    """`text` on at most `most` lines of `width` points; a longer one loses its middle.

    Lines break after spaces, words too long for a line after one of _ / : , - and else between letters.
    """
    text = one_line(text)

    def lines(length: int) -> list[str]:
        return _lines(shortened_inside(text, length), width, size)

    lengths = range(1, min(len(text), LONGEST_NAME) + 1)
    return "\n".join(lines(bisect_right(lengths, most, key=lambda length: len(lines(length)))))


def text_width(text: str, size: float) -> float:
    """Points that one line of `text` takes at `size` points."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(family=FONT, size=size), False)[0])


def _lines(text: str, width: float, size: float) -> list[str]:
    lines = [""]
    for part in _parts(text, width, size, BREAKS):
        if lines[-1] and text_width((lines[-1] + part).rstrip(), size) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _parts(text: str, width: float, size: float, breaks: Sequence[str]) -> list[str]:
    """`text` in parts that fit into `width`, cut at the first kind of break, and at the next only where need be."""
    if not breaks or text_width(text.rstrip(), size) <= width:
        return [text]
    pieces = filter(None, re.split(breaks[0], text))
    return [part for piece in pieces for part in _parts(piece, width, size, breaks[1:])]


def _legend_layout(names: Sequence[str], available: float, most: int = 3) -> tuple[list[str], int, float]:
    """For a legend in so many points: the names with their line breaks, its columns, and the points that it takes."""
    texts = [wrapped(name, available - LEGEND_HANDLE, SMALL, most) for name in names]
    widths = [max(text_width(line, SMALL) for line in text.split("\n")) + LEGEND_HANDLE + SMALL for text in texts]
    for rows in range(1, len(names) + 1):
        columns = -(-len(names) // rows)
        taken = sum(max(part) for part in np.array_split(widths, columns))
        if taken <= available:
            break
    return texts, columns, float(taken)


def _legend_lines(texts: Sequence[str], columns: int) -> int:
    """Lines of the highest column of a legend."""
    return max(sum(len(text.split("\n")) for text in part) for part in np.array_split(texts, columns))


def _dress(ax: Axes) -> None:
    """What was settled when `ax` was made, perhaps in another style."""
    ax.figure.set_facecolor("white")
    ax.set_facecolor("white")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=BLACK, linewidth=STYLE["axes.linewidth"])
    ax.tick_params(labelsize=SMALL, labelfontfamily="sans-serif", labelcolor=BLACK, color=BLACK)
    ax.tick_params(width=0.6, length=2.5, pad=2.5)
    ax.grid(True, color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"], linestyle="-", alpha=1)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(fontsize=TEXT, color=BLACK, fontfamily="sans-serif", parse_math=False)
