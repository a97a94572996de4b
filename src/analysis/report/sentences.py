"""The sentences of a report: the best setting, the effects of factors, the verdicts, and the conditions of the runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.comparison import decisive
from src.analysis.claims.effects import Effect
from src.analysis.claims.looks import looks_sentence
from src.analysis.claims.verdicts import Verdict
from src.analysis.claims.wording import listed
from src.analysis.report.report import Report
from src.analysis.report.tables import (
    MOST_NAMES,
    POINTS,
    behind_cell,
    effect_verdict,
    failures_cell,
    with_interval,
)
from src.analysis.statistics.estimates import LEAST_SEEDS
from src.display.text import count_text, score_text, status_counts_text

MOST_SETTINGS = 4  # named in a sentence on how they compare with the best; the table of settings has all
PLURALS = {
    "model": "networks",
    "loss": "losses",
    "optimizer": "optimizers",
    "scheduler": "schedulers",
    "augmentation": "augmentations",
}


def answer_sentences(report: Report) -> list[str]:
    """The answer in a few sentences: the effects of factors, the best setting, the verdicts on each source's claims."""
    if not report.scores["n"].any():
        return ["No run is finished and included yet, so there is nothing to compare."]
    sentences = []
    if len({effect.factor for effect in report.effects}) > 1:  # a single factor's effects are those of its settings
        sentences += effect_sentences(report.effects)
    sentences += best_setting_sentences(report.scores)
    if not report.counts_failures:
        sentences.append("Failed runs do not count in any verdict (failures=exclude).")
    if groups := set(report.records.groups.values()):
        sentences.append(f"Results hold for images of new groups: the sample is {len(groups)} groups (cluster).")
    if report.pairs_seeds:
        sentences.append("Equal seeds are paired (pair=seed), which is valid only if chosen before results were seen.")
    if len({setting.values.get("data.image_size") for setting in report.settings if setting.folders}) > 1:
        sentences.append("The settings differ in data.image_size, and each is scored at its own size.")
    return (
        sentences
        + [
            f"{file.source}: {verdict_counts_text(verdicts)} of {count_text(len(verdicts), 'claim')} with runs."
            for file, verdicts in report.verdicts_with_runs
        ]
        + [*report.settled, *filter(None, [looks_sentence(report.looks)])]
    )


def best_setting_sentences(scores: pd.DataFrame) -> list[str]:
    """For each data set its best setting, and how the others compare with it; `scores` of settings_scores."""
    data_sets = scores.groupby("data", sort=False, dropna=False)
    return [sentence for _, own in data_sets for sentence in _best_of(own.to_dict("records"))]


