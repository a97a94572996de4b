"""From answers to verdicts: what holds, what is reversed, what stays open and why, all claims of a file together."""

import numpy as np
import pytest

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.effects import factor_effects
from src.analysis.claims.ranking import settings_scores
from src.analysis.claims.verdicts import judge
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.sentences import best_setting_sentences
from src.analysis.statistics.estimates import holm
from tests.analysis.recorded import fail, finish, replicates

ONE, COS = {"scheduler": "onecycle"}, {"scheduler": "cosine"}
LARGER = {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": COS}
SMALLER = {"type": "difference", "measure": "test_dice", "higher": COS, "lower": ONE}
EQUAL = {"type": "equivalence", "measure": "test_dice", "sides": [ONE, COS]}
NO_WORSE = {**SMALLER, "at_least": -0.005}


def judged(sweep, **tests):
    claims = {name: {"says": name, "test": test} for name, test in tests.items()}
    file = ClaimFile.model_validate({"source": "me", "where": {"model": "unet"}, "reported_with": {}, "claims": claims})
    records = load_records([sweep])
    return {verdict.name: verdict for verdict in judge(records, settings_of(records), file)}


def words(sweep, **tests):
    return {name: verdict.status for name, verdict in judged(sweep, **tests).items()}


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """OneCycle 5 points above cosine, 4 seeds each."""
    sweep = tmp_path_factory.mktemp("apart")
    curves = {"valid_dice": [0.8] * 6, "valid_loss": [1, 0.5, 0.4, 0.4, 0.5, 0.6]}
    replicates(sweep, "scheduler=onecycle", mean=0.85, seeds=4, curves=curves)
    replicates(sweep, "scheduler=cosine", mean=0.80, seeds=4, curves={"valid_dice": [0.7] * 6, "valid_loss": [0.5] * 6})
    return sweep


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """The same Dice, so well known that a difference of half a point would show."""
    sweep = tmp_path_factory.mktemp("alike")
    for scheduler in ("onecycle", "cosine"):
        replicates(sweep, f"scheduler={scheduler}", seeds=5, spread=0.0005)
    return sweep


def test_each_type_of_claim_where_the_settings_are_apart(apart):
    assert words(apart, larger=LARGER, smaller=SMALLER, equal=EQUAL, no_worse=NO_WORSE) == {
        "larger": "holds",
        "smaller": "reversed",
        "equal": "reversed",
        "no_worse": "reversed",
    }


def test_each_type_of_claim_where_the_settings_are_alike(alike):
    assert words(alike, larger=LARGER, smaller=SMALLER, equal=EQUAL, no_worse=NO_WORSE) == {
        "larger": "undecided",
        "smaller": "undecided",
        "equal": "holds",
        "no_worse": "holds",
    }


def test_a_difference_that_is_there_but_smaller_than_said_is_no_support(apart):
    verdicts = judged(apart, far={**LARGER, "at_least": 0.2}, near={**LARGER, "at_least": 0.05})
    assert verdicts["far"].status == "reversed" and verdicts["far"].reason.endswith("is nowhere above 20")
    assert verdicts["near"].status == "undecided" and verdicts["near"].reason.endswith("is not entirely above 5")


def test_curves_turn_upward_or_do_not(apart):
    turns = {"type": "curve", "rule": "turns_upward", "after": 0.5}
    does_not = {**turns, "rule": "does_not_turn_upward"}
    assert words(apart, a={**turns, "side": ONE}, b={**turns, "side": COS}, c={**does_not, "side": COS}) == {
        "a": "holds",
        "b": "reversed",
        "c": "holds",
    }


def test_a_level_is_reached_or_not(apart):
    level = {"type": "level", "measure": "valid_dice_end", "side": ONE}
    assert words(apart, low={**level, "at_least": 0.7}, high={**level, "at_least": 0.9}) == {
        "low": "holds",
        "high": "reversed",
    }


def test_all_parts_must_hold(apart):
    valid = {**LARGER, "measure": "valid_dice_end"}
    verdicts = judged(
        apart,
        both={"type": "all_of", "parts": [LARGER, valid]},
        one={"type": "all_of", "parts": [LARGER, {**valid, "higher": COS, "lower": ONE}]},
        open={"type": "all_of", "parts": [LARGER, {**LARGER, "at_least": 0.05}]},
        absent={"type": "all_of", "parts": [LARGER, {**LARGER, "lower": {"scheduler": "poly"}}]},
    )
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        "both": "holds",
        "one": "reversed",
        "open": "undecided",
        "absent": "undecided",
    }
    assert verdicts["both"].reason == "" and verdicts["one"].reason.endswith("is nowhere above 0")
    assert verdicts["open"].reason.startswith("onecycle − cosine: the interval, ")
    assert verdicts["open"].reason.endswith("is not entirely above 5")
    assert verdicts["absent"].reason == "runs missing: none finished with scheduler poly"


