"""Every choice of conf/model in turn, as the fixture `choice`."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))


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
def choice(request: pytest.FixtureRequest) -> Choice:
    arguments = OmegaConf.to_container(OmegaConf.load(request.param))
    name = arguments.pop("name")
    module, _, class_name = arguments.pop("_target_").rpartition(".")
    network_class = getattr(importlib.import_module(module), class_name)
    return Choice(request.param, request.param.read_text(), name, network_class, arguments)
