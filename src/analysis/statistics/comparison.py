"""One question put to the runs: a measure, the settings it is asked of, and where the answer must lie."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.analysis.records.loading import Records
from src.analysis.records.matching import Filter, Setting, also_differing, matched
from src.analysis.statistics.estimates import Estimate, Spread, are_alike, estimated, hedges_g, spread_of
from src.analysis.statistics.metrics import Measure, Scores, bound_text, interval_text
from src.display.text import value_text

MISSING = "runs missing: "
LEAST_SEEDS = 3  # an arm; with fewer nothing is ever said to hold
Region = tuple[float, float]  # two ends, of which either may be infinite


@dataclass(frozen=True)
class Question:
    """sum(weight * measure of side), which lies `inside` if a claim is right, in `opposite` if its reverse is.

    `sides`: what the settings of each arm must be. `may_differ`: what else may differ between them. Of a cost the
    logarithm is meant, so weights (1, -1) ask how many times the one is the other. `reported`: the sum by the numbers
    that somebody printed.
    """

    measure: Measure
    sides: tuple[Filter, ...]
    weights: tuple[float, ...]
    inside: Region
    opposite: tuple[Region, ...]
    may_differ: tuple[str, ...] = ()
    reported: float | None = None

    def shown(self, effect: float) -> float:
        """An effect as a reader wants it: in points or the measure's unit, of a cost as a factor."""
        return float(np.exp(effect)) if self.measure.cost else float(self.measure.scale * effect)

    def region_text(self) -> str:
        """Where the effect must lie: `above 0`, `between -0.5 and 0.5`."""
        low, high = (bound_text(self.measure, self.shown(end)) for end in self.inside)
        if math.isinf(self.inside[1]):
            return f"above {low}"
        return f"below {high}" if math.isinf(self.inside[0]) else f"between {low} and {high}"


