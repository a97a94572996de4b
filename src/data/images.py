"""Images as arrays: one reader for training, evaluation, inference and export; and the codes of a target."""

import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from src.base.files import read_regular

# Codes of a trimap, as in the official annotations (Oxford-IIIT Pet); 4 is ours: a pixel that never counts.
PET = 1
BACKGROUND = 2
BORDER = 3
VOID = 4

# Codes of a target, which networks are trained on and scored against; background is 0.
FOREGROUND = 255
IGNORED = 127

# Pictures of pixels only: EPS, for one, would be handed to Ghostscript, a program that runs what the file says.
RASTER_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

BorderPolicy = Literal["foreground", "background", "ignore", "random"]
BORDER_POLICIES: tuple[BorderPolicy, ...] = ("foreground", "background", "ignore", "random")
Exif = Literal["apply", "ignore"]

# A small file may claim to hold gigabytes of pixels; 64 million are 192 MB as RGB, more than a photo has.
MAXIMUM_PIXELS = 64_000_000
MAXIMUM_BYTES = 1 << 30  # those pixels with four channels of 16 bits take half of it
# Each scan of a progressive JPEG may touch every pixel again; encoders write about ten.
MAXIMUM_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # but for stuffed bytes and those that have no length

# How many bits the values of a 16-bit image may use: cameras and scanners store 10 and 12 bits in 16 unscaled.
DEPTHS = (8, 10, 12, 16)


class Decoded(NamedTuple):
    """The first frame of a file, and its EXIF orientation (1 to 8), which its decoder may have applied (`turned`).

    Where the file has more than 8 bits a channel, `deep` holds them all: uint16 (H, W), or (H, W, C) of RGB and alpha.
    """

    path: Path
    image: Image.Image
    deep: npt.NDArray[np.uint16] | None
    orientation: int
    turned: bool

    def size(self, orientation: int) -> tuple[int, int]:
        """Height and width in pixels when what is stored is turned as `orientation` says."""
        width, height = self.image.size
        swapped = (self.turned and self.orientation > 4) != (orientation > 4)
        return (width, height) if swapped else (height, width)


@dataclass(frozen=True)
class ImageReader:
    """Reads any image file as uint8 RGB (H, W, 3), the same pixels wherever it is asked.

    The content decides, not the extension: the official data has `.jpg` files that are PNG, GIF or CMYK. Of an
    animation the first frame is read. What is transparent lies on white. With `exif` "apply" an image is turned as its
    EXIF orientation says, as viewers and annotation tools show it; "ignore" takes the stored pixels. Color profiles are
    not applied.

    `bits`: how many the values of 16-bit images use, over a whole data set (see `bits_for`); the highest of them become
    the 8 that are kept. None: not known, so that only images that use all 16 are read.

    Raises ValueError, naming the file, when it is missing, damaged, cut short, of more than `MAXIMUM_PIXELS` pixels,
    of a mode without a clear way to 8-bit RGB (fractions, 32-bit integers), or of other bits than `bits`.
    """

    exif: Exif = "apply"
    bits: int | None = None

    def __call__(self, path: Path) -> npt.NDArray[np.uint8]:
        """The image in `path`."""
        return self.pixels(decode(path))

    def pixels(self, decoded: Decoded) -> npt.NDArray[np.uint8]:
        """The image that `decoded` is."""
        if problem := self.problem(highest_value(decoded)):
            raise ValueError(f"{decoded.path}: {problem}")
        stored = as_stored(on_white(decoded, self.bits or 16), decoded)
        return upright(stored, self.orientation(decoded))

    def problem(self, highest: int | None) -> str | None:
        """Why an image whose 16-bit values go up to `highest` (None: of 8 bits) cannot be read, if it cannot."""
        if not highest:
            return None
        said, bits = f"is a 16-bit image whose values end at {highest}", self.bits
        if bits is None:
            if bits_for(highest) == DEPTHS[-1]:
                return None
            return (
                f"{said}; whether it is dark or uses {bits_for(highest)} bits cannot be known, since no other 16-bit "
                "image was seen; convert it to 8 bits"
            )
        if highest >= 1 << bits:
            return f"{said}, while those of the data set use {bits} bits, up to {(1 << bits) - 1}; scale its values"
        if highest < 1 << (bits - 8):
            return f"{said}, which is black where others use {bits} bits; scale its values or leave it out"
        return None

    def orientation(self, decoded: Decoded) -> int:
        """The EXIF orientation of `decoded` that is applied; 1 stands for none."""
        return decoded.orientation if self.exif == "apply" else 1


