"""Looks at more and more seeds: how many each has, how much of 5 % it may spend, and what later ones may find."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from src.analysis.statistics.estimates import LEVEL, Scores, VarianceComponents

LADDER = (3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 675, 1000)  # seeds of each setting at a look
KEPT = 0.6
PATHS = 2000  # simulated futures: a share is known to 2 points
LARGEST_DF = 1e9  # more are infinitely many


def level_at(look: int) -> float:
    """The error rate that look 0, 1, 2, … of a question may spend: 0.80, 0.96, 0.86, 0.69, 0.52, 0.37, … %.

    All together spend 5 %, so by the union bound the chance of an error at any look is at most that, whichever
    questions get more seeds, and whatever ends the looks.
    """
    return LEVEL * (look + 1) * KEPT**look * (1 - KEPT) ** 2


def adjusted_for_looks(p_value: float, look: int) -> float:
    """A p-value of this look on the scale of a single one: below 0.05 exactly if it is below `level_at(look)`."""
    return min(1.0, p_value * LEVEL / level_at(look))


@dataclass(frozen=True)
class Futures:
    """What looks may find: the effect and its standard error, (paths, looks), and the degrees of freedom, (looks,)."""

    values: Scores
    errors: Scores
    df: Scores

    def within(self, low: float, high: float, levels: Scores) -> npt.NDArray[np.bool_]:
        """Whether the interval at each look lies between `low` and `high`, (paths, looks); `levels`: 1 - confidence."""
        half = special.stdtrit(self.df, 1 - levels / 2) * self.errors
        return np.asarray((self.values - half > low) & (self.values + half < high))


def futures(
    components: VarianceComponents,
    value: float,
    looks: Sequence[int],
    rng: np.random.Generator,
    known: bool = False,
) -> Futures:
    """What `looks` may find after an estimate `value` with `components`.

    The true effect and the true spreads of seeds are drawn from what the seeds so far leave open (without any other
    knowledge of them), and further seeds around these. `known`: both are as given, and there are no seeds so far.
    """
    counts = np.array(components.counts, dtype=np.float64)
    before = 0.0 if known else counts.min()
    factors = 1.0 if known else (counts - 1) / rng.chisquare(counts - 1, (PATHS, len(counts)))
    spread = np.sqrt((factors * np.array(components.seeds)).sum(axis=-1) * np.ones(PATHS))  # (paths,), of one seed each
    truth = value + (0 if known else spread / np.sqrt(before)) * rng.standard_normal(PATHS)
    seeds = np.array([LADDER[look] for look in looks], dtype=np.float64)
    steps = np.diff(seeds, prepend=before).clip(min=0)
    noise = spread[:, None] * np.cumsum(np.sqrt(steps) * rng.standard_normal((PATHS, len(steps))), axis=1)
    values = (before * value + (seeds - before) * truth[:, None] + noise) / seeds
    errors = np.sqrt(spread[:, None] ** 2 / seeds + components.images)
    planned = [
        VarianceComponents(components.seeds, (LADDER[look],) * len(counts), components.images, components.image_count)
        for look in looks
    ]
    return Futures(values, errors, np.array([min(LARGEST_DF, plan.variance_and_df()[1]) for plan in planned]))
