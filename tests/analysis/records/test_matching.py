"""Which settings a hypothesis is about, and which of them differ in nothing else."""

import pytest

from src.analysis.records.loading import load_records
from src.analysis.records.matching import Setting, also_differing, matched, settings_of
from tests.analysis import sweeps
from tests.analysis.recorded import finish


def setting(name, finished=1, **values):
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    return Setting(name, {"name": name}, dotted, tuple(f"{name}/{number}" for number in range(finished)), 0)


def labels(choices):
    return [tuple(one.label for one in choice) for choice in choices]


def test_settings_of_real_runs(tmp_path):
    for seed in (0, 1):
        finish(tmp_path, "model=unet", dice=[0.5], seed=seed)
    finish(tmp_path, "model=resnet34_unet", dice=[0.5])
    small, large = settings_of(load_records([tmp_path]))
    assert (small.label, large.label) == ("resnet34_unet", "unet")
    assert [len(large.folders), large.unfinished] == [2, 0]
    facts = ("model", "model.width", "loss", "optimizer.lr", "trainer", "trainer.epochs", "train_images", "fingerprint")
    assert [large.values[name] for name in facts] == ["unet", 8, "bce", 0.001, "default", 6, 90, "d1" * 32]
    assert "data.root" not in large.values and "seed" not in large.values


def test_a_key_that_an_older_record_lacks_counts_as_null(tmp_path):
    for scheduler in ("cosine", "onecycle"):
        record = finish(tmp_path, f"scheduler={scheduler}", dice=[0.5])
        config = record.folder / "config.yaml"
        if scheduler == "cosine":  # written before there were these two
            lines = config.read_text().splitlines(keepends=True)
            config.write_text("".join(line for line in lines if "ema_decay" not in line and "residual" not in line))
    found = settings_of(load_records([tmp_path]))
    sides = [{"scheduler": "cosine"}, {"scheduler": "onecycle"}]
    assert labels(matched(found, sides)) == [("cosine", "onecycle")]


def test_old_records_without_a_key_are_matched_with_those_where_it_is_off_and_what_differs_is_named(tmp_path):
    for model in ("unet", "resnet34_unet"):
        old = finish(tmp_path, f"model={model}", dice=[0.5])
        lines = (old.folder / "config.yaml").read_text().splitlines(keepends=True)
        (old.folder / "config.yaml").write_text("".join(line for line in lines if "attention" not in line))
        finish(tmp_path, f"model={model}", "model.attention=true", dice=[0.5])
    pairs = matched(settings_of(load_records([tmp_path])), [{"model": "unet"}, {"model": "resnet34_unet"}])
    assert [tuple(one.values["model.attention"] for one in pair) for pair in pairs] in (
        [(None, None), (True, True)],
        [(True, True), (None, None)],
    )
    (old, new) = settings_of(load_records([tmp_path]))[:2]
    assert also_differing([old, new], ()) == {
        "model.attention": (old.values["model.attention"], new.values["model.attention"])
    }


def test_planned_and_failed_runs_are_counted_as_unfinished(tmp_path):
    sweeps.finish(tmp_path, 0.5, seed=0)
    (tmp_path / "unet-seed0" / "test_images.csv").write_text(
        "protocol,stem,dice,iou,tp,fp,fn\nheadline,a,0.5,0.3,1,1,1\n"
    )
    sweeps.fail(tmp_path, "boom", seed=1)
    sweeps.plan(tmp_path, *({"seed": seed} for seed in range(4)))
    (only,) = settings_of(load_records([tmp_path]))
    assert (only.label, len(only.folders), only.unfinished) == ("all runs", 1, 3)


def test_the_same_setting_on_other_data_is_another_and_says_so(tmp_path):
    for fingerprint in ("aaaaaaaaaa", "bbbbbbbbbb"):
        finish(tmp_path / fingerprint, dice=[0.5], fingerprint=fingerprint)
    found = settings_of(load_records([tmp_path / "aaaaaaaaaa", tmp_path / "bbbbbbbbbb"]))
    assert sorted(one.label for one in found) == ["data aaaaaaaa", "data bbbbbbbb"]
    assert matched(found, [{"model": "unet"}, {"model": "unet"}]) == [(one, one) for one in found]


@pytest.mark.parametrize(
    ("wanted", "meets"),
    [
        ({}, True),
        ({"model": "unet"}, True),
        ({"model": ["resnet34_unet", "unet"]}, True),
        ({"model": "resnet34_unet"}, False),
        ({"lr": 1}, True),  # 1 is 1.0
        ({"cbam": 1}, False),  # but no switch
        ({"cbam": True}, True),
        ({"absent": None}, True),
        ({"model": "unet", "lr": 2}, False),
    ],
)
def test_what_a_setting_must_be(wanted, meets):
    assert setting("a", model="unet", lr=1.0, cbam=True).meets(wanted) == meets


def test_sides_are_matched_where_all_else_is_equal():
    found = [
        setting("plain 1", augmentation="none", augmentation__copies=0, optimizer__lr=1),
        setting("plain 2", augmentation="none", augmentation__copies=0, optimizer__lr=2),
        setting("flips 1", augmentation="flips", augmentation__copies=3, optimizer__lr=1),
        setting("flips 3", augmentation="flips", augmentation__copies=3, optimizer__lr=3),
    ]
    # naming another augmentation exchanges its whole section, but nothing else
    assert labels(matched(found, [{"augmentation": "none"}, {"augmentation": "flips"}])) == [("plain 1", "flips 1")]


