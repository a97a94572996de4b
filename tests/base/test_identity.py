"""Ids: equal for what means the same, different for what can change a result."""

import re
from functools import cache

import pytest
from pydantic import BaseModel

from src.base.config import (
    AugmentationSection,
    DebugSection,
    FolderData,
    MixSection,
    NumericsSection,
    OxfordPetData,
    RunConfig,
    SizeSection,
    SweepSection,
    SyntheticData,
    TrainerSection,
)
from src.base.identity import CHOICE_SECTIONS, choices_of, identify, setting_of
from src.training.checks import checked

DATA = "d1" * 32  # a fingerprint


@pytest.fixture(scope="module")
def config(composed):
    return cache(lambda *overrides: checked(composed("data=synthetic", "device=cpu", *overrides)))


@pytest.fixture(scope="module")
def ids(config):
    return lambda *overrides: identify(config(*overrides), DATA)


def test_an_id_is_readable_and_no_number(ids):
    assert re.fullmatch(r"unet-bce-adamw-cosine-flip_jitter-seed0-c[0-9a-f]{8}", ids().run_id)


def test_ids_never_change_again(ids):
    """Records are found by them: where this fails, every run that anybody has would be trained again."""
    assert (ids().run_id, ids().config_id) == ("unet-bce-adamw-cosine-flip_jitter-seed0-cbc14e39e", "c7853a904")


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.lr=1e-3"],
        ["optimizer.lr=0.001", "data.root=/elsewhere", "data.workers=4", "output=elsewhere", "data.on_error=skip"],
        ["tags=[a]", "notes=hello", "trainer.keep_every=2", "data.cache_dir=/tmp/cache", "sweep.name=other"],
        ["augmentation.load_scale=1", "model.width=64.0", "trainer.clip_norm=null"],
        ["model.attention=false", "model.residual=null", "model.conv_bias=false", "trainer.flip_tta=null"],
        ["~model.attention", "~model.residual", "~model.conv_bias", "~model.batch_norm"],  # which is on without a word
        ["optimizer.amsgrad=false", "numerics.fused=false", "numerics.compile=null"],
        ["trainer=report_c"],  # one setting of two names
        ["model._target_=src.models.unet.UNet"],
    ],
)
def test_what_means_the_same_has_the_same_id(ids, overrides):
    assert ids(*overrides) == ids()


def test_the_order_of_keys_and_the_module_of_our_own_classes_do_not_count(config):
    plain = config().model_dump(mode="json")
    turned = {key: plain[key] for key in reversed(plain)}
    turned["model"] = {key: plain["model"][key] for key in reversed(plain["model"])}
    turned["model"]["_target_"] = "src.networks.of.another.place.UNet"
    assert identify(RunConfig.model_validate(turned), DATA) == identify(config(), DATA)


@pytest.mark.parametrize(
    "override",
    [
        "model=unet_bias",
        "model.width=32",
        "model.attention=true",
        "model.batch_norm=false",
        "optimizer.lr=1e-4",
        "scheduler=onecycle",
        "augmentation=none",
        "augmentation.transforms.0.p=0.4",
        "loss=dice",
        "loss._target_=src.training.losses.CrossEntropy",  # another class under the same name
        "optimizer._target_=torch.optim.NAdam",
        "data.fold=1",
        "data.border=ignore",
        "trainer.batch_size=16",
        "trainer.accumulate=2",
        "trainer.clip_norm=1",
        "trainer.flip_tta=true",
        "numerics=fast",
        "debug=one_batch",
    ],
)
def test_what_can_change_a_result_changes_both_ids(ids, override):
    changed = ids(*([override] if "CrossEntropy" not in override else [override, "model.out_channels=2"]))
    before = ids(*(["model.out_channels=2", "loss=cross_entropy"] if "CrossEntropy" in override else []))
    assert changed.config_id != before.config_id
    assert changed.run_id != before.run_id


def test_a_class_of_another_package_counts_with_its_module(config):
    def of(target):
        changed = config()
        return identify(changed.model_copy(update={"model": {**changed.model, "_target_": target}}), DATA)

    assert len({of(target) for target in ("mine.nets.UNet", "yours.nets.UNet", "src.models.unet.UNet")}) == 3


def test_what_is_on_unless_it_is_turned_off_is_not_taken_for_off(ids):
    with_cbam, without = ("model=resnet34_unet_cbam", "loss=cross_entropy", "~model.cbam"), "model.cbam=false"
    assert ids(*with_cbam) == ids(*with_cbam[:2]) != ids(*with_cbam[:2], without)


def test_other_data_are_another_setting(config):
    one, other = identify(config(), DATA), identify(config(), "d2" * 32)
    assert one.config_id != other.config_id and one.run_id != other.run_id


def test_seeds_share_the_config_id_and_nothing_else(ids):
    zero, one = ids("seed=0"), ids("seed=1")
    assert zero.config_id == one.config_id
    assert zero.run_id != one.run_id


