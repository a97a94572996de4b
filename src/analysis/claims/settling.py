"""Questions that are settled by adding seeds: the verdict on each after any number of looks, and which seeds come next.

The looks at a question are fixed in advance: the first 3, 5, 8, … seeds of each of its settings, whatever other seeds
exist. Each may spend its own part of 5 % (`level_at`), of which each question has an equal share. So the chance that
any verdict is ever wrong is at most 5 %, however the next seeds are chosen, and whenever one stops: the verdicts are a
function of the records and the rules alone, and that of the first look that gave one stays.

For other searches: ask `questions_on_best` about the candidates (a few `planned_settings`), then repeat `settle`,
`next_seeds` and training until no more seeds are asked for; `beaten` names the settings that are not the best.
"""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
import pandas as pd
from pydantic import Field

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.comparison import (
    ABOVE,
    Comparison,
    Hypothesis,
    choices_of,
    compare,
    compare_settings,
    counted_mean,
)
from src.analysis.claims.ranking import BETTER
from src.analysis.claims.verdicts import Results, Status, p_holds, p_reversed
from src.analysis.records.files import Text
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting, settings_of
from src.analysis.statistics.estimates import LEAST_SEEDS, LEVEL, Scores, VarianceComponents
from src.analysis.statistics.metrics import METRICS
from src.analysis.statistics.sequential import LADDER, PATHS, Futures, adjusted_for_looks, futures, level_at
from src.base.config import Between0And1, Section

FUTILE = 0.1  # a question with a smaller chance to be decided within the budget gets no more seeds
SPREAD = 0.005  # Dice, between seeds: what is assumed before the first run
SINGLE_IMAGES = (METRICS["test_dice_min"], METRICS["test_dice_max"])

Seeds = dict[str, int]  # how many of each setting, by config_id


class Rules(Section):
    """What must stay the same from look to look.

    `asked`: the digest of the claims, or `best`; `settings`: config_id and name of each. Questions use the seeds
    `first_seed`, `first_seed` + 1, …; `margin`: settings that differ by less are equivalent (Dice, IoU or accuracy).
    """

    asked: str
    settings: dict[str, Text]
    first_seed: int = Field(ge=0)
    margin: Between0And1


@dataclass(frozen=True)
class Question:
    """One claim with its `hypotheses`; without any, which of two `settings` (config_ids) has the higher test Dice."""

    name: str
    settings: tuple[str, ...]
    hypotheses: tuple[Hypothesis, ...] = ()

    def results(self, records: Records, settings: Sequence[Setting]) -> Results:
        """Its comparisons, with runs of these settings only."""
        own = {setting.config_id: setting for setting in settings if setting.config_id in self.settings}
        if self.hypotheses:
            return tuple(tuple(compare(records, list(own.values()), one)) for one in self.hypotheses)
        return ((compare_settings(records, (own[self.settings[0]], own[self.settings[1]]), BETTER),),)


@dataclass(frozen=True)
class Answer:
    """What is known of a question: its verdict at the look that gave it, or that it is undecided at the last `look`.

    `look`: from 0 on, -1 without any; `p_adjusted`: over all looks and questions; `results`: of that look, with
    intervals at its level. `needs`: of an undecided one, the seeds of each setting with which it may be decided,
    (paths,), infinite if never; empty if unknown. `problem`: why no seeds can decide it, if so.
    """

    question: Question
    status: Status
    look: int
    p_adjusted: float
    results: Results = ()
    problem: str | None = None
    needs: Scores = field(default_factory=lambda: np.zeros(0))

    @property
    def next_seeds(self) -> int:
        """Of each setting, at the look after its look; after the last one there is none."""
        return LADDER[self.look + 1] if self.look + 1 < len(LADDER) else sys.maxsize

    def runs_needed(self, begun: Mapping[str, int]) -> Scores:
        """Further runs until it may be decided, (paths,); `begun`: the seeds of each setting that exist already."""
        return np.sum([np.maximum(0, self.needs - begun.get(one, 0)) for one in self.question.settings], axis=0)