def decode(path: Path, content: bytes | None = None) -> Decoded:
    """The first frame of an image file, decoded in whole; `content` are its bytes, if they have been read.

    Raises ValueError, naming the file, as `ImageReader` does.
    """
    content = read_file(path) if content is None else content
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            _check_effort(image, content)
            depth = str([tile.args for tile in image.tile])  # what Pillow's decoders are told, 65535 that of PPM
            sixteen = image.format in ("PNG", "TIFF", "PPM") and (";16" in depth or ", 65535" in depth)
            of_tiff = image.format == "TIFF"  # which Pillow and OpenCV turn as they decode it; the tag is gone then
            orientation = _orientation(image) if of_tiff else 1
            image.load()
            orientation = orientation if of_tiff else _orientation(image)
            frame = image.copy()
        deep = _deep(frame, content if sixteen else None)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: cannot be read as an image (is none of {', '.join(_formats())})") from error
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error too
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
    return Decoded(path, frame, deep, orientation, of_tiff)


def read_file(path: Path) -> bytes:
    """All bytes of an image file. Raises ValueError, naming it, when it is missing, too large or not a regular file."""
    try:
        return read_regular(path, MAXIMUM_BYTES)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as an image ({error.strerror})") from error
    except ValueError as error:
        named = str(error).startswith(str(path))
        raise ValueError(str(error) if named else f"{path}: cannot be read as an image ({error})") from error


def _check_effort(image: Image.Image, content: bytes) -> None:
    """Raises ValueError for a file that would take more memory or time to decode than any photo."""
    pixels = image.width * image.height
    if pixels > MAXIMUM_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, at most {MAXIMUM_PIXELS:,} are read")
    scans = _scans(content) if image.format in ("JPEG", "MPO") else 0
    if scans > MAXIMUM_SCANS:
        raise ValueError(f"a progressive JPEG of {scans:,} scans, at most {MAXIMUM_SCANS} are read")


def _scans(content: bytes) -> int:
    """How many scans the first picture of a JPEG file has; a picture within a segment, as a thumbnail, is passed by."""
    scans, position = 0, 2
    while (found := _JPEG_MARKER.search(content, position)) and (marker := found[1]) != b"\xd9":  # the end
        scans += marker == b"\xda"
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    return scans


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data raise nearly anything; a viewer shows such a photo as it is stored
        return 1
    return orientation if orientation in _TURNS else 1


