"""Verdicts on claims: every hypothesis tested with the runs, all claims of one file adjusted together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from src.analysis.claims.claim_file import Claim, ClaimFile
from src.analysis.claims.comparison import MISSING, Comparison, compare, decisive
from src.analysis.claims.wording import listed, unmet_text
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import LEVEL, holm

MOST_REASONS = 3  # listed for one verdict: a claim may concern a thousand settings
Status = Literal["holds", "reversed", "equivalent", "undecided"]  # equivalent: of src.settle only
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
    raw = {name: min(p_holds(results[name]), p_reversed(results[name])) for name in tested}
    adjusted = dict(zip(tested, holm(list(raw.values())), strict=True))
    return [
        _verdict(name, file.claims[name], own, raw.get(name, 1.0), adjusted.get(name, 1.0))
        for name, own in results.items()
    ]


def p_holds(results: Results) -> float:
    """All must be confirmed, so the weakest decides (Berger, Technometrics 24, 1982)."""
    return max(one.p_confirming for contexts in results for one in decisive(contexts))


def p_reversed(results: Results) -> float:
    """One contradicted hypothesis is enough, so p is multiplied by their number (Bonferroni)."""
    return min(1.0, len(results) * min(map(_p_contradicting, results)))


def _p_contradicting(contexts: Sequence[Comparison]) -> float:
    return max(one.p_contradicting for one in decisive(contexts))


def _verdict(name: str, claim: Claim, results: Results, p: float, p_adjusted: float) -> Verdict:
    if p_adjusted >= LEVEL:
        return Verdict(name, claim, "undecided", _why_undecided(results, p, p_adjusted), p, p_adjusted, results)
    if p == p_holds(results):
        return Verdict(name, claim, "holds", "", p, p_adjusted, results)
    contradicted = [contexts for contexts in results if len(results) * _p_contradicting(contexts) < LEVEL]
    reasons = [unmet_text(one, "nowhere") for contexts in contradicted for one in decisive(contexts)]
    return Verdict(name, claim, "reversed", listed(reasons, MOST_REASONS), p, p_adjusted, results)


def _why_undecided(results: Results, p: float, p_adjusted: float) -> str:
    comparisons = [one for contexts in results for one in decisive(contexts)]
    problems = [one.problem for one in comparisons if one.problem]
    if problems:
        return listed(problems, MOST_REASONS).replace(f"; {MISSING}", "; ")
    if p < LEVEL:
        return f"significant alone (p = {p:.3f}), but not among all claims of the file (p = {p_adjusted:.3f})"
    return listed([unmet_text(one, "not entirely") for one in comparisons if one.p_confirming >= LEVEL], MOST_REASONS)
