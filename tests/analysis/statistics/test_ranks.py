"""Which settings share a letter, and how often each is the first of them."""

import itertools

import numpy as np
import pytest

from src.analysis.statistics.ranks import letters, share_first


def apart(count, *pairs):
    differ = np.zeros((count, count), dtype=bool)
    for first, second in pairs:
        differ[first, second] = True
    return differ


@pytest.mark.parametrize(
    ("differ", "expected"),
    [
        (apart(3), ["a", "a", "a"]),
        (apart(3, (0, 1), (0, 2), (1, 2)), ["a", "b", "c"]),
        (apart(3, (0, 2)), ["a", "ab", "b"]),  # the middle one is like both ends
        (apart(4, (0, 2), (0, 3), (1, 3)), ["a", "ab", "bc", "c"]),
        (apart(4, (0, 1)), ["a", "b", "ab", "ab"]),
    ],
)
def test_letters(differ, expected):
    assert letters(differ) == expected


def test_two_share_a_letter_exactly_if_they_do_not_differ():
    rng = np.random.default_rng(0)
    for _ in range(50):
        differ = np.triu(rng.random((7, 7)) < 0.4, 1)
        named = letters(differ)
        for first, second in itertools.combinations(range(7), 2):
            assert bool(set(named[first]) & set(named[second])) != differ[first, second]


def test_the_share_of_resamples_in_which_each_is_first():
    rng = np.random.default_rng(1)
    alike = [0.8 + rng.normal(0, 0.01, (4, 1)) + rng.normal(0, 0.001, (4, 50)) for _ in range(2)]
    shares = share_first([*alike, np.full((3, 50), 0.5)])
    assert sum(shares) == pytest.approx(1) and shares[2] == 0
    # means of 3 of 4 seeds, drawn with replacement, all of them equally probable; images hardly matter
    drawn = [[np.mean(one) for one in itertools.product(sample.mean(axis=1), repeat=3)] for sample in alike]
    ahead = np.mean([first > second for first in drawn[0] for second in drawn[1]])
    assert shares[0] == pytest.approx(ahead, abs=0.08)
