"""Estimates with intervals and p-values, and power analysis, as functions of arrays; docs/statistics.md checks them."""

import math
import weakref
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import special  # it has the same quantiles as scipy.stats, whose import alone takes 0.6 s

Scores = npt.NDArray[np.float64]
Result = TypeVar("Result")
LEVEL = 0.05  # the error rate that all verdicts of one file share
CONFIDENCE = 0.95
LEAST_SEEDS = 3  # of each setting for a verdict
SAME = 1e-9  # relative; means of seeds that differ by less differ by rounding
FAR, SEEDS_FOR_OUTLIERS = 10, 5  # robust standard deviations of outlying seeds, and the fewest seeds to tell
POWER = 0.8
MOST_SEEDS = 1000  # of each sample; if these are too few, another experiment is needed
LARGEST_T = 1000  # beyond, only the spread's own error counts (chi-squared), and scipy's noncentral t takes hours
FARTHEST = 1e6  # standard errors; the power is 1 long before, and scipy's noncentral t is nan from about 1e10 on


def _once(function: Callable[[Scores], Result]) -> Callable[[Scores], Result]:
    """`function` of a sample, kept as long as the sample if that is read-only: hundreds of contrasts share samples."""
    kept: dict[int, Result] = {}

    @wraps(function)
    def of_sample(sample: Scores) -> Result:
        if sample.flags.writeable:
            return function(sample)
        if id(sample) not in kept:
            kept[id(sample)] = function(sample)
            weakref.finalize(sample, kept.pop, id(sample)).atexit = False
        return kept[id(sample)]

    return of_sample


@dataclass(frozen=True)
class Estimate:
    """A value, the variance of its error (nan: unknown, see `estimate_contrast`) and the degrees of freedom of that.

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
        """The two ends of the t interval; nan if the variance is unknown."""
        half = 0.0 if self.variance == 0 else special.stdtrit(self.df, (1 + confidence) / 2) * self.standard_error
        return self.value - half, self.value + half

    def p_within(self, low: float, high: float) -> float:
        """The two-sided p-value of "the truth lies between `low` and `high`", in [0, 1].

        Below 0.05 exactly if the 95 % interval lies inside: one rule for a difference (0 to infinity), for equivalence
        (-margin to margin), and for "no worse than" (-margin to infinity). 1 if the variance is unknown.
        """
        if math.isnan(self.variance):
            return 1.0
        if self.variance == 0:
            return float(not low < self.value < high)
        distance = min(self.value - low, high - self.value) / self.standard_error
        return float(min(1.0, 2 * special.stdtr(self.df, -distance)))


@dataclass(frozen=True)
class VarianceComponents:
    """The parts of the variance of a contrast's error.

    `seeds`: for each sample the variance between its seeds, times the squared weight; `counts`: seeds of each sample;
    `images`: the variance that remains with infinitely many seeds, because the test images are a sample of all
    pictures (0 if the answer is about these images only); `image_count`: number of test images.
    """

    seeds: tuple[float, ...]
    counts: tuple[int, ...]
    images: float
    image_count: int

    def variance_and_df(self) -> tuple[float, float]:
        """Variance and degrees of freedom of the contrast's error; nan if a sample has a single seed.

        The seeds' degrees of freedom are Welch's (Biometrika 34, 1947) and Satterthwaite's (Biometrics Bulletin 2,
        1946). Seeds and images are then joined as 1/df = the mean of 1/df of both, weighted by their variances.
        Satterthwaite's squared weights would give narrower intervals, which are wrong too often if 3 seeds of one
        sample have most of the variance (docs/statistics.md).
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

    def range(self, share: float = 0.8) -> tuple["VarianceComponents", "VarianceComponents"]:
        """The same with the smallest and the largest spread between seeds that could well have given the one seen.

        Of normal seeds of equal spread, `share` of all true spreads lie between.
        """
        df = sum(self.counts) - len(self.counts)
        ends = [df / special.chdtri(df, tail) for tail in ((1 - share) / 2, (1 + share) / 2)]
        low, high = (replace(self, seeds=tuple(end * seed for seed in self.seeds)) for end in ends)
        return low, high


