"""The effect of each factor on test Dice, every pair of its levels with all else equal; and their power analysis."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from src.analysis.claims.comparison import (
    DIFFERENCE,
    Comparison,
    Hypothesis,
    compare,
    counted_mean,
    decisive,
)
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.records.runs import is_same
from src.analysis.statistics.estimates import (
    CONFIDENCE,
    LEAST_SEEDS,
    LEVEL,
    POWER,
    holm,
    images_needed,
    seeds_needed,
)
from src.analysis.statistics.metrics import METRICS
from src.base.environment import PROJECT
from src.base.files import read_yaml
from src.display.text import value_text

MIN_EFFECT = 0.002  # 0.2 Dice points, the smallest difference that report A claims
MOST_LEVELS = 5  # with more, each level is compared with the best and the baseline only
MOST_CONTEXTS = 20  # whose differences are tested


PLAN = (
    *("comparison", "seeds", "these_images", "these_low", "these_high", "these_hours"),
    *("new_images", "new_low", "new_high", "new_hours", "images"),
)
CONF = PROJECT / "conf"
Level = Sequence[Setting]
Status = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Effect:
    """Test Dice of `first` minus that of `second`, two levels of `factor`.

    `context`: what else the settings share; for a mean, the number of contexts. `is_main`: whether it is the result
    for the two levels; the single contexts of a mean, its `parts`, are only listed with it, with simultaneous intervals
    and `p_adjusted` by Bonferroni. Of a main effect it is by Holm over all of them. `p_depends`: that the effect is the
    same in all parts, by Holm over all means of which it was tested; nan if it was not.
    """

    factor: str
    first: str
    second: str
    context: str
    comparison: Comparison
    is_main: bool = True
    p_adjusted: float = 1.0
    parts: tuple["Effect", ...] = ()
    p_depends: float = math.nan

    @property
    def name(self) -> str:
        """For example `scheduler: onecycle − cosine (unet)`."""
        return f"{self.factor}: {self.first} − {self.second}{f' ({self.context})' if self.context else ''}"

    def adjusted(self, p_adjusted: float, p_depends: float = math.nan) -> "Effect":
        """The same with these p-values."""
        return replace(self, p_adjusted=p_adjusted, p_depends=p_depends)

    @property
    def p(self) -> float:
        """That the two levels are alike, before adjustment."""
        return min(self.comparison.p_confirming, self.comparison.p_contradicting)

    @property
    def status(self) -> Status:
        """Whether the first level is better than the second."""
        if self.p_adjusted >= LEVEL or self.comparison.estimate is None:
            return "undecided"
        return "better" if self.comparison.estimate.value > 0 else "worse"

    @property
    def depends(self) -> bool:
        """Whether the effect differs between its parts."""
        return self.p_depends < LEVEL

    @property
    def is_everywhere(self) -> bool:
        """Whether each part with enough seeds shows what the mean does; all are needed, so none is adjusted."""
        counted = decisive([part.comparison for part in self.parts])
        if self.status == "better":
            return all(one.p_confirming < LEVEL for one in counted)
        return all(one.p_contradicting < LEVEL for one in counted)

    def contexts_where(self, status: Status) -> list[str]:
        """The parts in which the first level is better or worse, or in which that is undecided."""
        return [part.context for part in self.parts if part.status == status]


def factor_effects(records: Records, settings: Sequence[Setting], factors: Sequence[str]) -> list[Effect]:
    """The effects of `factors` (choices or config values that differ) on test Dice, factor by factor.

    With several contexts, the mean over them comes first, then each. If two levels never share all else, settings
    that differ in the trainer too are compared, as report A's networks with their batch sizes.
    """
    effects, untested = [], 0
    for factor in factors:
        levels = _levels(settings, factor)
        pairs = _pairs(records, levels, factor)
        untested += math.comb(len(levels), 2) - len(pairs)
        effects += [effect for first, second in pairs for effect in _of_two_levels(records, factor, first, second)]
    tested = [number for number, effect in enumerate(effects) if effect.is_main and not effect.comparison.problem]
    # the best of many levels was selected by the same scores, so all pairs of its factor count
    adjusted = dict(zip(tested, holm([effects[number].p for number in tested] + untested * [1.0]), strict=False))
    means = [number for number in tested if not math.isnan(effects[number].p_depends)]
    depends = dict(zip(means, holm([effects[number].p_depends for number in means]), strict=True))
    return [
        effect.adjusted(adjusted.get(number, 1.0), depends.get(number, math.nan)) if effect.is_main else effect
        for number, effect in enumerate(effects)
    ]


def seed_plan(
    records: Records,
    effects: Sequence[Effect],
    min_effect: float = MIN_EFFECT,
    wanted: float = POWER,
    family: int | None = None,
) -> pd.DataFrame:
    """One row per undecided effect with at least 3 seeds: what it takes to find `min_effect` (Dice).

    `wanted`: the power. The test is as strict as the verdicts, which share 5 % among a `family` (None: all `effects`).
    Columns: comparison, seeds (now, of the smallest setting), these_images (seeds of each setting for an answer about
    this test set; these_low and these_high if the true spread is at the ends of its range) and these_hours (of the runs
    still to be made), new_images and so on (for an answer about new images), images (the fewest test images, with
    infinitely many seeds). Missing if 1,000 seeds do not suffice.
    """
    tested = [effect for effect in effects if effect.comparison.problem is None]
    confidence = 1 - (1 - CONFIDENCE) / max(1, family or len(tested))
    rows = []
    for effect in tested:
        if effect.status == "undecided":
            comparison = effect.comparison
            hours = [records.of_runs(setting.folders, "seconds").mean() / 3600 for setting in comparison.settings]
            these, new = (comparison.variance_components(new_images) for new_images in (False, True))
            row: list[Any] = [effect.name, min(comparison.seeds)]
            for components in (these, new):
                spreads = (components, *components.range())
                needed = [seeds_needed(one, min_effect, wanted, confidence) or np.nan for one in spreads]
                row += [*needed, np.maximum(0, needed[0] - np.array(comparison.seeds)) @ hours]
            rows.append([*row, images_needed(new, min_effect, wanted, confidence)])
    return pd.DataFrame(rows, columns=PLAN).astype(dict.fromkeys(PLAN[2:], "float64"))


def _levels(settings: Sequence[Setting], factor: str) -> list[list[Setting]]:
    """The settings of each level that finished or failed by their own fault, in the order of the settings."""
    by_value: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.folders or setting.has_failures:
            by_value.setdefault(json.dumps(setting.values.get(factor)), []).append(setting)
    return list(by_value.values())


def _pairs(records: Records, levels: Sequence[Level], factor: str) -> list[tuple[Level, Level]]:
    """The two levels of each comparison: every pair, or of many levels each with the best and with the baseline."""
    if len(levels) <= MOST_LEVELS:
        return [(second, first) for first, second in itertools.combinations(levels, 2)]
    best, baseline = _best(records, levels), _baseline(levels, factor)
    pairs = [(best, level) for level in levels if level is not best] if best else []
    if best is baseline:
        return pairs
    return pairs + [(level, baseline) for level in levels if level is not baseline and level is not best]


def _best(records: Records, levels: Sequence[Level]) -> Level | None:
    """The level with the highest mean test Dice of settings with enough seeds, failed runs scored 0; None if none."""
    scores = []
    for number, level in enumerate(levels):
        known = [counted_mean(records, one) for one in level if len(one.folders) >= LEAST_SEEDS or one.has_failures]
        if any(known):
            scores.append((float(np.mean(known)), number))
    return levels[max(scores)[1]] if scores else None


def _baseline(levels: Sequence[Level], factor: str) -> Level:
    """The level of the default in conf/; else the one with the most settings, the first of these."""
    group, _, key = factor.partition(".")
    defaults = [entry for entry in read_yaml(CONF / "train.yaml")["defaults"] if isinstance(entry, dict)]
    name = next((entry[group] for entry in defaults if group in entry), None)
    for level in levels:
        values = level[0].values
        option = values.get(group) if key else name
        path = CONF / group / f"{option}.yaml"
        default = name if not key else read_yaml(path).get(key) if path.is_file() else None
        if default is not None and is_same(values.get(factor), default):
            return level
    return max(levels, key=len)


def _of_two_levels(records: Records, factor: str, first: Level, second: Level) -> list[Effect]:
    """`first`, `second`: the settings of each level."""
    values = [level[0].values.get(factor) for level in (first, second)]
    names = (value_text(factor, values[0]), value_text(factor, values[1]))
    arms = ({factor: values[0]}, {factor: values[1]})
    found: list[Comparison] = []
    for may_differ in ((), ("trainer",)):
        hypothesis = Hypothesis(METRICS["test_dice"], arms, may_differ=may_differ)
        found = found or [one for one in compare(records, [*first, *second], hypothesis) if one.settings]
    return effects_in_contexts(factor, names, found)


def effects_in_contexts(factor: str, names: tuple[str, str], found: Sequence[Comparison]) -> list[Effect]:
    """The comparisons `found` of two levels as effects: several contexts on the same data after their mean.

    Costs on several devices have no mean.
    """
    by_data: dict[Any, list[Comparison]] = {}
    for comparison in found:
        by_data.setdefault(comparison.settings[0].values["fingerprint"], []).append(comparison)
    effects = []
    for own in by_data.values():
        if len(own) > 1 and not own[0].hypothesis.metric.cost:
            mean = mean_effect(factor, names, own, len(by_data) > 1)
            effects += [mean, *mean.parts]
        else:
            effects += [Effect(factor, *names, _context(one, factor), one) for one in own]
    return effects


def mean_effect(factor: str, names: tuple[str, str], contexts: Sequence[Comparison], name_data: bool) -> Effect:
    """The mean of the effects over contexts with the same data, all with the same weight.

    Contexts with too few seeds are listed, but left out of the mean if others have enough, as in claims.
    """
    counted = decisive(contexts)
    confidence = 1 - (1 - CONFIDENCE) / len(counted)
    parts = []
    for one in contexts:
        part = Effect(factor, *names, _context(one, factor), replace(one, confidence=confidence), is_main=False)
        parts.append(part.adjusted(min(1.0, len(counted) * part.p)))
    data = f", {value_text('fingerprint', contexts[0].settings[0].values['fingerprint'])}" if name_data else ""
    of = f" of {len(contexts)}" if len(counted) < len(contexts) else ""
    mean = _combined(counted, [1 / len(counted)] * len(counted))
    context = f"mean of {len(counted)}{of}{data}"
    return Effect(factor, *names, context, mean, parts=tuple(parts), p_depends=_p_depends(counted))


def _p_depends(contexts: Sequence[Comparison]) -> float:
    """That the effect is the same in all `contexts`: each against the mean of all, Bonferroni-adjusted.

    nan if that is not tested: of one context, of too many, of one without a verdict.
    """
    count = len(contexts)
    if count < 2 or count > MOST_CONTEXTS or any(one.problem for one in contexts):
        return math.nan
    tests = range(count) if count > 2 else range(1)  # of two, one differs from the mean as the other does
    against = [_combined(contexts, [(one == number) - 1 / count for one in range(count)]) for number in tests]
    return min(1.0, len(against) * min(min(one.p_confirming, one.p_contradicting) for one in against))


def _combined(contexts: Sequence[Comparison], context_weights: Sequence[float]) -> Comparison:
    """One comparison of all settings, each once.

    A context without any runs of one level leaves no mean: it is returned, for its problem.
    """
    if lacking := [one for one in contexts if not one.samples]:
        return lacking[0]
    arms = [
        (sign * weight, one.settings[arm], one.samples[arm], one.with_failures[arm])
        for arm, sign in enumerate(DIFFERENCE)
        for one, weight in zip(contexts, context_weights, strict=True)
    ]
    weights, settings, samples, with_failures = zip(*arms, strict=True)
    problem = next((one.problem for one in contexts if one.problem), None)
    notes = dict.fromkeys(note for one in contexts for note in one.notes)
    hypothesis = replace(contexts[0].hypothesis, weights=weights)
    combined = Comparison(hypothesis, settings, samples, problem, tuple(notes), with_failures).merged()
    return replace(combined, problem=problem or combined.pairs_problem)


def _context(comparison: Comparison, factor: str) -> str:
    """The labels that both settings share."""
    first, second = (setting.labels for setting in comparison.settings)
    return ", ".join(first[name] for name in first if name != factor and first[name] == second.get(name))
