"""The encoder's layout against the published ResNet-34."""

import torch
from torch import nn

from src.models.blocks import ResNet34Encoder


def test_standard_layout_at_224():
    with torch.device("meta"):
        maps = ResNet34Encoder(width=64, stem_channels=64)(torch.empty(1, 3, 224, 224))
    assert [tuple(feature_map.shape[1:]) for feature_map in maps] == [
        (64, 112, 112),
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
    ]


def test_it_has_34_layers_less_the_classifier():
    """The stem, 16 blocks of two convolutions, and the three projections, which the name does not count."""
    with torch.device("meta"):
        encoder = ResNet34Encoder(width=64, stem_channels=64)
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert len([conv for conv in convolutions if conv.kernel_size != (1, 1)]) == 33
    assert [conv.out_channels for conv in convolutions if conv.kernel_size == (1, 1)] == [128, 256, 512]
    assert [len(stage) for stage in encoder.stages] == [3, 4, 6, 3]
    assert all(conv.bias is None for conv in convolutions)


def test_only_the_first_block_of_stages_two_to_four_strides():
    encoder = ResNet34Encoder(width=2, stem_channels=2)
    strides = [[block.residual[0].stride[0] for block in stage] for stage in encoder.stages]
    assert strides == [[1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1, 1, 1], [2, 1, 1]]


def test_a_narrow_stem_is_projected_in_the_first_stage_too():
    encoder = ResNet34Encoder(width=8, stem_channels=4)
    projections = [not isinstance(stage[0].identity, nn.Identity) for stage in encoder.stages]
    assert projections == [True, True, True, True]
    assert encoder.stages[0][0].identity[0].stride == (1, 1)


def test_odd_sizes_are_rounded_up():
    maps = ResNet34Encoder(width=2, stem_channels=2).eval()(torch.zeros(1, 3, 250, 33))
    sizes = [tuple(feature_map.shape[2:]) for feature_map in maps]
    assert sizes == [(125, 17), (63, 9), (32, 5), (16, 3), (8, 2)]


def test_the_stem_map_is_taken_before_the_pool():
    encoder = ResNet34Encoder(width=2, stem_channels=2).eval()
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(images).stem, encoder.stem(images))