def variance_components(samples: Sequence[Scores], weights: Sequence[float], new_images: bool) -> VarianceComponents:
    """Of sum(weight * mean of sample), for `samples` of scores (seeds, images) on the same images.

    Seeds are independent between samples: seed 0 of one network has nothing in common with seed 0 of another. Images
    are crossed with seeds, so what an image adds to all seeds of all samples cancels in a difference. `new_images`:
    whether the answer is about pictures that are not in the test set; otherwise only the seeds vary.
    """
    shapes = [sample.shape for sample in samples]
    assert len({images for _, images in shapes}) == 1, f"samples must share their images, got {shapes}"
    weighted = list(zip(samples, weights, strict=True))
    seeds = tuple(weight**2 * _variance_of_seeds(sample) for sample, weight in weighted)
    counts, images = tuple(len(sample) for sample in samples), samples[0].shape[1]
    if not new_images or images < 2:
        return VarianceComponents(seeds, counts, 0.0, images)
    profile = sum((weight * _image_means(sample) for sample, weight in weighted), np.zeros(images))  # (images,)
    # seeds disagree about single images too; that part is in the seeds' variance already, so it is subtracted here
    noise = sum(weight**2 * _residual(sample) / len(sample) for sample, weight in weighted)
    return VarianceComponents(seeds, counts, max(0.0, float(_variance(profile) - noise) / images), images)


def contrast(samples: Sequence[Scores], weights: Sequence[float], new_images: bool = True) -> Estimate:
    """sum(weight * mean of sample) over `samples`, each (seeds, images), with its error.

    Weights (1, -1) give a difference, (1,) a mean, (1, -1, -1, 1) an interaction. A score that is one number a seed
    is a sample of one column.
    """
    origin = samples[0][0]  # (images,); runs that agree differ from it by exactly 0, but their means by rounding
    distances = [(sample[0] - origin + _beyond_first(sample)).mean() for sample in samples]
    value = sum(weight * float(distance) for distance, weight in zip(distances, weights, strict=True))
    value += sum(weights) * float(origin.mean())
    return Estimate(value, *variance_components(samples, weights, new_images).variance_and_df())


def of_groups(scores: Scores, groups: npt.NDArray[np.intp]) -> Scores:
    """`scores`, (seeds, images), as one column per group of images, so that an estimate holds for new groups.

    `groups`: the number of each image's group, (images,), from 0 on. A group has the mean over all images plus its sum
    of distances from that, times groups per image: the mean over groups is that over images, whatever their sizes, and
    its variance that of a ratio of sums over a sample of groups (Cochran, Sampling Techniques, 1977, section 6.4).
    """
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    means = scores.mean(axis=1, keepdims=True)
    sums = np.add.reduceat(scores[:, order] - means, np.cumsum(sizes) - sizes, axis=1)
    return means + len(sizes) / len(groups) * sums


def paired(samples: Sequence[Scores], weights: Sequence[float], seeds: Sequence[Sequence[int]]) -> Scores:
    """sum(weight * sample) for each seed that all `samples` have, (pairs, images): one sample, however seeds correlate.

    `seeds`: of the rows of each sample.
    """
    rows = [dict(zip(own, sample, strict=True)) for own, sample in zip(seeds, samples, strict=True)]
    shared = sorted(set.intersection(*map(set, rows)))
    sums = [sum(weight * row[seed] for weight, row in zip(weights, rows, strict=True)) for seed in shared]
    return np.array(sums).reshape(len(shared), samples[0].shape[1])


def correlation_of_seeds(samples: Sequence[Scores], seeds: Sequence[Sequence[int]]) -> float:
    """Of the means of two samples over the seeds of both; nan with fewer than 3 of these, or without any spread."""
    means = [sample.mean(axis=1, keepdims=True) for sample in samples]
    first, second = (paired(means, weights, seeds)[:, 0] for weights in ((1.0, 0.0), (0.0, 1.0)))
    if len(first) < LEAST_SEEDS or min(np.ptp(first), np.ptp(second)) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


