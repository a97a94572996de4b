from pathlib import Path

import pytest
import torch
from torch import nn

from src.base.config import RunConfig, parse_section
from src.base.runtime import Numerics
from src.data.images import ImageReader
from src.exporting.formats import largest_difference
from src.prediction.load_model import Predictor
from src.training.state import ModelRunner


@pytest.fixture
def red(composed) -> Predictor:
    """A network whose logit is the normalised red of a pixel: (1 - 0.485) / 0.229 = 2.249 if white, -2.118 if black."""
    config = parse_section(RunConfig, composed("data=synthetic", "data.image_size=8"))
    red = nn.Conv2d(3, 1, kernel_size=1, bias=False)
    red.weight.data = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    numerics = Numerics(torch.device("cpu"), config.numerics)
    return Predictor(
        ModelRunner(red, numerics, config.data.mean, config.data.std), config, Path("a run"), ImageReader()
    )


def pages(white: int) -> torch.Tensor:
    """Six images of 8 x 8 pixels, the first of them white, the others black."""
    images = torch.zeros(6, 3, 8, 8, dtype=torch.uint8)
    images[:white] = 255
    return images


def test_the_largest_difference_is_found(red):
    assert largest_difference(lambda images: images[:, 0], red, pages(white=2)) == 0
    found = largest_difference(lambda images: torch.zeros_like(images[:, 0]), red, pages(white=2))
    assert found == pytest.approx(0.4046, abs=1e-3)  # of white, 1 / (1 + exp(-2.249)) - 0.5; of black 0.3926
    nan = largest_difference(lambda images: images[:, 0] * torch.nan, red, pages(white=2))
    assert nan != nan


def test_images_come_in_batches_of_one_two_and_three(red):
    sizes = []

    def program(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images[:, 0]

    largest_difference(program, red, pages(white=6))
    assert sizes == [1, 2, 3]
