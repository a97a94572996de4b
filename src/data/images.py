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
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
Exif = Literal["apply", "ignore"]
Resize = Literal["pil_bilinear", "cv2_linear"]

# A small file may declare gigabytes of pixels; 64 million are 192 MB as RGB, more than any photo.
MAXIMUM_PIXELS = 64_000_000
MAXIMUM_BYTES = 1 << 30  # those pixels with four channels of 16 bits take half of it
# Each scan of a progressive JPEG may touch every pixel again; encoders write about ten.
MAXIMUM_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # but for stuffed bytes and those that have no length

# How many bits the values of a 16-bit image may use: cameras and scanners store 10 and 12 bits unscaled in 16.
DEPTHS = (8, 10, 12, 16)


class Decoded(NamedTuple):
    """The first frame of a file as it is stored, and its EXIF orientation (1 to 8).

    `deep` holds all bits of a file of more than 8 bits per channel: uint16 (H, W), or (H, W, 3) of RGB.
    """

    path: Path
    image: Image.Image
    deep: npt.NDArray[np.uint16] | None
    orientation: int

    def size(self, orientation: int) -> tuple[int, int]:
        """Height and width in pixels after turning by `orientation`."""
        width, height = self.image.size
        return (width, height) if orientation > 4 else (height, width)


