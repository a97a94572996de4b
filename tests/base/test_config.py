"""The schema and the guarded build: every problem is named with what was got and what is allowed."""

import pytest
import torch
from torch import nn

from src.base.config import RunConfig, build, cast_arguments, find_target, node_problems, problems_of
from src.base.errors import ConfigError

ADAMW = {"name": "adamw", "_target_": "torch.optim.AdamW", "lr": 1e-3}


def test_the_real_config_has_no_problems(composed):
    assert problems_of(RunConfig, composed()) == []
    assert problems_of(RunConfig, composed("data=synthetic", "debug=one_batch", "size=small")) == []


def test_all_problems_come_at_once_with_what_was_got_and_what_is_allowed(composed):
    problems = problems_of(
        RunConfig, composed("trainer.epochz=3", "trainer.batch_size=0", "sead=1", "data.border=bordr")
    )
    assert problems == [
        "data.border: got 'bordr'; input should be 'foreground', 'background', 'ignore' or 'random'",
        "trainer.batch_size: got 0; input should be greater than or equal to 1",
        "trainer.epochz: unknown key (got 3); did you mean 'epochs'? allowed: accumulate, batch_size, by_model, "
        "checkpoint_seconds, clip_norm, early_stop_patience, ema_decay, epochs, flip_tta, keep_every, name, "
        "select_by",
        "sead: unknown key (got 1); did you mean 'seed'? allowed: allow_targets, augmentation, data, debug, device, "
        "examples, init_from, loss, mix, model, notes, numerics, optimizer, output, scheduler, seed, size, sweep, "
        "tags, trainer",
    ]


def test_a_value_in_place_of_a_section_is_said_without_names_of_our_classes(composed):
    assert problems_of(RunConfig, {**composed(), "sweep": 5}) == ["sweep: got 5; input should be a valid dictionary"]


def test_keys_of_the_kind_of_data_are_known(composed):
    assert problems_of(RunConfig, composed("data=synthetic", "data.trainvall=5")) == [
        "data.trainvall: unknown key (got 5); did you mean 'trainval'? allowed: border, cache_dir, decode_once, fold, "
        "image_size, kind, mean, name, on_error, resize, root, seed, size, std, test, trainval, workers"
    ]


def test_numbers_that_make_no_synthetic_data_are_all_named(composed):
    wrong = ("data.trainval=1", "data.test=0", "data.size=8", "data.seed=-1")
    assert problems_of(RunConfig, composed("data=synthetic", *wrong)) == [
        "data.trainval: got 1; input should be greater than or equal to 3",
        "data.test: got 0; input should be greater than or equal to 1",
        "data.size: got 8; input should be greater than or equal to 16",
        "data.seed: got -1; input should be greater than or equal to 0",
    ]


def test_a_built_node_is_held_against_the_signature_of_its_class():
    node = {**ADAMW, "lr": "fast", "weight_decai": 1}
    assert node_problems("optimizer", node, torch.optim.Optimizer, ("params",)) == [
        "optimizer.lr: got 'fast'; input should be a valid number, unable to parse string as a number",
        "optimizer.weight_decai: unknown key (got 1); did you mean 'weight_decay'? allowed: amsgrad, betas, "
        "capturable, differentiable, eps, foreach, fused, lr, maximize, weight_decay",
    ]


@pytest.mark.parametrize("annotation", ["Missing | None", "'int' | None"])
def test_types_that_cannot_be_evaluated_are_not_checked(monkeypatch, annotation):
    def begin(self, width=3):
        nn.Module.__init__(self)
        self.width = width

    begin.__annotations__["width"] = annotation
    network = type("Network", (nn.Module,), {"__init__": begin, "__module__": "src.models.unet"})
    monkeypatch.setattr("src.models.unet.Network", network, raising=False)
    node = {"name": "own", "_target_": "src.models.unet.Network", "width": 5}
    assert node_problems("model", node, nn.Module, ()) == []
    assert build(node, nn.Module).width == 5


def test_build_casts_and_injects():
    optimizer = build({**ADAMW, "lr": 1}, torch.optim.Optimizer, params=[torch.zeros(1)])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["lr"] == 1.0


def test_casting_makes_one_and_one_point_nought_the_same():
    node = cast_arguments({**ADAMW, "lr": 1}, torch.optim.Optimizer, ("params",))
    assert isinstance(node["lr"], float)
    assert node == {**ADAMW, "lr": 1.0}


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "distutils.spawn.spawn",
        "builtins.eval",
        "src.base.config.importlib.import_module",
        "src.base.config.Section",  # ours, but no network
        "src.base.runtime.torch.nn.Linear",  # reached through a module that is no package
        "torch.nn.Linearr",
        "torch.nn.modules.module.torch.hub.load",
        "torch.optim.AdamW",  # allowed elsewhere, but no nn.Module
        None,
        3,
    ],
)
def test_nothing_outside_the_allow_list_is_built(target):
    with pytest.raises(ConfigError, match="_target_: got"):
        find_target({"_target_": target}, nn.Module)


def test_what_is_allowed_is_found():
    assert find_target({"_target_": "torch.nn.BCEWithLogitsLoss"}, nn.Module) is nn.BCEWithLogitsLoss


def test_a_null_that_a_network_does_not_know_counts_as_absent():
    node = {"name": "own", "_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": 1}
    assert node_problems("model", {**node, "attention": None}, nn.Module, ()) == []
    assert build({**node, "attention": None}, nn.Module).bias is not None
    (problem,) = node_problems("model", {**node, "attention": True}, nn.Module, ())
    assert problem.startswith("model.attention: unknown key (got True); allowed: bias, ")
