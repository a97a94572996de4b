"""Summaries of networks against numbers worked out by hand, and against those that report D prints."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.models.blocks import ResNet34Encoder
from src.models.resnet34_unet import ResNet34UNet
from src.models.resnet34_unet_cbam import ResNet34UNetCBAM
from src.models.resnet34_unet_plain import ResNet34UNetPlain
from src.models.summary import summarize
from src.models.unet import UNet


class Tiny(nn.Module):
    """A convolution at 4 x 4 pixels, called twice, and a transposed one to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())])
        self.up = nn.ConvTranspose2d(3, 1, 2, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.up(self.body[0](self.body[0](images)))


def test_a_small_network_by_hand():
    found = summarize(Tiny(), 4)
    body, up = found.blocks
    assert (body.name, body.kind, body.output) == ("body.0", "Sequential", (3, 4, 4))
    assert body.parameters == 3 * 3 * 9 + 3  # shared by both calls
    assert body.multiply_adds == 2 * 81 * 16  # 16 pixels, twice
    assert body.torchinfo_multiply_adds == 2 * 84 * 16  # with the biases
    assert body.memory == 2 * (2 * 4 * 3 * 16)  # float32, value and gradient
    assert (up.name, up.output, up.parameters) == ("up", (1, 8, 8), 3 * 4 + 1)
    assert up.multiply_adds == 12 * 16  # each of 16 input pixels times 12 weights
    assert up.torchinfo_multiply_adds == 13 * 64
    assert up.memory == 2 * 4 * 64
    assert found.whole.parameters == 84 + 13 and found.whole.multiply_adds == body.multiply_adds + up.multiply_adds
    assert found.input == 4 * 3 * 16
    assert found.memory == 4 * 97 + 192 + 768 + 512


@pytest.mark.parametrize(
    ("build", "parameters", "multiply_adds", "reported", "megabytes", "total"),
    [
        # report D's own summaries, which charge transposed convolutions at the size of their outputs
        (lambda: UNet(64, 2, batch_norm=False, conv_bias=True), 31_031_810, 48.17, 54.65, 319.82, 444.73),
        (ResNet34UNetCBAM, 21_890_670, 6.65, 6.92, 191.94, 280.29),
        # report A prints only the parameters of its networks
        (UNet, 31_037_633, 48.17, None, None, None),
        (ResNet34UNet, 38_215_873, 7.44, None, None, None),
    ],
)
def test_the_reports_networks(build, parameters, multiply_adds, reported, megabytes, total):
    with torch.device("meta"):
        found = summarize(build(), 256)
    whole = found.whole
    assert whole.parameters == sum(block.parameters for block in found.blocks) == parameters
    assert round(whole.multiply_adds / 1e9, 2) == multiply_adds
    assert whole.multiply_adds == sum(block.multiply_adds for block in found.blocks)
    assert whole.memory == sum(block.memory for block in found.blocks)
    assert round(found.input / 1e6, 2) == 0.79
    if reported is not None:
        assert round(whole.torchinfo_multiply_adds / 1e9, 2) == reported
        assert (round(whole.memory / 1e6, 2), round(found.memory / 1e6, 2)) == (megabytes, total)


def test_the_network_is_left_without_hooks():
    model = Tiny()
    summarize(model, 4)
    assert not any(module._forward_hooks for module in model.modules())


# --- Parameters and multiply-adds at full width, on the meta device: against the reports and conf's comments

CONFIGS = Path(__file__).parents[2] / "conf" / "model"


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        pytest.param(lambda: UNet(), 31_037_633, id="report A: 31.04 M"),
        pytest.param(lambda: UNet(conv_bias=True), 31_043_521, id="report B"),
        pytest.param(lambda: UNet(64, 2, batch_norm=False, conv_bias=True), 31_031_810, id="report D, exact"),
        pytest.param(lambda: ResNet34UNet(), 38_215_873, id="report A: 38.22 M"),
        pytest.param(lambda: ResNet34UNetPlain(), 24_425_857, id="report B, with a ResNet-34 encoder"),
        pytest.param(lambda: ResNet34UNetCBAM(), 21_890_670, id="report D, exact, with CBAM"),
        pytest.param(lambda: ResNet34UNetCBAM(cbam=False), 21_889_314, id="report D without CBAM"),
        # the published ResNet-34 has 21,797,672, of which its classifier takes 512 x 1000 + 1000
        pytest.param(lambda: ResNet34Encoder(64, 64), 21_797_672 - 513_000, id="ResNet-34"),
    ],
)
def test_parameter_counts(build, parameters):
    with torch.device("meta"):
        assert count_parameters(build()) == parameters


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        # 1x1 projections of 3 x 64 + 64 x 128 + 128 x 256 + 256 x 512 + 512 x 1024 = 696,512 weights down and
        # 2 (512^2 + 256^2 + 128^2 + 64^2) = 696,320 up, with 2 BatchNorm values for each of 1,984 + 960 channels
        pytest.param(lambda: UNet(residual=True), 31_037_633 + 696_512 + 696_320 + 5_888, id="UNet, residual"),
        # a level 2 x C x C/16 and 7 x 7 x 2 = 98: 32,768 + 8,192 + 2,048 + 512 = 43,520 for 512 to 64 channels
        pytest.param(lambda: UNet(attention=True), 31_037_633 + 43_520 + 4 * 98, id="UNet, attention"),
        # the decoder alone: the UNet's, and a level of 2 x 32^2 = 2,048 weights; 2 BatchNorm values for 992 channels
        pytest.param(
            lambda: ResNet34UNet(residual=True), 38_215_873 + 696_320 + 2_048 + 1_984, id="ResNet34-UNet, residual"
        ),
        # the UNet's four levels, and 2 x 32 x 2 = 128 for a fifth of 32 channels
        pytest.param(
            lambda: ResNet34UNet(attention=True), 38_215_873 + 43_520 + 128 + 5 * 98, id="ResNet34-UNet, attention"
        ),
    ],
)
def test_parameter_counts_with_each_option(build, parameters):
    with torch.device("meta"):
        assert count_parameters(build()) == parameters


