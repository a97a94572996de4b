"""Report B's ResNet34-UNet: which maps are skips, the decoder and the bilinear last step."""

import torch
from torch import nn

from src.models.resnet34_unet_plain import ResNet34UNetPlain


def test_decoder_at_full_width():
    with torch.device("meta"):
        network = ResNet34UNetPlain()
        seen = []
        for block in network.decoder:
            block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
        network(torch.empty(1, 3, 256, 256))
    assert seen == [(256, 16, 16), (128, 32, 32), (64, 64, 64), (64, 128, 128)]
    assert [block.mix[0].in_channels for block in network.decoder] == [512, 256, 128, 128]


def test_skips_are_stages_three_two_one_and_the_stem_each_first():
    network = ResNet34UNetPlain(width=4).eval()
    mixed = []
    for block in network.decoder:
        block.mix.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[0]))
    images = torch.randn(1, 3, 100, 75)
    with torch.no_grad():
        network(images)
        maps = network.encoder(images)
    for features, skip in zip(mixed, [maps.stage3, maps.stage2, maps.stage1, maps.stem], strict=True):
        assert torch.equal(features[:, : skip.shape[1]], skip)


def test_only_the_decoder_and_the_head_have_convolution_biases():
    network = ResNet34UNetPlain(width=2)
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    assert all((m.bias is not None) == (not name.startswith("encoder")) for name, m in convolutions.items())
    assert sum(m.bias is not None for m in convolutions.values()) == 2 * 4 + 1


def test_the_last_step_doubles_bilinearly():
    """Columns alternate 0 and 4: at twice the size there are points 1/4 and 3/4 between them, 1 and 3."""
    network = ResNet34UNetPlain(width=2).eval()
    pattern = torch.tensor([0.0, 4.0]).repeat(17).expand(1, 1, 34, 34)
    network.head.register_forward_hook(lambda *_: pattern)
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 68, 68))
    assert logits.shape == (1, 1, 68, 68)
    torch.testing.assert_close(logits[0, 0, 10, :6], torch.tensor([0.0, 1.0, 3.0, 3.0, 1.0, 1.0]))