def test_an_interaction_compares_two_gains(tmp_path):
    means = {("onecycle", 0.1): 0.9, ("cosine", 0.1): 0.7, ("onecycle", 0.01): 0.75, ("cosine", 0.01): 0.7}
    for (scheduler, lr), mean in means.items():
        replicates(tmp_path, f"scheduler={scheduler}", f"optimizer.lr={lr}", mean=mean)
    gains = [[{"optimizer.lr": lr, **scheduler} for scheduler in (ONE, COS)] for lr in (0.1, 0.01)]
    interaction = {"type": "interaction", "measure": "test_dice"}
    verdict = judged(tmp_path, x={**interaction, "larger_gain": gains[0], "smaller_gain": gains[1]})["x"]
    (comparison,) = verdict.comparisons
    assert verdict.status == "holds" and comparison.display_values[0] == pytest.approx(15, abs=1)


class TestContexts:
    """Where runs that differ in something else could answer too, all of them are asked."""

    def test_a_claim_must_hold_in_each(self, tmp_path):
        for lr, gap in ((0.1, 0.05), (0.01, 0.05)):
            replicates(tmp_path, "scheduler=onecycle", f"optimizer.lr={lr}", mean=0.7 + gap)
            replicates(tmp_path, "scheduler=cosine", f"optimizer.lr={lr}", mean=0.7)
        verdict = judged(tmp_path, x=LARGER)["x"]
        assert verdict.status == "holds" and len(verdict.comparisons) == 2

    def test_one_that_holds_and_one_that_does_not_leave_it_open(self, tmp_path):
        for lr, gap in ((0.1, 0.05), (0.01, -0.05)):
            replicates(tmp_path, "scheduler=onecycle", f"optimizer.lr={lr}", mean=0.7 + gap)
            replicates(tmp_path, "scheduler=cosine", f"optimizer.lr={lr}", mean=0.7)
        verdict = judged(tmp_path, x=LARGER)["x"]
        assert verdict.status == "undecided" and verdict.reason.startswith(
            "onecycle − cosine (lr 0.01): the interval, −"
        )

    def test_a_pilot_of_one_seed_has_no_say_beside_a_full_one(self, tmp_path):
        for lr, seeds, gap in ((0.1, 3, 0.05), (0.01, 1, -0.3)):
            replicates(tmp_path, "scheduler=onecycle", f"optimizer.lr={lr}", mean=0.7 + gap, seeds=seeds)
            replicates(tmp_path, "scheduler=cosine", f"optimizer.lr={lr}", mean=0.7, seeds=seeds)
        assert words(tmp_path, x=LARGER) == {"x": "holds"}


def test_fewer_than_three_seeds_never_hold_and_never_reverse(tmp_path):
    for scheduler, mean in (("onecycle", 0.9), ("cosine", 0.3)):
        for seed in (0, 1):
            finish(tmp_path, f"scheduler={scheduler}", dice=np.full(40, mean + 0.01 * seed), seed=seed)
    verdicts = judged(tmp_path, larger=LARGER, smaller=SMALLER, equal=EQUAL)
    assert {verdict.status for verdict in verdicts.values()} == {"undecided"}
    assert verdicts["larger"].reason == "too few seeds (2 of onecycle, 2 of cosine); a verdict needs 3 of each"
    value, low, high = verdicts["larger"].comparisons[0].display_values
    assert value == pytest.approx(60) and 0 < low < 60 < high < 120


