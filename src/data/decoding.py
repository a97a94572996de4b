"""How the files of a pair become pixels: the image, the mask laid on it, and what the whole data set decides."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.data.images import (
    Decoded,
    ImageReader,
    bits_for,
    decode,
    highest_value,
    is_transparent,
    on_white,
    read_file,
    upright,
)
from src.data.masks import MaskContent, MaskReader

# marks of a pair whose files are not read plainly; the fingerprint has them
ON_WHITE, TURNED, MASK_TURNED, MASK_TURNED_LIKE_IMAGE = "on white", "turned", "mask turned", "mask turned like image"
MASK_IN_ALPHA = "mask in alpha"


class DataChanged(ValueError):
    """A file of the data set is not what it was when the data set was checked; the message names it in one line."""


class PairContent(NamedTuple):
    """What the files of a pair hold, as far as they can be read.

    `size`: height and width of the image as it is read. `pixels`: a digest of them. `highest`: value of a 16-bit image.
    """

    size: tuple[int, int] = (0, 0)
    pixels: str = ""
    highest: int | None = None
    marks: tuple[str, ...] = ()
    mask: MaskContent | None = None


@dataclass(frozen=True)
class PairDecoder:
    """Decodes an image and its mask, which it lays on it.

    A mask with an EXIF orientation is turned by it; one without is taken as drawn on the turned image. If its size
    does not fit then, it is taken as stored, or turned like its image.
    """

    images: ImageReader = field(default_factory=ImageReader)
    masks: MaskReader = field(default_factory=MaskReader)

    def __call__(
        self, image_file: Path, mask_file: Path, digests: tuple[str, str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The image, uint8 RGB (H, W, 3), and its trimap, uint8 (H, W).

        Raises ValueError, naming the file; DataChanged if the SHA-256 of the files are not `digests`.
        """
        image_digest, mask_digest = digests or (None, None)
        image = decode(image_file, _read_unchanged(image_file, image_digest))
        mask = decode(mask_file, _read_unchanged(mask_file, mask_digest))
        pixels, trimap = self.images.pixels(image), self.masks.trimap(mask)
        turn = self._mask_turn(image, mask)
        if turn is None:
            raise ValueError(self._misfit(image, mask))
        return pixels, upright(trimap, turn)

    def content(self, image: Decoded | None, mask: Decoded | None) -> tuple[PairContent, list[str]]:
        """What both files (None if broken) hold, and what is wrong with them in any data set."""
        content = PairContent(mask=None if mask is None else self.masks.content(mask))
        problems: list[str] = []
        if image is None:
            return content, []
        orientation = self.images.orientation(image)
        marks = {ON_WHITE: is_transparent(image), TURNED: orientation != 1}
        if mask is not None:
            turn = self._mask_turn(image, mask)
            if turn is None:
                problems.append(self._misfit(image, mask))
            elif turn != 1:
                marks[MASK_TURNED if turn == self.images.orientation(mask) else MASK_TURNED_LIKE_IMAGE] = True
        try:
            pixels = upright(on_white(image) if image.deep is None else image.deep, orientation)
        except ValueError as error:
            return content, [str(error), *problems]
        return content._replace(
            size=image.size(orientation),
            pixels=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16],
            highest=highest_value(image),
            marks=tuple(mark for mark, holds in marks.items() if holds),
        ), problems

    def decided(self, contents: Sequence[PairContent]) -> "PairDecoder":
        """This decoder for a data set of pairs that hold `contents`."""
        highest = [content.highest for content in contents if content.highest is not None]
        return PairDecoder(
            replace(self.images, bits=bits_for(max(highest)) if highest else None),
            self.masks.decided([content.mask for content in contents if content.mask is not None]),
        )

    def marks(self) -> list[str]:
        """Each way in which this data set is not decoded plainly, for its fingerprint."""
        bits, masks = self.images.bits, self.masks
        return [*masks.settings(), *([] if bits in (None, 16) else [f"bits {bits}"])]

    def marks_of(self, content: PairContent) -> tuple[str, ...]:
        """Each way in which a pair with this content is not decoded plainly."""
        in_alpha = content.mask is not None and self.masks.is_by_alpha(content.mask)
        return (*content.marks, MASK_IN_ALPHA) if in_alpha else content.marks

    def problems(self, image_file: Path, mask_file: Path, content: PairContent) -> list[str]:
        """What is wrong with a pair of this content in the data set that this decoder was decided for."""
        of_image = self.images.problem(content.highest)
        of_mask = self.masks.problem(content.mask) if content.mask is not None else None
        named = ((image_file, of_image), (mask_file, of_mask))
        return [f"{path}: {problem}" for path, problem in named if problem]

    def _mask_turn(self, image: Decoded, mask: Decoded) -> int | None:
        """The orientation that lays the stored `mask` on the image as it is read; None if none fits."""
        of_image = self.images.orientation(image)
        size = image.size(of_image)
        turns = (self.images.orientation(mask), 1, of_image)
        return next((turn for turn in turns if mask.size(turn) == size), None)

    def _misfit(self, image: Decoded, mask: Decoded) -> str:
        height, width = image.size(self.images.orientation(image))
        mask_height, mask_width = mask.size(1)
        tag = "" if image.orientation == 1 else f" (EXIF orientation {image.orientation}, data.exif={self.images.exif})"
        return f"{mask.path}: the mask is {mask_width} x {mask_height} pixels, its image {width} x {height}{tag}"


def _read_unchanged(path: Path, digest: str | None) -> bytes:
    """The bytes of an image file, whose SHA-256 must be `digest` if that is known. Raises DataChanged, naming it."""
    content = read_file(path)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DataChanged(
            f"{path}: has changed since the data set was checked; bring it back, or start again with what is there"
        )
    return content
