"""Every choice of conf/model and the network of the README as the fixture `choice`; ours alone as `our_choice`."""

import importlib
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
OPTIONS = {"residual": True, "attention": True}
OURS = [path for path in CONFIGS if "_target_: src.models.external" not in path.read_text() and "unet" in path.stem]
WITH_OPTIONS = [path for path in CONFIGS if path.stem in ("unet", "resnet34_unet")]
CASES = [(path, {}) for path in CONFIGS] + [(path, OPTIONS) for path in WITH_OPTIONS]
README = Path(__file__).parents[2] / "README.md"


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
        narrow = {"width": 8} if "width" in self.arguments else {}
        return self.network_class(**{**self.arguments, **narrow, **changes})


@pytest.fixture(params=OURS, ids=lambda path: path.stem)
def plain_choice(request: pytest.FixtureRequest) -> Choice:
    """Each file as it is written."""
    return read(request.param)


def case_name(case: tuple[Path, dict[str, bool]]) -> str:
    return case[0].stem + ("_with_options" if case[1] else "")


@pytest.fixture(params=[*CASES, (README, {})], ids=case_name)
def choice(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choice:
    """Each file as it is written, those whose network has options with all of them, and the network of the README."""
    path, options = request.param
    if path == README:
        code, path = readme_network(tmp_path)
        module = ModuleType("src.models.my_net")
        exec(code.read_text(), module.__dict__)
        monkeypatch.setitem(sys.modules, "src.models.my_net", module)
    written = read(path)
    found = replace(written, arguments={**written.arguments, **options})
    if path.stem == "external":
        try:
            found.build()
        except ValueError as error:
            pytest.skip(str(error))
    return found


@pytest.fixture(params=[case for case in CASES if case[0] in OURS], ids=case_name)
def our_choice(request: pytest.FixtureRequest) -> Choice:
    """As `choice`, of our networks alone."""
    path, options = request.param
    written = read(path)
    return replace(written, arguments={**written.arguments, **options})


def readme_network(folder: Path) -> tuple[Path, Path]:
    """The two files of the README's section on a network, word for word, in `folder`."""
    section = README.read_text().partition("## Adding a network")[2].partition("\n## ")[0]
    (folder / "model").mkdir()
    files = folder / "my_net.py", folder / "model" / "my_net.yaml"
    for file, language in zip(files, ("python", "yaml"), strict=True):
        file.write_text(re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1])
    return files


def read(path: Path) -> Choice:
    arguments = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    name = arguments.pop("name")
    module, _, class_name = arguments.pop("_target_").rpartition(".")
    network_class = getattr(importlib.import_module(module), class_name)
    return Choice(path, path.read_text(), name, network_class, arguments)