def test_p_values_are_adjusted_over_the_claims_that_could_be_judged(tmp_path):
    for scheduler, mean in (("onecycle", 0.808), ("cosine", 0.8)):
        replicates(tmp_path, f"scheduler={scheduler}", mean=mean, spread=0.003)
    absent = {**LARGER, "higher": {"scheduler": "poly"}}
    alone = judged(tmp_path, a=LARGER, b=absent)["a"]
    assert alone.p == alone.p_adjusted and 0.005 < alone.p < 0.05 and alone.status == "holds"
    many = judged(tmp_path, b=absent, **{f"a{number}": LARGER for number in range(10)})
    assert [many[f"a{number}"].p_adjusted for number in range(10)] == holm([alone.p] * 10)
    assert many["a0"].status == "undecided" and many["a0"].reason.startswith(
        f"significant alone (p = {alone.p:.3f}), but not among"
    )


def test_a_file_that_these_runs_say_nothing_of_was_not_asked(alike):
    elsewhere = {**LARGER, "higher": {"scheduler": "poly"}, "lower": {"scheduler": "plateau"}}
    verdicts = judged(alike, here=LARGER, there=elsewhere)
    assert verdicts["here"].has_runs and not verdicts["there"].has_runs


TURNS = {"type": "curve", "rule": "turns_upward", "after": 0.5, "side": COS}
NOT_TURNING = {**TURNS, "rule": "does_not_turn_upward"}
AT_END = {"type": "level", "measure": "valid_dice_end", "side": COS, "at_least": 0.1}
CONVERGES = {**AT_END, "measure": "epochs_to_converge"}


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_or_two_epochs_have_no_curve(tmp_path, epochs):
    curves = {"valid_loss": [0.5] * epochs, "valid_dice": [0.8] * epochs}
    replicates(tmp_path, "scheduler=cosine", curves=curves, image_spread=0.02)
    verdicts = judged(tmp_path, a=TURNS, b=NOT_TURNING, c=AT_END, d=CONVERGES, dice={**AT_END, "measure": "test_dice"})
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        **dict.fromkeys("abcd", "undecided"),
        "dice": "holds",  # which takes no curve
    }
    needs = f"needs 3 epochs, a run has {epochs}"
    assert verdicts["a"].reason == f"the rise of validation loss after 50% of the run {needs}"
    assert verdicts["c"].reason == f"the validation Dice at the end {needs}"


def test_a_rise_takes_a_run_whose_end_lies_behind_where_it_begins(tmp_path):
    for seed in range(3):
        loss = [0.5 + 0.001 * seed * number for number in range(4)]
        finish(tmp_path, "scheduler=cosine", dice=[0.5], seed=seed, curves={"valid_loss": loss})
    late, earlier = judged(tmp_path, a={**NOT_TURNING, "after": 0.9}, b={**NOT_TURNING, "after": 0.75}).values()
    assert (late.status, earlier.status) == ("undecided", "holds")
    assert late.reason.endswith("rise of validation loss after 90% of the run needs 5 epochs, a run has 4")


def test_a_loss_of_zero_has_no_relative_rise(tmp_path):
    replicates(tmp_path, "scheduler=cosine", curves={"valid_loss": [0.0] * 6})
    assert judged(tmp_path, a=NOT_TURNING)["a"].reason.startswith("too few seeds (0 of all runs)")


@pytest.mark.parametrize("copies", [2, 3])
def test_seeds_that_gave_the_very_same_decide_nothing(tmp_path, copies):
    dice = np.linspace(0.5, 0.9, 20)
    for scheduler, gain in (("onecycle", 0.05), ("cosine", 0.0)):
        for seed in range(3):
            own = 0.0 if seed < copies else 0.001
            finish(tmp_path, f"scheduler={scheduler}", dice=dice + gain + own, seed=seed)
    verdicts = judged(tmp_path, larger=LARGER, smaller=SMALLER, equal=EQUAL, level={**AT_END, "measure": "test_dice"})
    assert {verdict.status for verdict in verdicts.values()} == {"undecided"}
    reason = "the variance between seeds is unknown: seeds of onecycle and of cosine have identical test Dice"
    assert verdicts["larger"].reason == reason
    value, low, high = verdicts["larger"].comparisons[0].display_values
    assert value == pytest.approx(5) and np.isnan([low, high]).all()


