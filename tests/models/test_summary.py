"""Summaries of networks against numbers worked out by hand, and against those that report D prints."""

import pytest
import torch
from torch import nn

from src.models.resnet34_unet import ResNet34UNet
from src.models.resnet34_unet_cbam import ResNet34UNetCBAM
from src.models.summary import summarize
from src.models.unet import UNet


class Tiny(nn.Module):
    """A convolution at 4 x 4 pixels, called twice, and a transposed one to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())])
        self.up = nn.ConvTranspose2d(3, 1, 2, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.up(self.body[0](self.body[0](images)))


def test_a_small_network_by_hand():
    found = summarize(Tiny(), 4)
    body, up = found.blocks
    assert (body.name, body.kind, body.output) == ("body.0", "Sequential", (3, 4, 4))
    assert body.parameters == 3 * 3 * 9 + 3  # shared by both calls
    assert body.multiply_adds == 2 * 81 * 16  # 16 pixels, twice
    assert body.torchinfo_multiply_adds == 2 * 84 * 16  # with the biases
    assert body.memory == 2 * (2 * 4 * 3 * 16)  # float32, value and gradient
    assert (up.name, up.output, up.parameters) == ("up", (1, 8, 8), 3 * 4 + 1)
    assert up.multiply_adds == 12 * 16  # each of 16 input pixels times 12 weights
    assert up.torchinfo_multiply_adds == 13 * 64
    assert up.memory == 2 * 4 * 64
    assert found.whole.parameters == 84 + 13 and found.whole.multiply_adds == body.multiply_adds + up.multiply_adds
    assert found.input == 4 * 3 * 16
    assert found.memory == 4 * 97 + 192 + 768 + 512


@pytest.mark.parametrize(
    ("build", "parameters", "multiply_adds", "reported", "megabytes", "total"),
    [
        # report D's own summaries, which charge transposed convolutions at the size of their outputs
        (lambda: UNet(64, 2, batch_norm=False, conv_bias=True), 31_031_810, 48.17, 54.65, 319.82, 444.73),
        (ResNet34UNetCBAM, 21_890_670, 6.65, 6.92, 191.94, 280.29),
        # report A prints only the parameters of its networks
        (UNet, 31_037_633, 48.17, None, None, None),
        (ResNet34UNet, 38_215_873, 7.44, None, None, None),
    ],
)
def test_the_reports_networks(build, parameters, multiply_adds, reported, megabytes, total):
    with torch.device("meta"):
        found = summarize(build(), 256)
    whole = found.whole
    assert whole.parameters == sum(block.parameters for block in found.blocks) == parameters
    assert round(whole.multiply_adds / 1e9, 2) == multiply_adds
    assert whole.multiply_adds == sum(block.multiply_adds for block in found.blocks)
    assert whole.memory == sum(block.memory for block in found.blocks)
    assert round(found.input / 1e6, 2) == 0.79
    if reported is not None:
        assert round(whole.torchinfo_multiply_adds / 1e9, 2) == reported
        assert (round(whole.memory / 1e6, 2), round(found.memory / 1e6, 2)) == (megabytes, total)


def test_the_network_is_left_without_hooks():
    model = Tiny()
    summarize(model, 4)
    assert not any(module._forward_hooks for module in model.modules())
