"""One hypothesis put to recorded runs: what is compared, what is said beside it, and why there may be no answer."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from src.analysis.claims.comparison import Hypothesis, compare
from src.analysis.claims.verdicts import Verdict
from src.analysis.claims.wording import arms_text
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report import tidy
from src.analysis.report.tables import comparison_row
from src.analysis.statistics.estimates import contrast
from src.analysis.statistics.metrics import METRICS
from tests.analysis import sweeps
from tests.analysis.recorded import fail, finish, replicates

UNET, RESNET = {"model": "unet"}, {"model": "resnet34_unet"}


def compared(sweep, metric="test_dice", arms=(UNET, RESNET), **rest):
    records = load_records([sweep])
    hypothesis = Hypothesis(METRICS[metric], arms, (1.0, -1.0), **rest)
    return compare(records, settings_of(records), hypothesis)


def test_a_difference_with_images_paired_and_crossed_with_seeds(tmp_path):
    dice = {
        model: np.array([[0.5, 0.9], [0.6, 0.9], [0.7, 0.8]]) - less
        for model, less in (("unet", 0), ("resnet34_unet", 0.1))
    }
    for model, arm in dice.items():
        for seed, row in enumerate(arm):
            finish(tmp_path, f"model={model}", dice=row, seed=seed)
    (one,) = compared(tmp_path)
    assert [setting.label for setting in one.settings] == ["unet", "resnet34_unet"]
    assert (one.seeds, one.images, one.problem, one.notes) == ((3, 3), 2, None, ())
    expected = contrast([*dice.values()], [1.0, -1.0])
    assert one.estimate.value == pytest.approx(0.1) and one.estimate.variance == pytest.approx(expected.variance)
    assert one.display_values == pytest.approx((10.0, *(100 * end for end in expected.interval())))
    assert one.p_confirming == pytest.approx(expected.p_within(0, math.inf)) and one.p_contradicting == 1.0


def test_with_fewer_than_three_seeds_there_is_an_effect_but_no_verdict(tmp_path):
    replicates(tmp_path, "model=unet", seeds=3, mean=0.9)
    replicates(tmp_path, "model=resnet34_unet", seeds=2, mean=0.5)
    (one,) = compared(tmp_path)
    assert one.problem == "too few seeds (2 of resnet34_unet); a verdict needs 3 of each"
    assert one.display_values[0] == pytest.approx(40, abs=2) and (one.p_confirming, one.p_contradicting) == (1.0, 1.0)


def test_what_is_missing_is_named_by_what_no_run_has(tmp_path):
    replicates(tmp_path, "model=unet", seeds=1)
    (one,) = compared(tmp_path, arms=({"loss": "bce", **UNET}, {"loss": "bce", **RESNET}))
    assert one.settings == () and one.problem == "runs missing: none finished with model resnet34_unet"


def test_runs_that_are_there_but_not_finished_are_said(tmp_path):
    sweeps.finish(tmp_path, 0.5, model="unet")
    (tmp_path / "unet-seed0" / "test_images.csv").write_text(
        "protocol,stem,dice,iou,tp,fp,fn\nheadline,a,0.5,0.3,1,1,1\n"
    )
    for seed in (0, 1):
        record = sweeps.fail(tmp_path, "killed by SIGKILL", model="resnet34_unet", seed=seed)
        config = (record.folder / "config.yaml").read_text()
        (record.folder / "config.yaml").write_text(config + "model: {name: resnet34_unet}\n")
    config = tmp_path / "unet-seed0" / "config.yaml"
    config.write_text(config.read_text() + "model: {name: unet}\n")
    (one,) = compared(tmp_path)
    assert one.problem == "runs missing: none finished with model resnet34_unet"


def test_runs_that_differ_in_more_do_not_answer(tmp_path):
    replicates(tmp_path, "model=unet", "optimizer.lr=0.1", seeds=1)
    replicates(tmp_path, "model=resnet34_unet", seeds=1)
    (one,) = compared(tmp_path)
    assert one.problem == "runs missing: the existing ones differ in more than the claim is about"


def test_each_context_answers_for_itself(tmp_path):
    for lr, gap in ((0.1, 0.2), (0.01, -0.2)):
        replicates(tmp_path, "model=unet", f"optimizer.lr={lr}", mean=0.6)
        replicates(tmp_path, "model=resnet34_unet", f"optimizer.lr={lr}", mean=0.6 - gap)
    found = {one.settings[0].values["optimizer.lr"]: one for one in compared(tmp_path)}
    assert found[0.1].p_confirming < 0.001 and found[0.01].p_contradicting < 0.001


def test_what_may_differ_is_said_where_it_does(tmp_path):
    replicates(tmp_path, "model=unet", "trainer.batch_size=4")
    replicates(tmp_path, "model=resnet34_unet", "trainer.batch_size=8")
    (one,) = compared(tmp_path, may_differ=("trainer.batch_size",))
    assert one.notes == ("trainer.batch_size differs too: 4 and 8",)


def sides(one):
    verdict = Verdict("", None, "undecided", "", 1.0, 1.0, ((one,),))
    row = tidy.verdicts([(SimpleNamespace(source=""), [verdict])]).iloc[0]
    return row["seeds_first"], row["seeds_second"]


def test_an_interaction_that_shares_an_arm_has_its_weight_twice_and_not_more_runs(tmp_path):
    """adamw − adam against sgd − adamw is 2 adamw − adam − sgd."""
    names = ("adamw", "adam", "sgd")
    for name in names:
        replicates(tmp_path, f"optimizer={name}", spread=0.01, images=10)
    records = load_records([tmp_path])
    settings = {one.label: one for one in settings_of(records)}
    arms = tuple({"optimizer": name} for name in ("adamw", "adam", "sgd", "adamw"))
    hypothesis = Hypothesis(METRICS["test_dice"], arms, (1.0, -1.0, -1.0, 1.0))
    (one,) = compare(records, list(settings.values()), hypothesis)
    expected = contrast([records.per_image(settings[name].folders, "dice") for name in names], [2.0, -1.0, -1.0])
    assert one.estimate.variance == pytest.approx(expected.variance) and one.estimate.df == pytest.approx(expected.df)
    assert one.p_confirming == pytest.approx(expected.p_within(0, math.inf)) and one.seeds == (3, 3, 3, 3)
    assert comparison_row(one)["seeds"] == "3 + 3 + 3"
    assert sides(one) == (3, 6)
    assert sides(replace(one, samples=())) == (3, 6)


def test_a_setting_in_two_arms_is_counted_and_named_once(tmp_path):
    for name in ("adamw", "adam", "sgd"):
        for seed in range(3):
            finish(tmp_path, f"optimizer={name}", dice=[0.5, 0.6 + seed * (name != "adamw") / 10], seed=seed)
    records = load_records([tmp_path])
    arms = tuple({"optimizer": name} for name in ("adamw", "adam", "sgd", "adamw"))
    hypothesis = Hypothesis(METRICS["test_dice"], arms, (1.0, -1.0, -1.0, 1.0))
    (one,) = compare(records, settings_of(records), hypothesis)
    assert one.problem == "the variance between seeds is unknown: seeds of adamw have identical test Dice"
    (next(tmp_path.glob("*adamw*")) / "epochs.jsonl").write_text("")
    records = load_records([tmp_path])
    (one,) = compare(records, settings_of(records), replace(hypothesis, metric=METRICS["valid_loss_end"]))
    assert "unknown for 1 of the runs" in one.notes and one.problem.startswith("too few seeds (2 of adamw);")


def test_a_setting_is_not_compared_with_itself(tmp_path):
    replicates(tmp_path, "model=unet", images=5)
    (one,) = compared(tmp_path, arms=(UNET, UNET))
    assert one.problem == "both sides have the setting all runs; a setting is not compared with itself"
    assert arms_text(one) == ""
    assert (one.p_confirming, one.p_contradicting) == (1.0, 1.0)
    replicates(tmp_path, "model=resnet34_unet", images=5)
    (one,) = compared(tmp_path, arms=(UNET, {"model": ["unet", "resnet34_unet"]}))
    assert [setting.label for setting in one.settings] == ["unet", "resnet34_unet"]
    (same,) = compared(tmp_path, arms=(UNET, UNET))
    assert arms_text(same) == "unet"


class TestCosts:
    """Times and memory count only where a run had a device of one kind to itself."""

    def test_a_cost_is_compared_as_a_factor(self, tmp_path):
        for seed, (slow, fast) in enumerate([(20.0, 10.0), (40.0, 10.0), (20.0, 20.0)]):
            finish(tmp_path, "model=unet", dice=[0.5], seconds=slow, seed=seed)
            finish(tmp_path, "model=resnet34_unet", dice=[0.5], seconds=fast, seed=seed)
        (one,) = compared(tmp_path, "train_seconds")
        # geometric means: 20 x 2^(1/3) and 10 x 2^(1/3) seconds an epoch
        assert one.display_values[0] == pytest.approx(2.0) and one.images is None
        assert one.notes == ("on NVIDIA H200",)

    @pytest.mark.parametrize("jobs", [2, None])
    def test_runs_that_shared_the_device_or_may_have_do_not_count(self, tmp_path, jobs):
        replicates(tmp_path, "model=unet", seeds=3, seconds=20.0)
        replicates(tmp_path, "model=resnet34_unet", seeds=3, device_jobs=jobs)
        (one,) = compared(tmp_path, "peak_memory")
        assert one.problem.startswith("no device was used exclusively by runs of every side") and one.settings

    def test_a_setting_without_runs_is_said_to_have_too_few(self, tmp_path):
        replicates(tmp_path, "model=unet", seeds=3, images=5)
        fail(tmp_path, "model=resnet34_unet")
        (one,) = compared(tmp_path, "train_seconds")
        assert one.problem == "too few seeds (0 of resnet34_unet); a verdict needs 3 of each"

    def test_a_cost_of_0_is_unknown(self, tmp_path):
        for model in ("unet", "resnet34_unet"):
            for seed in range(3):
                finish(tmp_path, f"model={model}", dice=[0.5], seed=seed, memory=10**9 * (model == "unet" or seed > 0))
        (one,) = compared(tmp_path, "peak_memory")
        assert one.seeds == (3, 2) and one.notes == ("on NVIDIA H200", "unknown for 1 of the runs")
        assert math.isnan(one.correlation_of_seeds)

    def test_each_kind_of_device_answers_for_itself(self, tmp_path):
        for seed, device in enumerate(["NVIDIA H200"] * 3 + ["NVIDIA A100"] * 3):
            slower = 2.0 if device.endswith("A100") else 1.0
            finish(tmp_path, "model=unet", dice=[0.5], seed=seed, device=device, seconds=(30.0 + seed) * slower)
            finish(
                tmp_path,
                "model=resnet34_unet",
                dice=[0.5],
                seed=seed,
                device=device,
                seconds=(10.0 + seed / 3) * slower,
            )
        finish(tmp_path, "model=unet", dice=[0.5], seed=6, device="cpu")
        found = compared(tmp_path, "train_seconds")
        assert [(one.notes, one.seeds) for one in found] == [
            (("on NVIDIA A100",), (3, 3)),
            (("on NVIDIA H200",), (3, 3)),
        ]
        assert [one.display_values[0] for one in found] == pytest.approx([3.0, 3.0])
        assert [0 < one.p_confirming < 0.001 for one in found] == [True, True]

    def test_cores_and_machine_are_the_kind_of_a_cpu(self, tmp_path):
        replicates(tmp_path, "model=unet", device="cpu")
        assert load_records([tmp_path]).runs["device"].unique().tolist() == ["cpu, 2 cores of here"]


def test_what_is_not_on_record_for_some_runs_is_said(tmp_path):
    replicates(tmp_path, "model=unet")
    replicates(tmp_path, "model=resnet34_unet")
    first, *_ = sorted(tmp_path.glob("unet*"))
    (first / "epochs.jsonl").write_text("")
    (one,) = compared(tmp_path, "valid_loss_end")
    assert one.seeds == (2, 3) and one.notes == ("unknown for 1 of the runs",)
    assert one.problem == "too few seeds (2 of unet); a verdict needs 3 of each"


def test_the_effect_size_is_in_units_of_the_spread_between_seeds(tmp_path):
    for seed, (first, second) in enumerate([(0.5, 0.3), (0.6, 0.4), (0.7, 0.5)]):
        finish(tmp_path, "model=unet", dice=[first], seed=seed)
        finish(tmp_path, "model=resnet34_unet", dice=[second], seed=seed)
    (one,) = compared(tmp_path)
    assert one.hedges_g[0] == pytest.approx(2 * (1 - 3 / 15))  # 0.2 / 0.1, with 4 degrees of freedom


def test_a_side_that_only_lacks_what_the_other_has_is_called_by_that(tmp_path):
    finish(tmp_path, dice=[0.5])
    finish(tmp_path, "model.attention=true", dice=[0.5])
    (found,) = compared(tmp_path, arms=({"model.attention": True}, {"model.attention": None}))
    assert arms_text(found) == "attention True − no attention"


def test_a_setting_whose_runs_all_failed_at_first_scores_0_with_its_failures(tmp_path):
    replicates(tmp_path, "model=resnet34_unet", mean=0.5)
    for record in replicates(tmp_path, "model=unet", mean=0.8):
        failed = {"status": "failed", "error": "NonFiniteLoss: nan", "failure_kind": "own"}
        record.run_file.write_text(json.dumps({**record.read(), "attempts": [failed]}))
    (one,) = compared(tmp_path)
    assert one.with_failures[0].tolist() == np.zeros((3, 40)).tolist()
    assert one.p_confirming == 1.0


class TestPairsOfSeeds:
    def compared(self, sweep, metric="test_dice"):
        records = load_records([sweep])
        hypothesis = Hypothesis(METRICS[metric], (UNET, RESNET), (1.0, -1.0))
        (one,) = compare(records, settings_of(records, pairs_seeds=True), hypothesis)
        return one

    def test_differences_of_equal_seeds_are_the_sample(self, tmp_path):
        luck = [0.0, 0.05, 0.1, 0.2]
        for seed in (0, 1, 2):
            finish(tmp_path, "model=unet", dice=[0.6 + luck[seed], 0.5], seed=seed)
        for seed in (1, 2, 3, 0):
            finish(tmp_path, "model=resnet34_unet", dice=[0.55 + luck[seed] + 0.001 * seed, 0.5], seed=seed)
        one = self.compared(tmp_path)
        differences = np.array([[0.05, 0], [0.049, 0], [0.048, 0]])
        expected = contrast([differences], [1])
        assert (one.seeds, one.problem) == ((3, 3), None)
        assert one.estimate.value == pytest.approx(0.0245) and one.estimate.variance == pytest.approx(expected.variance)
        assert one.correlation_of_seeds == pytest.approx(1, abs=0.01)
        assert one.variance_components(True).counts == (3,)

    def test_without_three_seeds_of_both_there_is_no_verdict(self, tmp_path):
        for model, seeds in (("unet", (0, 1, 2)), ("resnet34_unet", (3, 4, 5))):
            for seed in seeds:
                finish(tmp_path, f"model={model}", dice=[0.5 + 0.01 * seed, 0.7], seed=seed)
        one = self.compared(tmp_path)
        assert one.problem == "pair=seed needs 3 seeds that all settings have, and the test Dice of every run"
        assert (one.p_confirming, one.p_contradicting) == (1.0, 1.0) and one.estimate is not None

    def test_identical_differences_show_nothing_about_other_seeds(self, tmp_path):
        for model, less in (("unet", 0), ("resnet34_unet", 0.1)):
            for seed in range(3):
                finish(tmp_path, f"model={model}", dice=[0.5 + 0.01 * seed - less, 0.7], seed=seed)
        problem = "the variance between pairs of seeds is unknown: they have identical differences in test Dice"
        assert self.compared(tmp_path).problem == problem

    def test_costs_are_not_paired(self, tmp_path):
        for model in ("unet", "resnet34_unet"):
            for seed in range(3):
                finish(tmp_path, f"model={model}", dice=[0.5], seed=seed, seconds=10 + seed)
        assert self.compared(tmp_path, "train_seconds").pairs is None
