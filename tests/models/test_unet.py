"""The UNet's levels, skips and flags."""

import pytest
import torch
from torch import nn

from src.base.errors import ConfigError
from src.models.blocks import CBAM, BasicBlock, DoubleConv
from src.models.unet import UNet
from src.training.checks import checked


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


@pytest.mark.parametrize("off", [{}, {"residual": False, "attention": False}])
def test_without_options_the_weights_are_those_of_the_parts_one_after_another(off):
    torch.manual_seed(0)
    network = UNet(width=2, **off)
    torch.manual_seed(0)
    levels = [(3, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
    parts = {f"encoder.{level}.": DoubleConv(*channels, conv_bias=False) for level, channels in enumerate(levels)}
    for step, channels in enumerate([16, 8, 4, 2]):
        parts[f"decoder.{step}.upsample."] = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        parts[f"decoder.{step}.mix."] = DoubleConv(2 * channels, channels, conv_bias=False)
    parts["head."] = nn.Conv2d(2, 1, kernel_size=1)
    expected = {name + key: value for name, part in parts.items() for key, value in part.state_dict().items()}
    weights = network.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_residual_reaches_every_double_conv_and_the_channels_stay():
    network = UNet(width=4, residual=True)
    blocks = [*network.encoder, *(up_block.mix for up_block in network.decoder)]
    assert all(type(block) is BasicBlock for block in blocks)
    projections = [(block.identity[0].in_channels, block.identity[0].out_channels) for block in blocks]
    down = [(3, 4), (4, 8), (8, 16), (16, 32), (32, 64)]
    assert projections == [*down, (64, 32), (32, 16), (16, 8), (8, 4)]
    assert not any(isinstance(module, DoubleConv) for module in network.modules())


@pytest.mark.parametrize("arguments", [{"batch_norm": False}, {"conv_bias": True}])
def test_residual_is_refused_with_what_it_cannot_go_with(arguments):
    with pytest.raises(ValueError, match="residual needs batch_norm=true and conv_bias=false"):
        UNet(width=2, residual=True, **arguments)


def test_attention_follows_what_each_up_block_mixes():
    """In the last, attention of zero weights lets a quarter through to the head, which is linear but for its bias."""
    torch.manual_seed(0)
    network = UNet(width=4, attention=True).eval()
    assert [type(up_block.attend) for up_block in network.decoder] == [CBAM] * 4
    for parameter in network.decoder[-1].attend.parameters():
        nn.init.zeros_(parameter)
    images = torch.randn(1, 3, 35, 50)
    with torch.no_grad():
        attended = network(images) - network.head.bias
        network.decoder[-1].attend = nn.Identity()
        torch.testing.assert_close(attended, (network(images) - network.head.bias) / 4)


@pytest.mark.long
def test_with_all_options_it_compiles_to_one_graph():
    torch.manual_seed(0)
    network = UNet(width=2, residual=True, attention=True).eval()
    images = torch.randn(2, 3, 35, 49)
    with torch.no_grad():
        compiled = torch.compile(network, backend="eager", fullgraph=True)  # raises where the graph breaks
        torch.testing.assert_close(compiled(images), network(images))


def test_an_option_is_off_as_false_as_null_and_if_it_is_left_out(composed):
    assert checked(composed("model.attention=true", "data=synthetic")).model["attention"] is True
    for off in ("model.attention=false", "model.attention=null", "~model.attention"):
        assert not checked(composed(off, "data=synthetic")).model.get("attention")
    with pytest.raises(ConfigError, match=r"model.width: got None; input should be a valid integer"):
        checked(composed("model.width=null", "data=synthetic"))
