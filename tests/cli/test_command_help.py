"""--help lists what a command takes, and nothing else: an example first, groups with options, keys with comments."""

import importlib

import pytest
import yaml

from src.cli.overrides import CONF

COMMANDS = (
    "train",
    "aggregate",
    "compare",
    "status",
    "evaluate",
    "inference",
    "export",
    "benchmark",
    "prepare",
    "summary",
    "clean",
    "repeat",
    "publish",
    "settle",
)
TITLE = "Groups, as group=option"


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_its_groups_and_all_its_keys(here, name, flag):
    done = here(getattr(importlib.import_module(f"src.{name}"), name), flag)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"`python -m src.{name}")
    keys = yaml.safe_load((CONF / f"{name}.yaml").read_text()).keys() - {"defaults", "hydra"}
    assert keys == {line.partition(":")[0] for line in lines if line.partition(":")[0] in keys}
    assert "claims/" not in done.stdout and "$$" not in done.stdout
    assert (TITLE in done.stdout) == (name in ("train", "prepare", "summary", "benchmark", "settle"))
    assert ("\nmodel  " in done.stdout) == (name in ("train", "summary", "benchmark", "settle"))
    assert ("hydra/launcher" in done.stdout) == (name in ("train", "settle"))


def test_the_keys_of_a_group_are_those_of_its_chosen_option_with_their_comments(train):
    text = train("model=unet_nobn", "data=folder", "-h").stdout
    assert "\nsize            full*, small\n" in text  # without the claims, which are no group
    assert "\nmodel           external, " in text and " unet, unet_bias, unet_nobn*\n" in text
    assert "\nmodel.batch_norm: false" in text and "_target_: src" not in text
    assert "\ndata.exif: apply           # rotate images as their EXIF orientation says" in text
    assert "\ndata.fold: 0               # which tenth of trainval is the validation split" in text  # of data/base.yaml
    assert "\nhydra.launcher.jobs: null            # runs at a time" in text
    assert "\nhydra/sweeper   grid*, search, settle\nhydra/launcher  local*, ray, slurm\n" in text


def test_own_options_groups_and_configs_are_listed(train, tmp_path):
    files = {
        "model/mine": "{name: mine, _target_: src.models.unet.UNet, depth: 3}",
        "user/me": "# @package _global_\ntags: [me]\n",
        "my_train": "defaults:\n  - train\n  - override model: mine\n  - _self_\nseed: 5  # my own\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    text = train("-cd", str(tmp_path), "-cn", "my_train", "--help").stdout
    assert text.startswith("`python -m src.train ")
    assert "\nmodel           external, mine*, " in text and "\n+user           me\n" in text
    assert "\nseed: 5  # my own\ndevice: auto" in text and "\nmodel.depth: 3\n" in text


def test_the_whole_config_can_be_resolved_without_ending_the_command(train):
    done = train("--cfg", "all", "--resolve")
    assert done.returncode == 0 and "\n  name: full\n" in done.stdout[-20:]
