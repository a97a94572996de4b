"""Which breed and species each image shows, where the data set says so."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from src.data.pairs import Pair, read_lines

OVERVIEW = "annotations/list.txt"
SPECIES = {"1": "cat", "2": "dog"}  # as list.txt explains in its head


def breeds_of(pairs: Sequence[Pair]) -> dict[str, tuple[str, str]]:
    """Species and breed of each stem in the official `annotations/list.txt` beside the images; else nothing.

    A line is `<stem> <class> <species> <breed>`; the breed's name is the stem without its number.
    """
    file = pairs[0].image.parent.parent / OVERVIEW
    if not file.is_file():
        return {}
    lines = [line.split() for line in read_lines(file)]
    return {line[0]: (SPECIES[line[2]], line[0].rpartition("_")[0]) for line in lines if _says_both(line)}


def by_group(groups: Iterable[str | None], dice: Iterable[float]) -> dict[str, dict[str, Any]]:
    """Images and mean Dice of each group, the lowest mean first; images of no group are left out."""
    members: dict[str, list[float]] = {}
    for group, value in zip(groups, dice, strict=True):
        if group is not None:
            members.setdefault(group, []).append(value)
    means = {group: {"images": len(values), "dice": float(np.mean(values))} for group, values in members.items()}
    return dict(sorted(means.items(), key=lambda item: (item[1]["dice"], item[0])))


def _says_both(line: list[str]) -> bool:
    return len(line) >= 3 and line[2] in SPECIES and bool(line[0].rpartition("_")[0])
