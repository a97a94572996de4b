from pathlib import Path

import pytest
import torch
from torch import nn

from src.base.config import RunConfig, parse_section
from src.base.runtime import Numerics
from src.data.images import ImageReader
from src.exporting.formats import BOUND, Agreement, compare
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


def test_a_program_that_computes_the_same_agrees(red):
    assert compare(lambda images: images[:, 0], red, pages(white=2)) == Agreement(0.0, 0.0, 0, 6 * 64)


def test_the_largest_differences_and_the_changed_pixels_are_counted(red):
    agreement = compare(lambda images: torch.zeros_like(images[:, 0]), red, pages(white=2))
    assert agreement.logit == pytest.approx(2.249, abs=1e-3)  # of white; of black it is 2.118
    assert agreement.probability == pytest.approx(0.4046, abs=1e-3)  # 1 / (1 + exp(-2.249)) - 0.5
    assert (agreement.changed_pixels, agreement.pixels) == (2 * 64, 6 * 64)  # white is foreground, 0 is not
    assert not agreement.holds
    assert str(agreement) == (
        "largest difference 2.2e+00 of a logit, 4.0e-01 of a probability (allowed: 1e-04); "
        "128 of 384 mask pixels differ (33.3333 %)"
    )


def test_images_come_in_batches_of_one_two_and_three(red):
    sizes = []

    def program(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images[:, 0]

    compare(program, red, pages(white=6))
    assert sizes == [1, 2, 3]


@pytest.mark.parametrize(
    ("probability", "holds"), [(0.0, True), (BOUND, True), (1.01e-4, False), (float("nan"), False)]
)
def test_probabilities_may_differ_by_a_ten_thousandth(probability, holds):
    assert Agreement(1.0, probability, 0, 1).holds is holds
