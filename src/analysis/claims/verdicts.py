"""Whether claims hold: every question answered by the runs, all answers of one file judged together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from src.analysis.claims.claim_file import Claim, ClaimFile
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.comparison import MISSING, Comparison, compare
from src.analysis.statistics.estimates import LEVEL, holm

MOST_REASONS = 3  # said of a verdict that stays open: a claim may be put to a thousand settings
Word = Literal["holds", "reversed", "undecided"]
Answers = tuple[tuple[Comparison, ...], ...]  # for each question of a claim, one or more


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim.

    `why`: what is missing for a verdict, or what reverses it; empty where it holds. `p`: of what the runs point to,
    1 where they were not asked; `p_adjusted`: by Holm over the claims of the file. `answers`: for each question of the
    claim the comparisons it was judged by.
    """

    name: str
    claim: Claim
    word: Word
    why: str
    p: float
    p_adjusted: float
    answers: Answers

    @property
    def was_asked(self) -> bool:
        """Whether there are runs to put any of its questions to."""
        return any(comparison.settings for comparison in self.comparisons)

    @property
    def comparisons(self) -> list[Comparison]:
        """All of them, in the order of the questions."""
        return [comparison for answers in self.answers for comparison in answers]


def judge(records: Records, settings: Sequence[Setting], file: ClaimFile) -> list[Verdict]:
    """A verdict for each claim of `file`, in its order.

    A claim holds when every one of its questions is answered inside, in each context the runs offer; it is reversed
    when one of them is answered in the opposite region in each context. Contexts with too few seeds have no say where
    others have enough. P-values are adjusted over the claims that could be judged at all.
    """
    answers = {
        name: tuple(tuple(compare(records, settings, question)) for question in file.questions(name))
        for name in file.claims
    }
    judged = [name for name, own in answers.items() if any(one.problem is None for group in own for one in group)]
    raw = {name: min(_p_holds(answers[name]), _p_reversed(answers[name])) for name in judged}
    adjusted = dict(zip(judged, holm(list(raw.values())), strict=True))
    return [
        _verdict(name, file.claims[name], own, raw.get(name, 1.0), adjusted.get(name, 1.0))
        for name, own in answers.items()
    ]


def _having_a_say(group: Sequence[Comparison]) -> Sequence[Comparison]:
    return [one for one in group if one.problem is None] or group


def _p_inside(group: Sequence[Comparison]) -> float:
    return max(one.p_inside for one in _having_a_say(group))


def _p_opposite(group: Sequence[Comparison]) -> float:
    return max(one.p_opposite for one in _having_a_say(group))


def _p_holds(answers: Answers) -> float:
    """All must lie inside, so the weakest decides (Berger, Technometrics 24, 1982)."""
    return max(_p_inside(group) for group in answers)


def _p_reversed(answers: Answers) -> float:
    """One reversed question is enough, so each is asked more strictly the more there are (Bonferroni)."""
    return min(1.0, len(answers) * min(_p_opposite(group) for group in answers))


def _verdict(name: str, claim: Claim, answers: Answers, p: float, p_adjusted: float) -> Verdict:
    verdict = Verdict(name, claim, "undecided", "", p, p_adjusted, answers)
    if p_adjusted >= LEVEL:
        return replace(verdict, why=_why_undecided(verdict))
    if p == _p_holds(answers):
        return replace(verdict, word="holds")
    turned = [number for number, group in enumerate(answers, 1) if len(answers) * _p_opposite(group) < LEVEL]
    if len(answers) > 1:
        return replace(verdict, word="reversed", why=f"by {_in_parts(turned, answers)}")
    why = _listed([one.reversed_text() for one in _having_a_say(answers[0])])
    return replace(verdict, word="reversed", why=why)


def _why_undecided(verdict: Verdict) -> str:
    answers = verdict.answers
    problems = [one.problem for group in answers for one in _having_a_say(group) if one.problem]
    if problems:
        return _listed(problems).replace(f"; {MISSING}", "; ")
    if verdict.p < LEVEL:
        return f"clear by itself (p = {verdict.p:.3f}), not among all claims of the file (p = {verdict.p_adjusted:.3f})"
    unsettled = [number for number, group in enumerate(answers, 1) if _p_inside(group) >= LEVEL]
    if len(answers) > 1:
        return f"not settled: {_in_parts(unsettled, answers)}"
    asked = _having_a_say(answers[0])
    names = [f"{one.sides}: " if len(asked) > 1 else "" for one in asked]
    return _listed([name + one.open_text() for name, one in zip(names, asked, strict=True) if one.p_inside >= LEVEL])


def _listed(reasons: Sequence[str]) -> str:
    """Each of `reasons` once: the first few in words, and how many there are beside them."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - MOST_REASONS
    return "; ".join(different[:MOST_REASONS]) + (f"; and {more} more like these" if more > 0 else "")


def _in_parts(numbers: Sequence[int], answers: Answers) -> str:
    return f"part{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of {len(answers)}"