@dataclass(frozen=True)
class Comparison:
    """The answer of some settings to a question.

    `arms`: for each setting its runs' values, (runs, images) or (runs, 1), of a cost as logarithms. `problem`: why
    there is no answer, or no verdict on it, if so. `notes`: what a reader must know beside it.
    """

    question: Question
    settings: tuple[Setting, ...]
    arms: tuple[Scores, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """How many runs each arm has."""
        return tuple(len(arm) for arm in self.arms)

    @property
    def images(self) -> int | None:
        """How many test images the answer comes from, where single images matter."""
        return self.arms[0].shape[1] if self.arms and self.question.measure.is_of_single_images else None

    @cached_property
    def estimate(self) -> Estimate | None:
        """The effect, of a cost as a logarithm; None without runs in every arm."""
        return estimated(self.arms, self.question.weights) if self.arms and all(self.seeds) else None

    @property
    def shown(self) -> tuple[float, float, float] | None:
        """The effect and the ends of its 95 % interval as a reader wants them; None without runs in every arm."""
        if self.estimate is None:
            return None
        low, high = self.estimate.interval()
        return self.question.shown(self.estimate.value), self.question.shown(low), self.question.shown(high)

    @property
    def sides(self) -> str:
        """Who was compared: `flip_jitter − none (unet, cosine)`, what all sides share in brackets."""
        shown = [setting.shown for setting in self.settings]
        if not shown:
            return ""
        shared = {name: text for name, text in shown[0].items() if all(one.get(name) == text for one in shown)}
        told = {name for one in shown for name in one} - set(shared)
        asked = [key for key in dict.fromkeys(itertools.chain(*self.question.sides)) if self._is_only_asked(key)]
        names = [_own_text(setting, told, asked) for setting in self.settings]
        context = ", ".join(shared.values())
        if len(names) == 1:
            return context
        sign = " ÷ " if self.question.measure.cost else " − "
        pairs = [sign.join(names[number : number + 2]) for number in range(0, len(names), 2)]
        return (pairs[0] if len(pairs) == 1 else f"({f'){sign}('.join(pairs)})") + (f" ({context})" if context else "")

    def _is_only_asked(self, key: str) -> bool:
        """Whether the question tells its sides apart by a value that the settings' names do not have."""
        values = [setting.values.get(key) for setting in self.settings]
        named = any(key in setting.shown or key in setting.unset for setting in self.settings)
        return "." in key and not named and any(value != values[0] for value in values)

    def open_text(self) -> str:
        """Why `inside` is not shown: the interval and where it should have been."""
        assert self.shown is not None
        interval = interval_text(self.question.measure, *self.shown[1:])
        return f"the interval, {interval}, is not all {self.question.region_text()}"

    def reversed_text(self) -> str:
        """Why the reverse is shown: the interval and where it should have been."""
        return self.open_text().replace("is not all", "is nowhere")

    @property
    def p_inside(self) -> float:
        """The p-value of "the effect lies inside"; 1 without a verdict."""
        return self._p(self.question.inside)

    @property
    def p_opposite(self) -> float:
        """The p-value of "the effect lies in an opposite region"; 1 without a verdict."""
        return min(self._p(region) for region in self.question.opposite)

    @property
    def effect_size(self) -> float:
        """Hedges' g of a difference of two arms; nan for anything else."""
        if self.question.weights != (1.0, -1.0) or self.estimate is None:
            return math.nan
        return hedges_g(self.arms[0].mean(axis=1), self.arms[1].mean(axis=1))

    def spread(self, new_images: bool) -> Spread:
        """What the effect's uncertainty is made of, for planning."""
        return spread_of(self.arms, self.question.weights, new_images)

    def _p(self, region: Region) -> float:
        return 1.0 if self.problem or self.estimate is None else self.estimate.p_within(*region)


def compare(records: Records, settings: Sequence[Setting], question: Question) -> list[Comparison]:
    """The answers to `question`, one for each way in which `settings` that differ in nothing else meet its sides.

    Where no settings do, one that says which runs are missing.
    """
    choices = matched(settings, question.sides, question.may_differ)
    if not choices:
        return [Comparison(question, (), problem=_missing(settings, question.sides))]
    return [answer for choice in choices for answer in _answers(records, choice, question)]


def _answers(records: Records, choice: tuple[Setting, ...], question: Question) -> list[Comparison]:
    notes = tuple(
        f"{name} differs too: {' against '.join('off' if value is None else str(value) for value in values)}"
        for name, values in also_differing(choice, {key for side in question.sides for key in side}).items()
    )
    if not question.measure.cost:
        return [_answer(records, choice, [setting.folders for setting in choice], question, notes)]
    by_device = _folders_by_device(records, choice)
    if not by_device:
        problem = "no device was used by runs of every side that are known to have had it to themselves"
        return [Comparison(question, choice, problem=problem, notes=notes)]
    return [
        _answer(records, choice, folders, question, (*notes, f"on {device}")) for device, folders in by_device.items()
    ]


def _answer(
    records: Records,
    choice: tuple[Setting, ...],
    folders: Sequence[Sequence[str]],
    question: Question,
    notes: tuple[str, ...],
) -> Comparison:
    arms = question.measure.arms(records, folders)
    unknown = sum(len(own) for own in folders) - sum(len(arm) for arm in arms)
    too_short = question.measure.too_short(records, [folder for own in folders for folder in own])
    few = _too_few(choice, arms)
    if unknown:
        notes = (*notes, f"not known of {unknown} of the runs{f': {too_short}' if too_short and not few else ''}")
    if question.measure.cost:
        arms = [np.log(arm) for arm in arms]
    problem = (few and too_short) or few or _alike(choice, arms, question.measure)
    return Comparison(question, choice, tuple(arms), problem, notes)


def _too_few(choice: Sequence[Setting], arms: Sequence[Scores]) -> str | None:
    few = [
        f"{len(arm)} of {setting.label}" for setting, arm in zip(choice, arms, strict=True) if len(arm) < LEAST_SEEDS
    ]
    return f"too few seeds ({', '.join(few)}); a verdict needs {LEAST_SEEDS} of each" if few else None


def _alike(choice: Sequence[Setting], arms: Sequence[Scores], measure: Measure) -> str | None:
    names = [setting.label for setting, arm in zip(choice, arms, strict=True) if are_alike(arm)]
    if not names:
        return None
    return f"how far seeds differ is not known: seeds of {' and of '.join(names)} gave the very same {measure.says}"


def _missing(settings: Sequence[Setting], sides: Sequence[Filter]) -> str:
    absent = {}
    for side in sides:
        there = [setting for setting in settings if setting.meets(side)]
        if not any(setting.folders for setting in there):
            unfinished = sum(setting.unfinished for setting in there)
            absent[_lacking(settings, side)] = f" ({unfinished} not finished)" if unfinished else ""
    if not absent:
        return f"{MISSING}those there are differ in more than the claim is about"
    return f"{MISSING}none finished with {' and none with '.join(name + rest for name, rest in absent.items())}"


def _lacking(settings: Sequence[Setting], side: Filter) -> str:
    """What of `side` no finished run has; where each key has its runs but not all together, what not all have."""
    finished = [setting for setting in settings if setting.folders]
    nowhere = {key: value for key, value in side.items() if not any(one.meets({key: value}) for one in finished)}
    not_all = {key: value for key, value in side.items() if not all(one.meets({key: value}) for one in finished)}
    return ", ".join(
        f"{key} {' or '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in (nowhere or not_all).items()
    )


def _own_text(setting: Setting, names: set[str], asked: Sequence[str]) -> str:
    """What a setting is called by `names`, or, having none, by what it is without; and its values of `asked`."""
    own = [text for name, text in setting.shown.items() if name in names]
    own = own or [text for name, text in setting.unset.items() if name in names]
    return ", ".join([*own, *(value_text(key, setting.values.get(key)) for key in asked)])


def _folders_by_device(records: Records, choice: Sequence[Setting]) -> dict[str, list[list[str]]]:
    """For each kind of device that runs of every setting had to themselves, the folders of those runs."""
    folders = [folder for setting in choice for folder in setting.folders]
    alone = records.of_runs(folders, "alone").fillna(False).astype(bool)
    device_of = records.of_runs(folders, "device")[alone].to_dict()
    devices = [{device_of[folder] for folder in setting.folders if device_of.get(folder)} for setting in choice]
    return {
        device: [[folder for folder in setting.folders if device_of.get(folder) == device] for setting in choice]
        for device in sorted(set.intersection(*devices))
    }
