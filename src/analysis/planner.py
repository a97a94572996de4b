"""How many seeds it would take to find a difference of a given size, from the spread seen, and what they would cost."""

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd
from scipy import stats

from src.analysis.effects import Effect
from src.analysis.loading import Records
from src.analysis.statistics import CONFIDENCE, Spread, seeds_needed

DETECT = 0.002  # 0.2 Dice points, the difference that report A makes a claim of
POWER = 0.8


def seed_plan(
    records: Records, effects: Sequence[Effect], detect: float = DETECT, wanted: float = POWER
) -> pd.DataFrame:
    """One row an effect with at least 2 seeds an arm: what a sweep needs to find `detect` (Dice) with power `wanted`.

    Columns: comparison, seeds (now, of the smaller arm), these_images (seeds of each setting, to speak of just this
    test set), new_images (to speak of new images; missing where no number of seeds suffices), images (test images that
    endless seeds would need at least), hours (of all seeds for these_images, by the time the finished runs worked),
    more_hours (of those still to run).
    """
    seconds = dict(zip(records.counted["folder"], records.counted["seconds"], strict=True))
    rows = []
    for effect in effects:
        comparison = effect.comparison
        if not comparison.arms or min(comparison.seeds) < 2:
            continue
        fixed, new = comparison.spread(new_images=False), comparison.spread(new_images=True)
        needed = seeds_needed(fixed, detect, wanted)
        hours = [fmean(seconds[folder] for folder in setting.folders) / 3600 for setting in comparison.settings]
        rows.append(
            {
                "comparison": effect.name,
                "seeds": min(comparison.seeds),
                "these_images": needed,
                "new_images": seeds_needed(new, detect, wanted),
                "images": images_needed(new, detect, wanted),
                "hours": needed and needed * sum(hours),
                "more_hours": needed and _more(needed, comparison.seeds, hours),
            }
        )
    columns = ["comparison", "seeds", "these_images", "new_images", "images", "hours", "more_hours"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))


def images_needed(spread: Spread, detect: float, wanted: float) -> int | None:
    """The fewest test images with which endless seeds would find `detect`; None where images add no spread.

    With endless seeds the difference is normal with the variance of the images alone, which falls as their number.
    """
    if spread.images <= 0:
        return None
    distance = stats.norm.ppf(1 - (1 - CONFIDENCE) / 2) + stats.norm.ppf(wanted)  # standard errors
    return math.ceil(spread.image_count * spread.images * (distance / detect) ** 2)


def _more(needed: int, seeds: Sequence[int], hours: Sequence[float]) -> float:
    """Hours of the runs that are still to be made."""
    return sum(max(0, needed - there) * each for there, each in zip(seeds, hours, strict=True))
