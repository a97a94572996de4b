"""All chosen images on one sheet, a row of thumbnails each, with what the colours mean said once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.data.images import IGNORED
from src.evaluation.colours import DARK, fitted
from src.evaluation.paper import LINE, drawing, fitting, key, key_height, lay, paper, say, text_height
from src.evaluation.pictures import PANELS, Example, bar_height, meanings, panel, probability_bar

COLUMNS = PANELS["panels"]
WIDTH = 1280  # pixels
MARGIN, GAP = 20, 12
THUMBNAIL = (WIDTH - 2 * MARGIN - (len(COLUMNS) - 1) * GAP) // len(COLUMNS)  # pixels of the longer side
TITLE, HEADING, WORDS = 26, 22, 15  # heights of letters
BETWEEN = 18  # pixels from one row to the next


@dataclass(frozen=True)
class Row:
    """What the sheet keeps of an example: its title and a thumbnail, uint8 (h, w, 3), for each of COLUMNS."""

    title: str
    thumbnails: list[np.ndarray]
    threshold: float
    some_ignored: bool

    @classmethod
    def of(cls, example: Example) -> "Row":
        """The row of `example`."""
        size = fitted(example.target.shape, THUMBNAIL)
        thumbnails = [panel(example, name, *size) for name in COLUMNS]
        return cls(example.title, thumbnails, example.threshold, bool((example.target == IGNORED).any()))

    @property
    def height(self) -> int:
        """Pixels from the top of this row to that of the next."""
        return math.ceil(LINE * WORDS) + 3 + len(self.thumbnails[0]) + BETWEEN


def contact_sheet(title: str, blocks: Mapping[str, Sequence[Row]]) -> Figure:
    """The rows of each block under its heading, and above all `title`, names of columns and meanings of colours.

    1,280 pixels wide, and as high as it takes.
    """
    rows = [row for block in blocks.values() for row in block]
    with drawing():
        title = fitting(title, WIDTH - 2 * MARGIN, TITLE, most=2)
        above = MARGIN + text_height(title, TITLE) + _key_height(rows)
        ax = paper(WIDTH, math.ceil(above + sum(map(_block_height, blocks.values())) + MARGIN))
        say(ax, title, MARGIN, MARGIN, TITLE)
        _lay_key(ax, rows, MARGIN + text_height(title, TITLE))
        top = math.ceil(above)
        for heading, block in blocks.items():
            top = _lay_block(ax, heading, block, top)
    assert isinstance(ax.figure, Figure)
    return ax.figure


def _left(column: int) -> int:
    return MARGIN + column * (THUMBNAIL + GAP)


def _meanings(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Of each column; nothing where there is no row."""
    some_ignored = any(row.some_ignored for row in rows)
    return {name: meanings(name, rows[0].threshold, some_ignored) if rows else {} for name in COLUMNS}


def _key_height(rows: Sequence[Row]) -> float:
    heights = [key_height(entries, THUMBNAIL, WORDS) for entries in _meanings(rows).values()]
    return 10 + LINE * WORDS + max(bar_height(WORDS), *heights)


def _lay_key(ax: Axes, rows: Sequence[Row], top: float) -> None:
    """The name of each column, and below it what its colours mean."""
    for column, (name, entries) in enumerate(_meanings(rows).items()):
        end = say(ax, name, _left(column), top + 10, WORDS, weight="bold")
        key(ax, entries, _left(column), end, THUMBNAIL, WORDS)
        if name == "probability" and rows:
            probability_bar(ax, rows[0].threshold, _left(column), end, THUMBNAIL, WORDS)


def _block_height(block: Sequence[Row]) -> int:
    return math.ceil(2 * LINE * HEADING) + (sum(row.height for row in block) or math.ceil(2 * LINE * WORDS))


def _lay_block(ax: Axes, heading: str, block: Sequence[Row], top: int) -> int:
    """A heading under a line, and the rows; returns where it ends."""
    ax.plot([MARGIN, WIDTH - MARGIN], [top + 12, top + 12], color=DARK, linewidth=1)
    say(ax, heading, MARGIN, top + 0.9 * HEADING, HEADING, weight="bold")
    end = top + _block_height(block)
    top += math.ceil(2 * LINE * HEADING)
    if not block:
        say(ax, "no image is left for this group: there are too few", MARGIN, top, WORDS)
    for rank, row in enumerate(block, start=1):
        _lay_row(ax, row, rank, top)
        top += row.height
    return end


def _lay_row(ax: Axes, row: Row, rank: int, top: int) -> None:
    say(ax, fitting(f"{rank:02} · {row.title}", WIDTH - 2 * MARGIN, WORDS, most=1), MARGIN, top, WORDS)
    for column, thumbnail in enumerate(row.thumbnails):
        lay(ax, thumbnail, _left(column), top + math.ceil(LINE * WORDS) + 3, COLUMNS[column])
