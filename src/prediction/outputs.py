"""What is written for a photo and where: masks, overlays and probabilities below one folder, and nothing elsewhere."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.base.files import replacing
from src.base.spreadsheets import quoted
from src.data.images import ImageReader, decode
from src.prediction.panels import outlined
from src.prediction.predict import Map, Mask, Prediction

SUMMARY = "summary.csv"
Kind = Literal["mask", "overlay", "probability"]


@dataclass(frozen=True)
class Outputs:
    """Where pictures go, which ones are made, and whether those that are there are made again."""

    folder: Path
    overlay: bool = False
    probability: bool = False
    overwrite: bool = False

    def path(self, photo: Path, kind: Kind) -> Path:
        """The file for a photo, whose path is relative to the inputs' base: its whole name and the kind of picture."""
        return self.folder / photo.parent / f"{photo.name}.{kind}.png"

    def to_write(self, photo: Path) -> list[Kind]:
        """The pictures that are asked for and not there yet, or all of them with `overwrite`.

        Raises ValueError when they would lie outside the folder, as behind a link, or in the summary's place.
        """
        folder = self.path(photo, "mask").parent
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{folder} leads out of {self.folder}, where nothing is written")
        if photo.parts[0] == SUMMARY and len(photo.parts) > 1:
            raise ValueError(f"a folder {SUMMARY} would take the place of the summary; rename it")
        return [kind for kind in self._kinds() if self.overwrite or not _is_there(self.path(photo, kind))]

    def kept_mask(self, photo: Path) -> Mask:
        """The mask that is there, bool (H, W). Raises ValueError when it cannot be read."""
        path = self.path(photo, "mask")
        if not path.is_file():
            raise ValueError(f"{path} is in the way and no file")
        try:
            return np.asarray(decode(path).image.convert("L")) > 127
        except ValueError as error:
            raise ValueError(f"{error}; overwrite=true makes it again") from error

    def write(
        self, source: Path, photo: Path, prediction: Prediction, kinds: list[Kind], read_photo: ImageReader
    ) -> None:
        """Writes each picture whole or not at all; `read_photo` reads the photo again for an overlay.

        Raises OSError as the disk does, ValueError when the photo, read again for an overlay, is gone.
        """
        for kind in kinds:
            path = self.path(photo, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            png = as_png(_picture(kind, source, prediction, read_photo))
            with replacing(path, flush=False) as temporary:
                temporary.write_bytes(png)

    def _kinds(self) -> Iterator[Kind]:
        yield "mask"
        if self.overlay:
            yield "overlay"
        if self.probability:
            yield "probability"


def as_png(picture: npt.NDArray[Any]) -> bytes:
    """A PNG file of uint8 RGB (H, W, 3), or of uint8 or uint16 grey (H, W), of any size."""
    file = io.BytesIO()  # to the disk it goes at once, so that the disk's own words say what is wrong with it
    Image.fromarray(picture).save(file, "PNG", compress_level=1)  # a third of the time for a third more bytes
    return file.getvalue()


def as_16_bit(probability: Map) -> npt.NDArray[np.uint16]:
    """Probabilities in [0, 1] as 16-bit grey: 65535 is 1."""
    return np.rint(probability * 65535).astype(np.uint16)


def _picture(kind: Kind, source: Path, prediction: Prediction, read_photo: ImageReader) -> npt.NDArray[Any]:
    if kind == "mask":
        return prediction.mask.astype(np.uint8) * 255
    if kind == "overlay":  # the photo is read again: those of a whole batch would fill the memory
        return outlined(read_photo(source), prediction.mask)
    return as_16_bit(prediction.probability)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


HEADER = ("input", "status", "reason", "width", "height", "foreground", "mask")
Status = Literal["written", "kept", "failed"]
NAMED = 5  # failures that are told; the table has them all


@dataclass(frozen=True)
class Outcome:
    """What became of the photo `input`.

    `written`: predicted now; `kept`: its pictures were there; `failed`: neither, see `reason`. `size` is the mask's
    height and width in pixels, `foreground` the share of them in [0, 1], `mask` the file, relative to the output.
    """

    input: Path
    status: Status
    reason: str = ""
    size: tuple[int, int] | None = None
    foreground: float | None = None
    mask: Path | None = None

    def row(self) -> list[object]:
        """The columns of HEADER; what is not known is empty."""
        height, width = self.size or ("", "")
        share = "" if self.foreground is None else f"{self.foreground:.6f}"
        return [
            str(self.input),
            self.status,
            self.reason,
            width,
            height,
            share,
            self.mask.as_posix() if self.mask else "",
        ]


def check_output(folder: Path) -> None:
    """Raises ValueError when `folder` cannot take the outputs, or has a summary that is somebody else's."""
    path = folder / SUMMARY
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ValueError(f"output: got {str(folder)!r}, which is no folder")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"output: got {str(folder)!r}, where nothing may be written")
    if path.is_dir() or (path.exists() and _first_line(path) != ",".join(HEADER)):
        raise ValueError(
            f"output: got {str(folder)!r}, whose {SUMMARY} is no inference's; move it away, or give another folder"
        )


def write_summary(outcomes: Iterable[Outcome], folder: Path) -> Path:
    """Writes `summary.csv`, a row a photo, UTF-8; bytes in a name that are none are written as \\udc…."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SUMMARY
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows(map(quoted, outcome.row()) for outcome in outcomes)
    return path


def told(outcomes: Sequence[Outcome], folder: Path, left_out: int) -> str:
    """One line: how many masks there are, how many photos failed, how many files were none."""
    counts = Counter(outcome.status for outcome in outcomes)
    masks = counts["written"] + counts["kept"]
    notes = [f"{counts[status]:,} {status}" for status in ("kept", "failed") if counts[status]]
    notes += [f"{left_out:,} other files left out"] if left_out else []
    again = "; overwrite=true makes kept ones again" if counts["kept"] else ""
    beside = f"{', '.join(notes)}: see" if notes else "see"
    return f"{masks:,} mask{'' if masks == 1 else 's'} in {folder} ({beside} {folder / SUMMARY}){again}"


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """A line for each of the first photos that failed, and how many more there are."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    lines = [f"failed: {outcome.input}: {outcome.reason}" for outcome in failed[:NAMED]]
    return lines + ([f"failed: {len(failed) - NAMED:,} more"] if len(failed) > NAMED else [])


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(1000).decode("utf-8", errors="replace").rstrip("\r\n")
