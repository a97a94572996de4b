"""The UNet's levels, skips and flags."""

import pytest
import torch
from torch import nn

from src.models.unet import UNet


def test_levels_at_full_width():
    levels = shapes_seen(UNet, "encoder")
    assert levels == [(64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (1024, 16, 16)]
    assert shapes_seen(UNet, "decoder") == [(512, 32, 32), (256, 64, 64), (128, 128, 128), (64, 256, 256)]


def shapes_seen(network_class: type[nn.Module], part: str) -> list[tuple[int, ...]]:
    with torch.device("meta"):
        network = network_class()
        seen: list[tuple[int, ...]] = []
        for module in getattr(network, part):
            module.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
        network(torch.empty(1, 3, 256, 256))
    return seen


def test_transposed_convolutions_halve_the_channels_and_have_a_bias():
    with torch.device("meta"):
        upsamples = [block.upsample for block in UNet().decoder]
    assert [(up.in_channels, up.out_channels) for up in upsamples] == [
        (1024, 512),
        (512, 256),
        (256, 128),
        (128, 64),
    ]
    assert all(up.kernel_size == up.stride == (2, 2) and up.bias is not None for up in upsamples)


def test_each_up_block_gets_the_skip_of_its_own_level_first():
    network = UNet(width=4).eval()
    seen = {}
    for level, module in enumerate(network.encoder):
        module.register_forward_hook(lambda _, __, output, level=level: seen.update({("skip", level): output}))
    for step, block in enumerate(network.decoder):
        block.mix.register_forward_pre_hook(lambda _, inputs, step=step: seen.update({("mix", step): inputs[0]}))
    with torch.no_grad():
        network(torch.randn(1, 3, 35, 50))
    for step, level in enumerate([3, 2, 1, 0]):
        skip = seen["skip", level]
        assert torch.equal(seen["mix", step][:, : skip.shape[1]], skip)


def test_one_pixel_reaches_only_what_the_pools_and_kernels_let_it():
    """To a side, convolutions down reach 2+4+8+16+32, pools 1+2+4+8, convolutions up 16+8+4+2: 107 pixels."""
    torch.manual_seed(0)
    network = UNet(width=8).eval()
    images = torch.zeros(1, 3, 32, 512)
    changed = images.clone()
    changed[..., 16, 256] = 5
    with torch.no_grad():
        difference = (network(changed) - network(images)).abs().amax(dim=(0, 1, 2))
    touched = difference.nonzero().flatten()
    assert difference[256] > 0
    assert touched.min() >= 256 - 107
    assert touched.max() <= 256 + 107


@pytest.mark.parametrize(("batch_norm", "conv_bias"), [(True, False), (True, True), (False, True)])
def test_flags_reach_every_double_conv(batch_norm, conv_bias):
    network = UNet(width=2, batch_norm=batch_norm, conv_bias=conv_bias)
    assert len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]) == (18 if batch_norm else 0)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m is not network.head]
    assert len(convolutions) == 18
    assert all((convolution.bias is not None) == conv_bias for convolution in convolutions)
    assert network.head.bias is not None


def test_weights_start_from_torchs_defaults():
    torch.manual_seed(0)
    network = UNet(width=2)
    torch.manual_seed(0)
    first = nn.Conv2d(3, 2, kernel_size=3, bias=False)  # the first layer that draws
    assert torch.equal(network.encoder[0][0].weight, first.weight)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)