def test_a_cost_without_any_spread_decides_nothing(tmp_path):
    for model, seconds in (("unet", 30.0), ("resnet34_unet", 10.0)):
        replicates(tmp_path, f"model={model}", seconds=seconds)
    sides = {"higher": {"model": "unet"}, "lower": {"model": "resnet34_unet"}}
    slower = {"type": "difference", "measure": "train_seconds", **sides}
    claims = {"source": "me", "where": {}, "reported_with": {}, "claims": {"a": {"says": "a", "test": slower}}}
    records = load_records([tmp_path])
    (verdict,) = judge(records, settings_of(records), ClaimFile.model_validate(claims))
    assert verdict.status == "undecided" and verdict.reason.endswith("have identical training time")


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """OneCycle 5 points above cosine; of its 10 runs 4 failed by their own fault, and of cosine's one was killed."""
    sweep = tmp_path_factory.mktemp("failing")
    replicates(sweep, "scheduler=onecycle", mean=0.85, seeds=6, curves={"valid_loss": [0.4] * 6})
    replicates(sweep, "scheduler=cosine", mean=0.80, seeds=4, curves={"valid_loss": [0.5] * 6})
    for seed in range(6, 10):
        fail(sweep, "scheduler=onecycle", seed=seed)
    fail(sweep, "scheduler=cosine", seed=4, reason="killed by SIGKILL")
    return sweep


def test_a_verdict_in_favor_of_a_setting_must_hold_with_its_failed_runs_scored_0(failing):
    very_low = {"type": "level", "measure": "test_dice", "side": ONE, "at_least": 0.1}
    high = {**very_low, "at_least": 0.8}
    low = {"type": "level", "measure": "test_dice", "side": ONE, "at_most": 0.9}
    time = {"type": "difference", "measure": "train_seconds", "higher": ONE, "lower": COS}
    loss = {"type": "difference", "measure": "valid_loss_end", "higher": COS, "lower": ONE}
    tests = {"larger": LARGER, "smaller": SMALLER, "equal": EQUAL, "time": time, "loss": loss}
    found = judged(failing, **tests, high=high, low=low) | judged(failing, very_low=very_low)
    assert {name: verdict.status for name, verdict in found.items()} == {
        **dict.fromkeys(tests, "undecided"),
        "high": "undecided",
        "low": "holds",
        "very_low": "holds",  # (6 * 0.85) / 10 = 0.51, give or take 0.32
    }
    assert "onecycle − cosine: with failed runs scored 0, the interval, −" in found["larger"].reason
    failed = "4 of 10 runs of onecycle failed by their own fault, so "
    end = "cannot be judged (failures=exclude leaves them out)"
    assert found["equal"].reason == f"{failed}whether the test Dice is equal {end}"
    assert found["loss"].reason == f"{failed}the validation loss at the end {end}"


def test_a_verdict_against_a_setting_does_not_need_its_failures(failing):
    replicates(failing, "scheduler=poly", mean=0.95, seeds=4)
    assert words(failing, larger={**LARGER, "higher": {"scheduler": "poly"}, "lower": ONE}) == {"larger": "holds"}


def test_a_context_with_failures_is_not_ignored_where_others_have_none(tmp_path):
    for model in ("unet", "resnet34_unet"):
        for scheduler, loss in (("onecycle", 0.4), ("cosine", 0.5)):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", curves={"valid_loss": [loss] * 6})
    fail(tmp_path, "model=unet", "scheduler=onecycle", seed=3)
    loss = {"type": "difference", "measure": "valid_loss_end", "higher": COS, "lower": ONE}
    claims = {"loss": {"says": "lower", "test": loss}}
    file = ClaimFile.model_validate({"source": "me", "where": {}, "reported_with": {}, "claims": claims})
    records = load_records([tmp_path])
    (counted,), (excluded,) = (judge(records, settings_of(records, counts), file) for counts in (True, False))
    assert (counted.status, excluded.status) == ("undecided", "holds")