def _best_of(settings: Sequence[Mapping[Any, Any]]) -> list[str]:
    failed = [f"{row['setting']} in {failures_cell(row)}" for row in settings if row["failed"]]
    failures = [f"Runs failed by their own fault: {listed(failed, MOST_NAMES)}."] if failed else []
    rows = [row for row in settings if row["n"]]
    if not rows:
        return failures
    best = rows[0]
    tested = [row for row in rows[1:] if not pd.isna(row["p_behind"])]
    second = tested[0] if tested and tested[0] is rows[1] else None
    others = [row for row in tested if row is not second]
    worse = [f"{row['setting']} (by {POINTS * row['behind']:.2f} points)" for row in others if row["significant"]]
    ahead = [
        f"{row['setting']} ({score_text(row['mean'])})"
        for row in rows
        if row["n"] < LEAST_SEEDS <= best["n"] and row["mean"] > best["mean"]
    ]
    lists = {
        "Tied with it:": [
            row["setting"] for row in rows[1:] if score_text(row["counted_mean"]) == score_text(best["counted_mean"])
        ],
        f"With a higher mean, but fewer than {LEAST_SEEDS} seeds:": ahead,
        "It is better than": worse,
        "Not significantly different from it, adjusted for all pairs:": [
            row["setting"] for row in others if not row["significant"]
        ],
        f"No verdict{' on the best' if best['identical_seeds'] else ''}, since seeds have identical scores:": [
            row["setting"] for row in rows if row["identical_seeds"]
        ],
        f"No verdict on settings with fewer than {LEAST_SEEDS} seeds:": [
            row["setting"] for row in rows if row["n"] < LEAST_SEEDS
        ],
    }
    score = with_interval(best["mean"], best["low"], best["high"])
    seeds = {
        "Collapsed seeds, below half the median of their setting:": _seeds_of(rows, "collapsed"),
        "Outlying seeds, far from the median of their setting:": _seeds_of(rows, "outlying"),
    }
    best_text = f"Best mean test Dice: {best['setting']} with {score} ({count_text(best['n'], 'seed')})."
    if any(row["counted_mean"] != row["mean"] for row in rows):
        over = f"mean test Dice {score} over {count_text(best['n'], 'finished seed')}"
        best_text = f"Best, ranked with failed runs scored 0: {best['setting']} with {over}."
    return [
        best_text,
        *([_next_sentence(second)] if second else []),
        *_selection_sentences(best, rows),
        *(["No verdict on new images: a single test image is not a sample of them."] if best["images"] == 1 else []),
        *_lists(lists, MOST_SETTINGS),
        *failures,
        *_lists(seeds),
    ]


def _next_sentence(row: Mapping[Any, Any]) -> str:
    points, _, interval = behind_cell(row).partition(" ")
    by = " ".join(filter(None, [points, "points", interval]))
    return (
        f"It is {'' if row['significant'] else 'not '}significantly better than the next, {row['setting']} (by {by})."
    )


def _lists(names_of: Mapping[str, Sequence[str]], most: int = MOST_NAMES) -> list[str]:
    """A sentence for each beginning that has names, the first `most` of them."""
    return [f"{beginning} {listed(names, most)}." for beginning, names in names_of.items() if names]


