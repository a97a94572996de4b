"""The table of settings: scores with intervals, report A's statistics, the best, and what reports printed."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from src.analysis.claims.claim_file import ClaimFile, read_claims
from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.options import CLAIMS
from src.analysis.report.sentences import best_setting_sentences
from src.analysis.statistics.estimates import contrast
from tests.analysis import sweeps
from tests.analysis.recorded import fail, finish, replicates


def scores_of(*folders, files=()):
    records = load_records(folders)
    return settings_scores(records, settings_of(records), files)


def test_the_statistics_of_a_setting(tmp_path):
    dice = np.array([[0.5, 0.7, 0.9], [0.6, 0.8, 1.0], [0.4, 0.9, 0.8]])
    for seed, row in enumerate(dice):
        finish(tmp_path, dice=row, seed=seed, seconds=60.0)
    (row,) = scores_of(tmp_path).to_dict("records")
    low, _ = contrast([dice], [1.0]).interval()
    iou = dice / (2 - dice)
    wanted = {
        "n": 3,
        "unfinished": 0,
        "mean": dice.mean(),
        "low": low,
        "high": 1.0,  # the interval ends at 1.02
        "iou": iou.mean(),
        "median": (0.7 + 0.8 + 0.8) / 3,
        "std": np.mean([row.std() for row in dice]),
        "min": 0.4,
        "max": 1.0,
        "minutes": 7.0,
    }
    assert {name: row[name] for name in wanted} == pytest.approx(wanted)
    assert row["per_seed"] == pytest.approx([0.7, 0.8, 0.7])


def test_the_best_comes_first_and_the_others_by_how_much_they_are_behind(tmp_path):
    offsets = {"cosine": (0.0, 0.002, -0.002), "onecycle": (0.04, 0.06, 0.05), "constant": (0.04, 0.06, 0.047)}
    for name, own in offsets.items():
        for seed, offset in enumerate(own):
            finish(tmp_path, f"scheduler={name}", dice=np.array([0.7, 0.8, 0.9]) + offset, seed=seed)
    table = scores_of(tmp_path)
    assert table["setting"].tolist() == ["onecycle", "constant", "cosine"]
    assert pd.isna(table["behind"][0]) and table["behind"][1:].tolist() == pytest.approx([0.001, 0.05])
    assert table["significant"].tolist() == [False, False, True]
    arms = [load_records([tmp_path]).per_image(one, "dice") for one in folders_by_setting(tmp_path, table["setting"])]
    raw = [contrast([arms[0], arm], [1.0, -1.0]).p_within(0.0, math.inf) for arm in arms[1:]]
    # times the pairs there are among three, since the best was picked by the same scores
    assert table["p_behind"][1:].tolist() == pytest.approx([min(1.0, 3 * p_value) for p_value in raw])


def test_the_best_has_an_interval_corrected_for_its_selection(tmp_path):
    for scheduler, mean in (("cosine", 0.80), ("onecycle", 0.85), ("constant", 0.799)):
        replicates(tmp_path, f"scheduler={scheduler}", mean=mean)
    finish(tmp_path, "scheduler=poly", dice=[0.9] * 40)
    table = scores_of(tmp_path)
    best = load_records([tmp_path]).per_image(*folders_by_setting(tmp_path, ["onecycle"]), "dice")
    # three could have been the best; the one with a single seed could not
    low = contrast([best], [1.0]).interval(1 - 0.05 / 3)[0]
    assert table["best_low"].fillna(0).tolist() == [pytest.approx(low), 0, 0, 0]
    assert table["letters"].fillna("").tolist() == ["a", "b", "b", ""]
    assert table["first"].fillna(0).tolist() == [1, 0, 0, 0]
    _, _, first, second, *_ = best_setting_sentences(table)
    ends = f"{low:.4f} to {table['high'][0]:.4f}"
    assert first == f"As the best of 3 its 95 % interval is {ends}; first in 100 % of resamples."
    assert second == "With a higher mean, but fewer than 3 seeds: poly (0.9000)."


def folders_by_setting(sweep, names):
    found = {setting.label: setting.folders for setting in settings_of(load_records([sweep]))}
    return [found[name] for name in names]


def test_one_seed_has_a_mean_but_no_interval_and_no_verdict(tmp_path):
    finish(tmp_path, "scheduler=cosine", dice=[0.5, 0.7])
    finish(tmp_path, "scheduler=onecycle", dice=[0.9, 0.9])
    table = scores_of(tmp_path)
    assert table["mean"].tolist() == pytest.approx([0.9, 0.6]) and table[["low", "high"]].isna().all(axis=None)
    assert table["behind"][1] == pytest.approx(0.3) and pd.isna(table["p_behind"][1]) and not table["significant"].any()


def test_one_lucky_seed_does_not_hide_what_three_have_shown(tmp_path):
    finish(tmp_path, "scheduler=poly", dice=[0.95, 0.95])
    for scheduler, mean in (("cosine", 0.9), ("onecycle", 0.8)):
        for seed, offset in enumerate((-0.001, 0.0, 0.001)):
            finish(tmp_path, f"scheduler={scheduler}", dice=[mean + offset] * 2, seed=seed)
    table = scores_of(tmp_path)
    assert table["setting"].tolist() == ["cosine", "onecycle", "poly"]
    assert table["behind"][1:].tolist() == pytest.approx([0.1, -0.05]) and table["significant"].tolist() == [
        False,
        True,
        False,
    ]


def test_settings_without_a_finished_run_come_last(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0}, {"model": "resnet34_unet", "seed": 0})
    table = scores_of(tmp_path)
    assert table["n"].tolist() == [0, 0] and table["unfinished"].tolist() == [1, 1] and table["mean"].isna().all()


def test_each_data_set_has_a_best_of_its_own(tmp_path):
    for data, mean in (("a", 0.5), ("b", 0.9)):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path / data, f"scheduler={scheduler}", fingerprint=data, mean=mean)
    table = scores_of(tmp_path / "a", tmp_path / "b")
    assert table.groupby("data")["behind"].apply(lambda behind: behind.isna().sum()).tolist() == [1, 1]
    assert (table["behind"].dropna() < 0.05).all()  # 0.4 lie between the data, not between the settings


SMALL = {"data.kind": "synthetic", "train_images": 3312}
PRINTED = [{"setting": {"scheduler": "onecycle"}, "numbers": {"test_dice": [0.9291, 0.93]}}]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({}, 0.9291),
        ({"where": {"loss": "dice"}}, math.nan),  # what holds for the whole report must hold
        ({"reported_with": {**SMALL, "model.width": 64}}, math.nan),  # and its size, but for the number of images
    ],
)
def test_what_a_report_printed_stands_beside_just_its_setting(tmp_path, change, reported):
    finish(tmp_path, "scheduler=onecycle", dice=[0.9])
    finish(tmp_path, "scheduler=cosine", dice=[0.8])
    finish(tmp_path, "scheduler=onecycle", "mix=mixup", dice=[0.7])  # which no report has
    claim = {"says": "x", "test": {"type": "level", "measure": "test_dice", "side": {}, "at_least": 0}}
    content = {
        "source": "me",
        "where": {},
        "reported_with": SMALL,
        "printed": PRINTED,
        "claims": {"X": claim},
        **change,
    }
    table = scores_of(tmp_path, files=[ClaimFile.model_validate(content)])
    assert table["reported"].tolist() == pytest.approx([reported, math.nan, math.nan], nan_ok=True)


def test_report_a_at_its_own_size(tmp_path):
    full = ("data=synthetic", "trainer=report_a", "size=full")
    for model, scheduler in (("unet", "onecycle"), ("resnet34_unet", "onecycle"), ("unet", "poly")):
        finish(tmp_path, *full, f"model={model}", f"scheduler={scheduler}", dice=[0.9])
    file = read_claims(CLAIMS / "report_a.yaml")
    own = file.model_copy(update={"reported_with": {**file.reported_with, "data.kind": "synthetic"}})
    table = scores_of(tmp_path, files=[own])
    reported = dict(zip(table["setting"], table["reported"], strict=True))
    assert reported == pytest.approx(
        {"unet, onecycle": 0.9291, "resnet34_unet, onecycle": 0.9179, "unet, poly": math.nan}, nan_ok=True
    )


def test_seeds_that_gave_the_very_same_have_no_interval_and_no_verdict(tmp_path):
    dice = np.linspace(0.5, 0.9, 20)
    for seed in range(3):
        finish(tmp_path, "scheduler=onecycle", dice=dice + 0.05, seed=seed)
        finish(tmp_path, "scheduler=cosine", dice=dice + 0.001 * seed, seed=seed)
    best, other = scores_of(tmp_path).to_dict("records")
    assert (best["setting"], best["identical_seeds"], other["identical_seeds"]) == ("onecycle", True, False)
    assert best["mean"] == pytest.approx(0.75) and math.isnan(best["high"]) and math.isnan(best["iou_low"])
    assert other["behind"] == pytest.approx(0.049) and math.isnan(other["behind_high"])
    assert math.isnan(other["p_behind"]) and not other["significant"]
    assert best_setting_sentences(scores_of(tmp_path)) == [
        "Best mean test Dice: onecycle with 0.7500 (3 seeds).",
        "No verdict on the best, since seeds have identical scores: onecycle.",
    ]


def test_survivors_of_a_setting_whose_runs_mostly_fail_are_neither_the_best_nor_better(tmp_path):
    replicates(tmp_path, "model=unet", mean=0.93, seeds=3)
    for seed in range(3, 10):
        fail(tmp_path, "model=unet", seed=seed)
    replicates(tmp_path, "model=resnet34_unet", mean=0.91, seeds=10)
    table = scores_of(tmp_path)
    assert table["setting"].tolist() == ["resnet34_unet", "unet"] and not table["significant"].any()
    assert table["failed"].tolist() == [0, 7] and table["tried"].tolist() == [10, 10]
    assert table["counted_mean"][1] == pytest.approx(0.3 * table["mean"][1])
    assert table["failed_low"].tolist() == pytest.approx([0, 0.3475], abs=1e-4)
    assert table["failed_high"].tolist() == pytest.approx([0.3085, 0.9333], abs=1e-4)
    sentences = best_setting_sentences(table)
    assert sentences[0].startswith("Best, ranked with failed runs scored 0: resnet34_unet with mean test Dice 0.9")
    assert sentences[0].endswith(" over 10 finished seeds.") and sentences[2].startswith("As the best of 2 its 95 % in")
    assert "Runs failed by their own fault: unet in 7 of 10 (35 to 93 %)." in sentences
    records = load_records([tmp_path])
    excluded = settings_scores(records, settings_of(records, counts_failures=False))
    assert excluded["setting"].tolist() == ["unet", "resnet34_unet"] and excluded["significant"].tolist() == [
        False,
        True,
    ]


def test_a_best_setting_with_failures_says_that_its_numbers_are_of_finished_seeds(tmp_path):
    for model, mean in (("unet", 0.93), ("resnet34_unet", 0.5)):
        replicates(tmp_path, f"model={model}", mean=mean, seeds=4)
    fail(tmp_path, "model=unet", seed=4)
    best, _, interval, *_ = best_setting_sentences(scores_of(tmp_path))
    assert best.startswith("Best, ranked with failed runs scored 0: unet with mean test Dice 0.9")
    assert best.endswith(" over 4 finished seeds.")
    assert interval.startswith("As the best of 2 its 95 % interval of finished seeds is 0.")


def test_runs_without_a_data_fingerprint_have_an_answer_too(tmp_path):
    for model in ("unet", "resnet34_unet"):
        for record in replicates(tmp_path, f"model={model}", mean=0.9 if model == "unet" else 0.8):
            run = json.loads((record.folder / "run.json").read_text())
            (record.folder / "run.json").write_text(json.dumps({**run, "data": {}}))
    best, _, interval, *_ = best_setting_sentences(scores_of(tmp_path))
    assert best.startswith("Best mean test Dice: unet with 0.") and interval.startswith("As the best of 2 ")


def test_lost_runs_do_not_count_but_those_that_finished_after_failing_do(tmp_path):
    for seed in range(5):
        fail(tmp_path, seed=seed, reason="NonFiniteLoss: nan" if seed < 2 else "OutOfMemoryError: out of memory")
    for seed in range(1, 5):
        finish(tmp_path, dice=[0.8, 0.9], seed=seed)
    fail(tmp_path, seed=5, reason="killed by SIGKILL")
    (row,) = scores_of(tmp_path).to_dict("records")
    assert (row["n"], row["failed"], row["tried"]) == (4, 2, 5)
    assert row["mean"] == pytest.approx(0.85) and row["counted_mean"] == pytest.approx(0.85 * 3 / 5)


def test_a_collapsed_seed_is_named_and_no_interval_leaves_the_scale(tmp_path):
    for seed, mean in enumerate((0.90, 0.91, 0.92, 0.915, 0.02)):
        finish(tmp_path, dice=[mean, mean - 0.01], seed=seed)
    table = scores_of(tmp_path)
    assert table["collapsed"].tolist() == [[4]] == table["outlying"].tolist() and table["high"].tolist() == [1.0]
    *_, last = best_setting_sentences(table)
    assert last == "Collapsed seeds, below half the median of their setting: all runs seed 4."