@pytest.mark.parametrize("survivors", [3, 2, 0])
def test_the_more_runs_of_a_context_fail_the_less_a_claim_holds(tmp_path, survivors):
    means = {("unet", "onecycle"): 0.85, ("unet", "cosine"): 0.80, ("resnet34_unet", "onecycle"): 0.85}
    means |= {("resnet34_unet", "cosine"): 0.80}
    for (model, scheduler), mean in means.items():
        seeds = survivors if (model, scheduler) == ("unet", "onecycle") else 5
        replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", mean=mean, seeds=seeds)
    for seed in range(survivors, 5):
        fail(tmp_path, "model=unet", "scheduler=onecycle", seed=seed)
    claims = {"larger": {"says": "larger", "test": LARGER}}
    file = ClaimFile.model_validate({"source": "me", "where": {}, "reported_with": {}, "claims": claims})
    records = load_records([tmp_path])
    settings = settings_of(records)
    effects = [one for one in factor_effects(records, settings, ["scheduler"]) if one.is_main]
    assert [judge(records, settings, file)[0].status, *(one.status for one in effects)] == ["undecided"] * 2
    failed = f"Runs failed by their own fault: unet, onecycle in {5 - survivors} of 5 ("
    assert any(one.startswith(failed) for one in best_setting_sentences(settings_scores(records, settings)))


@pytest.mark.parametrize("metric", ["test_dice", "valid_dice_end"])
def test_a_setting_whose_finished_runs_all_failed_before_scores_0(tmp_path, metric):
    for seed in range(3):
        fail(tmp_path, "scheduler=onecycle", seed=seed)
    for scheduler, seeds in (("onecycle", 3), ("cosine", 4)):
        replicates(tmp_path, f"scheduler={scheduler}", seeds=seeds, curves={"valid_dice": [0.5] * 6})
    ((one,),) = judged(tmp_path, larger={**LARGER, "measure": metric})["larger"].results
    assert [len(sample) for sample in one.samples] == [3, 4]
    assert (one.with_failures[0] == 0).all() and one.p_confirming == 1


def test_a_level_is_judged_more_strictly_since_scores_are_skewed(apart):
    level = {"type": "level", "measure": "test_dice", "side": ONE, "at_least": 0.5}
    verdict = judged(apart, level=level)["level"]
    ((one,),) = verdict.results
    assert one.p_confirming == pytest.approx(3 * one.estimate.p_within(0.5, np.inf))
    low, high = one.estimate.interval(1 - 0.05 / 3)
    assert one.display_values[1:] == pytest.approx((100 * low, 100 * min(1, high)))


def test_the_reason_of_a_level_stays_within_its_bounds(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", mean=0.9)
    for seed in range(3, 5):
        fail(tmp_path, "scheduler=onecycle", seed=seed)
    level = {"type": "level", "measure": "test_dice", "side": ONE, "at_least": 0.8}
    reason = judged(tmp_path, level=level)["level"].reason
    assert reason.endswith("with failed runs scored 0, the interval, +0.00 to +100.00 points, is not entirely above 80")


def test_a_single_test_image_is_not_a_sample_of_images(tmp_path):
    for scheduler, mean in (("onecycle", 0.9), ("cosine", 0.8)):
        for seed, offset in enumerate((-0.01, 0.0, 0.01)):
            finish(tmp_path, f"scheduler={scheduler}", dice=[mean + offset], seed=seed)
    minimum = {**LARGER, "measure": "test_dice_min"}  # of these images
    found = judged(tmp_path, larger=LARGER, minimum=minimum)
    assert {name: verdict.status for name, verdict in found.items()} == {"larger": "undecided", "minimum": "holds"}
    assert found["larger"].reason == "a single test image is not a sample of images, so it gives no verdict on new ones"
