"""How far a difference between settings can be trusted: plain functions of arrays, settled by docs/statistics.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Scores = npt.NDArray[np.float64]
LEVEL = 0.05  # what all verdicts of one file together may err
CONFIDENCE = 0.95
MOST_SEEDS = 1000  # an arm; where even these do not suffice, the answer is another experiment
SAME = 1e-9  # relative; means of seeds that differ by less differ by rounding
FARTHEST = 1e6  # standard errors; the power is 1 long before, and scipy's noncentral t is nan from about 1e10 on


@dataclass(frozen=True)
class Estimate:
    """A value, the variance of its error (nan: unknown, see `estimated`) and the degrees of freedom of that.

    The value is in the unit of the scores, the variance in its square.
    """

    value: float
    variance: float
    df: float

    @property
    def standard_error(self) -> float:
        """In the unit of the value."""
        return math.sqrt(self.variance)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two ends of the t interval; nan where the variance is unknown."""
        half = 0.0 if self.variance == 0 else stats.t.ppf((1 + confidence) / 2, self.df) * self.standard_error
        return self.value - half, self.value + half

    def p_within(self, low: float, high: float) -> float:
        """How likely an estimate this far inside (`low`, `high`) is if the truth lies outside, in [0, 1], two-sided.

        Below 0.05 just where the 95 % interval lies inside: one rule for a difference (0 to infinity), for equivalence
        (-margin to margin), and for "no worse than" (-margin to infinity). 1 where the variance is unknown.
        """
        if math.isnan(self.variance):
            return 1.0
        if self.variance == 0:
            return float(not low < self.value < high)
        distance = min(self.value - low, high - self.value) / self.standard_error
        return float(min(1.0, 2 * stats.t.sf(distance, self.df)))


@dataclass(frozen=True)
class Spread:
    """What the error of a contrast is made of.

    `seeds`: for each arm the variance that one seed has, already times the squared weight; `counts`: seeds of each
    arm; `images`: the variance left if every arm had endless seeds, because the test images are a sample of all
    pictures (0 for an answer about just these images); `image_count`: how many there are.
    """

    seeds: tuple[float, ...]
    counts: tuple[int, ...]
    images: float
    image_count: int

    def variance_and_df(self) -> tuple[float, float]:
        """Variance and degrees of freedom of the contrast's error; nan where an arm has a single seed.

        The seeds' degrees of freedom are Welch's (Biometrika 34, 1947) and Satterthwaite's (Biometrics Bulletin 2,
        1946). Seeds and images are then joined as 1/df = the mean of 1/df of both, weighted by their variances.
        Satterthwaite's squared weights would claim more, and where 3 seeds of one arm have most of the variance the
        intervals would err the more often for it (docs/statistics.md).
        """
        if any(count < 2 for count in self.counts):
            return math.nan, math.nan
        parts = [(seed / count, count - 1) for seed, count in zip(self.seeds, self.counts, strict=True)]
        seeds = sum(variance for variance, _ in parts)
        total = seeds + self.images
        if total == 0:
            return 0.0, math.inf
        of_seeds = sum((variance / seeds) ** 2 / df for variance, df in parts) if seeds else 0.0  # 1/df
        of_images = 1 / (self.image_count - 1) if self.images else 0.0
        return total, 1 / (seeds / total * of_seeds + self.images / total * of_images)


def spread_of(arms: Sequence[Scores], weights: Sequence[float], new_images: bool) -> Spread:
    """The spread of sum(weight * mean of arm), from `arms` of float64 scores (seeds, images), the same images in all.

    Seeds are independent between arms: seed 0 of one network has nothing in common with seed 0 of another. Images are
    crossed with seeds, so what an image adds to all seeds of all arms cancels in a difference. `new_images`: whether
    the answer is to hold for pictures not in the test set; else only the seeds vary.
    """
    assert len({arm.shape[1] for arm in arms}) == 1, f"arms must share their images, got {[arm.shape for arm in arms]}"
    seeds = tuple(weight**2 * float(_variance(arm.mean(axis=1))) for arm, weight in zip(arms, weights, strict=True))
    counts, images = tuple(len(arm) for arm in arms), arms[0].shape[1]
    if not new_images or images < 2:
        return Spread(seeds, counts, 0.0, images)
    profile = sum(weight * arm.mean(axis=0) for arm, weight in zip(arms, weights, strict=True))  # (images,)
    # seeds disagree about single images too; that part is in the seeds' variance already, so it is taken off here
    noise = sum(weight**2 * _residual(arm) / len(arm) for arm, weight in zip(arms, weights, strict=True))
    return Spread(seeds, counts, max(0.0, float(_variance(profile) - noise) / images), images)