@_once
def has_identical_seeds(sample: Scores) -> bool:
    """Whether seeds of `sample`, (seeds, images), have identical results, so that they do not show how seeds vary.

    That is means without any spread, or two seeds with equal scores on each of several images: one training may have
    been recorded twice, or the seed may not have reached it.
    """
    means = sample.mean(axis=1)
    if len(sample) > 1 and np.ptp(means) <= SAME * np.abs(means).max():
        return True
    return sample.shape[1] > 1 and len({row.tobytes() for row in sample}) < len(sample)


def estimate_contrast(samples: Sequence[Scores], weights: Sequence[float], per_image: bool = False) -> Estimate:
    """`contrast` for new images; its error is unknown if a sample has a single seed or identical seeds.

    `per_image`: whether the columns are images, of which a single one shows nothing about others either.
    """
    estimate = contrast(samples, weights)
    if any(map(has_identical_seeds, samples)) or (per_image and samples[0].shape[1] == 1):
        return Estimate(estimate.value, math.nan, math.nan)
    return estimate


def collapsed(means: Scores) -> npt.NDArray[np.bool_]:
    """Which of the seeds' `means`, (seeds,), are below half their median; none of fewer than 3."""
    return (means < np.median(means) / 2) & (len(means) >= LEAST_SEEDS)


def outlying(settings: Sequence[Scores]) -> list[npt.NDArray[np.bool_]]:
    """For each of `settings`, the means of its seeds, (seeds,), which are far from its median; none of fewer than 5.

    Far is more than 10 robust standard deviations, the larger of the setting's and that of all settings together:
    the median distance, times 1.4826 as for normal seeds. docs/statistics.md has how often it errs.
    """
    far = [np.abs(means - np.median(means)) if len(means) >= SEEDS_FOR_OUTLIERS else np.zeros(0) for means in settings]
    known = [np.sort(own)[len(own) % 2 :] for own in far]  # of an odd number, one is the median
    together = np.median(np.concatenate([*known, np.zeros(0)])) if sum(map(len, known)) else math.nan
    spreads = [1.4826 * max(np.median(own), together) if len(own) else math.nan for own in known]
    return [
        own > FAR * spread if len(own) else np.zeros(len(means), dtype=np.bool_)
        for own, spread, means in zip(far, spreads, settings, strict=True)
    ]


