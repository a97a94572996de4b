"""The results for some sweeps: loaded, ranked, compared and judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.effects import MIN_EFFECT, Effect, factor_effects, seed_plan
from src.analysis.claims.printed import printed_beside_measured
from src.analysis.claims.ranking import best_and_second, settings_scores
from src.analysis.claims.settled import answers_lines, read_rules, settled_answers, settled_sentence, with_answers
from src.analysis.claims.settling import Rules
from src.analysis.claims.verdicts import Verdict, judge
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.loading import Records, load_records
from src.analysis.records.matching import Setting, differing_columns, settings_of
from src.analysis.report.provenance import commands_of
from src.base.record import HEADLINE


@dataclass(frozen=True)
class Report:
    """The results for some sweeps, before they are put into words.

    `scores`: of settings_scores; `effects`: of each factor on test Dice; `verdicts`: on each file of claims for which
    there are runs, `without_runs`: the sources of the others; `printed`: of printed_beside_measured; `plan`: of
    seed_plan, for `min_effect` (Dice). `counts_failures`, `pairs_seeds`: of make_report.
    `looks`: of keep_looks, where looks are kept; `settled`: what src.settle found, in sentences, `rules`: by which.
    """

    title: str
    records: Records
    settings: list[Setting]
    scores: pd.DataFrame
    effects: list[Effect]
    verdicts: list[tuple[ClaimFile, list[Verdict]]]
    printed: pd.DataFrame
    without_runs: list[str]
    plan: pd.DataFrame
    min_effect: float
    counts_failures: bool
    pairs_seeds: bool = False
    looks: tuple[float, ...] = ()
    settled: tuple[str, ...] = ()
    rules: Rules | None = None

    @cached_property
    def commands(self) -> list[str]:
        """Those that make the runs again, see `commands_of`."""
        return commands_of(self.records)

    @property
    def verdicts_with_runs(self) -> list[tuple[ClaimFile, list[Verdict]]]:
        """`verdicts` without the claims for which there are no runs."""
        return [(file, [verdict for verdict in own if verdict.has_runs]) for file, own in self.verdicts]


def verdicts_on(report: Report, file: ClaimFile) -> list[Verdict]:
    """The verdicts on other claims than those that `report` was made with, on any data."""
    records = report.records
    return with_answers(judge(records, report.settings, file), settled_answers(report.rules, records, file))


def make_report(
    sweeps: Sequence[Path],
    claims: Sequence[ClaimFile] = (),
    protocol: str = HEADLINE,
    min_effect: float = MIN_EFFECT,
    on_any_data: bool = True,
    counts_failures: bool = True,
    kept: KeptReads | None = None,
    group_of: Callable[[str], str | None] | None = None,
    pairs_seeds: bool = False,
) -> Report:
    """Loads the folders `sweeps` and computes all results. Raises ValueError for a folder that is not a sweep.

    `on_any_data`: whether `claims` are also judged with runs on another kind of data than they were reported with;
    `counts_failures`: whether runs that failed by their own fault count;
    `kept`: what was read of the same folders earlier; `group_of`: the group of a test image by its stem, if groups are
    the sample; `pairs_seeds`: whether equal seeds are paired.
    """
    records = load_records(sweeps, protocol, kept)
    if group_of:
        records = records.grouped(group_of)
    settings = settings_of(records, counts_failures, pairs_seeds)
    known = records.candidates
    factors = [name for name in differing_columns(known) if name not in ("fingerprint", "config_id")]
    effects = factor_effects(records, settings, factors)
    scores = settings_scores(records, settings, claims)
    main = [effect for effect in effects if effect.is_main]
    plans = [seed_plan(records, main, min_effect)]
    if len(factors) > 1:  # a single factor's effects are all pairs
        first, pairs = best_and_second(records, settings, scores)
        plans.append(seed_plan(records, first, min_effect, family=pairs))
    asked = [(file, settings if on_any_data else file.on_its_data(settings)) for file in claims]
    is_settled = len(sweeps) == 1 and protocol == HEADLINE and counts_failures and not (group_of or pairs_seeds)
    rules = read_rules(sweeps[0]) if is_settled else None
    answers = {file.source: settled_answers(rules, records, file) for file in claims}
    on_best = settled_answers(rules, records, None)
    judged = [(file, with_answers(judge(records, own, file), answers[file.source])) for file, own in asked]
    settled = [settled_sentence(rules, [*on_best, *(one for own in answers.values() for one in own)])]
    settled += answers_lines(on_best, records, rules)[:1] if rules else []
    return Report(
        title=", ".join(sweep.resolve().name for sweep in sweeps),
        records=records,
        settings=settings,
        scores=scores,
        effects=effects,
        verdicts=[(file, own) for file, own in judged if any(verdict.has_runs for verdict in own)],
        printed=printed_beside_measured(records, asked),
        without_runs=[file.source for file, own in judged if not any(verdict.has_runs for verdict in own)],
        plan=pd.concat([plan for plan in plans if len(plan)] or plans[:1], ignore_index=True),
        min_effect=min_effect,
        counts_failures=counts_failures,
        pairs_seeds=pairs_seeds,
        settled=tuple(filter(None, settled)),
        rules=rules,
    )
