"""How many seeds it would take to find a difference of a given size, from the spread seen, and what they would cost."""

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats

from src.analysis.records.loading import Records
from src.analysis.statistics.effects import Effect
from src.analysis.statistics.estimates import CONFIDENCE, Spread, seeds_needed

DETECT = 0.002  # 0.2 Dice points, the difference that report A makes a claim of
POWER = 0.8


def seed_plan(
    records: Records, effects: Sequence[Effect], detect: float = DETECT, wanted: float = POWER
) -> pd.DataFrame:
    """One row an effect with at least 3 seeds an arm: what a sweep needs to find `detect` (Dice) with power `wanted`.

    Found means by a test as strict as the verdicts are, which share 5 % among all `effects`. Columns: comparison, seeds
    (now, of the smallest arm), these_images (seeds of each setting, to speak of just this test set) and these_hours (of
    the runs still to be made, by the time the finished ones worked), new_images and new_hours (to speak of new images),
    images (test images that endless seeds would need at least). Missing where 1,000 seeds do not suffice.
    """
    planned = [effect.comparison for effect in effects if effect.comparison.problem is None]
    names = [effect.name for effect in effects if effect.comparison.problem is None]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(planned))
    rows = []
    for name, comparison in zip(names, planned, strict=True):
        fixed, new = comparison.spread(new_images=False), comparison.spread(new_images=True)
        these, others = (seeds_needed(spread, detect, wanted, confidence) for spread in (fixed, new))
        hours = [records.of_runs(setting.folders, "seconds").mean() / 3600 for setting in comparison.settings]
        rows.append(
            {
                "comparison": name,
                "seeds": min(comparison.seeds),
                "these_images": these,
                "these_hours": _more_hours(these, comparison.seeds, hours),
                "new_images": others,
                "new_hours": _more_hours(others, comparison.seeds, hours),
                "images": images_needed(new, detect, wanted, confidence),
            }
        )
    columns = ["comparison", "seeds", "these_images", "these_hours", "new_images", "new_hours", "images"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))


def images_needed(spread: Spread, detect: float, wanted: float, confidence: float = CONFIDENCE) -> int | None:
    """The fewest test images with which endless seeds would find `detect`; None where images add no spread.

    With endless seeds the difference is normal with the variance of the images alone, which falls as their number.
    """
    if spread.images <= 0:
        return None
    distance = stats.norm.isf((1 - confidence) / 2) + stats.norm.ppf(wanted)  # standard errors
    return math.ceil(spread.image_count * spread.images * (distance / detect) ** 2)


def _more_hours(needed: int | None, seeds: Sequence[int], hours: Sequence[float]) -> float | None:
    """Of the runs that are still to be made."""
    if needed is None:
        return None
    return sum(max(0, needed - there) * each for there, each in zip(seeds, hours, strict=True))
