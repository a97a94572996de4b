"""Two runs or two settings: which ones a name stands for, the interval against scipy's, and what is refused."""

import json
import shutil

import pytest
from scipy import stats

from src.analysis.claims.effects import factor_effects
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.pair_page import pair_sentences, pair_text
from src.analysis.report.pairs import find_pair
from src.base.errors import ConfigError
from tests.analysis.recorded import fail, finish, replicates

FIRST, SECOND = [0.5, 0.6, 0.7, 0.9], [0.4, 0.6, 0.6, 0.8]  # Dice of four images


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three seeds of each scheduler with both networks; one setting has failed, and one run is still planned."""
    sweep = tmp_path_factory.mktemp("runs") / "sweep"
    for model, scheduler, mean in (("unet", "cosine", 0.7), ("unet", "onecycle", 0.72), ("unet_bias", "cosine", 0.6)):
        replicates(sweep, f"model={model}", f"scheduler={scheduler}", mean=mean, images=12)
    fail(sweep, "model=resnet34_unet")
    return sweep


def folders(sweep, beginning):
    return sorted(path for path in sweep.iterdir() if path.name.startswith(beginning))


def test_two_runs_have_the_paired_t_interval_of_their_images(tmp_path):
    """Differences 0.1, 0, 0.1, 0.1: mean 0.075, standard error 0.025, t(3) = 3.182."""
    runs = [finish(tmp_path, dice=dice, seed=seed).folder for seed, dice in enumerate((FIRST, SECOND))]
    pair = find_pair(list(map(str, runs)))
    (dice, _) = pair.differences
    assert dice.estimate.value == pytest.approx(0.075)
    assert dice.estimate.interval() == pytest.approx((0.075 - 3.18245 * 0.025, 0.075 + 3.18245 * 0.025), rel=1e-4)
    assert dice.p == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue)
    assert (pair.names, pair.configs) == (("seed 0", "seed 1"), {"seed": ("0", "1")})
    text = " ".join(pair_sentences(pair))
    assert "seed 0 minus seed 1: +7.50 points of test Dice [−0.46 to +15.46]: undecided (p 0.058)." in text
    assert "It is for these two runs, not for their settings" in text


def test_two_settings_have_the_interval_of_the_report_of_their_sweep(sweep):
    pair = find_pair(["unet, onecycle", "unet, cosine"], str(sweep))
    assert (pair.names, pair.configs["scheduler"]) == (("onecycle", "cosine"), ("onecycle", "cosine"))
    assert pair.configs["scheduler.pct_start"] == ("0.1", "-") and "model" not in pair.configs
    records = load_records([sweep])
    (effect,) = [one for one in factor_effects(records, settings_of(records), ["scheduler"]) if one.first == "onecycle"]
    dice = pair.differences[0]
    assert dice.estimate == effect.comparison.estimate and dice.p == pytest.approx(effect.p)
    assert dice.verdict == "first" and "onecycle is better" in pair_sentences(pair)[0]
    assert "new seeds and new images" in pair_sentences(pair)[1]


def test_images_are_listed_by_their_difference_and_the_largest_come_first(tmp_path):
    runs = [
        finish(tmp_path, dice=dice, seed=seed).folder for seed, dice in enumerate(([0.9, 0.2, 0.5], [0.8, 0.6, 0.5]))
    ]
    pair = find_pair(list(map(str, runs)))
    assert pair.dice[["stem", "difference"]].round(3).to_numpy().tolist() == [
        ["Pet_0", 0.1],
        ["Pet_2", 0],
        ["Pet_1", -0.4],
    ]
    assert pair.largest(2) == {"Pet_1": (0.2, 0.6), "Pet_0": (0.9, 0.8)}
    lines = pair_text(pair).splitlines()
    assert "Test images on which seed 1 is better by most (1 of 3)" in lines
    assert any(line.split() == ["Pet_1", "0.2000", "0.6000", "−40.00", "points"] for line in lines)


def test_a_setting_is_found_by_its_label_by_parts_of_it_by_its_id_and_by_path(sweep):
    records = load_records([sweep])
    (wanted,) = [one for one in settings_of(records) if one.label == "unet_bias, cosine"]
    pairs = [find_pair([name, "onecycle"], str(sweep)) for name in ("unet_bias", "cosine,unet_bias", wanted.config_id)]
    pairs.append(find_pair([f"{sweep}/unet_bias, cosine", f"{sweep}/onecycle"]))
    assert [pair.settings[0].config_id for pair in pairs] == [wanted.config_id] * 4


def test_runs_are_found_by_their_id_or_its_end(sweep):
    first, second = folders(sweep, "unet-")[:2]
    pair = find_pair([first.name, second.name.rpartition("-")[2]], str(sweep))
    assert pair.of_runs and pair.file_names == (first.name, second.name)


def test_settings_of_two_sweeps_with_the_same_runs_reused(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "again")
    pair = find_pair([f"{sweep}/unet, cosine", f"{tmp_path}/again/unet_bias"])
    assert [len(setting.folders) for setting in pair.settings] == [3, 3]


def test_what_cannot_be_compared_is_one_line(sweep, tmp_path):
    def said(first, second, place=None):
        with pytest.raises(ValueError) as caught:
            find_pair([str(first), str(second)], place and str(place))
        assert "\n" not in str(caught.value) and not isinstance(caught.value, ConfigError)
        return str(caught.value)

    run = folders(sweep, "unet-")[0]
    assert said(run, run) == f"a, b: both are the run {run}"
    assert said("unet, cosine", "cosine,unet", sweep) == "a, b: both are the setting unet, cosine"
    assert "one is a run, the other a setting" in said(run, f"{sweep}/onecycle")
    assert said("unet", "onecycle", sweep).startswith("a: got 'unet'; 2 settings fit, name one of")
    assert "settings of" in said(run, f"{sweep}/typo") and "unet, onecycle" in said(run, f"{sweep}/typo")
    assert said("typo", run).startswith("a: got 'typo'; it takes the folder of a run, <sweep>/<label")
    assert "/nowhere/run'; it takes" in said(run, "/nowhere/run")
    assert "characters); it takes" in said(run, f"{sweep}/{'a label, ' * 30}")
    assert "which is failed: NonFiniteLoss" in said(run, folders(sweep, "resnet34_unet")[0])
    none = "none of its runs is finished and included; the first is failed: NonFiniteLoss"
    assert none in said("resnet34_unet", "onecycle", sweep)
    assert "is not a folder" in said("a", "b", tmp_path / "nowhere")


def test_runs_with_damaged_or_missing_scores_or_of_other_data_are_refused_by_name(tmp_path):
    runs = [finish(tmp_path, dice=FIRST, seed=seed).folder for seed in range(4)]
    (runs[1] / "test_images.csv").unlink()
    (runs[2] / "test_images.csv").write_text("protocol,stem\nheadline,x\n")
    foreign = finish(tmp_path / "other", dice=FIRST, seed=9, fingerprint="d2" * 32).folder
    record = json.loads((runs[3] / "run.json").read_text())
    (runs[3] / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    for run, reason in (
        (runs[1], "test_images.csv cannot be used"),
        (runs[2], "test_images.csv cannot be used"),
        (runs[3], "which is interrupted"),
        (foreign, "are of different data (fingerprints d1d1d1d1 and d2d2d2d2)"),
    ):
        with pytest.raises(ValueError, match=r".*") as caught:
            find_pair([str(runs[0]), str(run)])
        assert reason in str(caught.value)


def test_a_copy_stands_for_the_included_run_and_a_trial_is_refused_as_one(tmp_path):
    first, second = (finish(tmp_path / "a", dice=dice, seed=seed).folder for seed, dice in enumerate((FIRST, SECOND)))
    copy = shutil.copytree(first, tmp_path / "b" / first.name)
    assert find_pair([str(copy), str(second)]).differences[0].estimate.value == pytest.approx(0.075)
    with pytest.raises(ValueError, match="a, b: both are the run"):
        find_pair([str(copy), str(first)])
    trial = {"values": {}, "status": "finished", "valid_dice": 0.5, "run_id": second.name, "config_id": None}
    searches = {"mine": {"trials": [trial | {"pruned_after_epoch": None}]}}
    (tmp_path / "a" / "search.json").write_text(json.dumps({"schema": 1, "searches": searches}))
    with pytest.raises(ValueError, match=r"finished: a trial of a search.*; only runs that count in reports"):
        find_pair([str(first), str(second)])


def test_other_image_sizes_are_said_and_equal_predictions_have_no_verdict(tmp_path):
    runs = [finish(tmp_path, f"data.image_size={size}", dice=FIRST).folder for size in (32, 64)]
    sentences = pair_sentences(find_pair(list(map(str, runs))))
    assert "no verdict: they have the same score on each image" in sentences[0]
    assert sentences[-1] == "The two differ in data.image_size, and each is scored at its own size."


def test_too_few_seeds_have_no_verdict(tmp_path):
    for scheduler, seeds in (("cosine", 3), ("onecycle", 2)):
        replicates(tmp_path, "model=unet", f"scheduler={scheduler}", seeds=seeds)
    sentence = pair_sentences(find_pair(["cosine", "onecycle"], str(tmp_path)))[0]
    assert "no verdict: too few seeds (2 of onecycle)" in sentence


def test_failed_runs_count_against_their_setting_and_are_named(tmp_path):
    for scheduler, mean in (("cosine", 0.7), ("onecycle", 0.8)):
        replicates(tmp_path, "model=unet", f"scheduler={scheduler}", mean=mean)
    fail(tmp_path, "model=unet", "scheduler=onecycle", seed=3)
    sentences = pair_sentences(find_pair(["cosine", "onecycle"], str(tmp_path)))
    assert "undecided (p 1.000)" in sentences[0]  # although each finished run of onecycle is better
    assert sentences[2].startswith("1 of 4 runs of onecycle failed by their own fault; a verdict in its favor must")


def test_a_single_image_has_no_verdict(tmp_path):
    runs = [finish(tmp_path, dice=[dice], seed=seed).folder for seed, dice in enumerate((0.5, 0.6))]
    assert "no verdict: a single test image" in pair_sentences(find_pair(list(map(str, runs))))[0]
