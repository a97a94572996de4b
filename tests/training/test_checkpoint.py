"""Weights that a training starts from: whatever program wrote them they load, or the message says what differs."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from src.models.blocks import ResNet34Encoder
from src.models.resnet34_unet import ResNet34UNet
from src.models.resnet34_unet_cbam import ResNet34UNetCBAM
from src.models.resnet34_unet_plain import ResNet34UNetPlain
from src.models.unet import UNet
from src.training.checkpoint import fitting_weights, oldest_checkpoint


@pytest.fixture
def network() -> nn.Module:
    """Its own names begin with those that wrappers use too."""
    return nn.ModuleDict({"model": nn.Linear(2, 3), "encoder": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))})


def prefixed(prefix: str, network: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in network.state_dict().items()}


@pytest.fixture
def saved(tmp_path: Path):
    def save(content: object) -> Path:
        torch.save(content, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return save


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.module.",
        "net.model.",
        "a.b.",
    ],
)
@pytest.mark.parametrize("holder", [None, "model", "state_dict", "model_state_dict"])
def test_weights_load_under_whatever_name_a_program_gave_them(network, saved, prefix, holder):
    weights = prefixed(prefix, network)
    path = saved(weights if holder is None else {"epoch": 3, holder: weights, "optimizer_states": [{}]})
    found = fitting_weights(path, network.state_dict())
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())


def test_a_network_whose_parts_were_wrapped_or_compiled_loads(network, saved):
    wrapped = nn.ModuleDict({"model": nn.DataParallel(network["model"]), "encoder": torch.compile(network["encoder"])})
    assert {"model.module.bias", "encoder._orig_mod.0.bias"} <= wrapped.state_dict().keys()
    assert fitting_weights(saved(wrapped.state_dict()), network.state_dict()).keys() == network.state_dict().keys()


def test_the_entries_that_differ_are_named_with_what_differs(network, saved):
    weights = prefixed("module.", network) | {"module.model.bias": torch.zeros(4), "loss.weight": torch.ones(1)}
    del weights["module.encoder.0.bias"]
    with pytest.raises(ValueError) as refusal:
        fitting_weights(saved(weights), network.state_dict())
    assert str(refusal.value).partition("; ")[2] == (
        "of 9 entries 1 of another kind: model.bias (wanted torch.float32 (3,), found torch.float32 (4,)); "
        "1 missing: encoder.0.bias; 1 unknown to the network: loss.weight"
    )


def test_many_differences_are_counted(network, saved):
    with pytest.raises(
        ValueError, match=r"6 missing: encoder\.0\.weight, encoder\.0\.bias, encoder\.1\.weight and 3 more"
    ):
        fitting_weights(saved(prefixed("model.", network["model"])), network.state_dict())


def test_two_entries_never_become_one(network, saved):
    weights = prefixed("student.", network) | prefixed("teacher.", network)
    with pytest.raises(ValueError, match=r"9 unknown to the network: teacher\.model\.weight, "):
        fitting_weights(saved(weights), network.state_dict())
    weights = prefixed("", network) | {"module.model.bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"1 unknown to the network: module\.model\.bias"):
        fitting_weights(saved(weights), network.state_dict())


def torchvision_resnet34(width=8):
    """A state dict in the names and the order of torchvision's ResNet-34, `width` channels in place of 64."""
    model = ResNet34Encoder(width=width, stem_channels=width)
    names = ["conv1", "bn1"]
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            projected = ["downsample.0", "downsample.1"] if block == 0 and layer > 1 else []
            names += [f"layer{layer}.{block}.{part}" for part in ("conv1", "bn1", "conv2", "bn2", *projected)]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = [
        f"{name}.{kind}" for name in names for kind in (norm if name.endswith(("bn1", "bn2", "ample.1")) else norm[:1])
    ]
    assert len(keys) == 216  # 36 convolutions, 36 BatchNorms of five entries each
    return dict(zip(keys, model.state_dict().values(), strict=True)), model


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
@pytest.mark.parametrize("head", [{}, {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}])
def test_an_encoder_in_torchvisions_names_is_taken_and_the_rest_stays(saved, prefix, head):
    entries, encoder = torchvision_resnet34()
    network = ResNet34UNetPlain(width=8)
    found = fitting_weights(
        saved({prefix + key: value for key, value in (entries | head).items()}), network.state_dict()
    )
    assert found.keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        wanted = encoder.state_dict()[key.removeprefix("encoder.")] if key.startswith("encoder.") else value
        assert torch.equal(found[key], wanted)


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_files_without_the_counters_of_batches_are_taken(saved, prefix):
    entries, _ = torchvision_resnet34()
    network = ResNet34UNetPlain(width=8)
    network.encoder.stem[1].num_batches_tracked.fill_(7)
    for content in (entries, network.state_dict()):
        weights = {prefix + key: value for key, value in content.items() if not key.endswith("num_batches_tracked")}
        found = fitting_weights(saved(weights), network.state_dict())
        assert found.keys() == network.state_dict().keys()
        assert found["encoder.stem.1.num_batches_tracked"] == 7  # the network's own
        # as the check of a config asks it, with a network that has no values
        fitting_weights(saved(weights), ResNet34UNetPlain(width=8).to("meta").state_dict())


