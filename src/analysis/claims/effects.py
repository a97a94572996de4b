"""The effect of each factor on test Dice, every pair of its levels with all else equal; and their power analysis."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from src.analysis.claims.comparison import ABOVE, BELOW, DIFFERENCE, Comparison, Hypothesis, compare
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import CONFIDENCE, LEVEL, POWER, Scores, holm, images_needed, seeds_needed
from src.analysis.statistics.metrics import METRICS
from src.display.text import value_text

MIN_EFFECT = 0.002  # 0.2 Dice points, the smallest difference that report A claims
MOST_LEVELS = 5  # with more, each level is compared with the first only


@dataclass(frozen=True)
class Effect:
    """Test Dice of `first` minus that of `second`, two levels of `factor`.

    `context`: what else the settings share; for a mean, the number of contexts. `is_main`: whether it is the result
    for the two levels; the single contexts of a mean are only listed with it. `opposed`: contexts of a mean whose own
    interval is on the other side of zero. `p_adjusted`: by Holm over all main effects.
    """

    factor: str
    first: str
    second: str
    context: str
    comparison: Comparison
    is_main: bool = True
    opposed: tuple[str, ...] = ()
    p_adjusted: float = 1.0

    @property
    def name(self) -> str:
        """For example `scheduler: onecycle − cosine (unet)`."""
        return f"{self.factor}: {self.first} − {self.second}{f' ({self.context})' if self.context else ''}"

    @property
    def status(self) -> Literal["better", "worse", "undecided"]:
        """Whether the first level is better than the second."""
        if self.p_adjusted >= LEVEL or self.comparison.estimate is None:
            return "undecided"
        return "better" if self.comparison.estimate.value > 0 else "worse"


def factor_effects(records: Records, settings: Sequence[Setting], factors: Sequence[str]) -> list[Effect]:
    """The effects of `factors` (choices or config values that differ) on test Dice, factor by factor.

    With several contexts, the mean over them comes first, then each. If two levels never share all else, settings
    that differ in the trainer too are compared, as report A's networks with their batch sizes.
    """
    effects = [effect for factor in factors for effect in _of_factor(records, settings, factor)]
    tested = [number for number, effect in enumerate(effects) if effect.is_main and not effect.comparison.problem]
    p_values = [
        min(effects[number].comparison.p_confirming, effects[number].comparison.p_contradicting) for number in tested
    ]
    adjusted = dict(zip(tested, holm(p_values), strict=True))
    return [replace(effect, p_adjusted=adjusted.get(number, 1.0)) for number, effect in enumerate(effects)]


def seed_plan(
    records: Records, effects: Sequence[Effect], min_effect: float = MIN_EFFECT, wanted: float = POWER
) -> pd.DataFrame:
    """One row per effect with at least 3 seeds: what it takes to find `min_effect` (Dice) with power `wanted`.

    The test is as strict as the verdicts, which share 5 % among all `effects`. Columns: comparison, seeds (now, of the
    smallest setting), these_images (seeds of each setting for an answer about this test set) and these_hours (of the
    runs still to be made), new_images and new_hours (for an answer about new images), images (the fewest test images,
    with infinitely many seeds). Missing if 1,000 seeds do not suffice.
    """
    planned = [effect for effect in effects if effect.comparison.problem is None]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(planned))
    columns = ["comparison", "seeds", "these_images", "these_hours", "new_images", "new_hours", "images"]
    rows = []
    for effect in planned:
        comparison = effect.comparison
        hours = [records.of_runs(setting.folders, "seconds").mean() / 3600 for setting in comparison.settings]
        these, new = (comparison.variance_components(new_images) for new_images in (False, True))
        row: list[Any] = [effect.name, min(comparison.seeds)]
        for components in (these, new):
            needed = seeds_needed(components, min_effect, wanted, confidence) or np.nan
            row += [needed, np.maximum(0, needed - np.array(comparison.seeds)) @ hours]
        rows.append([*row, images_needed(new, min_effect, wanted, confidence)])
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))


def _of_factor(records: Records, settings: Sequence[Setting], factor: str) -> list[Effect]:
    """The pairs of levels among settings with finished runs, in the order of the settings."""
    by_value: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.folders:
            by_value.setdefault(json.dumps(setting.values.get(factor)), []).append(setting)
    levels = list(by_value.values())
    pairs = list(itertools.combinations(levels, 2))
    if len(levels) > MOST_LEVELS:
        pairs = [(levels[0], level) for level in levels[1:]]
    return [effect for second, first in pairs for effect in _of_two_levels(records, factor, first, second)]


def _of_two_levels(records: Records, factor: str, first: Sequence[Setting], second: Sequence[Setting]) -> list[Effect]:
    """`first`, `second`: the settings of each level."""
    values = [level[0].values.get(factor) for level in (first, second)]
    names = (value_text(factor, values[0]), value_text(factor, values[1]))
    arms = ({factor: values[0]}, {factor: values[1]})
    found: list[Comparison] = []
    for may_differ in ((), ("trainer",)):
        hypothesis = Hypothesis(METRICS["test_dice"], arms, DIFFERENCE, ABOVE, (BELOW,), may_differ)
        found = found or [one for one in compare(records, [*first, *second], hypothesis) if one.samples]
    by_data: dict[Any, list[Comparison]] = {}
    for comparison in found:
        by_data.setdefault(comparison.settings[0].values["fingerprint"], []).append(comparison)
    means = [_mean_effect(factor, names, own, len(by_data) > 1) for own in by_data.values() if len(own) > 1]
    single = [comparison for own in by_data.values() for comparison in own]
    return [*means, *(Effect(factor, *names, _context(one, factor), one, is_main=not means) for one in single)]


def _mean_effect(factor: str, names: tuple[str, str], contexts: Sequence[Comparison], name_data: bool) -> Effect:
    """The mean of the effects over contexts with the same data, all with the same weight."""
    mean = _mean_of(contexts)
    data = f", {value_text('fingerprint', contexts[0].settings[0].values['fingerprint'])}" if name_data else ""
    opposed = tuple(_context(one, factor) for one in contexts if _is_opposed(one, mean))
    return Effect(factor, *names, f"mean of {len(contexts)}{data}", mean, opposed=opposed)


def _mean_of(contexts: Sequence[Comparison]) -> Comparison:
    """One comparison with each setting once: one that is in several contexts has more weight, not more runs."""
    weights: dict[tuple[str, ...], float] = {}
    parts: dict[tuple[str, ...], tuple[Setting, Scores, Scores]] = {}
    for arm, sign in ((0, 1.0), (1, -1.0)):
        for one in contexts:
            runs = one.settings[arm].folders
            parts[runs] = one.settings[arm], one.samples[arm], one.with_failures[arm]
            weights[runs] = weights.get(runs, 0.0) + sign / len(contexts)
    settings, samples, with_failures = zip(*parts.values(), strict=True)
    problem = next((one.problem for one in contexts if one.problem), None)
    notes = dict.fromkeys(note for one in contexts for note in one.notes)
    hypothesis = replace(contexts[0].hypothesis, weights=tuple(weights.values()))
    return Comparison(hypothesis, settings, samples, problem, tuple(notes), with_failures)


def _is_opposed(one: Comparison, mean: Comparison) -> bool:
    if mean.estimate is None or mean.estimate.value == 0:
        return False
    other_side = one.p_contradicting if mean.estimate.value > 0 else one.p_confirming
    return other_side < LEVEL


def _context(comparison: Comparison, factor: str) -> str:
    """The labels that both settings share."""
    first, second = (setting.labels for setting in comparison.settings)
    return ", ".join(first[name] for name in first if name != factor and first[name] == second.get(name))
