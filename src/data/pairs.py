"""What every data source returns: pairs of an image and its mask, sorted into three splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from src.data.decoding import PairDecoder

OnError = Literal["raise", "skip"]  # what is done about pairs that cannot be used


class Facts(NamedTuple):
    """What the check found in a pair: SHA-256 of each file and (cut) of the image's pixels, size, share of foreground.

    `foreground` is None where no pixel of the mask counts; `highest` is the highest value of a 16-bit image; `marks`
    name each way in which its files are not read plainly.
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
    """One example: its stem (the name that predictions and tables use), its two files, and what the check found."""

    stem: str
    image: Path
    mask: Path
    facts: Facts | None = field(default=None, compare=False)

    @property
    def digests(self) -> tuple[str, str] | None:
        """SHA-256 of both files as they were checked; None if they were not."""
        return None if self.facts is None else (self.facts.image, self.facts.mask)


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set, and the decoder of its files, which the check completes from all of them.

    `skipped` has a line for each pair that was left out because of a fault, `notes` a line for whatever else a user
    should know of the data. `split` sorts pairs into the splits if that depends on which pairs exist.
    """

    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]
    decoder: PairDecoder
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split: Callable[[Sequence[Pair]], tuple[list[Pair], list[Pair], list[Pair]]] | None = None

    @property
    def pairs(self) -> list[Pair]:
        """All pairs: of training, validation and test, in this order."""
        return [*self.train, *self.valid, *self.test]


def read_lines(path: Path, is_name: Callable[[str], bool] = lambda line: False) -> list[str]:
    """Read a list of a split: its lines in order, stripped, without blank ones and those beginning with #.

    `is_name` tells a name that begins with # from a comment.

    Raises ValueError, naming the file, when it is not UTF-8 text or cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a list of names in UTF-8 ({error})") from error
    return [line for line in lines if line and (not line.startswith("#") or is_name(line))]