@dataclass(frozen=True)
class ImageReader:
    """Reads any image file as uint8 RGB (H, W, 3), the same pixels for every command.

    The content decides, not the extension: the official data has `.jpg` files that are PNG, GIF or CMYK. Of an
    animation the first frame is read. Transparent pixels are shown on white. With `exif` "apply" an image is turned by
    its EXIF orientation, as viewers and annotation tools show it; "ignore" takes the stored pixels. Color profiles are
    not applied.

    `bits`: how many the values of 16-bit images use, over a whole data set (see `bits_for`); the highest of them become
    the 8 that are kept. None: not known, so that only images that use all 16 are read.

    `resize`: how `resized` makes them square, see `resize_image`.

    Raises ValueError, naming the file, when it is missing, damaged, cut short, of more than `MAXIMUM_PIXELS` pixels,
    of a mode without a clear way to 8-bit RGB (fractions, 32-bit integers), or of other bits than `bits`.
    """

    exif: Exif = "apply"
    bits: int | None = None
    resize: Resize = "pil_bilinear"

    def __call__(self, path: Path) -> npt.NDArray[np.uint8]:
        """The image in `path`."""
        return self.pixels(decode(path))

    def pixels(self, decoded: Decoded) -> npt.NDArray[np.uint8]:
        """The image that `decoded` is."""
        if problem := self.problem(highest_value(decoded)):
            raise ValueError(f"{decoded.path}: {problem}")
        return upright(on_white(decoded, self.bits or 16), self.orientation(decoded))

    def resized(self, image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
        """An image (H, W, 3) as (size, size, 3)."""
        return resize_image(image, size, self.resize)

    def problem(self, highest: int | None) -> str | None:
        """Why an image whose 16-bit values go up to `highest` (None: of 8 bits) cannot be read; None if it can."""
        if not highest:
            return None
        what, bits = f"is a 16-bit image whose values end at {highest}", self.bits
        if bits is None:
            unknown = f"whether it is dark or uses {bits_for(highest)} bits cannot be known; convert it to 8 bits"
            return None if bits_for(highest) == DEPTHS[-1] else f"{what}; {unknown}"
        lowest, most = 1 << (bits - 8), (1 << bits) - 1
        if lowest <= highest <= most:
            return None
        return f"{what}; those of the data set use {bits} bits and end at {lowest} to {most}; scale its values"

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
            depth = str([tile.args for tile in image.tile])  # the arguments of Pillow's decoders, 65535 that of PPM
            sixteen = image.format in ("PNG", "TIFF", "PPM") and (";16" in depth or ", 65535" in depth)
            if sixteen and getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
                raise ValueError("16 bits a channel of which 0 is white; save it with 0 as black")
            is_tiff = image.format == "TIFF"  # Pillow and OpenCV turn it as they decode it; then the tag is gone
            orientation = _orientation(image) if is_tiff else 1
            image.load()
            orientation = orientation if is_tiff else _orientation(image)
            frame = image.copy()
        deep = _deep(frame, content if sixteen else None)
        if is_tiff and orientation != 1:
            back = {6: 8, 8: 6}.get(orientation, orientation)
            frame.getexif()[ExifTags.Base.Orientation] = back
            frame, deep = ImageOps.exif_transpose(frame), None if deep is None else upright(deep, back)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: cannot be read as an image (not one of {', '.join(_formats())})") from error
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error too
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
    return Decoded(path, frame, deep, orientation)


def read_file(path: Path) -> bytes:
    """All bytes of an image file. Raises ValueError, naming it, when it is missing, too large or not a regular file."""
    try:
        return read_regular(path, MAXIMUM_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: cannot be read as an image ({reason})") from error


def _check_effort(image: Image.Image, content: bytes) -> None:
    """Raises ValueError for a file that would take more memory or time to decode than any photo."""
    pixels = image.width * image.height
    if pixels > MAXIMUM_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, at most {MAXIMUM_PIXELS:,} are read")
    scans = _scans(content) if image.format in ("JPEG", "MPO") else 0
    if scans > MAXIMUM_SCANS:
        raise ValueError(f"a progressive JPEG of {scans:,} scans, at most {MAXIMUM_SCANS} are read")


def _scans(content: bytes) -> int:
    """How many scans the first picture of a JPEG file has; a picture within a segment, as a thumbnail, is skipped."""
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
    if content is None and not image.mode.startswith("I"):
        return None
    if image.has_transparency_data:
        raise ValueError("16 bits a channel and transparency; save it without one of both")
    if image.mode.startswith("I"):
        values = np.array(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError(f"32-bit values from {values.min()} to {values.max()}, allowed are 0 to 65535")
        return values.astype(np.uint16)
    # Pillow keeps 8 bits of each
    colors: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(content or b"", np.uint8), cv2.IMREAD_UNCHANGED)
    if colors is None or colors.dtype != np.uint16 or colors.shape != (image.height, image.width, 3):
        raise ValueError("16-bit colors in a form that is not supported")
    return colors[..., ::-1]  # of BGR


@cache
def _formats() -> list[str]:
    """Those of RASTER_FORMATS that this Pillow can read."""
    Image.init()
    return [name for name in RASTER_FORMATS if name in Image.OPEN]


@cache
def image_endings() -> tuple[str, ...]:
    """The endings of names, in lower case, that files of RASTER_FORMATS have."""
    return tuple(ending for ending, kind in Image.registered_extensions().items() if kind in RASTER_FORMATS)


# What turns stored pixels upright, for each EXIF orientation (Exif 2.32, tag 0x0112): whether rows, then columns, are
# reversed, then whether both are swapped.
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
    """Stored `pixels` (H, W, ...) turned upright by EXIF `orientation`."""
    rows, columns, swapped = _TURNS[orientation]
    turned = pixels[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swapped else turned)


def highest_value(decoded: Decoded) -> int | None:
    """The highest value of a 16-bit image; None for other images."""
    return None if decoded.deep is None else int(decoded.deep.max(initial=0))


def bits_for(highest: int) -> int:
    """The fewest bits that cameras store which hold `highest`: 8, 10, 12 or 16."""
    return next(bits for bits in DEPTHS if highest < 1 << bits)


def is_transparent(decoded: Decoded) -> bool:
    """Whether any pixel lets white through."""
    image = decoded.image
    return image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255


def on_white(decoded: Decoded, bits: int = 16) -> npt.NDArray[np.uint8]:
    """The pixels of `decoded`, uint8 RGB (H, W, 3), as its decoder gave them; `bits` are those that 16-bit images use.

    Raises ValueError, naming the file, for a mode that cannot be turned into RGB.
    """
    path, image, deep = decoded.path, decoded.image, decoded.deep
    if image.mode == "F":
        raise ValueError(f"{path}: holds fractions (mode F), whose black and white are unknown")
    if deep is not None:
        pixels = (deep >> (bits - 8)).astype(np.uint8)
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
    try:
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.array(image.convert("RGB"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot turn mode {image.mode} into RGB ({error})") from error


def resize_image(image: npt.NDArray[np.uint8], size: int, how: Resize) -> npt.NDArray[np.uint8]:
    """Resize uint8 (H, W, 3) to (size, size, 3), bilinear, not keeping the aspect ratio.

    "pil_bilinear" averages over all pixels that become one (antialiasing; the data class of reports A and D);
    "cv2_linear" interpolates between the four nearest (albumentations' Resize, report B).
    """
    if how == "cv2_linear":
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (H, W) to (size, size), nearest as PIL does, so that no new code appears (report A)."""
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def trimap_to_target(
    trimap: np.ndarray, border: BorderPolicy, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Turn a trimap (codes 1 to 4) into a target, both uint8 (H, W).

    PET becomes FOREGROUND, BACKGROUND 0, VOID IGNORED, and BORDER depends on the policy: "foreground"
    (report A), "background", "ignore" (IGNORED), or "random" (foreground with probability 0.5 for each pixel,
    else background; report E), which is drawn from `generator`.
    """
    codes = {"foreground": FOREGROUND, "background": 0, "ignore": IGNORED, "random": 0}
    target = np.array([0, FOREGROUND, 0, codes[border], IGNORED], dtype=np.uint8)[trimap]
    if border == "random":
        assert generator is not None, "a random border is drawn from a generator"
        at_border = trimap == BORDER
        heads = generator.random(np.count_nonzero(at_border)) < 0.5
        target[at_border] = np.where(heads, FOREGROUND, 0)
    return target
