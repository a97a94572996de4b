"""Report A's ResNet34-UNet: stem, bridge, decoder and last step."""

import pytest
import torch
from torch import nn

from src.models.blocks import CBAM, BasicBlock, DoubleConv, ResNet34Encoder
from src.models.resnet34_unet import ResNet34UNet


def test_stem_and_stages_at_full_width():
    with torch.device("meta"):
        maps = ResNet34UNet().encoder(torch.empty(1, 3, 256, 256))
    assert [tuple(feature_map.shape[1:]) for feature_map in maps] == [
        (32, 128, 128),
        (64, 64, 64),
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
    ]


def test_bridge_reaches_one_sixty_fourth():
    with torch.device("meta"):
        network = ResNet34UNet()
        assert network.bridge(torch.empty(1, 512, 8, 8)).shape == (1, 1024, 4, 4)
    assert [type(layer).__name__ for layer in network.bridge] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
        "MaxPool2d",
    ]
    assert network.bridge[0].bias is not None


def test_decoder_at_full_width():
    with torch.device("meta"):
        network = ResNet34UNet()
        seen = []
        for block in network.decoder:
            block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
        network(torch.empty(1, 3, 256, 256))
    assert seen == [(512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64), (32, 128, 128)]
    assert (network.to_full_size.in_channels, network.to_full_size.out_channels) == (32, 32)
    assert network.head.in_channels == 32


def test_the_bridge_is_the_only_3x3_convolution_with_a_bias():
    network = ResNet34UNet(width=2)
    biased = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert biased == ["bridge.0", "head"]


def test_each_up_block_gets_the_skip_of_its_own_level_first():
    network = ResNet34UNet(width=4).eval()
    mixed = []
    for block in network.decoder:
        block.mix.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[0]))
    images = torch.randn(1, 3, 100, 75)
    with torch.no_grad():
        network(images)
        maps = network.encoder(images)
    for features, skip in zip(mixed, reversed(maps), strict=True):
        assert torch.equal(features[:, : skip.shape[1]], skip)
        assert features.shape[1] == 2 * skip.shape[1]


@pytest.mark.parametrize("off", [{}, {"residual": False, "attention": False}])
def test_without_options_the_weights_are_those_of_the_parts_one_after_another(off):
    torch.manual_seed(0)
    network = ResNet34UNet(width=2, **off)
    torch.manual_seed(0)
    parts = {"encoder.": ResNet34Encoder(width=2, stem_channels=1)}
    parts["bridge."] = nn.Sequential(nn.Conv2d(16, 32, kernel_size=3, padding=1), nn.BatchNorm2d(32))
    for step, channels in enumerate([16, 8, 4, 2, 1]):
        parts[f"decoder.{step}.upsample."] = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        parts[f"decoder.{step}.mix."] = DoubleConv(2 * channels, channels, conv_bias=False)
    parts["to_full_size."] = nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2)
    parts["head."] = nn.Conv2d(1, 1, kernel_size=1)
    expected = {name + key: value for name, part in parts.items() for key, value in part.state_dict().items()}
    weights = network.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_residual_makes_the_decoder_of_the_encoders_blocks():
    network = ResNet34UNet(width=4, residual=True)
    mixes = [up_block.mix for up_block in network.decoder]
    assert all(type(mix) is BasicBlock for mix in mixes)
    projections = [(mix.identity[0].in_channels, mix.identity[0].out_channels) for mix in mixes]
    assert projections == [(64, 32), (32, 16), (16, 8), (8, 4), (4, 2)]


def test_attention_is_behind_each_up_block_and_nowhere_else():
    network = ResNet34UNet(width=4, attention=True)
    attending = [name for name, module in network.named_modules() if isinstance(module, CBAM)]
    assert attending == [f"decoder.{step}.attend" for step in range(5)]
