"""Every choice of conf/model in turn, as the fixture `plain_choice`, and with options switched on, as `choice`."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
OPTIONS = {"residual": True, "attention": True}
WITH_OPTIONS = [path for path in CONFIGS if path.stem in ("unet", "resnet34_unet")]


@dataclass(frozen=True)
class Choice:
    """One file of conf/model: its text, and the class it names with the arguments beside it."""

    path: Path
    text: str
    name: str
    network_class: type[nn.Module]
    arguments: dict[str, Any]

    def build(self, **changes: Any) -> nn.Module:
        """The real network, always with the same weights, 8 channels wide unless `changes` say otherwise."""
        torch.manual_seed(0)
        return self.network_class(**{**self.arguments, "width": 8, **changes})


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def plain_choice(request: pytest.FixtureRequest) -> Choice:
    """Each file as it is written."""
    return read(request.param)


@pytest.fixture(
    params=[*((path, {}) for path in CONFIGS), *((path, OPTIONS) for path in WITH_OPTIONS)],
    ids=lambda case: case[0].stem + ("_with_options" if case[1] else ""),
)
def choice(request: pytest.FixtureRequest) -> Choice:
    """Each file as it is written, then those whose network has options, with all of them."""
    path, options = request.param
    written = read(path)
    return replace(written, arguments={**written.arguments, **options})


def read(path: Path) -> Choice:
    arguments = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    name = arguments.pop("name")
    module, _, class_name = arguments.pop("_target_").rpartition(".")
    network_class = getattr(importlib.import_module(module), class_name)
    return Choice(path, path.read_text(), name, network_class, arguments)
