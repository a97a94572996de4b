"""What each factor of a sweep does: every two of its levels compared, all else equal, and over all else together."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from src.analysis.comparison import Comparison, Question, compare
from src.analysis.loading import Records
from src.analysis.matching import Setting
from src.analysis.measures import MEASURES
from src.analysis.statistics import holm
from src.analysis.verdicts import LEVEL
from src.analysis.words import value_text

MOST_LEVELS = 5  # of a factor with more, each level is compared with the first only
TEST_DICE = MEASURES["test_dice"]
ABOVE, BELOW = (0.0, math.inf), (-math.inf, 0.0)


@dataclass(frozen=True)
class Effect:
    """Test Dice of `first` less that of `second`, two levels of `factor`.

    `context`: what else is the same, of the mean over several how many there are. `is_main`: whether it answers for
    the two levels; the single contexts of a mean are only shown beside it. `p_adjusted`: by Holm over all main effects.
    """

    factor: str
    first: str
    second: str
    context: str
    comparison: Comparison
    is_main: bool = True
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
        levels = _levels(settings, factor)
        pairs = list(itertools.combinations(levels, 2))
        for second, first in pairs if len(levels) <= MOST_LEVELS else pairs[: len(levels) - 1]:
            effects += _of_two_levels(records, settings, factor, first, second)
    judged = [number for number, effect in enumerate(effects) if effect.is_main and not effect.comparison.problem]
    raw = [min(effects[number].comparison.p_inside, effects[number].comparison.p_opposite) for number in judged]
    adjusted = dict(zip(judged, holm(raw), strict=True))
    return [replace(effect, p_adjusted=adjusted.get(number, 1.0)) for number, effect in enumerate(effects)]


def _of_two_levels(records: Records, settings: Sequence[Setting], factor: str, first: Any, second: Any) -> list[Effect]:
    question = Question(TEST_DICE, ({factor: first}, {factor: second}), (1.0, -1.0), ABOVE, (BELOW,))
    same_trainer = _answered(records, settings, question)
    found = same_trainer or _answered(records, settings, replace(question, may_differ=("trainer",)))
    names = (value_text(factor, first), value_text(factor, second))
    means = _together(factor, names, found)
    return [*means, *(Effect(factor, *names, _context(one, factor), one, is_main=not means) for one in found)]


def _answered(records: Records, settings: Sequence[Setting], question: Question) -> list[Comparison]:
    return [one for one in compare(records, settings, question) if one.arms]


def _together(factor: str, names: tuple[str, str], found: Sequence[Comparison]) -> list[Effect]:
    """The mean of the effects over all contexts with the same data, each context weighing the same."""
    by_data: dict[Any, list[Comparison]] = {}
    for one in found:
        by_data.setdefault(one.settings[0].values["fingerprint"], []).append(one)
    return [Effect(factor, *names, f"mean of {len(own)}", _mean_of(own)) for own in by_data.values() if len(own) > 1]


def _mean_of(found: Sequence[Comparison]) -> Comparison:
    share = 1.0 / len(found)
    weights = (share,) * len(found) + (-share,) * len(found)
    question = replace(found[0].question, weights=weights)
    arms = [one.arms[side] for side in (0, 1) for one in found]
    settings = [one.settings[side] for side in (0, 1) for one in found]
    problem = next((one.problem for one in found if one.problem), None)
    notes = dict.fromkeys(note for one in found for note in one.notes)
    return Comparison(question, tuple(settings), tuple(arms), problem, tuple(notes))


def _context(comparison: Comparison, factor: str) -> str:
    """What both settings have in common of what tells settings apart."""
    first, second = (setting.shown for setting in comparison.settings)
    return ", ".join(first[name] for name in first if name != factor and first[name] == second.get(name))


def _levels(settings: Sequence[Setting], factor: str) -> list[Any]:
    """The values of `factor` among settings with finished runs, in the order of the settings."""
    values = [setting.values.get(factor) for setting in settings if setting.folders]
    return list({json.dumps(value): value for value in values}.values())
