"""A stranger's overrides, options, runs and weights run no code: real attacks, which leave a proof where they work."""

import ast
import copy
import json
import os
import pickle
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from src.base.config import build, find_target
from src.base.errors import ConfigError
from src.base.files import _UniqueKeys
from src.data.augment import check_transforms
from src.evaluate import evaluate
from src.export import export
from src.inference import inference, load_model
from src.repeat import repeat
from src.training.checks import checked
from tests.conftest import PROJECT
from tests.prediction.strangers import disguise

TARGETS = [
    "os.system",
    "subprocess.Popen",
    "subprocess.check_call",
    "builtins.exec",
    "builtins.eval",
    "torch.hub.load",
    "torch.load",
    "torch.nn.modules.module.torch.hub.load",
    "torch.nn.os.system",
    "torch.nn.__loader__.load_module",
    "torch.nn.Module.__subclasses__",
    "albumentations.from_dict",
    "albumentations.load",
    "albumentations.core.serialization.from_dict",
    "src.train.sys.exit",
    "src.train.train",
    "src.data.sources.download.download_oxford_pet",
    "src.base.config.importlib.import_module",
    "src.base.runtime.os.system",
    "src.__builtins__.exec",
    "src..os.system",
    "src",
]
EVIL = """
    from pathlib import Path
    Path({proof!r}).touch()
    from torch import nn
    class Network(nn.Module):
        minimum_size = 8
"""


@pytest.fixture
def proof(tmp_path) -> Path:
    """The file that an attack makes if it works; `evil`, a module that makes it when it is imported, can be found."""
    return tmp_path / "proof"


@pytest.fixture
def evil(tmp_path, proof, monkeypatch) -> Iterator[str]:
    """The name of a package that makes the proof as soon as it is imported."""
    (tmp_path / "evil.py").write_text(textwrap.dedent(EVIL.format(proof=str(proof))))
    monkeypatch.syspath_prepend(tmp_path)
    yield "evil"
    sys.modules.pop("evil", None)


def attack(target: str, proof: Path) -> dict[str, object]:
    """A node that calls `target` with what most ways of running something would take."""
    code = f"__import__('os').system('touch {proof}')"
    return {"name": "x", "_target_": target, "command": f"touch {proof}", "args": ["touch", str(proof)], "source": code}


# --- every way in


@pytest.mark.parametrize("section", ["model", "loss", "optimizer", "scheduler", "augmentation"])
def test_a_target_that_is_no_part_of_a_run_is_refused_before_it_is_called(composed, proof, section):
    usual = composed("device=cpu")
    for target in TARGETS:
        plain, node = copy.deepcopy(usual), attack(target, proof)
        plain[section] = {**plain[section], "transforms": [node]} if section == "augmentation" else node
        with pytest.raises(ConfigError, match=rf"{section}.*: got '{target}'"):
            checked(plain)
    assert not proof.exists()


@pytest.mark.parametrize("target", ["os.system", "builtins.exec"])
def test_a_target_on_the_command_line_is_refused(train, small, tmp_path, proof, target):
    done = train(*small, f"model={{name: x, _target_: {target}, command: 'touch {proof}'}}")
    assert done.returncode == 1 and "Could not override 'model'" in done.stderr
    done = train(*small, f"model._target_={target}", f"model.command=touch {proof}")
    assert done.returncode == 1 and f"model._target_: got '{target}', which is not a Module" in done.stderr
    assert not proof.exists() and not (tmp_path / "runs").exists()


