"""Networks of other libraries, played by stubs of the same shape; the real ones too where they are installed."""

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from src.base.errors import ConfigError
from src.models.external import PACKAGES, External
from src.prediction.load_model import load_model
from src.training.checks import checked
from src.training.run import run


class Stub(nn.Module):
    """A 1 x 1 convolution and a buffer beside the weights; `arguments` are what it was made with."""

    def __init__(self, channels: int, arguments: dict[str, Any], as_dict: bool) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, kernel_size=1)
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)
        self.arguments = arguments
        self.as_dict = as_dict
        self.pool = nn.AdaptiveAvgPool2d(2 if arguments.get("name") == "psp" else 1)

    def forward(self, images: torch.Tensor) -> Any:
        logits = self.head(images) * self.scale
        return {"out": logits, "aux": logits[:, :0]} if self.as_dict else logits


@pytest.fixture(autouse=True)
def stubs(monkeypatch):
    """The two packages, as far as `External` calls them."""
    smp, models = ModuleType("segmentation_models_pytorch"), ModuleType("torchvision.models")
    segmentation = ModuleType("torchvision.models.segmentation")
    smp.create_model = lambda arch, **given: Stub(given["classes"], {"name": arch, **given}, as_dict=False)
    models.list_models = lambda module: ["fcn"] if module is segmentation else []
    models.get_model = lambda name, **given: Stub(given["num_classes"], {"name": name, **given}, as_dict=True)
    for module in (smp, ModuleType("torchvision"), models, segmentation):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def overrides(small) -> list[str]:
    """Of a tiny run of an external network."""
    return [*(override for override in small if not override.startswith("model.")), "model=external"]


def test_the_arguments_are_the_librarys_and_no_weights_are_its_default():
    smp = External("smp", "unet", 2, encoder="tu-x", options={"encoder_depth": 3}).network.arguments
    expected = {"classes": 2, "in_channels": 3, "encoder_name": "tu-x", "encoder_weights": None, "encoder_depth": 3}
    assert smp == {"name": "unet", **expected}
    torchvision = External("torchvision", "fcn").network.arguments
    assert torchvision == {"name": "fcn", "weights": None, "weights_backbone": None, "num_classes": 1}
    assert External("smp", "unet", encoder_weights="imagenet").network.arguments["encoder_weights"] == "imagenet"
    with torch.device("meta"):  # a blueprint downloads nothing
        assert External("smp", "unet", encoder_weights="imagenet").network.arguments["encoder_weights"] is None


def test_a_run_of_it_is_trained_and_loaded_again(composed, overrides):
    config = checked(composed(*overrides, "model.library=torchvision", "model.architecture=fcn"))
    outcome = run(config, "single", [])
    assert outcome.status == "finished", outcome.error
    model = load_model(outcome.folder, "cpu").runner.model
    assert model(torch.ones(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    assert model.network.scale.item() == 2  # which no file of weights holds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["model.library=torchvision", "model.architecture=unet"],
            "got architecture=unet of torchvision; allowed: fcn",
        ),
        (["model.library=torchvision", "model.encoder=x"], "got encoder=x with library=torchvision"),
        (["model.options={weights: x}"], "options has weights; weights are named by encoder_weights alone"),
        (["model.encoder='tu-hf-hub:x/y'"], "model.encoder: got 'tu-hf-hub:x/y'"),
        (["model.architecture=psp"], "external has AdaptiveAvgPool2d, without a deterministic form on a GPU, and"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(composed, overrides, changes, said):
    with pytest.raises(ConfigError) as refusal:
        checked(composed(*overrides, *changes))
    assert len(refusal.value.problems) == 1 and said in refusal.value.problems[0]
    if "psp" in changes[0]:
        assert refusal.value.problems[0].endswith("numerics=exact needs one; use numerics=fast")
        checked(composed(*overrides, *changes, "numerics=fast"))


def test_a_library_that_is_not_installed(composed, overrides, monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[external\]' installs it"):
        checked(composed(*overrides))


@pytest.mark.parametrize(
    ("library", "architecture", "encoder"),
    [
        ("smp", "fpn", "resnet18"),
        ("smp", "unet", "tu-mobilenetv3_small_050"),
        ("torchvision", "lraspp_mobilenet_v3_large", None),
    ],
)
def test_the_real_libraries(monkeypatch, library, architecture, encoder):
    for name in [name for name in sys.modules if name.split(".")[0] in ("segmentation_models_pytorch", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    try:
        importlib.import_module(PACKAGES[library])
    except Exception as error:
        pytest.skip(f"not installed: {error}")
    network = External(library, architecture, 2, encoder)
    logits = network(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 2, 64, 64)
    logits.sum().backward()