@pytest.mark.parametrize("network_class", [UNet, ResNet34UNet])
def test_the_comments_of_options_tell_the_truth(network_class):
    text = (CONFIGS / f"{network_class.__module__.rpartition('.')[2]}.yaml").read_text()
    for option in ("residual", "attention"):
        said = re.search(rf"^{option}: false .*?([\d,]+) parameters", text, re.MULTILINE)
        with torch.device("meta"):
            assert said[1] == f"{count_parameters(network_class(**{option: True})):,}"


def test_the_comment_of_every_choice_tells_the_truth(plain_choice):
    said = re.search(r"([\d,]+) parameters.*?; ([\d.]+) G multiply-adds at 3x256x256", plain_choice.text)
    with torch.device("meta"):
        network = plain_choice.build(width=64)
    assert f"{count_parameters(network):,}" == said[1]
    assert f"{count_multiply_adds(network) / 1e9:.2f}" == said[2]


@pytest.mark.parametrize(("network_class", "billions"), [(UNet, 48.17), (ResNet34UNet, 7.44)])
def test_multiply_adds_of_report_a(network_class, billions):
    with torch.device("meta"):
        assert count_multiply_adds(network_class()) / 1e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.parametrize(
    ("build", "billions"),
    [
        pytest.param(lambda: UNet(64, 2, batch_norm=False, conv_bias=True), 54.65, id="UNet"),
        pytest.param(lambda: ResNet34UNetCBAM(), 6.92, id="ResNet34-UNet with CBAM"),
    ],
)
def test_report_d_charged_every_convolution_at_its_output(build, billions):
    """Its summary's figures come out when weights and biases are counted once for each output position."""
    with torch.device("meta"):
        network = build()
        with charges_at_output(network) as charges:
            network(torch.empty(1, 3, 256, 256))
    assert sum(charges) / 1e9 == pytest.approx(billions, abs=0.005)


def test_unet_flags_cost_no_multiply_adds():
    with torch.device("meta"):
        networks = [UNet(), UNet(conv_bias=True), UNet(batch_norm=False, conv_bias=True)]
    assert len({count_multiply_adds(network) for network in networks}) == 1


@pytest.mark.parametrize("returned", [list, lambda maps: dict(enumerate(maps)), lambda maps: (*maps, None)])
def test_a_part_may_return_several_maps_in_any_form(returned):
    """As the encoders of segmentation_models_pytorch (a list) and of torchvision (a dict) do."""

    class Encoder(nn.Conv2d):
        def forward(self, images):
            return returned([images, super().forward(images)])

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = Encoder(3, 4, kernel_size=1), nn.Conv2d(3, 1, kernel_size=1)

        def forward(self, images):
            self.encoder(images)
            return self.head(images)

    found = summarize(Network(), 8)
    assert [block.output for block in found.blocks] == [(4, 8, 8), (1, 8, 8)]
    assert found.whole.multiply_adds == 8 * 8 * (3 * 4 + 3)


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_multiply_adds(network: nn.Module) -> float:
    """torch's own count (two operations each), which takes transposed convolutions at their input's size."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 256, 256, device="meta"))
    return counter.get_total_flops() / 2


@contextmanager
def charges_at_output(network: nn.Module) -> Iterator[list[int]]:
    charges: list[int] = []

    def charge(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        charges.append(count_parameters(module) * output.shape[-2] * output.shape[-1])

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    handles = [convolution.register_forward_hook(charge) for convolution in convolutions]
    yield charges
    for handle in handles:
        handle.remove()
