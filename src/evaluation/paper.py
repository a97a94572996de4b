"""White paper measured in pixels, on which arrays of colours, texts and keys are laid."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from src.analysis.plot_style import BLACK, in_style, wrapped
from src.evaluation.colours import DARK, PALE, hatched, rgb
from src.files import replacing

DPI = 72  # so that a pixel is a point, and texts and lines are measured in pixels too
LINE = 1.3  # height of a line of text, in sizes of its letters


@contextmanager
def drawing() -> Iterator[None]:
    """The one style of all figures; a letter that the font lacks is a box, and nothing is said of it."""
    with in_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


def paper(width: int, height: int) -> Axes:
    """Axes that fill a figure of so many pixels and count them from its top left corner."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return ax


def lay(ax: Axes, layer: np.ndarray, left: float, top: float, name: str = "", frame: bool = True) -> None:
    """Lays `layer`, uint8 (H, W, 3), pixel upon pixel; `frame`: in a thin line, since much of it may be white."""
    height, width = layer.shape[:2]
    extent = (left, left + width, top + height, top)
    image = ax.imshow(layer, extent=extent, interpolation="nearest", aspect="auto")
    image.set_gid(name)
    if frame:
        ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=DARK, linewidth=1))


def say(ax: Axes, text: str, left: float, top: float, size: float, **look: Any) -> float:
    """Writes `text` below `top` with letters of `size` pixels; returns where it ends."""
    for number, line in enumerate(text.split("\n")):
        # by its baseline: matplotlib's top is that of the letters that happen to be in it
        ax.text(left, top + size * (1 + LINE * number), line, fontsize=size, color=BLACK, va="baseline", **look)
    return top + text_height(text, size)


def fitting(text: str, width: float, size: float, most: int = 3) -> str:
    """`text` on at most `most` lines of `width` pixels; a longer one loses its middle."""
    return wrapped(text, 0.97 * width, size, most)  # letters snap to whole pixels, which may make them wider


def text_height(text: str, size: float) -> float:
    """Pixels that the lines of `text` take."""
    return LINE * size * len(text.split("\n")) if text else 0.0


def key(ax: Axes, entries: Mapping[str, str], left: float, top: float, width: float, size: float) -> float:
    """What each colour means, below each other: a swatch of it (stripes for "hatched") and words; returns the end."""
    for words, colour in entries.items():
        side = round(size)
        swatch = np.full((side, side, 3), rgb(PALE if colour == "hatched" else colour), dtype=np.uint8)
        if colour == "hatched":
            swatch = hatched(swatch, np.ones((side, side), dtype=bool))
        lay(ax, swatch, left, round(top + 0.15 * size))
        top = say(ax, fitting(words, width - 1.6 * side, size), left + 1.6 * side, top, size)
    return top


def key_height(entries: Mapping[str, str], width: float, size: float) -> float:
    """Pixels that `key` takes."""
    return sum(text_height(fitting(words, width - 1.6 * round(size), size), size) for words in entries)


def save_png(figure: Figure, path: Path) -> None:
    """Writes `figure` to `path`, whole or not at all; the same figure gives the same bytes. Raises OSError."""
    with drawing(), replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
