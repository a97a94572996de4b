"""What is written for a photo and where: masks, overlays and probabilities below one folder, and nothing elsewhere."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.images import ImageReader, decode
from src.files import replacing
from src.prediction.predict import Map, Mask, Photo, Prediction

SUMMARY = "summary.csv"
# RGB of sky blue and blue of M. Okabe and K. Ito, whose colours people with any colour vision tell apart
TINT, OUTLINE = (86, 180, 233), (0, 114, 178)
OPACITY = 0.45  # of the tint inside the outline
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


def overlaid(photo: Photo, mask: Mask) -> Photo:
    """The photo with the mask, bool (H, W), as a translucent tint and an outline; both uint8 RGB (H, W, 3)."""
    shades = (1 - OPACITY) * np.arange(256)[:, np.newaxis] + OPACITY * np.array(TINT)  # (256, 3)
    tinted = cv2.LUT(photo, np.rint(shades).astype(np.uint8)[np.newaxis])
    inside = mask.astype(np.uint8)
    picture: Photo = photo.copy()
    cv2.copyTo(tinted, inside, picture)
    thickness = max(1, round(min(mask.shape) / 200))  # pixels
    core = cv2.erode(inside, np.ones((2 * thickness + 1, 2 * thickness + 1), dtype=np.uint8))
    cv2.copyTo(np.full_like(photo, OUTLINE), inside - core, picture)
    return picture


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
        return overlaid(read_photo(source), prediction.mask)
    return as_16_bit(prediction.probability)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