def contrast(arms: Sequence[Scores], weights: Sequence[float], new_images: bool = True) -> Estimate:
    """sum(weight * mean of arm) over `arms`, each (seeds, images), with its error; see `spread_of`.

    Weights (1, -1) make a difference, (1,) a mean, (1, -1, -1, 1) an interaction. A score that is one number a seed
    is an arm of one column.
    """
    origin = arms[0][0]  # (images,); runs that agree differ from it by exactly 0, where their means differ by rounding
    value = sum(weight * float((arm - origin).mean()) for arm, weight in zip(arms, weights, strict=True))
    value += sum(weights) * float(origin.mean())
    return Estimate(value, *spread_of(arms, weights, new_images).variance_and_df())


def are_alike(arm: Scores) -> bool:
    """Whether the seeds of `arm`, (seeds, images), gave the very same, so that they do not show how far seeds differ.

    That is means without any spread, or two seeds with equal scores on each of several images: one training may have
    been recorded twice, or the seed may not have reached it.
    """
    means = arm.mean(axis=1)
    if len(arm) > 1 and np.ptp(means) <= SAME * np.abs(means).max():
        return True
    return arm.shape[1] > 1 and len({row.tobytes() for row in arm}) < len(arm)


def estimated(arms: Sequence[Scores], weights: Sequence[float]) -> Estimate:
    """`contrast` for new images, its error unknown where seeds of an arm are alike (or there is only one)."""
    estimate = contrast(arms, weights)
    return Estimate(estimate.value, math.nan, math.nan) if any(map(are_alike, arms)) else estimate


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that all claims together err with 5 % (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def hedges_g(first: Scores, second: Scores) -> float:
    """Difference of the means of seeds in units of their spread, (seeds,) each, with Hedges' correction for few seeds.

    Beyond 0.8 is called large: a single seed of the better setting then beats one of the other in 7 of 10 cases.
    nan with fewer than 2 seeds an arm or without any spread.
    """
    df = len(first) + len(second) - 2
    if min(len(first), len(second)) < 2:
        return math.nan
    pooled = ((len(first) - 1) * _variance(first) + (len(second) - 1) * _variance(second)) / df
    if pooled == 0:
        return math.nan
    correction = 1 - 3 / (4 * df - 1)
    return float(correction * (first.mean() - second.mean()) / math.sqrt(pooled))


def power(spread: Spread, seeds: int, effect: float, confidence: float = CONFIDENCE) -> float:
    """How likely a two-sided test with `seeds` in every arm finds a true `effect`, given the spread seen so far.

    In [0, 1]; nan where the spread is unknown. With 3 seeds the test finds it up to 7 points less often, since it does
    not know how the spread is shared out between arms (docs/statistics.md).
    """
    planned = Spread(spread.seeds, (seeds,) * len(spread.seeds), spread.images, spread.image_count)
    variance, df = planned.variance_and_df()
    if math.isnan(variance):
        return math.nan
    if variance == 0:
        return 1.0
    critical = stats.t.ppf((1 + confidence) / 2, df)
    shift = min(abs(effect) / math.sqrt(variance), FARTHEST)
    # the far tail as a survival function too: scipy's nct.cdf is nan there
    return float(stats.nct.sf(critical, df, shift) + stats.nct.sf(critical, df, -shift))


def seeds_needed(spread: Spread, effect: float, wanted: float = 0.8, confidence: float = CONFIDENCE) -> int | None:
    """The fewest seeds in every arm (from 3 on) that find `effect` with power `wanted`; None if 1,000 do not suffice.

    None with `spread.images` above 0 mostly means: more seeds cannot help, only more test images can. None too where
    the spread is unknown, from a single seed. With fewer than 5 test images more seeds may even find less, and the
    answer then is one number that suffices, or None.
    """
    if any(count < 2 for count in spread.counts) or power(spread, MOST_SEEDS, effect, confidence) < wanted:
        return None
    low, high = 2, MOST_SEEDS  # power rises with seeds: the answer is in (low, high]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(spread, middle, effect, confidence) >= wanted else (middle, high)
    return high


def _variance(values: Scores) -> np.float64:
    # from the first value on, so that equal values give exactly 0
    return (values - values[0]).var(ddof=1) if len(values) > 1 else np.float64(np.nan)


def _residual(arm: Scores) -> float:
    """Mean square of what neither the seed nor the image explains, of (seeds, images); nan with one seed."""
    if min(arm.shape) < 2:
        return math.nan
    rest = arm - arm.mean(axis=1, keepdims=True) - arm.mean(axis=0, keepdims=True) + arm.mean()
    return float((rest**2).sum() / ((arm.shape[0] - 1) * (arm.shape[1] - 1)))