def questions_on_claims(file: ClaimFile, planned: Sequence[Setting]) -> tuple[list[Question], list[str]]:
    """A question for each claim of `file` about `planned` settings; and a line for each that seeds cannot decide."""
    questions, left_out = [], []
    for name in file.claims:
        hypotheses = tuple(file.hypotheses(name))
        choices = [choices_of(planned, one) for one in hypotheses]
        if any(one.metric not in METRICS.values() for one in hypotheses):
            left_out.append(f"{name}: is about the shape of a curve, which more seeds do not decide")
        elif any(one.metric in SINGLE_IMAGES for one in hypotheses):
            left_out.append(f"{name}: is about a single image, the worst or the best, which more seeds do not decide")
        elif not all(choices):
            left_out.append(f"{name}: not all of its settings are in this sweep")
        else:
            used = {setting.config_id for own in choices for choice in own for setting in choice}
            questions.append(
                Question(name, tuple(one.config_id for one in planned if one.config_id in used), hypotheses)
            )
    return questions, left_out


def questions_on_best(names: Mapping[str, str]) -> list[Question]:
    """One for each pair of settings, so that each may be compared with the leader; `names`: by config_id."""
    pairs = itertools.combinations(names, 2)
    return [Question(f"{names[first]} − {names[second]}", (first, second)) for first, second in pairs]


def settle(records: Records, questions: Sequence[Question], rules: Rules) -> list[Answer]:
    """The answer to each question, from the first seeds of its settings that have ended, at all looks so far."""
    ended = ended_seeds(records, rules.first_seed)
    at_look = cache(partial(_at_look, records, rules.first_seed))
    answers = []
    for question in questions:
        least = min(ended.get(setting, 0) for setting in question.settings)
        looks = [
            look_at(question, look, question.results(*at_look(look)), rules.margin, len(questions))
            for look, n in enumerate(LADDER)
            if n <= least
        ]
        answer = next((one for one in looks if one.status != "undecided"), None)
        if answer is None:  # the last look tells what it lacks
            last = looks[-1] if looks else Answer(question, "undecided", -1, 1.0)
            smallest = min((one.p_adjusted for one in looks), default=1.0)
            answer = replace(last, p_adjusted=smallest, needs=needs_of(last, len(questions), rules.margin))
        answers.append(answer)
    return answers


def next_seeds(answers: Sequence[Answer], records: Records, rules: Rules, budget: int) -> Seeds:
    """How many of the first seeds of each setting the next look needs; empty if nothing can be decided within `budget`.

    `budget`: runs, all that have begun included. Of the questions that still matter, those come first that are the most
    likely to be decided at their next look for each run that it takes.
    """
    begun, left = begun_seeds(records, rules.first_seed), budget - begun_runs(records)
    chosen: Seeds = {}

    def cost(answer: Answer) -> int:
        settings = answer.question.settings
        return sum(max(0, answer.next_seeds - max(begun.get(one, 0), chosen.get(one, 0))) for one in settings)

    def worth(answer: Answer) -> float:
        chance = np.mean(answer.needs <= answer.next_seeds) if len(answer.needs) else 0.5
        return float(chance) / max(1, cost(answer))

    def is_hopeless(answer: Answer) -> bool:
        is_forecast = answer.look >= 0 and len(answer.needs) > 0
        return is_forecast and bool(np.mean(answer.runs_needed(begun) <= left) < FUTILE)

    asked = [one for one in still_open(answers, records, rules) if one.problem is None and not is_hopeless(one)]
    for answer in sorted(asked, key=worth, reverse=True):
        if cost(answer) <= left:
            left -= cost(answer)
            for setting in answer.question.settings:
                chosen[setting] = max(chosen.get(setting, 0), answer.next_seeds)
    return chosen