def test_an_id_has_one_readable_form(ids):
    # the same values under another option's name are another setting: never one id in two folders
    by_hand = ids("scheduler=plateau", "scheduler.monitor=valid_dice", "scheduler.factor=0.5")
    by_name = ids("scheduler=plateau_report_d")
    assert by_hand.config_id != by_name.config_id


def test_starting_weights_belong_to_the_setting(config):
    assert identify(config(), DATA).config_id != identify(config(), DATA, init_digest="0123").config_id


def test_a_setting_holds_nothing_that_is_off_and_no_path(config):
    setting = setting_of(config())
    assert setting["trainer"] == {"epochs": 50, "batch_size": 32, "accumulate": 1}
    assert setting["model"] == {"name": "unet", "class": "UNet", "width": 64, "out_channels": 1, "batch_norm": True}
    assert setting["loss"] == {"name": "bce", "class": "BCE"}
    assert setting["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert "debug" not in setting


# Of each section one value, and for each key another one that is allowed.
SHARED_DATA = {
    "name": "other",
    "root": "/elsewhere",
    "image_size": 64,
    "resize": "cv2_linear",
    "border": "ignore",
    "fold": 3,
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "workers": 3,
    "cache_dir": "/cache",
    "decode_once": False,
    "on_error": "skip",
}
OTHERS: dict[type[BaseModel], dict[str, object]] = {
    OxfordPetData: {**SHARED_DATA, "download": True},
    SyntheticData: {**SHARED_DATA, "trainval": 33, "test": 5, "size": 64, "seed": 9},
    FolderData: {**SHARED_DATA, "mask_suffix": "_m", "exif": "ignore", "mask_threshold": 9.0, "ignore_value": 255},
    AugmentationSection: {
        "name": "other",
        "load_scale": 1.5,
        "mask_as_image": True,
        "transforms": [],
        "copies": 2,
        "copy_transforms": [{"_target_": "albumentations.HorizontalFlip"}],
    },
    TrainerSection: {
        "name": "other",
        "epochs": 7,
        "batch_size": 7,
        "accumulate": 7,
        "clip_norm": 7.0,
        "early_stop_patience": 7,
        "keep_every": 7,
        "checkpoint_seconds": 7.0,
        "by_model": {"unet": {"epochs": 7}},
        "ema_decay": 0.9,
        "flip_tta": True,
        "select_by": "valid_loss",
    },
    NumericsSection: {
        "name": "other",
        "deterministic": False,
        "autocast": "bfloat16",
        "channels_last": True,
        "tf32": True,
        "cpu_threads": 3,
        "fused": True,
        "compile": True,
    },
    MixSection: {"name": "other", "method": "cutmix", "alpha": 0.5},
    DebugSection: {"name": "other", "limit_batches": 7, "overfit": True},
}
TOP = {
    "seed": 3,
    "device": "cuda:1",
    "output": "/elsewhere",
    "init_from": "weights.pth",
    "allow_targets": ("mine",),
    "tags": ["a"],
    "notes": "n",
    "examples": 0,
    "sweep": SweepSection(name="s", retry_failed=False),
    "size": SizeSection(name="small", epochs=7),
}
BASES = {
    OxfordPetData: ["data=oxford_pet"],
    FolderData: ["data=folder"],
    DebugSection: ["debug=one_batch"],
    MixSection: ["mix=mixup"],
}


def is_neutral(model, name):
    return bool((model.model_fields[name].json_schema_extra or {}).get("neutral"))


@pytest.mark.parametrize(
    ("model", "key"), [(model, key) for model in OTHERS for key in model.model_fields if key != "kind"]
)
def test_each_key_of_a_section_is_neutral_or_changes_both_ids(config, model, key):
    config = config(*BASES.get(model, ()))
    (section,) = [name for name in CHOICE_SECTIONS if isinstance(getattr(config, name), model)]
    plain = config.model_dump()
    plain[section][key] = OTHERS[model][key]
    changed, before = identify(RunConfig.model_validate(plain), DATA), identify(config, DATA)
    assert getattr(getattr(RunConfig.model_validate(plain), section), key) != getattr(getattr(config, section), key)
    assert (changed.config_id == before.config_id) == (changed.run_id == before.run_id) == is_neutral(model, key)


@pytest.mark.parametrize("key", [key for key in RunConfig.model_fields if key not in CHOICE_SECTIONS])
def test_each_key_of_a_run_is_neutral_or_the_seed(config, key):
    changed = config().model_copy(update={key: TOP[key]})
    same = identify(changed, DATA).run_id == identify(config(), DATA).run_id
    assert same == is_neutral(RunConfig, key) == (key != "seed")


def test_choices_are_the_names_of_the_options(config):
    assert choices_of(config("debug=one_batch")) == {
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
