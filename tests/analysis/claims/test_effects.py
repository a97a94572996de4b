"""What each factor does: levels compared with all else equal, in each context; and how many seeds it would take."""

import math

import numpy as np
import pytest

from src.analysis.claims.effects import factor_effects, mean_effect, seed_plan
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.statistics.estimates import contrast, holm, power
from tests.analysis.recorded import fail, finish, replicates


def effects_of(sweep, *factors):
    records = load_records([sweep])
    return factor_effects(records, settings_of(records), factors)


def test_two_levels_over_two_contexts(tmp_path):
    arms = {}
    for model, base in (("unet", 0.8), ("resnet34_unet", 0.6)):
        for scheduler, gain in (("cosine", 0.0), ("onecycle", 0.05 if model == "unet" else 0.03)):
            records = replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", mean=base + gain)
            arms[model, scheduler] = [[float(row["dice"]) for row in one.read_test_images()] for one in records]
    mean, resnet, unet = effects_of(tmp_path, "scheduler")
    assert mean.name == "scheduler: onecycle − cosine (mean of 2)" and mean.is_main
    assert [one.name for one in (resnet, unet)] == [
        "scheduler: onecycle − cosine (resnet34_unet)",
        "scheduler: onecycle − cosine (unet)",
    ]
    assert not resnet.is_main and not unet.is_main
    order = [(model, scheduler) for scheduler in ("onecycle", "cosine") for model in ("resnet34_unet", "unet")]
    expected = contrast([np.array(arms[key]) for key in order], [0.5, 0.5, -0.5, -0.5])
    assert mean.comparison.estimate.value == pytest.approx(expected.value)
    assert mean.comparison.estimate.variance == pytest.approx(expected.variance)
    assert mean.comparison.seeds == (3, 3, 3, 3) and mean.status == "better"
    assert unet.comparison.display_values[0] == pytest.approx(5, abs=0.7)


def test_variants_that_both_levels_have_are_compared_like_with_like(tmp_path):
    for optimizer in ("adam", "adamw"):
        for lr, mean in ((0.001, 0.7), (0.0001, 0.8)):
            replicates(tmp_path, f"optimizer={optimizer}", f"optimizer.lr={lr}", "optimizer.weight_decay=0", mean=mean)
    found = effects_of(tmp_path, "optimizer")
    assert [one.context for one in found] == ["mean of 2", "lr 0.0001", "lr 0.001"]
    assert all(abs(one.comparison.display_values[0]) < 1 for one in found)  # 10 points lie between the learning rates


def test_a_setting_in_several_contexts_counts_its_runs_once(tmp_path):
    replicates(tmp_path, "loss=bce", mean=0.8)
    for gamma in (1, 2, 3):
        replicates(tmp_path, "loss=focal", f"loss.gamma={gamma}", mean=0.7)
    mean = effects_of(tmp_path, "loss")[0]
    assert mean.context == "mean of 3" and mean.comparison.seeds == (3, 3, 3, 3)
    # focal less bce: a third of each gamma, less all of bce
    weights = [
        ("bce" in one.label, weight)
        for one, weight in zip(mean.comparison.settings, mean.comparison.hypothesis.weights, strict=True)
    ]
    assert sorted(weights) == [(False, pytest.approx(1 / 3))] * 3 + [(True, pytest.approx(-1))]
    expected = contrast(mean.comparison.samples, mean.comparison.hypothesis.weights)
    assert mean.comparison.estimate == expected


def test_what_comes_with_another_optimizer_is_said(tmp_path):
    for optimizer in ("adam", "adamw"):
        replicates(tmp_path, f"optimizer={optimizer}")
    (only,) = effects_of(tmp_path, "optimizer")
    assert only.comparison.notes == (
        "optimizer.lr differs too: 0.001 and 0.0001",
        "optimizer.weight_decay differs too: 0.01 and 0.0",
    )


def test_p_values_are_adjusted_over_the_main_effects(tmp_path):
    for lr, mean in ((0.1, 0.7), (0.01, 0.71), (0.001, 0.75)):
        replicates(tmp_path, f"optimizer.lr={lr}", mean=mean)
    found = effects_of(tmp_path, "optimizer.lr")
    # the settings come in the order of the table, smallest first; a later level is compared with an earlier one
    assert [one.name for one in found] == [
        "optimizer.lr: lr 0.01 − lr 0.001",
        "optimizer.lr: lr 0.1 − lr 0.001",
        "optimizer.lr: lr 0.1 − lr 0.01",
    ]
    raw = [min(one.comparison.p_confirming, one.comparison.p_contradicting) for one in found]
    assert [one.p_adjusted for one in found] == holm(raw)
    assert [one.status for one in found][:2] == ["worse", "worse"]


