"""The effect of each factor on test Dice, every pair of its levels with all else equal; and their power analysis."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import pandas as pd

from src.analysis.claims.comparison import Comparison, Hypothesis, compare
from src.analysis.claims.wording import effect_text
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import CONFIDENCE, LEVEL, Scores, holm
from src.analysis.statistics.metrics import METRICS
from src.analysis.statistics.power import POWER, images_needed, seeds_needed
from src.display.text import value_text

MIN_EFFECT = 0.002  # 0.2 Dice points, the smallest difference that report A claims
MOST_LEVELS = 5  # with more, each level is compared with the first only, and a note tells
MOST_CONTEXTS = 10  # with more, a note of the mean summarizes the single contexts
TEST_DICE = METRICS["test_dice"]
ABOVE, BELOW = (0.0, math.inf), (-math.inf, 0.0)


class FactorLevel(NamedTuple):
    """A value of a factor, and the settings with finished runs that have it."""

    value: Any
    settings: list[Setting]


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
    effects = []
    for factor in factors:
        effects += _of_factor(records, factor, _levels(settings, factor))
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
        new = comparison.variance_components(new_images=True)
        hours = [records.of_runs(setting.folders, "seconds").mean() / 3600 for setting in comparison.settings]
        row: list[Any] = [effect.name, min(comparison.seeds)]
        for components in (comparison.variance_components(new_images=False), new):
            needed = seeds_needed(components, min_effect, wanted, confidence)
            row += [needed, _more_hours(needed, comparison.seeds, hours)]
        rows.append([*row, images_needed(new, min_effect, wanted, confidence)])
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))


def _more_hours(needed: int | None, seeds: Sequence[int], hours: Sequence[float]) -> float | None:
    """Hours of the runs still to be made."""
    if needed is None:
        return None
    return sum(max(0, needed - done) * each for done, each in zip(seeds, hours, strict=True))


def _levels(settings: Sequence[Setting], factor: str) -> list[FactorLevel]:
    """The values of `factor` among settings with finished runs, in the order of the settings."""
    levels: dict[str, FactorLevel] = {}
    for setting in settings:
        if setting.folders:
            value = setting.values.get(factor)
            levels.setdefault(json.dumps(value), FactorLevel(value, [])).settings.append(setting)
    return list(levels.values())


def _of_factor(records: Records, factor: str, levels: Sequence[FactorLevel]) -> list[Effect]:
    if len(levels) <= MOST_LEVELS:
        pairs = itertools.combinations(levels, 2)
        return [effect for second, first in pairs for effect in _of_two_levels(records, factor, first, second)]
    effects = [effect for first in levels[1:] for effect in _of_two_levels(records, factor, first, levels[0])]
    note = f"each of the {len(levels)} levels is compared with the first only"
    return [*(_with_note(effect, note) for effect in effects[:1]), *effects[1:]]


def _of_two_levels(records: Records, factor: str, first: FactorLevel, second: FactorLevel) -> list[Effect]:
    arms = ({factor: first.value}, {factor: second.value})
    hypothesis = Hypothesis(TEST_DICE, arms, (1.0, -1.0), ABOVE, (BELOW,))
    settings = [*first.settings, *second.settings]  # not all: of 1,000 levels each has only a few
    found: list[Comparison] = []
    for may_differ in ((), ("trainer",)):
        found = found or [
            comparison
            for comparison in compare(records, settings, replace(hypothesis, may_differ=may_differ))
            if comparison.samples
        ]
    names = (value_text(factor, first.value), value_text(factor, second.value))
    by_data: dict[Any, list[Comparison]] = {}
    for comparison in found:
        by_data.setdefault(comparison.settings[0].values["fingerprint"], []).append(comparison)
    means = [_mean_effect(factor, names, own, len(by_data) > 1) for own in by_data.values() if len(own) > 1]
    single = [comparison for own in by_data.values() if len(own) <= MOST_CONTEXTS for comparison in own]
    return [*means, *(Effect(factor, *names, _context(one, factor), one, is_main=not means) for one in single)]


def _mean_effect(factor: str, names: tuple[str, str], contexts: Sequence[Comparison], name_data: bool) -> Effect:
    """The mean of the effects over contexts with the same data, all with the same weight."""
    mean = _mean_of(contexts)
    data = f", {value_text('fingerprint', contexts[0].settings[0].values['fingerprint'])}" if name_data else ""
    opposed = tuple(_context(one, factor) for one in contexts if _is_opposed(one, mean))
    effect = Effect(factor, *names, f"mean of {len(contexts)}{data}", mean, opposed=opposed)
    return effect if len(contexts) <= MOST_CONTEXTS else _with_note(effect, _range_of(contexts, factor))


def _mean_of(contexts: Sequence[Comparison]) -> Comparison:
    """One comparison with each setting once: one that is in several contexts has more weight, not more runs."""
    weights: dict[tuple[str, ...], float] = {}
    parts: dict[tuple[str, ...], tuple[Setting, Scores]] = {}
    for arm, sign in ((0, 1.0), (1, -1.0)):
        for one in contexts:
            runs = one.settings[arm].folders
            parts[runs] = one.settings[arm], one.samples[arm]
            weights[runs] = weights.get(runs, 0.0) + sign / len(contexts)
    settings, samples = zip(*parts.values(), strict=True)
    problem = next((one.problem for one in contexts if one.problem), None)
    notes = dict.fromkeys(note for one in contexts for note in one.notes)
    hypothesis = replace(contexts[0].hypothesis, weights=tuple(weights.values()))
    return Comparison(hypothesis, settings, samples, problem, tuple(notes))


def _is_opposed(one: Comparison, mean: Comparison) -> bool:
    if mean.estimate is None or mean.estimate.value == 0:
        return False
    other_side = one.p_contradicting if mean.estimate.value > 0 else one.p_confirming
    return other_side < LEVEL


def _range_of(contexts: Sequence[Comparison], factor: str) -> str:
    """In place of a list: `40 contexts, not listed: 37 above 0, from … to …`."""
    effects = [(float(one.samples[0].mean() - one.samples[1].mean()), _context(one, factor)) for one in contexts]
    by_value = sorted(effects, key=lambda effect: effect[0])
    low, high = (
        f"{effect_text(TEST_DICE, TEST_DICE.scale * value)} ({context})"
        for value, context in (by_value[0], by_value[-1])
    )
    above = sum(value > 0 for value, _ in effects)
    return f"{len(contexts)} contexts, not listed: {above} above 0, from {low} to {high}"


def _with_note(effect: Effect, note: str) -> Effect:
    return replace(effect, comparison=replace(effect.comparison, notes=(*effect.comparison.notes, note)))


def _context(comparison: Comparison, factor: str) -> str:
    """The labels that both settings share."""
    first, second = (setting.labels for setting in comparison.settings)
    return ", ".join(first[name] for name in first if name != factor and first[name] == second.get(name))
