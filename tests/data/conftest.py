"""Small real data sets on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteOxfordPet = Callable[[Path, Sequence[str], Sequence[str]], Path]


@pytest.fixture
def write_oxford_pet() -> WriteOxfordPet:
    """Writes the official layout: a JPEG of 12 x 10 pixels and a trimap for each stem, and the two lists."""

    def write(root: Path, trainval: Sequence[str], test: Sequence[str]) -> Path:
        trimaps = root / "annotations" / "trimaps"
        (root / "images").mkdir(parents=True)
        trimaps.mkdir(parents=True)
        for number, stem in enumerate([*trainval, *test]):
            generator = np.random.default_rng(number)
            photo = generator.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(photo).save(root / "images" / f"{stem}.jpg")
            trimap = generator.integers(1, 4, (10, 12), dtype=np.uint8)
            Image.fromarray(trimap).save(trimaps / f"{stem}.png")
        for name, stems in (("trainval", trainval), ("test", test)):
            lines = "".join(f"{stem} 1 1 1\n" for stem in stems)
            (root / "annotations" / f"{name}.txt").write_text(lines)
        return root

    return write
