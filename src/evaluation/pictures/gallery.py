"""Pictures of the worst, the median and the best images: which ones, a file for each, and all on one contact sheet."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from src.base.files import replacing
from src.evaluation.pictures.contact_sheet import Row, contact_sheet, draw
from src.evaluation.pictures.panels import STYLES, Example

CONTACT_SHEET = "contact_sheet.png"
MOST_ROWS = 10  # of a group on the sheet
LONGEST_STEM = 120  # bytes in the name of a file: with the rest of it and a temporary ending, far below 255


def chosen(dice: Sequence[float], k: int) -> dict[str, list[int]]:
    """The positions in `dice` (of each image, in [0, 1]) of the `k` worst, median and best images.

    `worst` begins with the lowest Dice, `best` with the highest; `median`, the k nearest in rank to the middle, goes
    upwards. Of equal Dice the earlier position comes first. No image is taken twice: with fewer than 3k images they are
    shared out evenly, and what is left over goes to `worst` first, then to `best`. Raises ValueError for a k below 1 or
    a Dice that is not a number.
    """
    if k < 1:
        raise ValueError(f"k is {k}; at least 1 image of each kind can be chosen")
    if not np.isfinite(np.asarray(dice, dtype=float)).all():
        raise ValueError("a Dice is no finite number; choose among images that were scored")
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


def write_gallery(
    folder: Path, groups: Mapping[str, Iterable[Example]], styles: Sequence[str], title: str
) -> list[Path]:
    """Writes `gallery/<group>_<rank>_<stem>_<style>.png` for each example and style, and `contact_sheet.png`.

    `groups`: examples by a short name such as "worst", which may come one at a time: only thumbnails are kept of them.
    Ranks begin at 01. In a file's name a stem is cut after 120 bytes, and other characters than letters, digits, `.`,
    `-` and `_` are a `_`. The sheet is 1,280 pixels wide and has the first 10 examples of each group. The same examples
    give the same bytes. Pictures of the same groups and styles from an earlier gallery are replaced, and deleted where
    they are no longer part of it. Returns the paths, the sheet last. Raises ValueError for an unknown style or a
    group that cannot be part of a file's name, OSError as the disk does.
    """
    _check(groups, styles)
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    rows: dict[str, list[Row]] = {}
    counts: dict[str, int] = {}
    for group, examples in groups.items():
        rows[group], counts[group] = [], 0
        for example in tqdm(examples, f"{group} images", unit="image", disable=None, leave=False):
            counts[group] += 1
            for style in styles:
                written.append(folder / "gallery" / _file_name(group, counts[group], example.stem, style))
                _save(draw(example, style), written[-1])
            if counts[group] <= MOST_ROWS:
                rows[group].append(Row.of(example))
    _delete_earlier(folder / "gallery", groups, styles, set(written))
    sheet = contact_sheet(title, {_heading(group, counts[group]): rows[group] for group in groups})
    _save(sheet, folder / CONTACT_SHEET)
    return [*written, folder / CONTACT_SHEET]


def _check(groups: Mapping[str, Iterable[Example]], styles: Sequence[str]) -> None:
    for style in styles:
        if style not in STYLES:
            raise ValueError(f"style is {style!r}, allowed are {', '.join(STYLES)}")
    for group in groups:
        if not re.fullmatch(r"[a-z]{1,20}", group):
            raise ValueError(f"group is {group!r}; it becomes part of names of files, so give up to 20 letters a to z")


def _file_name(group: str, rank: int, stem: str, style: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", stem).encode()[:LONGEST_STEM].decode(errors="ignore")
    return f"{group}_{rank:02}_{safe}_{style}.png"


def _delete_earlier(folder: Path, groups: Iterable[str], styles: Iterable[str], kept: set[Path]) -> None:
    """A picture of an earlier gallery would contradict the sheet."""
    names = re.compile(rf"({'|'.join(groups)})_\d\d+_.*_({'|'.join(styles)})\.png", re.DOTALL)
    for path in folder.iterdir():
        if names.fullmatch(path.name) and path not in kept:
            path.unlink()


def _heading(group: str, count: int) -> str:
    some = f" (the first {MOST_ROWS} of {count})" if count > MOST_ROWS else ""
    return f"{group.capitalize()}{some}"


def _save(picture: Image.Image, path: Path) -> None:
    """Whole or not at all; the same picture gives the same bytes."""
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
