"""Simulated sweeps of two settings that are looked at with more and more seeds: how often verdicts err, what they cost.

Written into docs/statistics.md by `python -m tests.analysis.test_statistics_campaign looks settled`.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from src.analysis.claims.comparison import Comparison
from src.analysis.claims.ranking import BETTER
from src.analysis.claims.settling import FUTILE, Answer, look_at, needs_of
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import power
from src.analysis.statistics.sequential import LADDER

MARGIN = 0.005
WIDE = 0.02  # a margin within which settings can be shown to be at all on 229 images
LOOKS = 6  # 3 to 27 seeds of each setting
BUDGET = 60  # runs
SIDES = tuple(Setting(side, {"side": side}, {}, (side,), 0) for side in "ab")


@dataclass(frozen=True)
class Drawn:
    """A question about two drawn settings (seeds, images), the first of which is better by `difference`."""

    arms: tuple[np.ndarray, np.ndarray]
    difference: float
    margin: float = MARGIN
    questions: int = 1
    name: str = "drawn"
    settings: tuple[str, ...] = ("a", "b")
    hypotheses: tuple = ()

    def at(self, look: int) -> Answer:
        """The answer of this look."""
        first, second = (arm[: LADDER[look]] for arm in self.arms)
        results = ((Comparison(BETTER, SIDES, (first + self.difference, second)),),)
        return look_at(self, look, results, self.margin, self.questions)


def is_wrong(answer: Answer, difference: float, margin: float) -> bool:
    """Whether it is a verdict, and a wrong one."""
    truths = {"holds": difference > 0, "reversed": difference < 0, "equivalent": abs(difference) < margin}
    return not truths.get(answer.status, True)


def errors(arms: list[np.ndarray]) -> tuple[bool, bool, bool]:
    """Of equal settings: whether a verdict on any pair is wrong at any look; also with the margin between each two; and
    whether tests at 5 % at each look, of all pairs, find a difference."""
    pairs = list(itertools.combinations(arms, 2))
    wrong = []
    for difference, margin in ((0.0, MARGIN), (WIDE, WIDE)):
        questions = [Drawn(pair, difference, margin, len(pairs)) for pair in pairs]
        answers = [[question.at(look) for look in range(LOOKS)] for question in questions]
        wrong.append(any(is_wrong(one, difference, margin) for own in answers for one in own))
        if difference == 0:
            comparisons = [one.results[0][0] for own in answers for one in own]
            p_values = [min(one.p_confirming, one.p_contradicting) for one in comparisons]
            naive = len(pairs) * min(p_values) < 0.05
    return wrong[0], wrong[1], naive


def settled(arms: list[np.ndarray], difference: float) -> tuple[str, int]:
    """How one question ends with `BUDGET` runs, and after how many."""
    question = Drawn(tuple(arms), difference)
    for look in range(LOOKS):
        answer, runs = question.at(look), 2 * LADDER[look]
        if answer.status != "undecided":
            return answer.status, runs
        needs = needs_of(answer, 1, MARGIN)
        if np.mean(2 * needs <= BUDGET) < FUTILE:
            break
    return "undecided", runs


def fixed_runs(spread, difference: float, share: float) -> float:
    """The runs of the plan of two settings that finds `difference` as often at one look; 0 without any."""
    seeds = (n for n in range(3, 500) if power(spread, n, difference) >= min(share, 0.999))
    return 2 * next(seeds, math.nan) if difference else 0
