"""Pictures of the worst, the median and the best images: which ones, a file for each, and all on one contact sheet."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.base.files import allowed, replacing
from src.base.progress import ProgressBar
from src.base.record import CONTACT_SHEET
from src.display.panels import (
    GAP,
    LETTERS,
    MARGIN,
    STYLES,
    WHITE,
    Example,
    draw_figure,
    draw_panels,
    text_width,
    write_line,
)
from src.display.text import file_name_text

MOST_ROWS = 10  # of a group on the sheet
THUMBNAIL = 238  # pixels of the longer side: five make a sheet 1,280 pixels wide
HEADING = 23  # pixels; of letters


def worst_median_best(dice: Sequence[float], k: int) -> dict[str, list[int]]:
    """The positions in `dice` (of each image, in [0, 1]) of the `k` worst, median and best images.

    `worst` begins with the lowest Dice, `best` with the highest; `median`, the k nearest in rank to the middle, goes
    upwards. Of equal Dice the earlier position comes first. No image is taken twice: with fewer than 3k images they are
    shared out evenly, and what is left over goes to `worst` first, then to `best`. Raises ValueError for a Dice that is
    not a number.
    """
    if not np.isfinite(np.asarray(dice, dtype=float)).all():
        raise ValueError("a Dice is not a finite number; choose among images that were scored")
    upwards = sorted(range(len(dice)), key=lambda position: (dice[position], position))
    count = len(upwards)
    worst = min(k, math.ceil(count / 3))
    best = min(k, math.ceil((count - worst) / 2))
    median = min(k, count - worst - best)
    middle = math.ceil((count - median) / 2)
    return {
        "worst": upwards[:worst],
        "median": upwards[middle : middle + median],
        "best": sorted(upwards[count - best :], key=lambda position: (-dice[position], position)),
    }


def contact_sheet(title: str, groups: Mapping[str, Iterable[Example]], side: int = THUMBNAIL) -> Image.Image:
    """The first 10 examples of each group in five panels of `side` pixels each; 238 make a sheet 1,280 pixels wide.

    `groups`: examples by a name such as "worst", which may come one at a time: only thumbnails are kept of them.
    """
    width = 5 * (side + 2 + GAP) - GAP
    blocks = [_heading(title, width)]
    for group, examples in groups.items():
        rows: list[Image.Image] = []
        count = 0
        for count, example in enumerate(examples, 1):
            if count <= MOST_ROWS:
                is_first = len(blocks) == 1 and not rows
                rows.append(draw_panels(example, "panels", side, names=is_first))
        shown = f" (the first {MOST_ROWS} of {count})" if count > MOST_ROWS else "" if count else ": too few images"
        blocks += [_heading(f"{group[:1].upper()}{group[1:]}{shown}", width), *rows]
    tops = [0, *accumulate(block.height + GAP for block in blocks)]
    sheet = Image.new("RGB", (width, tops[-1]), WHITE)
    for block, top in zip(blocks, tops, strict=False):
        sheet.paste(block, (0, top))
    return ImageOps.expand(sheet, MARGIN, WHITE)


def write_gallery(
    folder: Path, groups: Mapping[str, Iterable[Example]], styles: Sequence[str], title: str
) -> list[Path]:
    """Writes `gallery/<group>_<rank>_<stem>_<style>.png` for each example and style, and `contact_sheet.png`.

    `groups`: as for `contact_sheet`. Ranks begin at 01. In a file's name a stem is cut after 120 bytes, and other
    characters than letters, digits, `.`, `-` and `_` are a `_`. The same examples give the same bytes. Pictures from an
    earlier gallery are deleted where they are no longer part of it. Returns the paths, the sheet last. Raises OSError
    as the disk does.
    """
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def saved(group: str, examples: Iterable[Example]) -> Iterator[Example]:
        for rank, example in enumerate(ProgressBar(examples, f"{group} images", unit="image", leave=False), 1):
            for style in styles:
                name = f"{group}_{rank:02}_{file_name_text(example.stem)}_{style}.png"
                written.append(folder / "gallery" / name)
                save_picture(draw_figure(example, style), written[-1])
            yield example

    sheet = contact_sheet(title, {group: saved(group, examples) for group, examples in groups.items()})
    _delete_earlier(folder / "gallery", set(written))
    save_picture(sheet, folder / CONTACT_SHEET)
    return [*written, folder / CONTACT_SHEET]


def save_picture(picture: Image.Image, path: Path, check: Callable[[], None] = allowed) -> None:
    """Whole or not at all, as PNG or JPEG; the same picture gives the same bytes; `check` as for `replacing`."""
    with replacing(path, check=check) as temporary:
        if path.suffix == ".jpg":
            picture.save(temporary, "JPEG", quality=80, subsampling=0)  # less would blur letters
        else:
            picture.save(temporary, "PNG")


def _heading(text: str, width: int) -> Image.Image:
    """Smaller where it would not fit, but never smaller than the other letters."""
    fits = int(HEADING * width / max(1, text_width(text, HEADING)))
    strip = Image.new("RGB", (width, round(1.3 * HEADING)), WHITE)
    write_line(strip, text, size=min(HEADING, max(LETTERS, fits)))
    return strip


def _delete_earlier(folder: Path, kept: set[Path]) -> None:
    """A picture of an earlier gallery would contradict the sheet."""
    names = re.compile(rf"[a-z]+_\d\d+_.*_({'|'.join(STYLES)})\.png", re.DOTALL)
    for path in folder.iterdir():
        if names.fullmatch(path.name) and path not in kept:
            path.unlink()
