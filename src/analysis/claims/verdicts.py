"""Verdicts on claims: every hypothesis tested with the runs, all claims of one file adjusted together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from src.analysis.claims.claim_file import Claim, ClaimFile
from src.analysis.claims.comparison import MISSING, Comparison, compare
from src.analysis.claims.wording import arms_text, reversed_text, undecided_text
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import LEVEL, holm

MOST_REASONS = 3  # listed for one verdict: a claim may concern a thousand settings
Status = Literal["holds", "reversed", "undecided"]
Results = tuple[tuple[Comparison, ...], ...]  # for each hypothesis of a claim its comparisons, one per context


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim.

    `reason`: what is missing for a verdict, or what reverses it; empty if it holds. `p`: of the direction that the
    runs point to, 1 without runs; `p_adjusted`: by Holm over the claims of the file. `results`: for each hypothesis of
    the claim its comparisons.
    """

    name: str
    claim: Claim
    status: Status
    reason: str
    p: float
    p_adjusted: float
    results: Results

    @property
    def has_runs(self) -> bool:
        """Whether there are runs for any of its hypotheses."""
        return any(comparison.settings for comparison in self.comparisons)

    @property
    def comparisons(self) -> list[Comparison]:
        """All of them, in the order of the hypotheses."""
        return [comparison for contexts in self.results for comparison in contexts]


def judge(records: Records, settings: Sequence[Setting], file: ClaimFile) -> list[Verdict]:
    """A verdict for each claim of `file`, in its order.

    A claim holds if each of its hypotheses is confirmed in every context of the runs; it is reversed if one of them is
    contradicted in every context. Contexts with too few seeds are ignored if others have enough. P-values are adjusted
    over the claims that could be tested.
    """
    results = {
        name: tuple(tuple(compare(records, settings, hypothesis)) for hypothesis in file.hypotheses(name))
        for name in file.claims
    }
    tested = [name for name, own in results.items() if any(one.problem is None for group in own for one in group)]
    raw = {name: min(_p_holds(results[name]), _p_reversed(results[name])) for name in tested}
    adjusted = dict(zip(tested, holm(list(raw.values())), strict=True))
    return [
        _verdict(name, file.claims[name], own, raw.get(name, 1.0), adjusted.get(name, 1.0))
        for name, own in results.items()
    ]


def _with_enough_seeds(contexts: Sequence[Comparison]) -> Sequence[Comparison]:
    return [one for one in contexts if one.problem is None] or contexts


def _p_confirming(contexts: Sequence[Comparison]) -> float:
    return max(one.p_confirming for one in _with_enough_seeds(contexts))


def _p_contradicting(contexts: Sequence[Comparison]) -> float:
    return max(one.p_contradicting for one in _with_enough_seeds(contexts))


def _p_holds(results: Results) -> float:
    """All must be confirmed, so the weakest decides (Berger, Technometrics 24, 1982)."""
    return max(_p_confirming(contexts) for contexts in results)


def _p_reversed(results: Results) -> float:
    """One contradicted hypothesis is enough, so p is multiplied by their number (Bonferroni)."""
    return min(1.0, len(results) * min(_p_contradicting(contexts) for contexts in results))


def _verdict(name: str, claim: Claim, results: Results, p: float, p_adjusted: float) -> Verdict:
    verdict = Verdict(name, claim, "undecided", "", p, p_adjusted, results)
    if p_adjusted >= LEVEL:
        return replace(verdict, reason=_why_undecided(verdict))
    if p == _p_holds(results):
        return replace(verdict, status="holds")
    if len(results) == 1:
        reason = _listed([reversed_text(one) for one in _with_enough_seeds(results[0])])
    else:
        contradicted = [number for number, own in enumerate(results, 1) if len(results) * _p_contradicting(own) < LEVEL]
        reason = f"by {_parts_text(contradicted, results)}"
    return replace(verdict, status="reversed", reason=reason)


def _why_undecided(verdict: Verdict) -> str:
    results = verdict.results
    problems = [one.problem for group in results for one in _with_enough_seeds(group) if one.problem]
    if problems:
        return _listed(problems).replace(f"; {MISSING}", "; ")
    if verdict.p < LEVEL:
        alone, adjusted = f"{verdict.p:.3f}", f"{verdict.p_adjusted:.3f}"
        return f"significant alone (p = {alone}), but not among all claims of the file (p = {adjusted})"
    if len(results) > 1:
        unconfirmed = [number for number, group in enumerate(results, 1) if _p_confirming(group) >= LEVEL]
        return f"not confirmed: {_parts_text(unconfirmed, results)}"
    contexts = _with_enough_seeds(results[0])
    names = [f"{arms_text(one)}: " if len(contexts) > 1 else "" for one in contexts]
    return _listed(
        [name + undecided_text(one) for name, one in zip(names, contexts, strict=True) if one.p_confirming >= LEVEL]
    )


def _listed(reasons: Sequence[str]) -> str:
    """Each of `reasons` once: the first few, and the number of the others."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - MOST_REASONS
    return "; ".join(different[:MOST_REASONS]) + (f"; and {more} more like these" if more > 0 else "")


def _parts_text(numbers: Sequence[int], results: Results) -> str:
    return f"part{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of {len(results)}"
