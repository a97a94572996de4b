"""One look for every figure: colors, markers, sizes of text, notes, legends, and files that repeat byte for byte."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.base.errors import one_line
from src.base.files import replacing

COLUMN_WIDTH = 3.5  # inches, a column of a two-column paper
TEXT, SMALL = 8, 7  # points
FONT = "DejaVu Sans"  # comes with matplotlib, so figures look alike everywhere; a browser without it has a sans-serif
CHARACTER = 0.65 * SMALL  # points of an average letter
LINE_HEIGHT = 10  # points of a line of a legend
LEGEND_HANDLE = 7  # characters that take as much room as what stands beside the text of an entry

# colors that differ in any color vision: M. Okabe and K. Ito, Color Universal Design (2002, 2008),
# https://jfly.uni-koeln.de/color/; their yellow is too pale for lines on white, so R's grey of that palette stands in
BLACK, BLUE, VERMILLION, GREEN, ORANGE = "#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY_BLUE, GREY = "#CC79A7", "#56B4E9", "#999999"


class Look(NamedTuple):
    """How one setting is drawn: it differs in three ways from others, two of which survive a print without color."""

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


def legend_above(ax: Axes, entries: Sequence[tuple[Artist, str]]) -> None:
    """A legend of (artist, name) above the axes, in as many columns as fit, long names on more lines."""
    if not entries:
        return
    names = [name for _, name in entries]
    for most in (3, 1):  # lines of a name, so that the axes keep their room in a figure that is not high
        texts, columns = _legend_layout(names, _characters(ax), most)
        if _legend_lines(texts, columns) * LINE_HEIGHT < 0.7 * ax.bbox.height / ax.figure.dpi * 72:
            break
    legend = ax.legend(
        [artist for artist, _ in entries],
        ["name"] * len(entries),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        ncols=columns,
    )
    for text, shown in zip(legend.get_texts(), texts, strict=True):
        text.set_text(shown)  # given to ax.legend, a name that begins with _ would be left out


def legend_height(names: Sequence[str], width: float = COLUMN_WIDTH) -> float:
    """Inches by which a figure `width` inches wide is to be higher for a legend of `names`."""
    return LINE_HEIGHT / 72 * _legend_lines(*_legend_layout(names, int(72 * width / CHARACTER)))


def label_rows(ax: Axes, names: Iterable[str], quantity: str) -> None:
    """A row for each of `names`, the first on top, over an x axis of `quantity`; long names leave room for the data."""
    lines = [wrapped(name, int(0.4 * _characters(ax))) for name in names]
    ax.set_yticks(range(len(lines)), lines, parse_math=False)
    ax.set_ylim(max(1, len(lines)) - 0.4, -0.4)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel(wrapped(quantity, int(0.6 * _characters(ax))))


def wrapped(text: str, characters: int, most: int = 3) -> str:
    """`text` on at most `most` lines of so many `characters`; a longer one loses its middle."""
    text = " ".join(one_line(text).split())
    lines, length = _Wrapper(characters).wrap(text), most * characters
    while len(lines) > most:
        lines = _Wrapper(characters).wrap(f"{text[: length // 2]}…{text[len(text) - length // 2 :]}")
        length -= 1
    return "\n".join(lines)


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines after one of _ / : , - too: names have them where sentences have spaces."""

    wordsep_re = re.compile(r"(\s+|[^\s_/:,-]*[_/:,-]+)")


def _characters(ax: Axes) -> int:
    """About the characters from left to right for which `ax` has room together with its labels, before the layout."""
    left, right = 0.125, 0.9  # matplotlib's figure.subplot.left and .right: what is outside is meant for the labels
    return int(ax.bbox.width / ax.figure.dpi * 72 / (right - left) / CHARACTER)


def _legend_layout(names: Sequence[str], characters: int, most: int = 3) -> tuple[list[str], int]:
    """The names with their line breaks, and the columns of a legend with room for so many characters."""
    texts = [wrapped(name, characters - LEGEND_HANDLE, most) for name in names]
    longest = max(len(line) for text in texts for line in text.split("\n"))
    return texts, max(1, min(len(names), characters // (longest + LEGEND_HANDLE)))


def _legend_lines(texts: Sequence[str], columns: int) -> int:
    """Lines of a legend, about."""
    return -(-sum(len(text.split("\n")) for text in texts) // columns)


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