class Evil:
    """Pickled, it makes the proof when somebody unpickles it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def test_hydras_pickled_configs_are_not_opened(train, small, tmp_path, proof):
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(Evil(proof)))
    done = train(*small, f"--experimental-rerun={tmp_path}/config.pickle")
    assert done.returncode == 1 and ": not taken; " in done.stderr
    assert not proof.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_to_start_from_are_no_pickle(train, small, tmp_path, proof):
    torch.save({"model": Evil(proof)}, tmp_path / "weights.pth")
    done = train(*small, f"init_from={tmp_path}/weights.pth")
    assert done.returncode == 1 and "init_from: " in done.stderr and "not a readable checkpoint" in done.stderr
    assert not proof.exists() and not (tmp_path / "runs").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_checkpoint_put_under_a_run_is_no_pickle(train, small, tmp_path, proof):
    assert train(*small).returncode == 0
    (folder,) = (tmp_path / "runs" / "single").glob("unet-*")
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "status": "interrupted"}))
    for name in ("last.pt", "previous.pt", "best.pt"):
        torch.save({"format": 1, "model": Evil(proof)}, folder / "checkpoints" / name)
    train(*small)
    assert not proof.exists()


# --- what albumentations would make of texts


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "albumentations.Lambda", "image": "CODE"},
        {"_target_": "albumentations.Lambda", "name": "x", "mask": "CODE"},
        {"_target_": "albumentations.from_dict", "transform_dict": {"__class_fullname__": "os.system"}},
        {"_target_": "albumentations.load", "filepath_or_buffer": "CODE"},
        {"_target_": "albumentations.ReplayCompose", "transforms": [{"_target_": "os.system", "command": "CODE"}]},
        {"_target_": "albumentations.FDA", "reference_images": ["x"], "read_fn": "CODE"},
        {"_target_": "albumentations.HistogramMatching", "reference_images": ["x"], "read_fn": "CODE"},
        {"_target_": "albumentations.PixelDistributionAdaptation", "reference_images": ["x"], "read_fn": "CODE"},
        {"_target_": "albumentations.OneOf", "transforms": [{"_target_": "albumentations.Lambda", "image": "CODE"}]},
    ],
    ids=lambda node: node["_target_"],
)
def test_no_transform_takes_code_from_a_text(node, proof):
    text = json.dumps(node).replace("CODE", f"__import__('os').system('touch {proof}')")
    assert len(check_transforms([json.loads(text)])) == 1
    assert not proof.exists()


# --- what a user allows

OWN = """
    from src.models.unet import UNet
    class Own(UNet):
        '''A network of one's own.'''
    import albumentations
    class Fog(albumentations.HorizontalFlip):
        '''A transform of one's own.'''
"""


@pytest.fixture(scope="module")
def own_package(tmp_path_factory) -> Path:
    """A folder with the package my_package.nets, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").touch()
    (folder / "my_package" / "nets.py").write_text(textwrap.dedent(OWN))
    return folder


@pytest.fixture
def own(own_package, monkeypatch) -> list[str]:
    """Overrides for a run of a network and a transform of one's own."""
    monkeypatch.syspath_prepend(own_package)
    monkeypatch.setenv("PYTHONPATH", str(own_package))
    transforms = "augmentation.transforms=[{_target_: my_package.nets.Fog}]"
    return ["model._target_=my_package.nets.Own", "model.name=own", transforms]


@pytest.mark.long
def test_a_package_that_the_command_line_names_is_built_and_recorded(train, small, tmp_path, own):
    swept = train("-m", *small, *own, "seed=0")  # in another process
    assert swept.returncode == 0, swept.stderr
    (run_file,) = (tmp_path / "runs").rglob("run.json")
    assert json.loads(run_file.read_text())["allow_targets"] == ["my_package"]
    assert yaml.safe_load((run_file.parent / "config.yaml").read_text())["allow_targets"] == ["my_package"]
    again = train(*small, *own, "allow_targets=[my_package.nets]", "sweep.name=adhoc", "seed=0")
    assert "already finished, nothing to do" in again.stdout  # what is allowed decides no result