def _deep(image: Image.Image, content: bytes | None) -> npt.NDArray[np.uint16] | None:
    """The values of an image of more than 8 bits a channel; `content` is given where its colors have 16."""
    if image.mode.startswith("I"):
        values = np.array(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError(f"32-bit values from {values.min()} to {values.max()}, allowed are 0 to 65535")
        return values.astype(np.uint16)
    if content is None:
        return None
    # Pillow keeps 8 bits of each
    colors: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if colors is None or colors.dtype != np.uint16 or colors.shape[:2] != (image.height, image.width):
        raise ValueError("16-bit colors in a form that is not supported")
    return colors if colors.ndim == 2 else colors[..., [2, 1, 0, 3][: colors.shape[-1]]]  # BGR, and alpha


@cache
def _formats() -> list[str]:
    """Those of RASTER_FORMATS that this Pillow can read."""
    Image.init()
    return [name for name in RASTER_FORMATS if name in Image.OPEN]


# What brings stored pixels upright, for each EXIF orientation (Exif 2.32, tag 0x0112), in this order: whether rows,
# then columns, are reversed, then whether both are swapped.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),  # a quarter turn clockwise
    7: (True, True, True),
    8: (False, True, True),
}


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored `pixels` (H, W, ...) as EXIF `orientation` says they are to be seen."""
    rows, columns, swapped = _TURNS[orientation]
    turned = pixels[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swapped else turned)


def as_stored(pixels: np.ndarray, decoded: Decoded) -> np.ndarray:
    """`pixels` (H, W, ...) of `decoded` as the file holds them, where its decoder has turned them upright."""
    back = {6: 8, 8: 6}.get(decoded.orientation, decoded.orientation)
    return upright(pixels, back) if decoded.turned else pixels


def highest_value(decoded: Decoded) -> int | None:
    """The highest value of a 16-bit image, alpha and what it hides left out; None for other images."""
    if decoded.deep is None:
        return None
    alpha = deep_alpha(decoded)
    seen = decoded.deep if alpha is None else decoded.deep[alpha > 0][:, :3]
    return int(seen.max(initial=0))


def deep_alpha(decoded: Decoded) -> np.ndarray | None:
    """The alpha, uint16 (H, W), of a file of 16 bits that has some."""
    return decoded.deep[..., 3] if decoded.deep is not None and decoded.deep.shape[2:] == (4,) else None


def bits_for(highest: int) -> int:
    """The fewest bits that cameras store which hold `highest`: 8, 10, 12 or 16."""
    return next(bits for bits in DEPTHS if highest < 1 << bits)


def is_transparent(decoded: Decoded) -> bool:
    """Whether any pixel lets white through."""
    if (alpha := deep_alpha(decoded)) is not None:
        return bool((alpha < alpha.max()).any())
    if decoded.deep is not None or not decoded.image.has_transparency_data:
        return decoded.deep is not None and "transparency" in decoded.image.info
    return np.asarray(decoded.image.convert("RGBA"))[..., 3].min() < 255


def on_white(decoded: Decoded, bits: int = 16) -> npt.NDArray[np.uint8]:
    """The pixels of `decoded`, uint8 RGB (H, W, 3), as its decoder gave them; `bits` are those that 16-bit images use.

    Raises ValueError, naming the file, for a mode that cannot be turned into RGB.
    """
    path, image, deep = decoded.path, decoded.image, decoded.deep
    if image.mode == "F":
        raise ValueError(f"{path}: holds fractions (mode F), whose black and white nobody states")
    if deep is not None:
        return _deep_on_white(deep, bits, image.info.get("transparency"))
    try:
        if not image.has_transparency_data:
            return np.array(image.convert("RGB"))
        return _laid_on_white(image.convert("RGBA"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot turn mode {image.mode} into RGB ({error})") from error


def _deep_on_white(deep: npt.NDArray[np.uint16], bits: int, transparent: object) -> npt.NDArray[np.uint8]:
    """The highest 8 of `bits` bits; of grey, the value `transparent`, if there is one, is white."""
    pixels = (deep >> (bits - 8)).astype(np.uint8)
    if deep.ndim == 2:
        if isinstance(transparent, int):
            pixels[deep == transparent] = 255
        return np.repeat(pixels[..., np.newaxis], 3, axis=2)
    if deep.shape[2:] == (3,):
        return pixels
    alpha = deep[..., 3]
    pixels[..., 3] = alpha >> (bits - 8 if alpha.max(initial=0) < 1 << bits else 8)  # it may use all bits all the same
    return _laid_on_white(Image.fromarray(pixels))


def _laid_on_white(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (H, W, 3) to (size, size, 3), bilinear, not keeping the aspect ratio (report A)."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (H, W) to (size, size), nearest: no code appears that was not there (report A)."""
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def trimap_to_target(
    trimap: np.ndarray, border: BorderPolicy, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Turn a trimap (codes 1 to 4) into a target, both uint8 (H, W).

    PET becomes FOREGROUND, BACKGROUND becomes 0, VOID becomes IGNORED, and BORDER what the policy says: "foreground"
    (reports A and C), "background", "ignore" (IGNORED), or "random" (foreground with probability 0.5 for each pixel,
    else background; report E), which is drawn from `generator`.

    Raises ValueError for an unknown policy, and for "random" without a generator.
    """
    if border not in BORDER_POLICIES:
        raise ValueError(f"data.border is {border!r}, allowed are {', '.join(BORDER_POLICIES)}")
    assert trimap.min(initial=PET) >= PET and trimap.max(initial=PET) <= VOID, "the audit lets only codes 1 to 4 pass"
    codes = {"foreground": FOREGROUND, "background": 0, "ignore": IGNORED, "random": 0}
    target = np.array([0, FOREGROUND, 0, codes[border], IGNORED], dtype=np.uint8)[trimap]
    if border == "random":
        if generator is None:
            raise ValueError("the border policy 'random' needs a numpy Generator to draw from")
        at_border = trimap == BORDER
        heads = generator.random(np.count_nonzero(at_border)) < 0.5
        target[at_border] = np.where(heads, FOREGROUND, 0)
    return target