def still_open(answers: Sequence[Answer], records: Records, rules: Rules) -> list[Answer]:
    """The undecided ones that matter: of pairs, those with the leader that may still be the best and the other too."""
    undecided = [answer for answer in answers if answer.status == "undecided"]
    if any(answer.question.hypotheses or answer.look < 0 for answer in answers):
        return undecided
    lost, first = beaten(answers), leader(answers, records, rules)
    return [one for one in undecided if first in one.question.settings and not lost.intersection(one.question.settings)]


def beaten(answers: Sequence[Answer]) -> set[str]:
    """The settings (config_ids) that another one is better than, by answers to `questions_on_best`."""
    loser = {"holds": 1, "reversed": 0}
    return {one.question.settings[loser[one.status]] for one in answers if one.status in loser}


def leader(answers: Sequence[Answer], records: Records, rules: Rules) -> str:
    """The setting (config_id) with the highest mean test Dice so far, failed runs scored 0, that is not `beaten`."""
    settings = settings_of(records)
    left = {setting for one in answers for setting in one.question.settings} - beaten(answers)
    means = {one.config_id: counted_mean(records, one) for one in settings if one.folders and one.config_id in left}
    return max(means or dict.fromkeys(left, 0.0), key=lambda one: (means.get(one, 0.0), one))


def ended_seeds(records: Records, first_seed: int) -> Seeds:
    """How many seeds from the first on, without a gap, have finished or failed by their own fault, by config_id."""
    runs = records.runs
    return _consecutive(runs[runs["included"] | runs["failure_kind"].eq("own").fillna(False)], first_seed)


def begun_seeds(records: Records, first_seed: int) -> Seeds:
    """How many seeds from the first on, without a gap, have begun, by config_id."""
    return _consecutive(records.runs[records.runs["status"].ne("planned")], first_seed)


def begun_runs(records: Records) -> int:
    """All runs that have begun, of any setting and seed: what is spent of a budget."""
    return int(records.runs["status"].ne("planned").sum())


def _consecutive(runs: pd.DataFrame, first_seed: int) -> Seeds:
    """How many seeds of each setting are there from the first on, without a gap."""
    seeds_of = {str(setting): set(seeds) for setting, seeds in runs.groupby("config_id")["seed"]}
    return {
        setting: next(count for count in itertools.count() if first_seed + count not in seeds)
        for setting, seeds in seeds_of.items()
    }


def _at_look(records: Records, first_seed: int, look: int) -> tuple[Records, list[Setting]]:
    """What this look may see: the first seeds of all settings."""
    seeds = records.runs["seed"]
    is_seen = seeds.ge(first_seed) & seeds.lt(first_seed + LADDER[look])
    seen = replace(records, runs=records.runs[is_seen.fillna(False)])
    return seen, settings_of(seen)


def look_at(question: Question, look: int, results: Results, margin: float, questions: int) -> Answer:
    """The question, one of so many, at one look with these results."""
    results = tuple(tuple(_at_level(one, level_at(look)) for one in contexts) for contexts in results)
    # Whatever the truth, two of the three verdicts at most are wrong: holds and reversed of equal settings, equivalent
    # and one of these from the margin on. Each errs in half the level, so any may be given where all are shown, and the
    # shares of looks and questions add up to 5 %. Holm's method would hand on the share of a decided question, which
    # may have been spent on another verdict: with 20 questions on equal settings, 6.5 % were wrong instead of 1.7 %.
    p_values: dict[Status, float] = {
        "holds": p_holds(results),
        "reversed": p_reversed(results),
        "equivalent": _p_equivalent(results, margin),
    }
    adjusted = {one: min(1.0, questions * adjusted_for_looks(p, look)) for one, p in p_values.items()}
    status: Status = next((one for one, p in adjusted.items() if p < LEVEL), "undecided")
    p_adjusted = adjusted.get(status, min(adjusted.values()))
    comparisons = [one for contexts in results for one in contexts]
    # failed runs may leave too few finished seeds; more of them help, unless none finishes
    too_few = any(0 < len(one.folders) < LEAST_SEEDS for comparison in comparisons for one in comparison.settings)
    problem = None if too_few else next((one.problem for one in comparisons if one.problem), None)
    return Answer(question, status, look, p_adjusted, results, problem)


