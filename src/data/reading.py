"""How the pairs of a data set are read: the image, the mask laid on it, and what the whole data set decides of both."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.data.images import Decoded, ImageReader, bits_for, decode, highest_value, is_transparent, on_white, upright
from src.data.masks import MaskReader, MaskSeen
from src.data.unchanged import read_expected

# what tells the reading of a pair from the plain one
ON_WHITE, TURNED, MASK_TURNED, MASK_TURNED_LIKE_IMAGE = "on white", "turned", "mask turned", "mask turned like image"
MASK_IN_ALPHA = "mask in alpha"


class Seen(NamedTuple):
    """What the files of a pair tell of their data set, as far as they can be read.

    `size`: height and width of the image as it is read. `pixels`: a digest of them. `highest`: value of a 16-bit image.
    """

    size: tuple[int, int] = (0, 0)
    pixels: str = ""
    highest: int | None = None
    marks: tuple[str, ...] = ()
    mask: MaskSeen | None = None


@dataclass(frozen=True)
class PairReader:
    """Reads an image and its mask, which it lays on it.

    A mask with an EXIF orientation is turned as that says; one without is taken as drawn on the turned image. Where
    its size does not fit so, it is taken as it is stored, or turned like its image.
    """

    images: ImageReader = field(default_factory=ImageReader)
    masks: MaskReader = field(default_factory=MaskReader)

    def __call__(
        self, image_file: Path, mask_file: Path, digests: tuple[str, str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The image, uint8 RGB (H, W, 3), and its trimap, uint8 (H, W), of files whose SHA-256 are `digests`, if given.

        Raises ValueError, naming the file.
        """
        image, mask = (
            decode(file, read_expected(file, digest))
            for file, digest in zip((image_file, mask_file), digests or (None, None), strict=True)
        )
        pixels, trimap = self.images.pixels(image), self.masks.trimap(mask)
        turn = self._turn(image, mask)
        if turn is None:
            raise ValueError(self._misfit(image, mask))
        return pixels, upright(trimap, turn)

    def look(self, image: Decoded | None, mask: Decoded | None) -> tuple[Seen, list[str]]:
        """What both files, None if broken, tell of their data set, and what is wrong with them in any data set."""
        seen, problems = Seen(mask=None if mask is None else self.masks.look(mask)), []
        if image is None:
            return seen, []
        marks = {ON_WHITE: is_transparent(image), TURNED: self.images.orientation(image) != 1}
        if mask is not None:
            turn = self._turn(image, mask)
            if turn is None:
                problems.append(self._misfit(image, mask))
            own = turn == self.images.orientation(mask)
            marks |= {
                MASK_TURNED: turn not in (1, None) and own,
                MASK_TURNED_LIKE_IMAGE: turn not in (1, None) and not own,
            }
        try:
            pixels = on_white(image) if image.deep is None else image.deep
        except ValueError as error:
            return seen, [str(error), *problems]
        pixels = upright(pixels, 1 if image.turned else self.images.orientation(image))
        return seen._replace(
            size=image.size(self.images.orientation(image)),
            pixels=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16],
            highest=highest_value(image),
            marks=tuple(mark for mark, holds in marks.items() if holds),
        ), problems

    def decided(self, seen: Sequence[Seen]) -> "PairReader":
        """This reader for a data set of whose pairs all that was `seen`."""
        highest = [one.highest for one in seen if one.highest is not None]
        return PairReader(
            replace(self.images, bits=bits_for(max(highest)) if highest else None),
            self.masks.decided([one.mask for one in seen if one.mask is not None]),
        )

    def found(self) -> dict[str, Any]:
        """What the data set decided, as plain values."""
        return {"bits": self.images.bits, "channel": self.masks.channel, "whites": dict(self.masks.whites)}

    def recalled(self, found: dict[str, Any]) -> "PairReader":
        """This reader with what was `found` before."""
        whites = tuple(sorted(found["whites"].items()))
        masks = replace(self.masks, channel=found["channel"], whites=whites)
        return PairReader(replace(self.images, bits=found["bits"]), masks)

    def marks(self) -> list[str]:
        """What tells the reading of this data set from the plain one, for its fingerprint."""
        bits, masks = self.images.bits, self.masks
        return [*masks.settings(), *([] if bits in (None, 16) else [f"bits {bits}"])]

    def marks_of(self, seen: Seen) -> tuple[str, ...]:
        """What tells the reading of the pair that was `seen` from the plain one."""
        in_alpha = seen.mask is not None and self.masks.is_by_alpha(seen.mask)
        return (*seen.marks, MASK_IN_ALPHA) if in_alpha else seen.marks

    def problems(self, image_file: Path, mask_file: Path, seen: Seen) -> list[str]:
        """What is wrong with the pair that was `seen` in the data set that this reader was decided for."""
        of_image = self.images.problem(seen.highest)
        of_mask = self.masks.problem_of(seen.mask) if seen.mask is not None else None
        named = ((image_file, of_image), (mask_file, of_mask))
        return [f"{path}: {problem}" for path, problem in named if problem]

    def _turn(self, image: Decoded, mask: Decoded) -> int | None:
        """The orientation that lays the stored `mask` on the image as it is read; None where none fits."""
        of_image = self.images.orientation(image)
        size = image.size(of_image)
        turns = (self.images.orientation(mask), 1, of_image)
        return next((turn for turn in turns if mask.size(turn) == size), None)

    def _misfit(self, image: Decoded, mask: Decoded) -> str:
        height, width = image.size(self.images.orientation(image))
        its_height, its_width = mask.size(1)
        said = f"{mask.path}: the mask is {its_width} x {its_height} pixels, its image {width} x {height}"
        if image.orientation == 1:
            return said
        done = "is ignored" if self.images.exif == "ignore" else "is applied"
        return f"{said} (whose EXIF orientation, {image.orientation}, {done})"
