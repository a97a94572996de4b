"""How many seeds it would take, worked out from sweeps whose spread is known."""

import math

import numpy as np
import pytest
from scipy import stats

from src.analysis.claims.effects import factor_effects, seed_plan
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.statistics.estimates import VarianceComponents
from src.analysis.statistics.power import images_needed, power
from tests.analysis.recorded import finish


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


def test_how_many_images_it_would_take():
    # endless seeds, variance 0.01 of each image's difference: n = 0.01 ((1.96 + 0.84) / 0.002)^2
    spread = VarianceComponents((1.0, 1.0), (3, 3), 0.01 / 229, 229)
    distance = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert images_needed(spread, 0.002, 0.8) == math.ceil(0.01 * (distance / 0.002) ** 2) == 19623


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