def _selection_sentences(best: Mapping[Any, Any], rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """What being chosen as the best means for its own score, which is rather too high; none without a choice."""
    candidates = sum(row["n"] >= LEAST_SEEDS for row in rows)
    if candidates < 2 or pd.isna(best["best_low"]):
        return []
    low, high, first = score_text(best["best_low"]), score_text(best["high"]), 100 * best["first"]
    of = " of finished seeds" if best["counted_mean"] != best["mean"] else ""
    interval = f"As the best of {candidates} its 95 % interval{of} is {low} to {high}"
    return [f"{interval}; first in {first:.0f} % of resamples."]


def _seeds_of(rows: Sequence[Mapping[Any, Any]], kind: str) -> list[str]:
    """`unet seed 3, 4` for each setting with seeds of a kind; a collapsed one is not listed as outlying too."""
    seeds = [(row, [seed for seed in row[kind] if kind == "collapsed" or seed not in row["collapsed"]]) for row in rows]
    return [f"{row['setting']} seed {', '.join(map(str, own))}" for row, own in seeds if own]


def effect_sentences(effects: Sequence[Effect]) -> list[str]:
    """What each factor does: a sentence for each significant effect, of very many the first, and one for the rest."""
    tested = [one for one in effects if one.is_main and not one.comparison.problem]
    significant = [one for one in tested if one.status != "undecided" or one.depends]
    sentences = list(map(_effect_sentence, significant[:MOST_NAMES]))
    if (more := len(significant) - MOST_NAMES) > 0:
        sentences.append(f"{more} more effects of factors are significant.")
    for factor in dict.fromkeys(one.factor for one in tested):
        rest = [one for one in tested if one.factor == factor and one not in significant]
        if len(rest) == 1:
            sentences.append(_effect_sentence(rest[0]))
        elif rest:
            pairs = listed((f"{one.first} and {one.second}" for one in rest), MOST_NAMES)
            sentences.append(f"Not significantly different in {factor}: {pairs}.")
    return sentences


def _effect_sentence(effect: Effect) -> str:
    """`unet beats resnet34_unet by 16.80 points [6.20, 27.40] over both schedulers.`"""
    assert effect.comparison.display_values is not None, "it was tested"
    value, low, high = effect.comparison.display_values
    names, where = (effect.first, effect.second), _where(effect)
    if effect.status == "worse":
        names, value, low, high = names[::-1], -value, -high, -low
    points = f"{value:.2f} points [{low:.2f}, {high:.2f}]".replace("-", "−")
    if effect.depends and not (effect.status != "undecided" and effect.is_everywhere):
        return f"{names[0]} − {names[1]} is {points}{where}: {effect_verdict(effect)}."
    if effect.status == "undecided":
        why = " with failed runs scored 0" if any(one.has_failures for one in effect.comparison.settings) else ""
        return f"{names[0]} and {names[1]} do not differ significantly{where}{why} ({names[0]} − {names[1]}: {points})."
    return f"{names[0]} beats {names[1]} by {points}{'' if effect.is_everywhere else ' on average'}{where}."


def _where(effect: Effect) -> str:
    """` over both schedulers`, ` over all 6 combinations of model and optimizer.lr`, ` (unet)` for a single context."""
    if not effect.parts:
        return f" ({effect.context})" if effect.context else ""
    labels = [part.comparison.settings[0].labels for part in effect.parts]
    names = dict.fromkeys(name for own in labels for name in own if name != effect.factor)
    factors = [name for name in names if len({own.get(name) for own in labels}) > 1]
    total, counted = len(labels), len(decisive([part.comparison for part in effect.parts]))
    many = f"{counted} of {total}" if counted < total else "both" if total == 2 else f"all {total}"
    _, _, data = effect.context.partition(", ")
    kind = "values" if len(factors) == 1 else "combinations"
    what = PLURALS.get("".join(factors), f"{kind} of {', '.join(factors)}")
    return f" over {many} {what}" + (f" ({data})" if data else "")


def verdict_counts_text(verdicts: Sequence[Verdict]) -> str:
    """`2 hold, 1 reversed, 5 undecided`."""
    counts = Counter[str](verdict.status for verdict in verdicts)
    words = {"holds": "holds" if counts["holds"] == 1 else "hold"}
    statuses = [status for status in ("holds", "reversed", "equivalent", "undecided") if counts[status]]
    return ", ".join(f"{counts[status]} {words.get(status, status)}" for status in statuses)


def conditions_text(file: ClaimFile, verdicts: Sequence[Verdict]) -> str:
    """In what the runs differ from the conditions of the report; empty if in nothing."""
    settings = [setting for verdict in verdicts for one in verdict.comparisons for setting in one.settings]
    differing = []
    for key, wanted in file.reported_with.items():
        values = dict.fromkeys(setting.values.get(key) for setting in settings)
        if any(value != wanted for value in values):
            differing.append(f"{key} {', '.join(map(str, values))} (reported: {wanted})")
    return f"Conditions differ from {file.source}: {'; '.join(differing)}." if differing else ""


def without_runs_text(report: Report) -> str:
    """One sentence with all claims for which there are no runs; empty if there are none."""
    names = {file.source: [one.name for one in own if not one.has_runs] for file, own in report.verdicts}
    parts = [f"{', '.join(own)} of {source}" for source, own in names.items() if own]
    parts += [f"all of {source}" for source in report.without_runs]
    return f"Claims without runs: {'; '.join(parts)}." if parts else ""


def runs_text(runs: pd.DataFrame) -> str:
    """`10 runs: 9 finished, 1 failed, of which 3 are excluded`."""
    excluded = int((runs["status"].eq("finished") & ~runs["included"]).sum())
    suffix = f", of which {excluded} {'is' if excluded == 1 else 'are'} excluded" if excluded else ""
    return f"{count_text(len(runs), 'run')}: {status_counts_text(runs)}{suffix}"
