"""Simulated sweeps for the promises about failures, contexts and selection: how often each goes wrong.

Written into docs/statistics.md by `python -m tests.analysis.test_statistics_campaign`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from src.analysis.claims.comparison import Comparison, Hypothesis
from src.analysis.claims.effects import Effect, mean_effect
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import Scores, contrast, hedges_g_interval, improvement, outlying
from src.analysis.statistics.metrics import METRICS

IMAGES = 229
SIMULATED = 2000
BETTER = Hypothesis(METRICS["test_dice"], ({}, {}))
Event = Callable[[np.random.Generator], bool]


def skewed(rng: np.random.Generator, size: tuple[int, ...], shape: float) -> Scores:
    """Draws of mean 0 and variance 1 with a long tail below, skewness -2 / sqrt(shape)."""
    return (shape - rng.standard_gamma(shape, size)) / math.sqrt(shape)


def settings(
    rng: np.random.Generator, means: Sequence[float], spreads: Sequence[float] = (0.005,), seeds: int = 5
) -> list[Scores]:
    """A setting (seeds, images) for each true mean, in the typical world; `spreads` of its seeds, taken in turn."""
    difficulty = 0.084 * skewed(rng, (IMAGES,), 0.44)
    return [
        mean
        + difficulty
        + 0.015 * skewed(rng, (IMAGES,), 1.0)
        + spreads[number % len(spreads)] * skewed(rng, (seeds, 1), 4.0)
        + 0.04 * skewed(rng, (seeds, IMAGES), 1.0)
        for number, mean in enumerate(means)
    ]


def compared(first: Scores, second: Scores, name: str = "", failed: int = 0) -> Comparison:
    """The first setting with the second; `failed`: how many of its seeds, the lowest, have failed."""
    survivors = first[np.argsort(first.mean(axis=1))[failed:]]
    counted = np.concatenate([survivors, np.zeros((failed, first.shape[1]))])
    sides = tuple(
        Setting(side, {"context": name, "side": side}, {}, (f"{side}{name}",), 0, failures=own)
        for side, own in (("a", failed), ("b", 0))
    )
    return Comparison(BETTER, sides, (survivors, second), with_failures=(counted, second))


def found_different(one: Comparison) -> bool:
    return min(one.p_confirming, one.p_contradicting) < 0.05


def survivors(rng: np.random.Generator) -> bool:
    """Two equal settings, of one of which the lowest 3 of 9 seeds fail, are found different."""
    return found_different(compared(*settings(rng, (0.9, 0.9), (0.01,), 9), failed=3))


def survivors_alone(rng: np.random.Generator) -> bool:
    """The same where failed runs are excluded."""
    first, second = settings(rng, (0.9, 0.9), (0.01,), 9)
    return found_different(compared(first[np.argsort(first.mean(axis=1))[3:]], second))


def flagged(spreads: Sequence[float], seeds: int) -> Event:
    """Any seed of six settings is called outlying."""
    return lambda rng: any(
        flags.any() for flags in outlying([one.mean(axis=1) for one in settings(rng, [0.9] * 6, spreads, seeds)])
    )


def over_contexts(rng: np.random.Generator, gains: Sequence[float], seeds: int = 5) -> Effect:
    """The effect of a factor that gains this much in each context."""
    arms = settings(rng, [0.8 + gain for gain in gains] + [0.8] * len(gains), seeds=seeds)
    contexts = [compared(arms[i], arms[i + len(gains)], str(i)) for i in range(len(gains))]
    effect = mean_effect("side", ("a", "b"), contexts, False)
    return effect.adjusted(effect.p, effect.p_depends)


def said_of_all(gains: Sequence[float], seeds: int = 5) -> Event:
    """An effect that some contexts do not have is said without naming where, or is said of one that lacks it."""

    def wrong(rng: np.random.Generator) -> bool:
        effect = over_contexts(rng, gains, seeds)
        named = effect.contexts_where("better") + effect.contexts_where("worse")
        right = {str(number) for number, gain in enumerate(gains) if gain}
        if effect.status != "undecided" and effect.is_everywhere:
            return True
        return effect.depends and not set(named) <= right

    return wrong


def depends(gains: Sequence[float], seeds: int = 5) -> Event:
    """The effect is said to differ between contexts."""
    return lambda rng: over_contexts(rng, gains, seeds).depends


def parts_missed(seeds: int) -> Event:
    """Any of the simultaneous intervals of three parts misses its truth."""

    def missed(rng: np.random.Generator) -> bool:
        parts = over_contexts(rng, (0.02, 0.0, -0.01), seeds).parts
        ends = [part.comparison.estimate.interval(part.comparison.confidence) for part in parts]
        return not all(low <= gain <= high for (low, high), gain in zip(ends, (0.02, 0.0, -0.01), strict=True))

    return missed


def best_missed(count: int, seeds: int, corrected: bool) -> Event:
    """The interval of the best of equal settings misses its truth."""

    def missed(rng: np.random.Generator) -> bool:
        best = max(settings(rng, [0.9] * count, seeds=seeds), key=np.mean)
        estimate = contrast([best], [1.0])
        low, _ = estimate.interval(1 - 0.05 / count if corrected else 0.95)
        return not low <= 0.9 <= estimate.interval()[1]

    return missed


def any_pair(count: int, seeds: int) -> Event:
    """Two of equal settings do not share a letter."""

    def differ(rng: np.random.Generator) -> bool:
        arms = settings(rng, [0.9] * count, seeds=seeds)
        pairs = [compared(arms[i], arms[j]) for i in range(count) for j in range(i)]
        return len(pairs) * min(min(one.p_confirming, one.p_contradicting) for one in pairs) < 0.05

    return differ


def level_wrong(seeds: int, spread: float, above: bool) -> Event:
    """A level is said to be exceeded, or not to be reached, where it is the truth."""
    hypothesis = Hypothesis(METRICS["test_dice"], ({},), (1.0,), (0.9, math.inf))

    def wrong(rng: np.random.Generator) -> bool:
        (sample,) = settings(rng, (0.9,), (spread,), seeds)
        one = Comparison(hypothesis, (Setting("a", {}, {}, ("a",), 0),), (sample,), with_failures=(sample,))
        return (one.p_confirming if above else one.p_contradicting) < 0.05

    return wrong


def improvement_missed(seeds: int, shift: float) -> Event:
    """The interval of the probability of improvement on these images misses its truth, for settings `shift` apart."""

    def means(rng: np.random.Generator, count: int) -> Scores:
        return 0.005 * skewed(rng, (count,), 4.0) + 0.04 / math.sqrt(IMAGES) * rng.normal(size=count)

    rng = np.random.default_rng(0)
    truth = float(np.mean(means(rng, 10**6) + shift > means(rng, 10**6)))

    def missed(rng: np.random.Generator) -> bool:
        low, high = map(improvement, hedges_g_interval(means(rng, seeds) + shift, means(rng, seeds)))
        return not low <= truth <= high

    return missed


ROWS: dict[str, Event] = {
    "two equal settings, the lowest 3 of 9 seeds of one fail: found different": survivors,
    "the same with failures=exclude": survivors_alone,
    "six settings of 5 seeds: a seed is called outlying": flagged((0.005,), 5),
    "six settings of 10 seeds, spreads 1:2: a seed is called outlying": flagged((0.004, 0.008), 10),
    "three contexts, 2 points better in one, 3 seeds: said of all, or of a wrong one": said_of_all((0.02, 0, 0), 3),
    "three contexts, 2 points better in one, 5 seeds: said of all, or of a wrong one": said_of_all((0.02, 0, 0), 5),
    "three contexts, 2 points better in each, 3 seeds: said to differ": depends((0.02, 0.02, 0.02), 3),
    "three contexts, 2 points better in each, 10 seeds: said to differ": depends((0.02, 0.02, 0.02), 10),
    "three contexts, 3 seeds: a simultaneous interval misses": parts_missed(3),
    "three contexts, 10 seeds: a simultaneous interval misses": parts_missed(10),
    "the best of 6 equal settings, 5 seeds: its corrected interval misses": best_missed(6, 5, True),
    "the best of 12 equal settings, 5 seeds: its corrected interval misses": best_missed(12, 5, True),
    "the best of 12 equal settings, 5 seeds: its uncorrected interval misses": best_missed(12, 5, False),
    "a level that is the truth, 3 seeds: said to be exceeded": level_wrong(3, 0.005, True),
    "a level that is the truth, 10 seeds: said to be exceeded": level_wrong(10, 0.005, True),
    "a level that is the truth, 3 seeds that dominate: said to be exceeded": level_wrong(3, 0.01, True),
    "a level that is the truth, 10 seeds: said not to be reached": level_wrong(10, 0.005, False),
    "two equal settings, 3 seeds: the interval of the probability of improvement misses": improvement_missed(3, 0.0),
    "one point apart, 3 seeds: the interval of the probability of improvement misses": improvement_missed(3, 0.01),
    "one point apart, 10 seeds: the interval of the probability of improvement misses": improvement_missed(10, 0.01),
    "six equal settings, 5 seeds: two without a common letter": any_pair(6, 5),
}
NOT_PROMISED = (
    "the same with failures=exclude",
    "the best of 12 equal settings, 5 seeds: its uncorrected interval misses",
)


def share(name: str, simulated: int = SIMULATED) -> tuple[float, float]:
    """How often `name` happens, in percent, and the Monte Carlo error, two standard errors."""
    rng = np.random.default_rng(np.random.SeedSequence(list(name.encode())))
    found = np.mean([ROWS[name](rng) for _ in range(simulated)])
    return 100 * float(found), 200 * math.sqrt(found * (1 - found) / simulated)
