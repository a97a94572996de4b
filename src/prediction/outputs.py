"""What is written for a photo and where: masks, overlays and probabilities below one folder, and nothing elsewhere."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from src.base.files import check_writable, replacing
from src.data.images import decode
from src.display.text import write_csv
from src.prediction.predict import Map, Mask

SUMMARY = "summary.csv"
HEADER = ["input", "status", "reason", "width", "height", "foreground", "dice", "mask"]
Kind = str  # mask, overlay, probability or one of the figures' STYLES
Status = Literal["written", "kept", "failed"]


@dataclass(frozen=True)
class Outputs:
    """Where pictures go, which kinds are made, and whether existing ones are made again."""

    folder: Path
    kinds: tuple[Kind, ...] = ("mask",)
    overwrite: bool = False

    def path(self, photo: Path, kind: Kind) -> Path:
        """The file for a photo, whose path is relative to the inputs' base: its whole name and the kind of picture."""
        return self.folder / photo.parent / f"{photo.name}.{kind}.png"

    def to_write(self, photo: Path) -> list[Kind]:
        """The pictures that do not exist yet, or all of them with `overwrite`.

        Raises ValueError when they would lie outside the folder, as behind a link.
        """
        folder = self.path(photo, "mask").parent
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{folder} leads out of {self.folder}, where nothing is written")
        return [kind for kind in self.kinds if self.overwrite or not os.path.lexists(self.path(photo, kind))]

    def kept_mask(self, photo: Path) -> Mask:
        """The existing mask, bool (H, W). Raises ValueError when it cannot be read."""
        path = self.path(photo, "mask")
        try:
            return np.asarray(decode(path).image.convert("L")) > 127
        except ValueError as error:
            raise ValueError(f"{error}; overwrite=true makes it again") from error

    def write(self, photo: Path, kind: Kind, picture: npt.NDArray[Any]) -> None:
        """Writes uint8 RGB (H, W, 3), or grey uint8 or uint16 (H, W), whole or not at all. Raises OSError."""
        path = self.path(photo, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # written to the disk at once, so that the disk's own error is the one that is reported
        Image.fromarray(picture).save(content, "PNG", compress_level=1)  # a third of the time for a third more bytes
        with replacing(path, flush=False) as temporary:
            temporary.write_bytes(content.getvalue())


def as_16_bit(probability: Map) -> npt.NDArray[np.uint16]:
    """Probabilities in [0, 1] as 16-bit grey: 65535 is 1."""
    return np.rint(probability * 65535).astype(np.uint16)


@dataclass(frozen=True)
class Outcome:
    """What became of the photo `input`.

    `written`: predicted now; `kept`: its pictures existed; `failed`: neither, see `reason`. `size` is the mask's
    height and width in pixels, `foreground` the share of them in [0, 1], `dice` its score where the truth is
    known, `mask` the file, relative to the output.
    """

    input: Path
    status: Status
    reason: str = ""
    size: tuple[int, int] | None = None
    foreground: float | None = None
    dice: float | None = None
    mask: Path | None = None

    def row(self) -> list[str]:
        """The columns of HEADER; what is not known is empty."""
        height, width = map(str, self.size or ("", ""))
        shares = ["" if share is None else f"{share:.6f}" for share in (self.foreground, self.dice)]
        mask = self.mask.as_posix() if self.mask else ""
        return [str(self.input), self.status, self.reason, width, height, *shares, mask]


def check_output(folder: Path) -> None:
    """Raises ValueError when `folder` cannot take the outputs, or has a summary that no inference wrote."""
    check_writable(folder)
    path = folder / SUMMARY
    if path.is_dir() or (path.exists() and path.open(errors="replace").readline(1000).strip() != ",".join(HEADER)):
        raise ValueError(
            f"output: got {str(folder)!r}, whose {SUMMARY} is not from an inference; move it away, or give another "
            "folder"
        )


def write_summary(outcomes: Iterable[Outcome], folder: Path) -> None:
    """Writes `summary.csv`, a row a photo, UTF-8; bytes in a name that are not UTF-8 are written as \\udc…."""
    write_csv(folder / SUMMARY, pd.DataFrame([outcome.row() for outcome in outcomes], columns=HEADER, dtype=object))


def closing_line(outcomes: Sequence[Outcome], folder: Path, left_out: int) -> str:
    """One line: how many masks exist, how many photos failed, how many files were not photos."""
    counts = Counter(outcome.status for outcome in outcomes)
    notes = {
        "kept (overwrite=true makes them again)": counts["kept"],
        "failed": counts["failed"],
        "other files left out": left_out,
    }
    noted = "".join(f"{count:,} {what}, " for what, count in notes.items() if count)
    dice = [outcome.dice for outcome in outcomes if outcome.dice is not None]
    scored = f"; mean Dice {sum(dice) / len(dice):.4f} at the photos' own size" if dice else ""
    return f"masks in {folder}: {counts['written'] + counts['kept']:,} ({noted}see {folder / SUMMARY}){scored}"
