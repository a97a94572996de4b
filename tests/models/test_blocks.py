"""Double convolutions, up-blocks and sizes, with values that can be worked out by hand."""

import pytest
import torch
from torch import nn

from src.models.blocks import (
    BasicBlock,
    DoubleConv,
    UpBlock,
    check_images,
    join_skip,
    match_size,
    mixing_block,
)


@pytest.mark.parametrize(
    ("conv_bias", "batch_norm", "layers"),
    [
        (False, True, ["Conv2d", "BatchNorm2d", "ReLU"] * 2),
        (True, True, ["Conv2d", "BatchNorm2d", "ReLU"] * 2),
        (True, False, ["Conv2d", "ReLU"] * 2),
    ],
)
def test_double_conv_is_built_as_asked(conv_bias, batch_norm, layers):
    double_conv = DoubleConv(3, 5, conv_bias, batch_norm)
    assert [type(layer).__name__ for layer in double_conv] == layers
    convolutions = [layer for layer in double_conv if isinstance(layer, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == [(3, 5), (5, 5)]
    assert all((conv.bias is not None) == conv_bias for conv in convolutions)


def test_double_conv_by_hand():
    """Weights 1, biases -1 then 0, on 2 x 2 ones: each window sees all four pixels, so 4 - 1 = 3, then 12."""
    double_conv = DoubleConv(1, 1, conv_bias=True, batch_norm=False)
    first, _, second, _ = double_conv
    with torch.no_grad():
        first.weight.fill_(1)
        first.bias.fill_(-1)
        second.weight.fill_(1)
        second.bias.fill_(0)
        assert double_conv(torch.ones(1, 1, 2, 2)).tolist() == [[[[12, 12], [12, 12]]]]
        second.weight.fill_(-1)
        assert double_conv(torch.ones(1, 1, 2, 2)).tolist() == [[[[0, 0], [0, 0]]]]


def test_a_block_adds_its_identity_and_then_cuts_below_zero():
    """With the residual's convolutions at zero, and BatchNorm at its start, what is left is relu(0 + x)."""
    block = BasicBlock(2, 2, stride=1).eval()
    for layer in (block.residual[0], block.residual[3]):
        nn.init.zeros_(layer.weight)
    features = torch.tensor([[[[1.0, -2.0]], [[-3.0, 4.0]]]])
    assert block(features).tolist() == [[[[1, 0]], [[0, 4]]]]


def test_a_strided_block_projects_every_second_pixel():
    block = BasicBlock(1, 2, stride=2).eval()
    nn.init.zeros_(block.residual[3].weight)
    with torch.no_grad():
        block.identity[0].weight[:] = torch.tensor([10.0, -1.0]).reshape(2, 1, 1, 1)
        block.identity[1].eps = 0
        projected = block(torch.arange(9.0).reshape(1, 1, 3, 3))
    assert projected.tolist() == [[[[0, 20], [60, 80]], [[0, 0], [0, 0]]]]


@pytest.mark.parametrize(("residual", "block"), [(False, DoubleConv), (True, BasicBlock)])
def test_a_mixing_block_keeps_the_size_and_is_residual_only_where_asked(residual, block):
    mixing = mixing_block(3, 5, conv_bias=False, batch_norm=True, residual=residual)
    assert type(mixing) is block
    assert mixing(torch.ones(2, 3, 7, 6)).shape == (2, 5, 7, 6)


def test_a_residual_block_without_batch_norm_is_our_own_mistake():
    with pytest.raises(AssertionError, match="a BasicBlock has BatchNorm and no bias"):
        mixing_block(3, 5, conv_bias=False, batch_norm=False, residual=True)


def test_a_smaller_map_is_filled_with_zeros_at_the_bottom_and_right():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    matched = match_size(features, torch.empty(1, 7, 3, 4))
    assert matched.tolist() == [[[[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 0, 0]]]]


def test_a_larger_map_is_cropped_at_the_bottom_and_right():
    features = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert match_size(features, torch.empty(1, 7, 2, 3)).tolist() == [[[[0, 1, 2], [4, 5, 6]]]]


def test_one_side_can_be_filled_while_the_other_is_cropped():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert match_size(features, torch.empty(1, 7, 3, 1)).tolist() == [[[[1], [3], [0]]]]


def test_a_map_of_the_right_size_is_not_copied():
    features = torch.ones(1, 1, 2, 2)
    assert match_size(features, torch.empty(1, 7, 2, 2)) is features


def test_the_skip_comes_first():
    joined = join_skip(torch.full((1, 2, 2, 2), 7.0), torch.full((1, 1, 2, 2), 5.0))
    assert joined[0, :, 0, 0].tolist() == [7, 7, 5]


@pytest.mark.parametrize(("attention", "share"), [(None, 1), (True, 1 / 4)])
def test_up_block_by_hand(attention, share):
    """The transposed convolution writes 2; the mix adds 10 x skip and 1 x upsampled pixel by pixel.

    With attention of zero weights, sigmoid(0) x sigmoid(0) = 1/4 of that is let through.
    """
    block = UpBlock(4, 1, 1, conv_bias=True, batch_norm=False, attention=attention)
    for parameter in block.attend.parameters():
        nn.init.zeros_(parameter)
    first, _, second, _ = block.mix
    with torch.no_grad():
        block.upsample.weight.fill_(0.5)
        block.upsample.bias.fill_(0)
        for convolution, weights in ((first, [10.0, 1.0]), (second, [1.0])):
            convolution.weight.fill_(0)
            convolution.weight[0, :, 1, 1] = torch.tensor(weights)
            convolution.bias.fill_(0)
        skip = torch.tensor([[[[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]]])
        mixed = block(torch.ones(1, 4, 1, 1), skip)  # 4 channels x 0.5 = 2 on 2 x 2, zeros on the last row and column
    assert (mixed / share).tolist() == [[[[12, 2, 30], [2, 2, 0], [0, 0, 40]]]]


def test_up_block_can_keep_the_channels():
    block = UpBlock(in_channels=4, skip_channels=4, out_channels=4, conv_bias=True)
    assert block(torch.ones(2, 4, 3, 3), torch.ones(2, 4, 5, 6)).shape == (2, 4, 5, 6)


def test_too_small_images_are_refused_in_words():
    with pytest.raises(ValueError) as error:
        check_images(torch.empty(1, 3, 20, 300), minimum_size=32)
    assert str(error.value) == (
        "images of 20 x 300 pixels (height x width) are too small for this network, "
        "which needs at least 32 x 32; resize them to that or more (data.image_size in a run)"
    )


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64)])
def test_something_else_than_a_batch_of_rgb_images_is_our_own_mistake(shape):
    with pytest.raises(AssertionError, match="expected images"):
        check_images(torch.empty(shape), minimum_size=32)
