"""What looks may spend, and what later ones may find, against sums, and against draws of whole sweeps."""

import numpy as np
import pytest

from src.analysis.statistics.estimates import VarianceComponents, contrast, variance_components
from src.analysis.statistics.sequential import LADDER, adjusted_for_looks, futures, level_at


def test_all_looks_together_spend_five_percent():
    assert sum(level_at(look) for look in range(100)) == pytest.approx(0.05)
    assert [round(100 * level_at(look), 2) for look in range(6)] == [0.8, 0.96, 0.86, 0.69, 0.52, 0.37]


@pytest.mark.parametrize("look", [0, 3, 9])
def test_an_adjusted_p_is_below_the_level_of_one_look_exactly_if_it_is_below_what_its_look_may_spend(look):
    assert adjusted_for_looks(level_at(look), look) == pytest.approx(0.05)
    assert adjusted_for_looks(0.5, look) == 1.0


def test_futures_before_any_run_are_those_of_drawn_seeds():
    """Two settings 2 spreads apart, spread 1, to be found at 1 % with 5 seeds each: power by simulated t tests."""
    components = VarianceComponents((1.0, 1.0), (0, 0), 0.0, 1)
    found = futures(components, 2.0, [1], np.random.default_rng(0), known=True)
    share = found.within(0, np.inf, np.array([0.01])).mean()
    rng = np.random.default_rng(1)
    drawn = [rng.normal([[[2]], [[0]]], 1, (2, 5, 1)) for _ in range(2000)]
    real = np.mean([contrast(arms, (1, -1)).p_within(0, np.inf) < 0.01 for arms in drawn])
    assert share == pytest.approx(real, abs=0.08)  # the error of a t test's own spread is left out


def test_futures_after_seeds_begin_where_these_are_and_end_where_the_truth_may_be():
    arms = list(np.random.default_rng(0).normal([[[2.0]], [[0.0]]], 1, (2, 8, 1)))
    value = contrast(arms, (1, -1)).value
    components = variance_components(arms, (1, -1), False)
    found = futures(components, value, [3, len(LADDER) - 1], np.random.default_rng(0))
    assert found.values.mean(axis=0) == pytest.approx(value, abs=0.05)
    spread = contrast(arms, (1, -1)).standard_error
    assert spread < found.values[:, 1].std() < 1.6 * spread  # wider than normal: the spread is a guess too
    assert found.values[:, 0].std() < found.values[:, 1].std()
    assert found.errors[:, 1].mean() < found.errors[:, 0].mean()
