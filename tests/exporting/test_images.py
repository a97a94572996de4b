from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.images import ImageReader
from src.exporting.exporting import read_photos
from src.prediction.inputs import find_inputs


@pytest.fixture
def greys(tmp_path) -> Path:
    """13 images of 4 x 6 pixels, each of one grey: 0, 10, 20 to 120; and what is no photo."""
    for index in range(13):
        Image.fromarray(np.full((6, 4, 3), 10 * index, dtype=np.uint8)).save(tmp_path / f"{index:02d}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.png").touch()
    return tmp_path


@pytest.fixture
def predictor() -> SimpleNamespace:
    """What reading photos needs of one: 8 pixels."""
    return SimpleNamespace(reader=ImageReader(), image_size=8)


def photos(source: Path) -> list[Path]:
    return find_inputs(str(source)).photos


def test_images_are_spread_evenly_over_many(greys, predictor):
    images = read_photos(photos(greys), predictor)
    assert images.shape == (6, 3, 8, 8) and images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 20, 50, 70, 100, 120]  # 0, 2.4, 4.8, 7.2, 9.6 and 12, rounded


def test_few_images_are_taken_several_times(greys, predictor):
    images = read_photos(photos(greys)[1:3], predictor)
    assert images[:, 2, 7, 7].tolist() == [10, 10, 10, 20, 20, 20]


def test_a_file_that_is_not_an_image_is_named(greys, predictor):
    with pytest.raises(ValueError, match=r"notes\.txt: cannot be read as an image"):
        read_photos(photos(greys / "notes.txt"), predictor)