def test_an_encoder_of_another_shape_or_with_parts_missing_is_refused(saved):
    entries, _ = torchvision_resnet34()
    with pytest.raises(ValueError, match=r"of 222 entries 6 of another kind: encoder\.stem\.0\.weight"):
        fitting_weights(saved(entries), ResNet34UNet(width=8).state_dict())  # its stem has half as many channels
    del entries["layer4.2.conv2.weight"]
    with pytest.raises(ValueError, match=r"1 missing: encoder\.stages\.3\.2\.residual\.3\.weight"):
        fitting_weights(saved(entries), ResNet34UNetPlain(width=8).state_dict())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda network: network, r"a Python object \(torch\.nn\.modules\.container\.ModuleDict\), as a network saved"),
        (lambda network: {"state_dict": network.state_dict(), "hparams": argparse.Namespace()}, "argparse.Namespace"),
        (lambda network: {"state_dict": network.state_dict(), "best": np.float64(1)}, r"numpy\.\S+\.scalar"),
    ],
)
def test_python_objects_are_refused_in_one_line_that_says_what_to_do(network, saved, content, said):
    with pytest.raises(ValueError, match=said) as refusal:
        fitting_weights(saved(content(network)), network.state_dict())
    assert "torch.save(network.state_dict(), 'weights.pth')" in str(refusal.value)
    assert "\n" not in str(refusal.value) and "weights_only" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:.*TorchScript archive", "ignore:.*torch.jit")
def test_a_compiled_program_is_refused(network, tmp_path):
    torch.jit.script(network["model"]).save(str(tmp_path / "program.pt"))
    with pytest.raises(ValueError, match=r"it holds a compiled program \(TorchScript\)"):
        fitting_weights(tmp_path / "program.pt", network.state_dict())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_refused_in_one_line(network, tmp_path, content):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"not a readable checkpoint|holds no weights") as refusal:
        fitting_weights(tmp_path / "weights.pth", network.state_dict())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, {"model": {}}, {"state_dict": {"a": [1]}}])
def test_a_checkpoint_without_weights_says_what_it_holds(network, saved, content):
    with pytest.raises(ValueError, match=rf"holds no weights \(its entries: {', '.join(content) or 'none'}\)"):
        fitting_weights(saved(content), network.state_dict())


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda weight: weight > 0, "found torch.bool"),
        (lambda weight: weight.to(torch.int8), "found torch.int8"),
        (lambda weight: weight.to(torch.complex64), "found torch.complex64"),
        (lambda weight: weight.to_sparse(), "found torch.sparse_coo of torch.float32"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "found torch.qint8"),
    ],
)
def test_entries_that_are_not_plain_numbers_of_the_networks_kind_are_named(network, saved, odd, said):
    weights = network.state_dict()
    path = saved(weights | {"model.weight": odd(weights["model.weight"])})
    with pytest.raises(ValueError, match=r"1 of another kind: model\.weight \(wanted torch\.float32") as error:
        fitting_weights(path, weights)
    assert said in str(error.value)


def test_weights_of_another_precision_load(network, saved):
    half = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    assert fitting_weights(saved(half), network.state_dict()).keys() == half.keys()


def test_weights_that_are_not_finite_are_refused(network, saved):
    weights = network.state_dict()
    path = saved(weights | {"model.bias": torch.tensor([0.0, torch.nan, 1.0])})
    with pytest.raises(ValueError, match=r"numbers that are not finite: model\.bias"):
        fitting_weights(path, weights)


def test_weights_of_another_order_of_concatenation_are_refused_in_one_line(tmp_path):
    changed, kept = ResNet34UNetCBAM(width=2), UNet(width=2)
    assert (oldest_checkpoint(changed), oldest_checkpoint(kept)) == (2, 1)
    for model, number in ((changed, 1), (changed, 2), (kept, 1)):
        torch.save({"format": number, "model": model.state_dict()}, tmp_path / f"{type(model).__name__}_{number}.pt")
    for name, model in (("ResNet34UNetCBAM_2", changed), ("UNet_1", kept)):
        fitting_weights(tmp_path / f"{name}.pt", model.state_dict(), oldest_checkpoint(model))
    with pytest.raises(
        ValueError, match=r"UNetCBAM_1\.pt: is a checkpoint of format 1; .* format 2 or later"
    ) as refusal:
        fitting_weights(tmp_path / "ResNet34UNetCBAM_1.pt", changed.state_dict(), oldest_checkpoint(changed))
    assert "\n" not in str(refusal.value)
