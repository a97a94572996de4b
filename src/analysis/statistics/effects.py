"""What each factor of a sweep does: every two of its levels compared, all else equal, and over all else together."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.comparison import Comparison, Question, compare
from src.analysis.statistics.estimates import LEVEL, holm
from src.analysis.statistics.metrics import MEASURES, Scores, effect_text
from src.display.text import value_text

MOST_LEVELS = 5  # of a factor with more, each level is compared with the first only, and a note says so
MOST_CONTEXTS = 10  # of a mean over more, the single contexts are summed up in a note
TEST_DICE = MEASURES["test_dice"]
ABOVE, BELOW = (0.0, math.inf), (-math.inf, 0.0)


class Level(NamedTuple):
    """A value of a factor, and the settings with finished runs that have it."""

    value: Any
    settings: list[Setting]


@dataclass(frozen=True)
class Effect:
    """Test Dice of `first` less that of `second`, two levels of `factor`.

    `context`: what else is the same, of the mean over several how many there are. `is_main`: whether it answers for
    the two levels; the single contexts of a mean are only shown beside it, or, where they are more than MOST_CONTEXTS,
    in a note of its comparison. `opposed`: contexts of a mean whose own interval lies on the other side of zero.
    `p_adjusted`: by Holm over all main effects.
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
        """For example `scheduler: onecycle - cosine (unet)`."""
        return f"{self.factor}: {self.first} − {self.second}{f' ({self.context})' if self.context else ''}"

    @property
    def word(self) -> Literal["better", "worse", "undecided"]:
        """Whether the first level is better than the second."""
        if self.p_adjusted >= LEVEL or self.comparison.estimate is None:
            return "undecided"
        return "better" if self.comparison.estimate.value > 0 else "worse"


def factor_effects(records: Records, settings: Sequence[Setting], factors: Sequence[str]) -> list[Effect]:
    """The effects of `factors` (choices or config values that differ) on test Dice, factor by factor.

    Where several settings share all else, first the mean over all of them, then each. Two levels that never share all
    else are compared where only the trainer differs too, as report A's batch sizes do with its networks.
    """
    effects = []
    for factor in factors:
        effects += _of_factor(records, factor, _levels(settings, factor))
    judged = [number for number, effect in enumerate(effects) if effect.is_main and not effect.comparison.problem]
    raw = [min(effects[number].comparison.p_inside, effects[number].comparison.p_opposite) for number in judged]
    adjusted = dict(zip(judged, holm(raw), strict=True))
    return [replace(effect, p_adjusted=adjusted.get(number, 1.0)) for number, effect in enumerate(effects)]


def _levels(settings: Sequence[Setting], factor: str) -> list[Level]:
    """The values of `factor` among settings with finished runs, in the order of the settings."""
    levels: dict[str, Level] = {}
    for setting in settings:
        if setting.folders:
            value = setting.values.get(factor)
            levels.setdefault(json.dumps(value), Level(value, [])).settings.append(setting)
    return list(levels.values())


def _of_factor(records: Records, factor: str, levels: Sequence[Level]) -> list[Effect]:
    if len(levels) <= MOST_LEVELS:
        pairs = itertools.combinations(levels, 2)
        return [effect for second, first in pairs for effect in _of_two_levels(records, factor, first, second)]
    effects = [effect for first in levels[1:] for effect in _of_two_levels(records, factor, first, levels[0])]
    note = f"of {len(levels)} levels each is compared with the first only"
    return [*(_with_note(effect, note) for effect in effects[:1]), *effects[1:]]


def _of_two_levels(records: Records, factor: str, first: Level, second: Level) -> list[Effect]:
    sides = ({factor: first.value}, {factor: second.value})
    question = Question(TEST_DICE, sides, (1.0, -1.0), ABOVE, (BELOW,))
    settings = [*first.settings, *second.settings]  # not all there are: of 1,000 levels each has but a few
    same_trainer = _answered(records, settings, question)
    found = same_trainer or _answered(records, settings, replace(question, may_differ=("trainer",)))
    names = (value_text(factor, first.value), value_text(factor, second.value))
    by_data: dict[Any, list[Comparison]] = {}
    for one in found:
        by_data.setdefault(one.settings[0].values["fingerprint"], []).append(one)
    several = len(by_data) > 1
    means = [_together(factor, names, own, several) for own in by_data.values() if len(own) > 1]
    single = [one for own in by_data.values() if len(own) <= MOST_CONTEXTS for one in own]
    return [*means, *(Effect(factor, *names, _context(one, factor), one, is_main=not means) for one in single)]


def _answered(records: Records, settings: Sequence[Setting], question: Question) -> list[Comparison]:
    return [one for one in compare(records, settings, question) if one.arms]


def _together(factor: str, names: tuple[str, str], found: Sequence[Comparison], say_data: bool) -> Effect:
    """The mean of the effects over contexts with the same data, each context weighing the same."""
    mean = _mean_of(found)
    data = f", {value_text('fingerprint', found[0].settings[0].values['fingerprint'])}" if say_data else ""
    opposed = tuple(_context(one, factor) for one in found if _is_opposed(one, mean))
    effect = Effect(factor, *names, f"mean of {len(found)}{data}", mean, opposed=opposed)
    return effect if len(found) <= MOST_CONTEXTS else _with_note(effect, _summed_up(found, factor))


def _is_opposed(one: Comparison, mean: Comparison) -> bool:
    if mean.estimate is None or mean.estimate.value == 0:
        return False
    other_side = one.p_opposite if mean.estimate.value > 0 else one.p_inside
    return other_side < LEVEL


def _with_note(effect: Effect, note: str) -> Effect:
    return replace(effect, comparison=replace(effect.comparison, notes=(*effect.comparison.notes, note)))


def _mean_of(found: Sequence[Comparison]) -> Comparison:
    """One comparison with an arm for each setting: one that is in several contexts has more weight, not more runs."""
    weights: dict[tuple[str, ...], float] = {}
    parts: dict[tuple[str, ...], tuple[Setting, Scores]] = {}
    for side, sign in ((0, 1.0), (1, -1.0)):
        for one in found:
            runs = one.settings[side].folders
            parts[runs] = one.settings[side], one.arms[side]
            weights[runs] = weights.get(runs, 0.0) + sign / len(found)
    settings, arms = zip(*parts.values(), strict=True)
    problem = next((one.problem for one in found if one.problem), None)
    notes = dict.fromkeys(note for one in found for note in one.notes)
    question = replace(found[0].question, weights=tuple(weights.values()))
    return Comparison(question, settings, arms, problem, tuple(notes))


def _summed_up(found: Sequence[Comparison], factor: str) -> str:
    """What is said in place of a list: `40 contexts, too many to list: 37 above 0, from … to …`."""
    values = [float(one.arms[0].mean() - one.arms[1].mean()) for one in found]
    low, high = (
        f"{effect_text(TEST_DICE, found[end].question.shown(values[end]))} ({_context(found[end], factor)})"
        for end in (values.index(min(values)), values.index(max(values)))
    )
    above = sum(value > 0 for value in values)
    return f"{len(found)} contexts, too many to list: {above} above 0, from {low} to {high}"


def _context(comparison: Comparison, factor: str) -> str:
    """What both settings have in common of what tells settings apart."""
    first, second = (setting.shown for setting in comparison.settings)
    return ", ".join(first[name] for name in first if name != factor and first[name] == second.get(name))
