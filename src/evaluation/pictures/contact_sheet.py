"""Rows of panels under one legend, drawn with PIL: all chosen images on a contact sheet, or a single one in full."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont, ImageOps

from src.display.figure_style import BLACK, FONT
from src.display.tables import shortened_inside
from src.display.text import one_line
from src.evaluation.pictures.panels import DARK, STYLES, VIRIDIS, WHITE, Example, legend, panel, viridis

MARGIN, GAP = 20, 10  # pixels
THUMBNAIL = 238  # pixels of the longer side: five make a sheet 1,280 pixels wide
BOX, OVERLAY_BOX = 512, 1024  # of a panel in full, and of one that stands alone: the data's own photos have 500
LEAST_COLUMN = 440  # of a picture in full, for what is written above a panel
TEXT, LARGE_TEXT = 15, 23  # sizes of letters: a row of five panels in full is seen at half its size
LONGEST_TEXT = 300  # characters


@dataclass(frozen=True)
class Row:
    """What a sheet keeps of an example: its title, its panels by name, each uint8 (h, w, 3), and their legend."""

    title: str
    panels: dict[str, np.ndarray]
    threshold: float
    some_ignored: bool

    @classmethod
    def of(cls, example: Example, names: Sequence[str] = STYLES["panels"], box: int = THUMBNAIL) -> "Row":
        """The panels of these `names`, the longer side of each `box` pixels."""
        panels = {name: panel(example, name, box) for name in names}
        return cls(example.title, panels, example.threshold, bool(example.ignored.any()))


def contact_sheet(title: str, blocks: Mapping[str, Sequence[Row]]) -> Image.Image:
    """The thumbnails of each block under its heading, below `title` and what the colors mean; 1,280 pixels wide."""
    rows = [row for block in blocks.values() for row in block]
    column = THUMBNAIL + 2
    whole = len(STYLES["panels"]) * (column + GAP) - GAP
    strips = [*_lines(title, whole, LARGE_TEXT), *([_legend(rows, column, TEXT)] if rows else [])]
    for heading, block in blocks.items():
        strips += [Image.new("RGB", (whole, 1), DARK), _text(heading, whole, LARGE_TEXT, "bold")]
        if not block:
            strips.append(_text("no image is left for this group: there are too few", whole, TEXT))
        for rank, row in enumerate(block, start=1):
            strips.append(_stacked([_text(f"{rank:02} · {row.title}", whole, TEXT), _panels(row, column)]))
    return ImageOps.expand(_stacked(strips, GAP), MARGIN, WHITE)


def draw(example: Example, style: str) -> Image.Image:
    """A picture of `example` in one of STYLES, with what its colors mean in words. Raises ValueError for another."""
    if style not in STYLES:
        raise ValueError(f"style is {style!r}, allowed are {', '.join(STYLES)}")
    row = Row.of(example, STYLES[style], BOX if len(STYLES[style]) > 1 else OVERLAY_BOX)
    column = max(LEAST_COLUMN, *(layer.shape[1] + 2 for layer in row.panels.values()))
    strips = [_legend([row], column, LARGE_TEXT), _panels(row, column)]
    title = _lines(example.title, strips[0].width, LARGE_TEXT)
    return ImageOps.expand(_stacked([*title, *strips], GAP), MARGIN, WHITE)


def _panels(row: Row, column: int) -> Image.Image:
    # in a thin line, since much of a panel may be white
    return _side_by_side([ImageOps.expand(Image.fromarray(layer), 1, DARK) for layer in row.panels.values()], column)


def _legend(rows: Sequence[Row], column: int, size: int) -> Image.Image:
    """The name of each panel, and below it what its colors mean."""
    some_ignored = any(row.some_ignored for row in rows)
    cells = []
    for name in rows[0].panels:
        entries = legend(name, rows[0].threshold, some_ignored).items()
        keys = [_entry(words, color, column, size) for words, color in entries]
        cells.append(_stacked([_text(name, column, size, "bold"), *keys]))
    return _side_by_side(cells, column)


def _entry(words: str, color: str, width: int, size: int) -> Image.Image:
    """A swatch of the color, or all of viridis, and words."""
    if color == VIRIDIS:
        swatch = Image.fromarray(viridis(np.linspace(0, 1, 3 * size))[None]).resize((3 * size, size))
    else:
        swatch = ImageOps.expand(Image.new("RGB", (size - 2, size - 2), color), 1, DARK)
    indent = swatch.width + size // 2
    entry = _text(words, width - indent, size)
    strip = Image.new("RGB", (width, entry.height), WHITE)
    strip.paste(swatch, (0, (entry.height - size) // 2))
    strip.paste(entry, (indent, 0))
    return strip


def _lines(text: str, width: int, size: int) -> list[Image.Image]:
    """`text` on at most two lines."""
    lines = textwrap.wrap(one_line(text), int(width / (0.6 * size)), max_lines=2, placeholder=" …")
    return [_text(line, width, size) for line in lines]


def _text(text: str, width: int, size: int, weight: str = "normal") -> Image.Image:
    """One line of `text`, which loses its middle where it is wider than `width` pixels."""
    font = ImageFont.truetype(findfont(FontProperties(family=FONT, weight=weight)), size)
    whole = shown = one_line(text)[:LONGEST_TEXT]
    while font.getlength(shown) > width:
        shown = shortened_inside(whole, len(shown) - 1)
    strip = Image.new("RGB", (width, round(1.3 * size)), WHITE)
    ImageDraw.Draw(strip).text((0, 0), shown, BLACK, font)
    return strip


def _side_by_side(images: Sequence[Image.Image], column: int) -> Image.Image:
    strip = Image.new("RGB", (len(images) * (column + GAP) - GAP, max(image.height for image in images)), WHITE)
    for number, image in enumerate(images):
        strip.paste(image, (number * (column + GAP), 0))
    return strip


def _stacked(strips: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    size = max(strip.width for strip in strips), sum(strip.height + gap for strip in strips) - gap
    sheet, top = Image.new("RGB", size, WHITE), 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + gap
    return sheet
