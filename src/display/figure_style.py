"""The style of all figures: colors, markers, text sizes, notes, legends; and files that repeat byte for byte.

matplotlib, which takes half a second to import, is imported when something is drawn.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.base.files import replacing
from src.display.colors import BLACK, BLUE, FONT, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from src.display.text import collapse_whitespace, shortened_inside

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_DPI = 200
COLUMN_WIDTH = 3.5  # inches, a column of a two-column paper
TEXT, SMALL = 8, 7  # points
LEGEND_LINE = 10 / 72  # inches
LEGEND_WIDTH = 54  # characters in a figure of COLUMN_WIDTH, with HANDLE_WIDTH for each handle
HANDLE_WIDTH = 7
ROW_LABEL = 22  # characters per line


class Look(NamedTuple):
    """How one setting is drawn; line style and marker distinguish it in black and white too."""

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
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.5,
    "ytick.major.pad": 2.5,
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


@contextmanager
def in_style() -> Iterator[None]:
    """Matplotlib's defaults and STYLE, independent of notebooks and matplotlibrc, which are restored afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


styled = in_style()  # decorator of functions that draw


def new_figure(width: float = COLUMN_WIDTH, height: float = 2.6) -> tuple[Figure, Axes]:
    """A figure of `width` × `height` inches with one axes, in this style and with constrained layout."""
    from matplotlib.figure import Figure

    with in_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def saved(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `<name>.svg` (text stays text) and `<name>.png` (200 dpi) into `folder`, each whole or absent.

    The same data give the same bytes: no date, no random ids. Returns both paths. Raises OSError.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    folder.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(figure)  # without it the layout looks for a renderer, which takes long
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    figure.set_dpi(PNG_DPI)
    with in_style():
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")  # savefig would do it four times, which takes as long as drawing
        with replacing(svg) as temporary:
            FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
        figure.set_dpi(PNG_DPI)  # the SVG has changed it
        with replacing(png) as temporary:
            canvas.print_png(temporary, pil_kwargs={"compress_level": 3})
    return [svg, png]


def note(ax: Axes, text: str, corner: str) -> None:
    """Small text in a `corner` of the axes, such as "top right", behind the data; none if it is empty."""
    vertical, horizontal = corner.split()
    x, y = (0.98 if horizontal == "right" else 0.02), (0.98 if vertical == "top" else 0.02)
    if text:
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text(x, y, text, transform=ax.transAxes, ha=horizontal, va=vertical, fontsize=SMALL, bbox=background).set(
            zorder=0.9  # grid lines have 0.5, data at least 1
        )


def legend_above(ax: Axes, entries: Sequence[tuple[Artist, str]]) -> None:
    """A legend of (artist, name) above the axes, in as many columns as fit."""
    if entries:
        artists, names = zip(*entries, strict=True)
        texts, columns = _legend_layout(names)
        ax.legend(artists, texts, ncols=columns, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def legend_height(names: Sequence[str]) -> float:
    """Inches that a legend of `names` adds to a figure."""
    texts, columns = _legend_layout(names)
    return LEGEND_LINE * math.ceil(sum(text.count("\n") + 1 for text in texts) / columns)


def label_rows(ax: Axes, names: Iterable[str], quantity: str) -> None:
    """A row for each of `names`, the first on top, over an x axis of `quantity`."""
    from matplotlib.ticker import MaxNLocator

    labels = [wrapped(name, ROW_LABEL) for name in names]
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(max(1, len(labels)) - 0.4, -0.4)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel(wrapped(quantity, ROW_LABEL + HANDLE_WIDTH))


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """`text` on at most `lines` lines of `width` characters; a longer one loses its middle."""
    text = collapse_whitespace(text)
    longest = len(text)
    while len(parts := textwrap.wrap(shortened_inside(text, longest), width)) > lines:
        longest = min(longest, lines * width + 1) - 1
    return "\n".join(parts)


def _legend_layout(names: Sequence[str]) -> tuple[list[str], int]:
    """The names with line breaks, and the number of columns for which there is room."""
    texts = [wrapped(name, LEGEND_WIDTH - HANDLE_WIDTH, lines=2) for name in names]
    longest = max((len(line) for text in texts for line in text.split("\n")), default=0)
    return texts, max(1, min(len(names), LEGEND_WIDTH // (longest + HANDLE_WIDTH)))