def test_levels_whose_trainers_differ_too_are_compared_and_it_is_said(tmp_path):
    replicates(tmp_path, "model=unet", "trainer.batch_size=4")
    replicates(tmp_path, "model=resnet34_unet", "trainer.batch_size=8")
    (only,) = effects_of(tmp_path, "model")
    assert only.comparison.notes == ("trainer.batch_size differs too: 4 and 8",)


def test_but_not_where_there_are_runs_with_the_same(tmp_path):
    for overrides in (("unet", 4), ("resnet34_unet", 4), ("resnet34_unet", 8)):
        replicates(tmp_path, f"model={overrides[0]}", f"trainer.batch_size={overrides[1]}")
    (only,) = effects_of(tmp_path, "model")
    assert only.comparison.notes == () and only.context == "batch_size 4"


def test_too_few_seeds_give_an_effect_without_a_verdict(tmp_path):
    for scheduler, mean in (("cosine", 0.3), ("onecycle", 0.9)):
        finish(tmp_path, f"scheduler={scheduler}", dice=[mean, mean])
    (only,) = effects_of(tmp_path, "scheduler")
    assert (
        only.comparison.display_values[0] == pytest.approx(60) and only.status == "undecided" and only.p_adjusted == 1.0
    )
    assert only.comparison.problem.startswith("too few seeds")


def test_contexts_on_other_data_are_not_averaged(tmp_path):
    for data in ("a", "b"):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path / data, f"scheduler={scheduler}", fingerprint=data * 12)
    records = load_records([tmp_path / "a", tmp_path / "b"])
    found = factor_effects(records, settings_of(records), ["scheduler"])
    assert [one.context for one in found] == ["data aaaaaaaa", "data bbbbbbbb"] and all(one.is_main for one in found)


def test_of_many_levels_each_is_compared_with_the_first(tmp_path):
    for number in range(1, 8):
        replicates(tmp_path, f"optimizer.lr={number}", seeds=1)
    assert [one.second for one in effects_of(tmp_path, "optimizer.lr")] == ["lr 1"] * 6


def test_seeds_that_gave_the_very_same_give_an_effect_without_a_verdict(tmp_path):
    for scheduler, gain in (("cosine", 0.0), ("onecycle", 0.05)):
        for seed in range(3):
            finish(tmp_path, f"scheduler={scheduler}", dice=[0.5 + gain, 0.7 + gain], seed=seed)
    (only,) = effects_of(tmp_path, "scheduler")
    assert (
        only.comparison.display_values[0] == pytest.approx(5) and only.status == "undecided" and only.p_adjusted == 1.0
    )
    assert "have identical test Dice" in only.comparison.problem


def plan_of(sweep, **asked):
    records = load_records([sweep])
    return seed_plan(records, factor_effects(records, settings_of(records), ["scheduler"]), **asked)


def two_settings(sweep, spread, image_spread=0.0):
    """3 seeds each, `spread` apart; images of one setting differ from those of the other by `image_spread`."""
    images = image_spread * np.array([1, -1, 1, -1])
    for scheduler, shift in (("cosine", 0.0), ("onecycle", images)):
        for seed, offset in enumerate((-spread, 0.0, spread)):  # standard deviation `spread`
            finish(
                sweep, f"scheduler={scheduler}", dice=0.5 + offset + shift + np.zeros(4), seed=seed, seconds=3600 / 7
            )


def test_seeds_and_hours_for_this_test_set(tmp_path):
    two_settings(tmp_path, spread=0.002)
    (row,) = plan_of(tmp_path).to_dict("records")
    # a difference of one standard deviation: the textbook's 17 a group for 80 % power
    assert (row["comparison"], row["seeds"], row["these_images"]) == ("scheduler: onecycle − cosine", 3, 17)
    assert row["these_hours"] == pytest.approx(2 * 14)
    assert (row["new_images"], row["new_hours"]) == (17, row["these_hours"]) and math.isnan(row["images"])


def test_a_larger_difference_takes_fewer_seeds_and_more_power_more(tmp_path):
    two_settings(tmp_path, spread=0.002)
    needed = [plan_of(tmp_path, **asked)["these_images"][0] for asked in ({"min_effect": 0.004}, {"wanted": 0.95})]
    assert needed[0] < 17 < needed[1]


def test_more_seeds_do_not_help_against_few_images(tmp_path):
    two_settings(tmp_path, spread=0.002, image_spread=0.1)
    (row,) = plan_of(tmp_path).to_dict("records")
    assert row["these_images"] == 17 and math.isnan(row["new_images"]) and row["images"] > 4


def test_among_several_comparisons_each_takes_more_seeds_since_the_verdicts_are_stricter(tmp_path):
    two_settings(tmp_path, spread=0.002)
    records = load_records([tmp_path])
    effects = factor_effects(records, settings_of(records), ["scheduler"])
    spread = effects[0].comparison.variance_components(new_images=False)
    (needed,) = set(seed_plan(records, 3 * effects)["these_images"])
    assert power(spread, int(needed), 0.002, 1 - 0.05 / 3) >= 0.8 > power(spread, int(needed) - 1, 0.002, 1 - 0.05 / 3)
    assert needed > 17