def test_a_narrow_network_is_not_compared_with_a_wide_one():
    found = [
        setting("u8", model="unet", model__width=8, model__bias=True),
        setting("r64", model="resnet", model__width=64),
    ]
    sides = [{"model": "unet"}, {"model": "resnet"}]
    assert matched(found, sides) == []
    assert labels(matched([*found, setting("r8", model="resnet", model__width=8)], sides)) == [("u8", "r8")]
    by_width = [{"model.width": 8}, {"model.width": 16}]
    wider = setting("u16", model="unet", model__width=16, model__bias=True)
    assert labels(matched([*found, wider], by_width)) == [("u8", "u16")]  # unless the width is what is asked about


def test_what_may_differ_beside_gives_one_match_for_each_combination():
    found = [
        setting("u32", model="unet", trainer__batch_size=32),
        setting("r32", model="resnet", trainer__batch_size=32),
        setting("r128", model="resnet", trainer__batch_size=128),
    ]
    sides = [{"model": "unet"}, {"model": "resnet"}]
    assert labels(matched(found, sides)) == [("u32", "r32")]
    assert labels(matched(found, sides, ["trainer.batch_size"])) == [("u32", "r32"), ("u32", "r128")]
    assert also_differing([found[0], found[2]], {"model"}) == {"trainer.batch_size": (32, 128)}
    assert also_differing([found[0], found[1]], {"model"}) == {}


def test_where_both_sides_come_in_variants_like_is_matched_with_like():
    found = [
        setting(f"{model}{size}", model=model, trainer__batch_size=size)
        for model, sizes in (("unet", (32, 64)), ("resnet", (64, 128)))
        for size in sizes
    ]
    sides = [{"model": "unet"}, {"model": "resnet"}]
    assert labels(matched(found, sides, ["trainer.batch_size"])) == [("unet64", "resnet64")]
    unlike = [found[0], found[3], setting("unet16", model="unet", trainer__batch_size=16), found[2]]
    assert len(matched(unlike, sides, ["trainer.batch_size"])) == 4  # there is no like: all combinations


def test_variants_of_an_option_that_two_sides_of_four_share_go_together():
    found = [
        setting(f"{model} {scheduler} {norm}", model=model, scheduler=scheduler, **extra)
        for model, norms in (("unet", (True, False)), ("resnet", (None,)))
        for scheduler in ("plateau", "constant")
        for norm in norms
        for extra in ({"model__batch_norm": norm} if norm is not None else {},)
    ]
    sides = [{"model": model, "scheduler": s} for model in ("resnet", "unet") for s in ("plateau", "constant")]
    assert labels(matched(found, sides)) == [
        ("resnet plateau None", "resnet constant None", f"unet plateau {norm}", f"unet constant {norm}")
        for norm in (True, False)
    ]


def test_what_an_exchanged_section_brings_along_is_said():
    adam = setting("a", optimizer="adam", optimizer___target_="Adam", optimizer__lr=1e-4, optimizer__betas=[0.9, 0.999])
    adamw = setting(
        "w", optimizer="adamw", optimizer___target_="AdamW", optimizer__lr=1e-3, optimizer__betas=[0.9, 0.999]
    )
    assert also_differing([adam, adamw], {"optimizer"}) == {"optimizer.lr": (1e-4, 1e-3)}
    assert also_differing([adam, adamw], {"optimizer", "optimizer.lr"}) == {}


def test_a_value_that_is_a_list_is_met_by_that_list():
    assert setting("a", betas=[0.9, 0.999]).meets({"betas": [0.9, 0.999]})
    assert not setting("a", betas=[0.9, 0.999]).meets({"betas": [0.9, 0.99]})


def test_names_of_options_that_decide_nothing_do_not_keep_settings_apart():
    found = [
        setting("u", model="unet", trainer="default", trainer__epochs=50),
        setting("r", model="resnet", trainer="report_a", trainer__epochs=50),
    ]
    assert labels(matched(found, [{"model": "unet"}, {"model": "resnet"}])) == [("u", "r")]


def test_a_setting_without_finished_runs_answers_nothing():
    found = [setting("u", model="unet"), setting("r", finished=0, model="resnet")]
    assert matched(found, [{"model": "unet"}, {"model": "resnet"}]) == []


def test_the_four_sides_of_an_interaction():
    found = [setting(f"{m} {s}", model=m, scheduler=s) for m in ("unet", "resnet") for s in ("plateau", "constant")]
    sides = [{"model": m, "scheduler": s} for m in ("resnet", "unet") for s in ("plateau", "constant")]
    assert labels(matched(found, sides)) == [("resnet plateau", "resnet constant", "unet plateau", "unet constant")]


def test_a_setting_that_only_lacks_what_others_have_is_called_by_that(tmp_path):
    finish(tmp_path, dice=[0.5])
    finish(tmp_path, "trainer.ema_decay=0.99", dice=[0.5])
    finish(tmp_path, "model.attention=true", dice=[0.5])
    found = settings_of(load_records([tmp_path]))
    assert {one.label for one in found} == {"no attention, no ema_decay", "ema_decay 0.99", "attention True"}
