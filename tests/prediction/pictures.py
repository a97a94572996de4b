"""Photos for tests: blocks of random colours, in any format."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def blocks(seed: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """uint8 RGB (height, width, 3) of blocks of 10 x 10 pixels."""
    colours = np.random.default_rng(seed).integers(0, 256, (-(-height // 10), -(-width // 10), 3), dtype=np.uint8)
    return np.kron(colours, np.ones((10, 10, 1), dtype=np.uint8))[:height, :width]


def save(path: Path, pixels: npt.NDArray[np.uint8], kind: str = "PNG", **options: object) -> Path:
    """Writes `pixels` to `path` in the format `kind`, whatever the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind, **options)
    return path


def grey(path: Path) -> npt.NDArray[np.generic]:
    """The values of a grey PNG as they are stored, (H, W)."""
    with Image.open(path) as image:
        return np.array(image)
