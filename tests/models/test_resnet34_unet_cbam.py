"""Report D's ResNet34-UNet: its center, which maps are skips, and CBAM on and off."""

import torch
from torch import nn

from src.models.blocks import CBAM
from src.models.resnet34_unet_cbam import ResNet34UNetCBAM


def double_convs(network: ResNet34UNetCBAM) -> list[nn.Module]:
    return [network.center[0], *(up_block.mix[0] for up_block in network.decoder)]


def test_decoder_at_full_width():
    with torch.device("meta"):
        network = ResNet34UNetCBAM()
    blocks = double_convs(network)
    assert [block[0].in_channels for block in blocks] == [768, 288, 160, 96, 32, 32]
    assert {convolution.out_channels for block in blocks for convolution in (block[0], block[3])} == {32}
    ups = [up_block.upsample for up_block in network.decoder]
    assert [(up.in_channels, up.out_channels, up.bias is not None) for up in ups] == [(32, 32, True)] * 5


def test_center_sees_the_projection_of_the_deepest_map_and_then_the_map():
    network = ResNet34UNetCBAM(width=4).eval()
    images = torch.randn(1, 3, 70, 64)
    center_inputs, _ = watch(network, images)
    with torch.no_grad():
        deepest = network.encoder(images).stage4
        assert torch.equal(center_inputs, torch.cat([network.projection(deepest), deepest], dim=1))


def test_skips_are_stages_three_two_and_one_each_last():
    network = ResNet34UNetCBAM(width=4).eval()
    images = torch.randn(1, 3, 70, 45)
    _, joined = watch(network, images)
    with torch.no_grad():
        maps = network.encoder(images)
    for features, skip in zip(joined[:3], [maps.stage3, maps.stage2, maps.stage1], strict=True):
        assert features.shape[1] == 2 + skip.shape[1] and torch.equal(features[:, 2:], skip)
    assert [tuple(features.shape[1:]) for features in joined[3:]] == [(2, 35, 23), (2, 70, 45)]


def watch(network: ResNet34UNetCBAM, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What goes into the center and into the five decoder blocks."""
    seen: list[torch.Tensor] = []
    for block in double_convs(network):
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(images)
    return seen[0], seen[1:]


def test_six_blocks_attend_and_none_without_cbam():
    assert count_cbam(ResNet34UNetCBAM(width=2, cbam=True)) == 6
    assert count_cbam(ResNet34UNetCBAM(width=2, cbam=False)) == 0


def count_cbam(network: nn.Module) -> int:
    return sum(isinstance(module, CBAM) for module in network.modules())


def test_cbam_off_is_the_same_network_with_attention_bypassed():
    torch.manual_seed(0)
    attended = ResNet34UNetCBAM(width=4, cbam=True).eval()
    plain = ResNet34UNetCBAM(width=4, cbam=False).eval()
    missing, unexpected = plain.load_state_dict(attended.state_dict(), strict=False)
    assert not missing
    assert all(".1.channel." in name or ".1.spatial." in name for name in unexpected)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(attended(images), plain(images))
        for block in (attended.center, *(up_block.mix for up_block in attended.decoder)):
            block[1] = nn.Identity()
        assert torch.equal(attended(images), plain(images))


def test_the_projection_is_linear_and_without_bias():
    network = ResNet34UNetCBAM(width=2)
    assert [type(layer).__name__ for layer in network.projection] == ["Conv2d", "BatchNorm2d"]
    assert network.projection[0].bias is None
    assert network.projection[0].kernel_size == (1, 1)