def share_interval(count: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of a share of which `count` in `of` were seen (Clopper and Pearson, Biometrika 26, 1934).

    nan if none was tried.
    """
    if not of:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low = special.betaincinv(count, of - count + 1, tail) if count else 0.0
    high = special.betaincinv(count + 1, of - count, 1 - tail) if count < of else 1.0
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, which keep the error rate of all tests together (Holm, Scand. J. Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def hedges_g(first: Scores, second: Scores) -> float:
    """Difference of the means of seeds in units of their spread, (seeds,) each, with Hedges' correction for few seeds.

    Beyond 0.8 is called large: a single seed of the better setting then beats one of the other in 7 of 10 cases.
    nan with fewer than 2 seeds each or without any spread.
    """
    df = len(first) + len(second) - 2
    if min(len(first), len(second)) < 2:
        return math.nan
    pooled = ((len(first) - 1) * _variance(first) + (len(second) - 1) * _variance(second)) / df
    if pooled == 0:
        return math.nan
    correction = 1 - 3 / (4 * df - 1)
    return float(correction * (first.mean() - second.mean()) / math.sqrt(pooled))


def hedges_g_interval(first: Scores, second: Scores, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the difference of means in units of the seeds' true spread.

    Exact for normal seeds of equal spread, by the noncentral t distribution (Steiger and Fouladi, in What if there were
    no significance tests?, 1997). nan as `hedges_g`.
    """
    if math.isnan(size := hedges_g(first, second)):
        return math.nan, math.nan
    df, each = len(first) + len(second) - 2, 1 / len(first) + 1 / len(second)
    t_value, tail = size / (1 - 3 / (4 * df - 1)) / math.sqrt(each), (1 - confidence) / 2
    if abs(t_value) > LARGEST_T:
        ends = sorted(t_value * math.sqrt(2 * special.gammaincinv(df / 2, share) / df) for share in (tail, 1 - tail))
    else:
        ends = [special.nctdtrinc(df, share, t_value) for share in (1 - tail, tail)]
    return float(ends[0] * math.sqrt(each)), float(ends[1] * math.sqrt(each))


def improvement(size: float) -> float:
    """The probability that a seed of the first setting beats one of the second, if normal and `size` spreads apart."""
    return float(special.ndtr(size / math.sqrt(2)))


def power(seen: VarianceComponents, seeds: int, effect: float, confidence: float = CONFIDENCE) -> float:
    """The probability that a two-sided test with `seeds` in every sample finds a true `effect`; nan if unknown.

    With 3 seeds the test finds it up to 7 points less often, since it does not know how the variance is divided
    between the samples (docs/statistics.md).
    """
    planned = VarianceComponents(seen.seeds, (seeds,) * len(seen.seeds), seen.images, seen.image_count)
    variance, df = planned.variance_and_df()
    if math.isnan(variance):
        return math.nan
    if variance == 0:
        return 1.0
    critical = special.stdtrit(df, (1 + confidence) / 2)
    shift = min(abs(effect) / math.sqrt(variance), FARTHEST)
    # scipy's function is nan where it is almost 0
    below, far_below = np.nan_to_num(special.nctdtr(df, shift, [critical, -critical]), nan=0.0)
    return float(1 - below + far_below)


def seeds_needed(
    seen: VarianceComponents, effect: float, wanted: float = POWER, confidence: float = CONFIDENCE
) -> int | None:
    """The fewest seeds in every sample (at least 3) that find `effect` with power `wanted`; None if above 1,000.

    None with `seen.images` above 0 mostly means that only more test images can help. Also None if the variance is
    unknown, from a single seed. With fewer than 5 test images more seeds may even find less; the answer then is some
    sufficient number, or None.
    """
    if any(count < 2 for count in seen.counts) or power(seen, MOST_SEEDS, effect, confidence) < wanted:
        return None
    counts = range(LEAST_SEEDS, MOST_SEEDS)  # power rises with seeds
    return LEAST_SEEDS + bisect_left(counts, wanted, key=lambda seeds: power(seen, seeds, effect, confidence))


def images_needed(
    seen: VarianceComponents, effect: float, wanted: float = POWER, confidence: float = CONFIDENCE
) -> int | None:
    """The fewest test images with which infinitely many seeds find `effect`; None if images add no variance.

    With infinitely many seeds the difference is normal with the variance of the images alone, which falls as 1/n.
    """
    if seen.images <= 0:
        return None
    distance = special.ndtri((1 + confidence) / 2) + special.ndtri(wanted)  # standard errors
    return math.ceil(seen.image_count * seen.images * (distance / effect) ** 2)


def _variance(values: Scores) -> np.float64:
    # from the first value on, so that equal values give exactly 0
    return (values - values[0]).var(ddof=1) if len(values) > 1 else np.float64(np.nan)


@_once
def _variance_of_seeds(sample: Scores) -> float:
    return float(_variance(sample.mean(axis=1)))


@_once
def _image_means(sample: Scores) -> Scores:
    return np.asarray(sample.mean(axis=0))


@_once
def _beyond_first(sample: Scores) -> Scores:
    """The mean over seeds less the first seed, (images,); exactly 0 if all agree."""
    return np.asarray((sample - sample[0]).mean(axis=0))


@_once
def _residual(sample: Scores) -> float:
    """Mean square of what neither the seed nor the image explains, of (seeds, images); nan with one seed."""
    if min(sample.shape) < 2:
        return math.nan
    seeds, images = sample.shape
    centered = sample - sample[0]  # small numbers, and exactly 0 for seeds with equal results
    of_seeds, of_images = centered.mean(axis=1), centered.mean(axis=0)
    explained = images * (of_seeds**2).sum() + seeds * (of_images**2).sum() - seeds * images * of_seeds.mean() ** 2
    return max(0.0, float((centered**2).sum() - explained)) / ((seeds - 1) * (images - 1))
