"""Ids: equal for what means the same, different for what can change a result."""

import json
import re

import pytest

from src.base.identity import choices_of, identify, setting_of
from src.training.checks import checked


@pytest.fixture
def ids(composed):
    return lambda *overrides: identify(checked(composed("data=synthetic", "device=cpu", *overrides)))


def test_an_id_is_readable_and_no_number(ids):
    assert re.fullmatch(r"unet-bce-adamw-cosine-flip_jitter-seed0-c[0-9a-f]{8}", ids().run_id)


def test_what_means_the_same_has_the_same_id(ids):
    same = [
        ids(),
        ids("optimizer.lr=1e-3"),
        ids("optimizer.lr=0.001", "data.root=/elsewhere", "data.workers=4", "output=elsewhere", "data.on_error=skip"),
        ids("tags=[a]", "notes=hello", "trainer.keep_every=2", "data.cache_dir=/tmp/cache", "sweep.name=other"),
        ids("augmentation.load_scale=1", "model.width=64.0"),
    ]
    assert len(set(same)) == 1


@pytest.mark.parametrize(
    "override",
    [
        "model=unet_bias",
        "model.width=32",
        "optimizer.lr=1e-4",
        "scheduler=onecycle",
        "augmentation=none",
        "loss=dice",
        "data.fold=1",
        "data.border=ignore",
        "data.seed=1",
        "trainer.batch_size=16",
        "trainer.accumulate=2",
        "trainer.clip_norm=1",
        "numerics=fast",
        "debug=one_batch",
    ],
)
def test_what_can_change_a_result_changes_both_ids(ids, override):
    changed = ids(override)
    assert changed.config_id != ids().config_id
    assert changed.run_id != ids().run_id


def test_seeds_share_the_config_id_and_nothing_else(ids):
    zero, one = ids("seed=0"), ids("seed=1")
    assert zero.config_id == one.config_id
    assert zero.run_id != one.run_id


def test_an_id_has_one_readable_form(ids):
    # the same values under another option's name are another setting: never one id in two folders
    by_hand = ids("scheduler=plateau", "scheduler.monitor=valid_dice", "scheduler.factor=0.5")
    by_name = ids("scheduler=plateau_report_d")
    assert by_hand.config_id != by_name.config_id


def test_starting_weights_belong_to_the_setting(composed):
    config = checked(composed("data=synthetic", "device=cpu"))
    assert identify(config).config_id != identify(config, init_digest="0123").config_id


def test_a_setting_holds_no_null_and_no_path(composed):
    setting = setting_of(checked(composed("data=synthetic", "device=cpu")))
    assert setting["trainer"] == {"epochs": 50, "batch_size": 32, "accumulate": 1}
    assert "debug" not in setting
    assert json.dumps(setting["loss"]) == '{"name": "bce", "_target_": "src.training.losses.BCE"}'


def test_choices_are_the_names_of_the_options(composed):
    choices = choices_of(checked(composed("data=synthetic", "device=cpu", "debug=one_batch")))
    assert choices == {
        "model": "unet",
        "loss": "bce",
        "optimizer": "adamw",
        "scheduler": "cosine",
        "augmentation": "flip_jitter",
        "data": "synthetic",
        "trainer": "default",
        "numerics": "exact",
        "debug": "one_batch",
    }
