"""Photos as a viewer shows them: turned as the camera says, transparent ones on white."""

import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from src.data.images import as_rgb, decode

# What brings a stored picture upright, for each EXIF orientation (Exif 2.32, tag 0x0112); 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,  # counter-clockwise: a quarter turn clockwise
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_photo(path: Path) -> npt.NDArray[np.uint8]:
    """A photo of any format and mode as uint8 RGB (H, W, 3), of the size and orientation that a viewer shows.

    As `src.data.images.read_image`, which networks are trained with, but for two things: EXIF orientation is applied,
    and what is transparent is laid on white. Colour profiles are not applied.

    Raises ValueError, naming the file, as `read_image` does, and for what is no regular file.
    """
    if _is_special(path):
        raise ValueError(f"{path}: is no regular file")
    return _on_white(_turned_upright(decode(path)), path)


def _is_special(path: Path) -> bool:
    """Whether `path` is a folder, a pipe or a device; reading a pipe would wait for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False  # decoding it says what is wrong


def _turned_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data raise nearly anything; a viewer shows such a photo as it is stored
        return image
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _on_white(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if not image.has_transparency_data:
        return as_rgb(image, path)
    if image.mode.startswith("I"):  # 16-bit grey with one transparent value, which Pillow cannot turn into alpha
        photo = as_rgb(image, path)
        photo[np.array(image) == image.info["transparency"]] = 255
        return photo
    white = Image.new("RGBA", image.size, "white")
    try:
        return as_rgb(Image.alpha_composite(white, image.convert("RGBA")), path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot lay mode {image.mode} on white ({error})") from error
