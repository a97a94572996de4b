"""Images and masks as arrays: reading any image file, resizing, and the codes of a trimap and a target."""

import stat
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

# Codes of a trimap, as in the official annotations (Oxford-IIIT Pet).
PET = 1
BACKGROUND = 2
BORDER = 3

# Codes of a target, which networks are trained on and scored against; background is 0.
FOREGROUND = 255
IGNORED = 127

# Pictures of pixels only: EPS, for one, would be handed to Ghostscript, a program that runs what the file says.
RASTER_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

BorderPolicy = Literal["foreground", "background", "ignore", "random"]
BORDER_POLICIES: tuple[BorderPolicy, ...] = ("foreground", "background", "ignore", "random")

# A small file may claim to hold gigabytes of pixels; 64 million are 192 MB as RGB, more than a photo has.
MAXIMUM_PIXELS = 64_000_000


def read_image(path: Path) -> np.ndarray:
    """Read an image file of any mode as uint8 RGB (H, W, 3).

    The content decides, not the extension: the official data has `.jpg` files that are PNG, GIF or CMYK.
    Of an animation the first frame is read; alpha is dropped (the stored colours count); 16-bit grey keeps
    its high byte. EXIF orientation is *not* applied, because masks are drawn on the stored pixels.

    Raises ValueError, naming the file, when it is missing, damaged, cut short, of more than
    `MAXIMUM_PIXELS` pixels, or of a mode without a clear way to 8-bit RGB (floats, 32-bit integers).
    """
    return as_rgb(decode(path), path)


def decode(path: Path) -> Image.Image:
    """The first frame of an image file, decoded in whole, in the mode it is stored in.

    Raises ValueError, naming the file, when it is missing, damaged, cut short or of too many pixels.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is no file")  # a pipe would be waited for without end
        with Image.open(path, formats=_formats()) as image:
            pixels = image.width * image.height
            if pixels > MAXIMUM_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, at most {MAXIMUM_PIXELS:,} are read")
            image.load()
            return image.copy()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error too
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error


@cache
def _formats() -> list[str]:
    """Those of RASTER_FORMATS that this Pillow can read."""
    Image.init()
    return [name for name in RASTER_FORMATS if name in Image.OPEN]


def as_rgb(image: Image.Image, path: Path) -> np.ndarray:
    """What `read_image` makes of a decoded `image`: uint8 RGB (H, W, 3). Raises ValueError, naming `path`."""
    if image.mode == "F":
        raise ValueError(f"{path}: holds fractions (mode F), whose black and white nobody states")
    if image.mode.startswith("I"):
        image = Image.fromarray(_high_byte(image, path))
    try:
        return np.array(image.convert("RGB"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot turn mode {image.mode} into RGB ({error})") from error


def read_codes(path: Path) -> np.ndarray:
    """Read a mask file's stored values as uint8 (H, W), whatever its mode; nothing is rescaled.

    A palette image gives its indices (as in Pascal VOC masks), unless it only uses black and white, which
    give 0 and 255. A 1-bit image gives 0 and 1. Colour is accepted where red, green and blue are equal;
    alpha is dropped.

    Raises ValueError, naming the file, as `read_image` does, and for a coloured mask, fractions, or values
    that do not fit into 0 to 255.
    """
    image = decode(path)
    if image.mode == "P" and _uses_only_black_and_white(image):
        image = image.convert("RGB")
    codes = np.array(image)
    if image.mode in ("LA", "La", "PA"):
        codes = codes[..., 0]
    elif codes.ndim == 3:
        codes = _single_channel(codes, image.mode, path)
    if codes.dtype.kind == "f":
        raise ValueError(f"{path}: a mask needs whole numbers, this one holds fractions (mode {image.mode})")
    if codes.min(initial=0) < 0 or codes.max(initial=0) > 255:
        raise ValueError(f"{path}: mask values go from {codes.min()} to {codes.max()}, allowed are 0 to 255")
    return codes.astype(np.uint8)


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (H, W, 3) to (size, size, 3), bilinear, not keeping the aspect ratio (report A)."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (H, W) to (size, size), nearest: no code appears that was not there (report A)."""
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def trimap_to_target(
    trimap: np.ndarray, border: BorderPolicy, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Turn a trimap (codes 1, 2, 3) into a target, both uint8 (H, W).

    PET becomes FOREGROUND, BACKGROUND becomes 0, and BORDER what the policy says: "foreground" (reports A
    and C), "background", "ignore" (IGNORED), or "random" (foreground with probability 0.5 for each pixel,
    else background; report E), which is drawn from `generator`.

    Raises ValueError for an unknown policy, and for "random" without a generator.
    """
    if border not in BORDER_POLICIES:
        raise ValueError(f"data.border is {border!r}, allowed are {', '.join(BORDER_POLICIES)}")
    assert trimap.min(initial=PET) >= PET and trimap.max(initial=PET) <= BORDER, "the audit lets only codes 1 to 3 pass"
    codes = {"foreground": FOREGROUND, "background": 0, "ignore": IGNORED, "random": 0}
    target = np.array([0, FOREGROUND, 0, codes[border]], dtype=np.uint8)[trimap]
    if border == "random":
        if generator is None:
            raise ValueError("the border policy 'random' needs a numpy Generator to draw from")
        at_border = trimap == BORDER
        heads = generator.random(np.count_nonzero(at_border)) < 0.5
        target[at_border] = np.where(heads, FOREGROUND, 0)
    return target


def _high_byte(image: Image.Image, path: Path) -> np.ndarray:
    """Take 16-bit grey down to 8 bits as image programs do: 65535 is white."""
    grey = np.array(image)
    if grey.min(initial=0) < 0 or grey.max(initial=0) > 65535:
        raise ValueError(f"{path}: 32-bit values from {grey.min()} to {grey.max()}, allowed are 0 to 65535")
    return (grey.astype(np.uint16) >> 8).astype(np.uint8)


def _uses_only_black_and_white(image: Image.Image) -> bool:
    colours = image.convert("RGB").getcolors(maxcolors=2)
    return colours is not None and all(colour in ((0, 0, 0), (255, 255, 255)) for _, colour in colours)


def _single_channel(codes: np.ndarray, mode: str, path: Path) -> np.ndarray:
    """Take the one channel that a grey mask stored as RGB or RGBA repeats three times."""
    red, green, blue = codes[..., 0], codes[..., 1], codes[..., 2]
    if mode not in ("RGB", "RGBA") or not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise ValueError(f"{path}: a mask needs one value a pixel, this one is coloured (mode {mode})")
    return red
