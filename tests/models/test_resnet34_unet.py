"""Report A's ResNet34-UNet: stem, bridge, decoder and last step."""

import torch
from torch import nn

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
