"""Power analysis: how many seeds or images find a difference of a given size, from the variances seen so far."""

import math

from scipy import stats

from src.analysis.statistics.estimates import CONFIDENCE, VarianceComponents

POWER = 0.8
MOST_SEEDS = 1000  # of each sample; if these are too few, another experiment is needed
FARTHEST = 1e6  # standard errors; the power is 1 long before, and scipy's noncentral t is nan from about 1e10 on


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
    critical = stats.t.ppf((1 + confidence) / 2, df)
    shift = min(abs(effect) / math.sqrt(variance), FARTHEST)
    # the far tail as a survival function too: scipy's nct.cdf is nan there
    return float(stats.nct.sf(critical, df, shift) + stats.nct.sf(critical, df, -shift))


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
    low, high = 2, MOST_SEEDS  # power rises with seeds: the answer is in (low, high]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(seen, middle, effect, confidence) >= wanted else (middle, high)
    return high


def images_needed(
    seen: VarianceComponents, effect: float, wanted: float = POWER, confidence: float = CONFIDENCE
) -> int | None:
    """The fewest test images with which infinitely many seeds find `effect`; None if images add no variance.

    With infinitely many seeds the difference is normal with the variance of the images alone, which falls as 1/n.
    """
    if seen.images <= 0:
        return None
    distance = stats.norm.isf((1 - confidence) / 2) + stats.norm.ppf(wanted)  # standard errors
    return math.ceil(seen.image_count * seen.images * (distance / effect) ** 2)