def test_what_a_runs_own_config_allows_is_a_strangers_word(run_copy, here, evil, proof, tmp_path):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    config["model"]["_target_"], config["allow_targets"] = "evil.Network", ["evil"]
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"_target_: got 'evil\.Network'; allowed are names under src\., "):
        load_model(run_copy, "cpu")
    run = f"run={run_copy}"
    for main, typed in ((evaluate, []), (export, []), (inference, [f"input={PROJECT}", f"output={tmp_path}/masks"])):
        done = here(main, run, *typed)
        assert done.returncode == 1 and "_target_: got 'evil.Network'" in done.stderr, done
    assert not proof.exists() and "evil" not in sys.modules


def test_a_run_that_is_repeated_is_built_from_what_the_caller_allows(run_copy, here, evil, proof, tmp_path):
    disguise(
        run_copy,
        lambda config: config["model"].update(_target_="evil.Network") or config.update(allow_targets=["evil"]),
    )
    done = here(repeat, f"run={run_copy}", "go=true", f"output={tmp_path}/again")
    assert done.returncode == 1 and "model._target_: got 'evil.Network'; allowed are names" in done.stderr, done
    assert not proof.exists() and "evil" not in sys.modules and not (tmp_path / "again").exists()


def test_a_network_of_ones_own_is_loaded_where_the_caller_allows_it(run_copy, here, own, tmp_path):
    disguise(run_copy, lambda config: config["model"].update(_target_="my_package.nets.Own"))
    assert type(load_model(run_copy, "cpu", ["my_package"]).runner.model).__name__ == "Own"
    done = here(evaluate, f"run={run_copy}", "allow_targets=[my_package.nets]", "images=0", "device=cpu")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("allowed", [["my_pack"], ["my_package.net"], ["nets"], ["my_package.nets.Own"], []])
def test_a_part_of_a_name_allows_nothing(own, allowed):
    with pytest.raises(ConfigError, match=r"my_package\.nets\.Own"):
        find_target({"_target_": "my_package.nets.Own"}, nn.Module, allowed)


def test_an_allowed_package_lends_no_foreign_names(own_package, own):
    (own_package / "my_package" / "aliases.py").write_text(
        "from os import system\nfrom torch.nn import Linear\nimport os\n"
    )
    for name in ("system", "os.system", "os", "Linear"):
        with pytest.raises(ConfigError):
            build({"_target_": f"my_package.aliases.{name}", "command": "true"}, nn.Module, ["my_package.aliases"])


# --- the program itself

RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
DANGEROUS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "torch.hub.load",
    "tempfile.mktemp",
}


SAFE_LOADERS = ("yaml.SafeLoader", "yaml.CSafeLoader", "_UniqueKeys")  # the last is held against a test below


def dangers(tree: ast.AST) -> list[str]:
    """Calls with which a text could become code, and their lines."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        if (
            name in RUNS_TEXT | DANGEROUS
            or keywords.get("shell", "False") != "False"
            or (name == "torch.load" and keywords.get("weights_only") != "True")
            or (name == "yaml.load" and ast.unparse(call.args[-1]) not in SAFE_LOADERS)
            or (name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False")
            or name.endswith(("read_pickle", "extractall"))
        ):
            found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


def test_the_search_for_dangers_finds_them():
    text = "eval(x)\nsubprocess.run(x, shell=True)\ntorch.load(f)\nyaml.load(f)\npickle.loads(b)\nos.system(x)"
    assert [found.partition(":")[0] for found in dangers(ast.parse(text))] == ["1", "2", "3", "4", "5", "6"]
    assert dangers(ast.parse("torch.load(f, weights_only=True)\nyaml.safe_load(f)\nmodel.eval()")) == []


def test_records_are_read_by_a_safe_loader():
    assert issubclass(_UniqueKeys, (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@pytest.mark.parametrize("folder", ["src", "hydra_plugins"])
def test_no_text_becomes_code_and_no_shell_is_used(folder):
    files = sorted((PROJECT / folder).rglob("*.py"))
    assert files
    found = {str(file.relative_to(PROJECT)): dangers(ast.parse(file.read_text())) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
