"""CBAM's weights by hand and in range."""

import pytest
import torch
from torch import nn

from src.models.blocks import CBAM, ChannelAttention, SpatialAttention


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
