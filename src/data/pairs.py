"""What every data source hands on: pairs of an image and its mask, sorted into three splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from src.data.reading import PairReader

OnError = Literal["raise", "skip"]  # what is done about pairs that cannot be used


class Facts(NamedTuple):
    """What the audit found in a pair: SHA-256 of each file and (cut) of the image's pixels, size, share of foreground.

    `foreground` is None where no pixel of the mask counts; `highest` is the highest value of a 16-bit image; `marks`
    tell how its pixels are read, where that is not the plain way.
    """

    image: str
    mask: str
    pixels: str
    width: int
    height: int
    foreground: float | None
    highest: int | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """One example: its stem (the name that predictions and tables use), its two files, and what the audit found."""

    stem: str
    image: Path
    mask: Path
    facts: Facts | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set, and how its files are read, to which the audit adds what all of them decide.

    `skipped` says of each pair that was left out because of a fault what that is, `notes` what else a user should know
    of the data, a line each. `split` sorts pairs into the splits where that depends on which pairs there are.
    """

    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]
    reader: PairReader
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split: Callable[[Sequence[Pair]], tuple[list[Pair], list[Pair], list[Pair]]] | None = None


def read_lines(path: Path, is_name: Callable[[str], bool] = lambda line: False) -> list[str]:
    """Read a list of a split: its lines in order, stripped, without blank ones and those beginning with #.

    `is_name` tells a name that begins with # from a comment.

    Raises ValueError, naming the file, when it is no UTF-8 text or cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a list of names in UTF-8 ({error})") from error
    return [line for line in lines if line and (not line.startswith("#") or is_name(line))]
