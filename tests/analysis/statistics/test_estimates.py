"""Estimates against answers worked out by hand, against scipy's t tests, and against textbook tables of power."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from src.analysis.statistics import estimates
from src.analysis.statistics.estimates import (
    Estimate,
    VarianceComponents,
    collapsed,
    contrast,
    correlation_of_seeds,
    estimate_contrast,
    has_identical_seeds,
    hedges_g,
    hedges_g_interval,
    holm,
    images_needed,
    improvement,
    of_groups,
    outlying,
    paired,
    power,
    seeds_needed,
    share_interval,
    variance_components,
)

A = np.array([[1.0, 2, 12], [3, 8, 10]])  # 2 seeds, 3 images; mean 6, means of seeds 5 and 7, of images 2, 5 and 11
B = np.array([[0.0, 1, 2], [0, 1, 2]])  # no two seeds differ
FIRST, SECOND = np.array([0.91, 0.93, 0.92, 0.96]), np.array([0.90, 0.87, 0.91])

p_value_lists = st.lists(st.floats(0, 1), max_size=6)
finite = st.floats(-1, 1)


def column(values):
    """An arm whose score is one number a seed."""
    return np.asarray(values, dtype=float)[:, None]


def two_arms(seeds=1.0, images=0.0, image_count=1):
    """Arms whose seeds have this variance, compared on images that leave that much of it."""
    return VarianceComponents((seeds, seeds), (5, 5), images, image_count)


# The variance of a difference and of a mean


def test_without_images_a_difference_is_welchs_t_test():
    ours = contrast([column(FIRST), column(SECOND)], (1, -1))
    scipys = stats.ttest_ind(FIRST, SECOND, equal_var=False)
    assert ours.value == pytest.approx(FIRST.mean() - SECOND.mean())
    assert ours.df == pytest.approx(scipys.df)
    assert ours.interval() == pytest.approx(tuple(scipys.confidence_interval(0.95)))
    assert ours.interval(0.9) == pytest.approx(tuple(scipys.confidence_interval(0.9)))


def test_a_direction_has_the_two_sided_p_value_where_the_estimate_lies_and_1_on_the_other_side():
    ours = contrast([column(FIRST), column(SECOND)], (1, -1))
    scipys = stats.ttest_ind(FIRST, SECOND, equal_var=False)
    one_sided = stats.ttest_ind(FIRST, SECOND, equal_var=False, alternative="greater")
    assert ours.p_within(0, math.inf) == pytest.approx(scipys.pvalue) == pytest.approx(2 * one_sided.pvalue)
    assert ours.p_within(-math.inf, 0) == 1


def test_without_images_a_mean_is_students_t_test():
    ours = contrast([column(FIRST)], (1,))
    scipys = stats.ttest_1samp(FIRST, 0.9)
    assert (ours.df, ours.p_within(0.9, math.inf)) == (pytest.approx(3), pytest.approx(scipys.pvalue))
    assert ours.interval() == pytest.approx(tuple(scipys.confidence_interval(0.95)))


def test_where_seeds_agree_a_mean_is_students_t_test_over_images():
    scores = np.array([0.95, 0.80, 0.91, 0.99, 0.40])
    ours = contrast([np.tile(scores, (3, 1))], (1,))
    assert ours.df == pytest.approx(4)
    assert ours.interval() == pytest.approx(tuple(stats.ttest_1samp(scores, 0).confidence_interval(0.95)))


def test_where_seeds_agree_a_difference_is_the_paired_t_test_over_images():
    first, second = np.array([0.95, 0.80, 0.91, 0.99]), np.array([0.94, 0.70, 0.92, 0.97])
    ours = contrast([np.tile(first, (3, 1)), np.tile(second, (4, 1))], (1, -1))
    assert ours.p_within(0, math.inf) == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_the_crossed_variance_by_hand():
    # seeds: variance of 5 and 7 is 2. Residuals are 0, -2, 2 and 0, 2, -2, squares 16 in sum, with 1 · 2 degrees of
    # freedom 8. Images: variance of 2, 5, 11 is 21, of which the residual made 8 / 2; (21 - 4) / 3 images.
    spread = variance_components([A], (1,), new_images=True)
    assert spread == VarianceComponents((2.0,), (2,), pytest.approx(17 / 3), 3)
    variance, df = spread.variance_and_df()
    assert variance == pytest.approx(2 / 2 + 17 / 3)
    assert 1 / df == pytest.approx((1 * 1 / 1 + 17 / 3 * 1 / 2) / (20 / 3))  # weighted mean of 1/1 and 1/2


def test_the_crossed_variance_of_a_difference_by_hand():
    # images: variance of 2 - 0, 5 - 1, 11 - 2 is 13; the residual made 8 / 2 of it in A and nothing in B
    ours = contrast([A, B], (1, -1))
    assert variance_components([A, B], (1, -1), new_images=True) == VarianceComponents(
        (2.0, 0.0), (2, 2), pytest.approx(3), 3
    )
    assert (ours.value, ours.variance, ours.df) == pytest.approx((5, 1 + 3, 4 / (1 / 1 + 3 / 2)))
    assert ours.standard_error == pytest.approx(2)


def test_for_these_images_only_seeds_vary():
    ours = contrast([A, B], (1, -1), new_images=False)
    assert (ours.value, ours.variance, ours.df) == pytest.approx((5, 1, 1))
    over_seeds = contrast([column(A.mean(axis=1)), column(B.mean(axis=1))], (1, -1))
    assert ours == over_seeds


def test_how_hard_an_image_is_cancels_in_a_difference_but_not_in_a_mean():
    harder = np.array([-40.0, 0, 70])
    before, after = contrast([A, B], (1, -1)), contrast([A + harder, B + harder], (1, -1))
    assert (after.value, after.variance, after.df) == pytest.approx((before.value, before.variance, before.df))
    assert contrast([A + harder], (1,)).variance > contrast([A], (1,)).variance


def test_what_many_contrasts_share_is_computed_once_for_a_read_only_sample(monkeypatch):
    samples = [A.copy(), A[::-1] + 1.0]
    expected = contrast(samples, [1.0, -1.0])
    for sample in samples:
        sample.flags.writeable = False
    seen, variance = [], estimates._variance
    monkeypatch.setattr(estimates, "_variance", lambda values: seen.append(len(values)) or variance(values))
    assert [contrast(samples, [1.0, -1.0]) for _ in range(5)] == 5 * [expected]
    assert sorted(seen) == [2, 2, 3, 3, 3, 3, 3]  # of each sample's seeds once, of the images of each contrast


def test_a_sample_that_changes_or_takes_the_place_of_another_has_its_own_estimate():
    for offset in range(20):
        sample = A + offset  # each may lie where the one before lay
        sample.flags.writeable = bool(offset % 2)
        assert contrast([sample], [1.0]).value == pytest.approx(6 + offset)
        if offset % 2:
            sample[:] = B
            assert contrast([sample], [1.0]).value == pytest.approx(1) and has_identical_seeds(sample)
        del sample


def test_an_interaction_adds_the_variances_of_four_arms():
    values = [[1.0, 3], [2, 2, 5], [4, 4, 4, 8], [0, 10]]  # means 2, 3, 5, 5; variances 2, 3, 4, 50
    ours = contrast([column(arm) for arm in values], (1, -1, -1, 1))
    parts = np.array([2 / 2, 3 / 3, 4 / 4, 50 / 2])
    assert ours.value == pytest.approx(2 - 3 - 5 + 5)
    assert ours.variance == pytest.approx(28)
    assert ours.df == pytest.approx(28**2 / (parts**2 / [1, 2, 3, 1]).sum())


def test_weights_count_squared():
    halves = contrast([column([1.0, 3]), column([2.0, 2, 5])], (0.5, 0.5))  # the mean of two arms
    assert (halves.value, halves.variance) == pytest.approx((2.5, 2 / 2 / 4 + 3 / 3 / 4))


def test_an_image_part_that_comes_out_negative_is_0():
    arm = np.array([[1.0, 2, 6], [3, 8, 4]])  # images vary by 3, the residual's 8 / 2 alone would make 4
    assert variance_components([arm], (1,), new_images=True).images == 0
    assert (contrast([arm], (1,)).variance, contrast([arm], (1,)).df) == (1, 1)


@given(arrays(float, (3, 4), elements=finite), arrays(float, (2, 4), elements=finite))
def test_the_image_part_is_never_negative_and_new_images_never_make_an_answer_surer(first, second):
    assert variance_components([first, second], (1, -1), new_images=True).images >= 0
    new, here = (contrast([first, second], (1, -1), new_images=new) for new in (True, False))
    assert new.value == here.value and new.variance >= here.variance


def test_a_single_test_image_says_nothing_about_others():
    assert variance_components([A[:, :1]], (1,), new_images=True) == VarianceComponents((2.0,), (2,), 0.0, 1)


def test_variances_may_be_as_small_as_numbers_go():
    assert VarianceComponents((1e-200, 1e-200), (3, 3), 0.0, 1).variance_and_df() == pytest.approx((2e-200 / 3, 4))


def test_arms_on_different_images_are_refused():
    with pytest.raises(AssertionError, match="share their images"):
        contrast([A, column(FIRST)], (1, -1))


# Verdicts


@given(finite, st.floats(1e-6, 1), st.floats(1, 300), st.floats(0, 2), st.sampled_from([0.9, 0.95, 0.99]))
def test_p_is_below_5_percent_just_where_the_95_percent_interval_lies_inside(value, variance, df, margin, confidence):
    estimate = Estimate(value, variance, df)
    lower, upper = estimate.interval(confidence)
    for low, high in [(0, math.inf), (-margin, margin), (-margin, math.inf)]:
        assume(min(abs(lower - low), abs(high - upper)) > 1e-9)  # nearer, rounding decides
        is_inside = low < lower and upper < high
        assert (estimate.p_within(low, high) < 1 - confidence) == is_inside


def test_without_any_variance_the_estimate_is_the_truth():
    exact = Estimate(0.5, 0.0, math.inf)
    assert exact.interval() == (0.5, 0.5)
    assert (exact.p_within(0, 1), exact.p_within(0.5, 1), exact.p_within(-1, 0)) == (0, 1, 1)


@pytest.mark.parametrize(("arms", "weights"), [([A[:1]], (1,)), ([A, B[:1]], (1, -1)), ([A[:1], B], (1, -1))])
@pytest.mark.parametrize("new_images", [True, False])
def test_a_single_seed_has_a_value_and_no_interval(arms, weights, new_images):
    ours = contrast(arms, weights, new_images)
    assert math.isfinite(ours.value) and np.isnan([ours.variance, ours.df, *ours.interval()]).all()
    assert ours.p_within(0, math.inf) == ours.p_within(-1e9, 1e9) == 1


@pytest.mark.parametrize("counts", [(3, 4), (7, 4), (10, 4), (10, 7)])
@pytest.mark.parametrize("score", [0.1, 0.7, 0.8437, 1 / 3])
def test_settings_of_which_every_run_is_the_same_do_not_differ_by_rounding(counts, score):
    # as when a setting fails so that each run predicts foreground everywhere; the means of 3 and of 4 runs differ
    scores = score * np.random.default_rng(0).random(229)
    for arms in ([column(np.full(n, score)) for n in counts], [np.tile(scores, (n, 1)) for n in counts]):
        ours = contrast(arms, (1, -1))
        assert ours.p_within(0, math.inf) == ours.p_within(-math.inf, 0) == 1
        assert ours.p_within(-1e-4, 1e-4) < 1e-9


def test_holms_worked_example():
    # 4 · 0.005, 3 · 0.01, 2 · 0.03, and 1 · 0.04, which may not be less than the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.8]) == [1, 1]


def test_holm_of_none_or_one_claim_changes_nothing():
    assert holm([]) == [] and holm([0.03]) == [0.03]


@given(p_value_lists)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    # a claim stands if every set of claims that has it in would: Marcus, Peritz and Gabriel, Biometrika 63, 1976
    claims = range(len(p_values))
    sets = [chosen for size in claims for chosen in itertools.combinations(claims, size + 1)]
    of_set = {chosen: min(1, len(chosen) * min(p_values[claim] for claim in chosen)) for chosen in sets}
    closed = [max(of_set[chosen] for chosen in sets if claim in chosen) for claim in claims]
    assert holm(p_values) == pytest.approx(closed)


@given(st.data())
def test_holm_keeps_the_order_of_claims_and_lowers_none(data):
    p_values = data.draw(p_value_lists)
    order = data.draw(st.permutations(range(len(p_values))))
    adjusted = holm(p_values)
    assert all(raw <= after <= 1 for raw, after in zip(p_values, adjusted, strict=True))
    assert [adjusted[place] for place in order] == holm([p_values[place] for place in order])
    by_size = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in by_size] == sorted(adjusted)


# Size of an effect, and planning


def test_hedges_g_by_hand():
    # means 5 and 2; pooled variance (2 · 4 + 2 · 1) / 4; 4 degrees of freedom: correction 1 - 3 / 15
    first, second = np.array([3.0, 5, 7]), np.array([1.0, 2, 3])
    assert hedges_g(first, second) == pytest.approx(0.8 * 3 / math.sqrt(2.5))
    assert hedges_g(second, first) == pytest.approx(-0.8 * 3 / math.sqrt(2.5))


def test_the_interval_of_hedges_g_has_an_end_for_seeds_that_hardly_differ():
    """At t = 1,000 the chi-squared limit and the noncentral t distribution agree to 0.1 %."""
    seeds = np.array([-1.0, 0.0, 1.0])
    ends = [np.array(hedges_g_interval(t + seeds * math.sqrt(1.5), seeds * math.sqrt(1.5))) / t for t in (999, 1001)]
    assert ends[0] == pytest.approx(ends[1], rel=0.001)
    low, high = hedges_g_interval(0.9 + 1e-9 * seeds, 0.4 + 1e-9 * seeds)
    size = hedges_g(0.9 + 1e-9 * seeds, 0.4 + 1e-9 * seeds)
    assert 0 < low < size < high < math.inf
    assert hedges_g_interval(0.4 + 1e-9 * seeds, 0.9 + 1e-9 * seeds) == pytest.approx((-high, -low))


def test_hedges_g_needs_two_seeds_an_arm_and_some_spread():
    assert math.isnan(hedges_g(FIRST, SECOND[:1])) and math.isnan(hedges_g(FIRST[:1], SECOND))
    for counts in ((0, 2), (1, 1), (1, 2), (2, 1), (1, 5)):
        assert np.isnan(hedges_g_interval(*(np.linspace(0.1, 0.2, count) for count in counts))).all()
    assert math.isnan(hedges_g(np.full(3, 0.1), np.full(5, 0.1)))  # whatever rounding makes of their means
    assert math.isnan(hedges_g(np.full(3, 0.1), np.full(5, 0.2)))


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_of_two_arms_as_in_the_tables_for_students_t_test(effect, seeds):
    # Cohen, Statistical power analysis for the behavioral sciences, 2nd edition, 1988: power 0.8, level 0.05
    assert seeds_needed(two_arms(), effect) == seeds
    assert power(two_arms(), seeds, effect) >= 0.8 > power(two_arms(), seeds - 1, effect)


def test_the_power_of_a_t_test_that_has_80_percent():
    assert power(two_arms(), 17, 1.0) == pytest.approx(0.8070, abs=5e-5)  # as G*Power gives it
    assert power(two_arms(), 17, -1.0) == power(two_arms(), 17, 1.0)
    assert power(two_arms(), 17, 0.0) == pytest.approx(0.05)
    assert power(two_arms(), 17, 0.0, confidence=0.9) == pytest.approx(0.1)


def test_seeds_of_a_mean_as_in_the_tables_for_students_t_test():
    assert seeds_needed(VarianceComponents((1.0,), (5,), 0.0, 1), 0.5) == 34


def test_the_power_with_images_is_what_simulated_sweeps_have():
    rng, sweeps, counts, images = np.random.default_rng(0), 2000, (8, 8), 30
    found = 0
    for _ in range(sweeps):
        # variances: 1 of a seed, 9 of the residual, 3 of a setting's own part in an image; the true difference is 1.6
        first, second = (
            rng.normal(0, 1, (n, 1)) + rng.normal(0, 3, (n, images)) + rng.normal(0, math.sqrt(3), images)
            for n in counts
        )
        found += contrast([first + 1.6, second], (1, -1)).p_within(0, math.inf) < 0.05
    spread = VarianceComponents((1 + 9 / images,) * 2, counts, 2 * 3 / images, images)
    assert found / sweeps == pytest.approx(power(spread, 8, 1.6), abs=0.03)


@pytest.mark.parametrize("seeds", [3, 6, 20, 1000])
@pytest.mark.parametrize("image_count", [1, 5, 229])
def test_the_power_is_a_number_however_large_the_effect(seeds, image_count):
    spread = two_arms(images=0.1 if image_count > 1 else 0.0, image_count=image_count)
    powers = [power(spread, seeds, effect) for effect in (0, 0.5, 1, 2, 5, 10, 20, 40, 100, 1e6, 1e15)]
    assert powers == sorted(powers) and powers[0] == pytest.approx(0.05) and powers[-1] == pytest.approx(1)


def test_the_power_without_spread_and_with_unknown_spread():
    assert power(two_arms(seeds=0.0), 3, 0.01) == 1
    assert math.isnan(power(variance_components([A[:1], B], (1, -1), new_images=True), 5, 1.0))


@given(st.floats(0.01, 4), st.floats(0, 0.5), st.integers(5, 400), st.floats(0.3, 5), st.sampled_from([0.5, 0.8, 0.95]))
def test_seeds_needed_are_the_fewest_that_suffice(seeds, images, image_count, effect, wanted):
    spread = two_arms(seeds, images, image_count)
    answer = seeds_needed(spread, effect, wanted)
    if answer is None:
        assert power(spread, 1000, effect) < wanted
    else:
        assert power(spread, answer, effect) >= wanted
        assert answer == 3 or power(spread, answer - 1, effect) < wanted


@given(st.floats(0.05, 5), st.floats(0.05, 5))
def test_a_smaller_effect_or_a_wider_spread_never_needs_fewer_seeds(one, other):
    small, large = sorted([one, other])
    endless = 1001
    assert (seeds_needed(two_arms(), small) or endless) >= (seeds_needed(two_arms(), large) or endless)
    assert (seeds_needed(two_arms(large), 1) or endless) >= (seeds_needed(two_arms(small), 1) or endless)


def test_more_seeds_do_not_help_where_images_forbid():
    # With endless seeds the standard error is 1: an effect of 2 is found in half of all cases, one of 3 in 85 %.
    # With 16 it is sqrt(1 + 2/16), and 3 / 1.06 lies 0.85 above the critical 1.98: 80 %.
    spread = two_arms(images=1.0, image_count=229)
    assert seeds_needed(spread, 2.0) is None
    assert seeds_needed(spread, 3.0) == 16
    assert seeds_needed(two_arms(), 2.0) == 6


def test_no_plan_without_a_spread_to_plan_from():
    assert seeds_needed(variance_components([A[:1], B], (1, -1), new_images=True), 100.0) is None
    assert seeds_needed(two_arms(seeds=0.0), 0.01) == 3
    assert seeds_needed(two_arms(), 0.0) is None


@pytest.mark.parametrize(
    ("arm", "alike"),
    [
        ([[0.5], [0.5], [0.5]], True),  # no spread at all
        ([[0.5], [0.5], [0.6]], False),  # one number a seed may come twice
        ([[0.5, 0.7], [0.5, 0.7], [0.6, 0.7]], True),  # two seeds that agree on every image
        ([[0.5, 0.7], [0.7, 0.5], [0.6, 0.6]], True),  # other images, but no spread between seeds
        ([[0.5, 0.7], [0.7, 0.5], [0.6, 0.7]], False),
        ([[0.1 + 0.2, 0.3], [0.3, 0.3], [0.3, 0.3 + 1e-16]], True),  # nothing but rounding
        ([[0.0], [0.0]], True),
        ([[0.5]], False),  # a single seed is few, not alike
        ([[0.5, 0.7]], False),
        ([[1e9], [1e9 + 2], [1e9 + 1]], False),
    ],
)
def test_seeds_that_gave_the_very_same_leave_the_error_unknown(arm, alike):
    arm = np.array(arm)
    assert has_identical_seeds(arm) == alike
    estimate = estimate_contrast([arm], [1.0])
    assert estimate.value == pytest.approx(arm.mean()) and math.isnan(estimate.variance) == (alike or len(arm) == 1)
    assert (estimate.p_within(0.0, math.inf) < 1.0) == (not alike and len(arm) > 1)


def test_how_many_images_it_would_take():
    # endless seeds, variance 0.01 of each image's difference: n = 0.01 ((1.96 + 0.84) / 0.002)^2
    spread = VarianceComponents((1.0, 1.0), (3, 3), 0.01 / 229, 229)
    distance = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert images_needed(spread, 0.002, 0.8) == math.ceil(0.01 * (distance / 0.002) ** 2) == 19623


def test_the_exact_interval_of_a_share():
    # of none in n: 1 minus the nth root of 0.025
    assert share_interval(0, 5) == pytest.approx((0.0, 1 - 0.025 ** (1 / 5)))
    assert share_interval(5, 5) == pytest.approx((0.025 ** (1 / 5), 1.0))
    assert all(map(math.isnan, share_interval(0, 0)))


def test_collapsed_and_outlying_seeds():
    calm = np.array([0.90, 0.91, 0.92, 0.93, 0.94])  # distances 1 and 2 points: 1.5 in the middle, far is 22.2 points
    far = np.array([0.90, 0.91, 0.92, 0.93, 0.60])
    assert collapsed(far).tolist() == 5 * [False]
    assert collapsed(np.array([0.9, 0.4, 0.92])).tolist() == [False, True, False]
    assert not collapsed(np.array([0.9, 0.1])).any()  # which of two is right is unknown
    assert [flags.tolist() for flags in outlying([calm, far, far[2:]])] == [
        5 * [False],
        [False, False, False, False, True],
        3 * [False],
    ]
    assert outlying([]) == []


def test_groups_of_equal_size_are_their_means():
    scores = np.array([[1.0, 3, 6, 8], [0, 4, 5, 5]])
    assert of_groups(scores, np.array([0, 1, 0, 1])).tolist() == [[3.5, 5.5], [2.5, 4.5]]


def test_groups_of_unequal_size_weigh_as_many_images_as_they_have():
    # of 1, 3 and 8 the mean is 4: the group of two is 4 below it in sum, the other as much above; 2 groups of 3 images
    grouped = of_groups(np.array([[1.0, 3, 8]]), np.array([0, 0, 1]))
    assert grouped == pytest.approx(np.array([[4 - 8 / 3, 4 + 8 / 3]]))
    # the variance of a ratio of sums (Cochran 1977, 6.4): G / (G - 1) * sum((sum of group - its size * mean)^2) / m^2
    assert grouped.var(ddof=1) / 2 == pytest.approx(2 / 1 * (4**2 + 4**2) / 3**2)


def test_pairs_of_seeds_are_a_paired_t_test_over_the_seeds_of_both():
    first, second = np.array([[0.91], [0.95], [0.92], [0.99]]), np.array([[0.97], [0.90], [0.94], [0.89]])
    pairs = paired([first, second], [1, -1], [(0, 1, 2, 3), (1, 0, 5, 2)])  # seeds of both: 0, 1 and 2
    expected = stats.ttest_rel(first[:3, 0], second[[1, 0, 3], 0])
    estimate = contrast([pairs], [1])
    assert estimate.df == 2
    assert min(estimate.p_within(0, math.inf), estimate.p_within(-math.inf, 0)) == pytest.approx(expected.pvalue)
    correlation = stats.pearsonr(first[:3, 0], second[[1, 0, 3], 0]).statistic
    assert correlation_of_seeds([first, second], [(0, 1, 2, 3), (1, 0, 5, 2)]) == pytest.approx(correlation)


def test_two_seeds_of_both_have_no_correlation():
    sample = np.array([[0.91], [0.95], [0.92]])
    assert math.isnan(correlation_of_seeds([sample, sample], [(0, 1, 2), (1, 2, 3)]))
    assert math.isnan(correlation_of_seeds([sample, 0 * sample], [(0, 1, 2), (0, 1, 2)]))


def test_the_interval_of_an_effect_size_is_where_the_noncentral_t_leaves_two_and_a_half_percent():
    first, second = np.array([0.3, 0.4, 0.5]), np.array([0.1, 0.2, 0.3])
    t_value = stats.ttest_ind(first, second).statistic
    low, high = (end * math.sqrt(3 / 2) for end in hedges_g_interval(first, second))  # as noncentralities
    assert stats.nct.sf(t_value, 4, low) == pytest.approx(0.025) and stats.nct.cdf(t_value, 4, high) == pytest.approx(
        0.025
    )
    assert all(map(math.isnan, hedges_g_interval(first, second[:1])))


def test_the_probability_of_improvement():
    # the difference of two runs is normal around 1 with standard deviation sqrt(2)
    assert improvement(1.0) == pytest.approx(stats.norm.cdf(1 / math.sqrt(2))) and improvement(0.0) == 0.5