def _at_level(comparison: Comparison, level: float) -> Comparison:
    """The same with the interval of a look that may spend `level`."""
    confidence = 1 - level / comparison.factor
    return replace(comparison, confidence=confidence, notes=(*comparison.notes, f"{confidence:.2%} interval"))


def _p_equivalent(results: Results, margin: float) -> float:
    """That all effects lie within the margin around 0; 1 if any is not a difference of Dice, IoU or accuracy.

    Doubled for several hypotheses, of which one may be wrongly equivalent and another wrongly different.
    """
    comparisons = [one for contexts in results for one in contexts]
    if not all(_may_be_equivalent(one) and one.problem is None and one.estimate for one in comparisons):
        return 1.0
    p_value = max(one.estimate.p_within(-margin, margin) for one in comparisons if one.estimate)
    return min(1.0, p_value * _doubled(results))


def _may_be_equivalent(comparison: Comparison) -> bool:
    hypothesis = comparison.hypothesis
    is_difference = hypothesis.confirming == ABOVE and len(hypothesis.arms) > 1
    failed = any(setting.has_failures for setting in comparison.settings)
    return is_difference and hypothesis.metric.unit == "points" and not failed


def _doubled(results: Results) -> int:
    return 2 if len(results) > 1 else 1


def needs_of(answer: Answer, questions: int, margin: float) -> Scores:
    """The seeds of each setting with which an answer, one of so many, may be decided, (paths,)."""
    results = answer.results or tuple((Comparison(one, ()),) for one in answer.question.hypotheses or (BETTER,))
    looks = range(answer.look + 1, len(LADDER))
    if answer.look >= 0 and any(one.problem or one.estimate is None for contexts in results for one in contexts):
        return np.zeros(0)
    if not looks:
        return np.full(PATHS, np.inf)
    rng, levels = np.random.default_rng(0), np.array([level_at(look) / questions for look in looks])
    holds, equal = (np.ones((PATHS, len(looks)), dtype=np.bool_) for _ in range(2))
    decided = np.zeros_like(holds)
    for contexts in results:
        contradicted = np.ones_like(holds)
        for one in contexts:
            found, own = _futures(one, looks, rng), levels / one.factor
            holds &= found.within(*one.hypothesis.confirming, own)
            contradicted &= np.any([found.within(*r, own / len(results)) for r in one.hypothesis.contradicting], axis=0)
            equal &= _may_be_equivalent(one) & found.within(-margin, margin, own / _doubled(results))
        decided |= contradicted
    decided |= holds | equal
    return np.where(decided.any(axis=1), np.array([LADDER[look] for look in looks])[decided.argmax(axis=1)], np.inf)


def _futures(comparison: Comparison, looks: Sequence[int], rng: np.random.Generator) -> Futures:
    """What looks may find; before any run, of a difference of 2 spreads of seeds beyond what must be exceeded."""
    hypothesis = comparison.hypothesis
    if comparison.estimate is not None:
        components = comparison.variance_components(hypothesis.metric.is_per_image)
        return futures(components, comparison.estimate.value, looks, rng)
    spread = SPREAD if hypothesis.metric.unit == "points" else 1.0
    (low, high), arms = hypothesis.confirming, len(hypothesis.arms)
    value = (
        (low + high) / 2 if math.isfinite(low + high) else low + 2 * spread if math.isinf(high) else high - 2 * spread
    )
    return futures(VarianceComponents((spread**2,) * arms, (0,) * arms, 0.0, 1), value, looks, rng, known=True)