def test_fewer_than_three_seeds_tell_too_little_of_the_spread(tmp_path):
    for scheduler in ("cosine", "onecycle"):
        for seed in (0, 1):
            finish(tmp_path, f"scheduler={scheduler}", dice=[0.5 + 0.01 * seed], seed=seed)
    assert plan_of(tmp_path).empty


def test_the_parts_of_a_mean_have_simultaneous_intervals(tmp_path):
    for model in ("unet", "resnet34_unet", "unet_bias"):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", seeds=4)
    mean, *parts = effects_of(tmp_path, "scheduler")
    for part in parts:
        low, high = (end / 100 for end in part.comparison.display_values[1:])
        assert (low, high) == pytest.approx(part.comparison.estimate.interval(1 - 0.05 / 3))
        assert part.p_adjusted == pytest.approx(min(1, 3 * part.p))
    # that the effect is the same in all: each with the mean of the three, the smallest p-value of three
    differences = [part.comparison.samples for part in parts]
    samples = [sample for pair in differences for sample in pair]
    weights = [[(one == number) - 1 / 3 for one in range(3)] for number in range(3)]
    tests = [contrast(samples, [sign * one for one in own for sign in (1, -1)]) for own in weights]
    p_values = [min(test.p_within(0, math.inf), test.p_within(-math.inf, 0)) for test in tests]
    assert mean.p_depends == pytest.approx(min(1, 3 * min(p_values)))


def test_one_lost_seed_leaves_the_verdicts_of_the_other_contexts(tmp_path):
    for model, seeds in (("unet", 3), ("resnet34_unet", 3), ("unet_bias", 2)):
        for scheduler, gain in (("cosine", 0.0), ("onecycle", 0.05)):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", mean=0.7 + gain, seeds=seeds)
    mean, *parts = effects_of(tmp_path, "scheduler")
    assert mean.context == "mean of 2 of 3" and mean.status == "better" and mean.is_everywhere
    assert [bool(part.comparison.problem) for part in parts] == [False, False, True]
    assert mean.comparison.seeds == (3, 3, 3, 3)


def test_each_tested_interaction_shares_the_5_percent_whatever_its_p_value(tmp_path):
    for model in ("unet", "resnet34_unet", "unet_bias"):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", spread=0.01, images=10)
    for scheduler, seeds in (("cosine", 3), ("onecycle", 2)):
        replicates(tmp_path, "model=unet", "loss=dice", f"scheduler={scheduler}", seeds=seeds, images=10)
    means = [one for one in effects_of(tmp_path, "scheduler", "model", "loss") if one.parts]
    raw = [mean_effect("any", ("a", "b"), [part.comparison for part in one.parts], False).p_depends for one in means]
    assert [one.context for one in means] == ["mean of 3 of 4", *["mean of 2"] * 3, "mean of 1 of 2"]
    assert raw[0] == 1.0 and math.isnan(raw[-1])  # clipped by Bonferroni, and not tested
    assert [one.p_depends for one in means[:-1]] == holm(raw[:-1]) and math.isnan(means[-1].p_depends)


def test_a_best_level_that_is_the_baseline_is_compared_with_each_once_and_survivors_do_not_make_it(tmp_path):
    means = {0.0005: 0.6, 0.001: 0.8, 0.002: 0.7, 0.003: 0.65, 0.004: 0.9, 0.005: 0.5}
    for lr, mean in means.items():
        replicates(tmp_path, f"optimizer.lr={lr}", mean=mean)
    for seed in range(3, 5):
        fail(tmp_path, "optimizer.lr=0.004", seed=seed)  # 3 * 0.9 / 5 = 0.54
    found = effects_of(tmp_path, "optimizer.lr")
    assert [(one.first, one.second) for one in found] == [("lr 0.001", f"lr {lr}") for lr in means if lr != 0.001]


def test_of_many_levels_each_is_compared_with_the_best_and_with_the_baseline(tmp_path):
    means = {0.0005: 0.6, 0.001: 0.7, 0.002: 0.8, 0.003: 0.65, 0.004: 0.9, 0.005: 0.5}
    for lr, mean in means.items():
        replicates(tmp_path, f"optimizer.lr={lr}", mean=mean)
    found = effects_of(tmp_path, "optimizer.lr")
    assert [(one.first, one.second) for one in found] == [
        *[("lr 0.004", f"lr {lr}") for lr in means if lr != 0.004],
        *[(f"lr {lr}", "lr 0.001") for lr in means if lr not in (0.001, 0.004)],  # that of conf/optimizer/adamw.yaml
    ]
    # the best is selected by the same scores: all 15 pairs share the 5 %
    assert min(one.p_adjusted for one in found) == pytest.approx(15 * min(one.p for one in found))
