"""Double convolutions, up-blocks and sizes, with values that can be worked out by hand."""

import pytest
import torch
from torch import nn

from src.models.blocks import (
    CBAM,
    BasicBlock,
    ChannelAttention,
    DoubleConv,
    ResNet34Encoder,
    SpatialAttention,
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


# --- CBAM's weights by hand and in range


def test_channel_attention_by_hand():
    """Hidden = average or maximum of the first channel; then weights 1 and -1: sigmoid(+-(2 + 5))."""
    attention = ChannelAttention(2)
    into, _, out_of = attention.shared
    with torch.no_grad():
        into.weight[:] = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
        out_of.weight[:] = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        features = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]], [[9.0, 9.0], [9.0, 9.0]]]])
        weights = attention(features)
    assert weights.shape == (1, 2, 1, 1)
    torch.testing.assert_close(weights.flatten(), torch.sigmoid(torch.tensor([7.0, -7.0])))


def test_spatial_attention_by_hand():
    """Only the centre of the 7 x 7 kernel counts: 1 x mean + 10 x maximum over the channels."""
    attention = SpatialAttention()
    with torch.no_grad():
        attention.conv.weight.fill_(0)
        attention.conv.weight[0, :, 3, 3] = torch.tensor([1.0, 10.0])
        features = torch.tensor([[[[0.1, -0.2]], [[0.3, -0.4]]]])
        weights = attention(features)
    assert weights.shape == (1, 1, 1, 2)
    torch.testing.assert_close(weights.flatten(), torch.sigmoid(torch.tensor([0.2 + 3.0, -0.3 - 2.0])))


def test_attention_weights_lie_between_zero_and_one():
    torch.manual_seed(0)
    features = torch.randn(2, 32, 9, 11)
    for attention in (ChannelAttention(32), SpatialAttention()):
        weights = attention(features)
        assert ((weights > 0) & (weights < 1)).all()
        assert weights.std() > 0


def test_zero_weights_let_a_quarter_through():
    """sigmoid(0) = 1/2 for the channel and 1/2 for the position."""
    cbam = CBAM(4)
    for parameter in cbam.parameters():
        nn.init.zeros_(parameter)
    features = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(cbam(features), features / 4)


def test_positions_are_weighed_after_channels():
    torch.manual_seed(0)
    cbam = CBAM(8)
    features = torch.randn(2, 8, 5, 6)
    weighed = features * cbam.channel(features)
    torch.testing.assert_close(cbam(features), weighed * cbam.spatial(weighed))


@pytest.mark.parametrize(("channels", "hidden"), [(64, 4), (32, 2), (16, 1), (4, 1)])
def test_reduction_leaves_at_least_one_channel(channels, hidden):
    assert ChannelAttention(channels).shared[0].out_channels == hidden


def test_one_block_of_32_channels_has_226_parameters():
    """1,356 parameters of CBAM in report D's network are six of these: 32 x 2 twice, and 7 x 7 x 2."""
    assert sum(parameter.numel() for parameter in CBAM(32).parameters()) == 2 * 32 * 2 + 7 * 7 * 2 == 1_356 // 6


# --- The encoder's layout against the published ResNet-34


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
