"""The sentences and cells of a report: every number as a reader sees it, on the page, in Markdown and in print."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.verdicts import Verdict, Word
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.comparison import LEAST_SEEDS, Comparison
from src.analysis.statistics.effects import MOST_CONTEXTS, Effect
from src.analysis.statistics.estimates import LEVEL, MOST_SEEDS
from src.analysis.statistics.metrics import effect_text, interval_text
from src.analysis.status.summary import TROUBLE
from src.display.tables import Columns
from src.display.text import (
    MISSING,
    human_seconds,
    one_line,
    reason_texts,
    score_texts,
    setting_texts,
    signed_text,
)

MOST_ARMS = 4  # of a comparison, whose seeds are listed one by one: an interaction has four
FATES: tuple[Word, ...] = ("holds", "reversed", "undecided")


def claim_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For each claim its name, words, verdict and reason, and its comparisons as `comparison_row` says them.

    `speaks_of`: what its intervals hold for, each kind once. `part`: of a claim with several questions, the number of
    the one that a comparison answers.
    """
    return [
        {
            "name": verdict.name,
            "says": verdict.claim.says,
            "as_tested": verdict.claim.as_tested,
            "reported": verdict.claim.reported,
            "word": verdict.word,
            "why": verdict.why,
            "p": p_text(verdict.p_adjusted) if any(one.problem is None for one in verdict.comparisons) else "",
            "speaks_of": "; ".join(
                dict.fromkeys(one.question.measure.speaks_of for one in verdict.comparisons if one.arms)
            ),
            "parts": [
                {"part": str(number) if len(verdict.answers) > 1 else "", **row}
                for number, answers in enumerate(verdict.answers, start=1)
                for row in _rows_of(answers)
            ],
        }
        for verdict in verdicts
    ]


def _rows_of(answers: Sequence[Comparison]) -> list[dict[str, str]]:
    """The contexts of a question, of very many the first with a word on the others."""
    rows = [comparison_row(one) for one in answers[:MOST_CONTEXTS]]
    more = len(answers) - MOST_CONTEXTS
    if more > 0:
        rows[-1]["notes"] = "; ".join(
            filter(None, [rows[-1]["notes"], f"and {more} more contexts that are not listed"])
        )
    return rows


def counted_words(words: Iterable[Word]) -> str:
    """How many verdicts say what: `2 hold, 1 reversed, 5 undecided`."""
    counts = Counter(words)
    return ", ".join(f"{n} {'hold' if word == 'holds' and n > 1 else word}" for word in FATES if (n := counts[word]))


def comparison_row(comparison: Comparison) -> dict[str, str]:
    """What was compared, the effect with its interval, what both speak of, and what was reported."""
    measure, question = comparison.question.measure, comparison.question
    row = {
        "measure": measure.says,
        "sides": comparison.sides,
        "effect": "",
        "interval": "",
        "seeds": _seeds_text(comparison.seeds),
        "images": f"{comparison.images:,} images" if comparison.images else "",
        "speaks_of": measure.speaks_of,
        "reported": "" if question.reported is None else effect_text(measure, question.shown(question.reported)),
        "size": "" if math.isnan(comparison.effect_size) else signed_text(comparison.effect_size, 1),
        "notes": "; ".join([*comparison.notes, *([comparison.problem] if comparison.problem else [])]),
    }
    if comparison.shown is not None:
        row["effect"] = effect_text(measure, comparison.shown[0])
        row["interval"] = interval_text(measure, *comparison.shown[1:])
    return row


def conditions_note(file: ClaimFile, verdicts: Sequence[Verdict]) -> str:
    """In what the runs are not of the size at which the claims were made; empty where they are."""
    settings = [setting for verdict in verdicts for one in verdict.comparisons for setting in one.settings]
    differing = []
    for key, wanted in file.reported_with.items():
        values = dict.fromkeys(setting.values.get(key) for setting in settings)
        if any(value != wanted for value in values):
            differing.append(f"{key} {', '.join(map(str, values))} ({file.source}: {wanted})")
    return "; ".join(differing)


def p_text(p_value: float) -> str:
    """Three decimals, or so many that what is below 0.05 looks so too."""
    if p_value < 0.001:
        return "< 0.001"
    return f"{p_value:.3f}" if (round(p_value, 3) < LEVEL) == (p_value < LEVEL) else f"{p_value:.5f}"


def _seeds_text(seeds: Sequence[int]) -> str:
    """How many runs each arm has: `5 + 4`; of a mean over many contexts the fewest and the most: `4 to 5 each`."""
    if len(seeds) <= MOST_ARMS:
        return " + ".join(map(str, seeds))
    return f"{' to '.join(map(str, sorted({min(seeds), max(seeds)})))} each"


TROUBLE_COLUMNS = ("run", "sweep", "status", "reason")
MOST_IMAGES = 10  # best and worst ones shown
MOST_NAMES = 10  # of settings in one sentence
Row = dict[Any, Any]  # of a table
POINTS = 100  # a Dice or IoU of 1 in points


def answers(scores: pd.DataFrame) -> list[str]:
    """What the settings' scores come to in a few sentences, for each data set."""
    return [sentence for _, own in scores[scores["n"] > 0].groupby("data", sort=False) for sentence in _answer(own)]


def settings_columns(scores: pd.DataFrame) -> Columns:
    """The table of settings: report A's Table 1 with intervals, and what each has less than the best."""
    rows: list[Row] = scores.to_dict("records")
    columns = {
        "setting": list(scores["setting"]),
        "seeds": [_seeds(row) for row in rows],
        "test Dice": _with_interval(scores, "mean", "high"),
        "test IoU": _with_interval(scores, "iou", "iou_high"),
        **{name: score_texts(scores[name]) for name in ("median", "std", "min", "max")},
        "points behind the best [95 %]": [_behind(row) for row in rows],
        "time a run": [MISSING if pd.isna(value) else human_seconds(60 * value) for value in scores["minutes"]],
    }
    if scores["reported"].notna().any():
        columns["reported Dice"] = [_reported(row) for row in rows]
    return columns


def effect_columns(effects: Sequence[Effect]) -> Columns:
    """A row for each effect of a factor: the difference, its interval, and whether it is settled."""
    rows = [comparison_row(effect.comparison) for effect in effects]
    columns = {
        "comparison": [f"{'' if effect.is_main else '  of these: '}{effect.name}" for effect in effects],
        "points": [row["effect"].partition(" ")[0] or MISSING for row in rows],
        "95 % interval": [row["interval"] or MISSING for row in rows],
        "seeds": [row["seeds"] for row in rows],
        "Hedges' g": [row["size"] or MISSING for row in rows],
        "p (Holm)": [p_text(effect.p_adjusted) if effect.is_main else "" for effect in effects],
        "verdict": [_effect_word(effect) for effect in effects],
        "note": [row["notes"] for row in rows],
    }
    return columns if any(columns["note"]) else {name: texts for name, texts in columns.items() if name != "note"}


def settled_effects(effects: Sequence[Effect]) -> list[str]:
    """A sentence for each effect of a factor that is settled, of very many the first."""
    settled = [effect for effect in effects if effect.is_main and effect.word != "undecided"]
    sentences = []
    for effect in settled[:MOST_NAMES]:
        row = comparison_row(effect.comparison)
        name = effect.name.replace(" − ", " less ", 1)
        sentences.append(f"{name} is {row['effect']} [{row['interval']}]: {_effect_word(effect)}.")
    more = len(settled) - MOST_NAMES
    return [*sentences, *([f"{more} more effects of factors are settled."] if more > 0 else [])]


def plan_columns(plan: pd.DataFrame) -> Columns:
    """How many seeds each comparison would take."""
    rows = plan.to_dict("records")
    return {
        "comparison": list(plan["comparison"]),
        "seeds now": [str(row["seeds"]) for row in rows],
        "for these images": [_seeds_and_hours(row["these_images"], row["these_hours"]) for row in rows],
        "for new images": [_seeds_and_hours(row["new_images"], row["new_hours"]) for row in rows],
        "test images at least": [MISSING if pd.isna(row["images"]) else f"{int(row['images']):,}" for row in rows],
    }


def extreme_images(records: Records, settings: Sequence[Setting]) -> dict[str, Columns]:
    """The hardest and the easiest test images, by their mean Dice over all settings, for the data with most runs."""
    own = [setting for setting in settings if setting.folders]
    if not own:
        return {}
    runs: dict[Any, list[str]] = {}
    for setting in own:
        runs.setdefault(setting.values["fingerprint"], []).extend(setting.folders)
    folders = max(runs.values(), key=len)
    dice = records.per_image(folders, "dice")
    table = pd.DataFrame(
        {
            "image": records.stems(folders[0]),
            "mean Dice": dice.mean(axis=0),
            "worst run": dice.min(axis=0),
            "best run": dice.max(axis=0),
        }
    ).sort_values("mean Dice", kind="stable")
    ends = {"worst": table.head(MOST_IMAGES), "best": table.iloc[::-1].head(MOST_IMAGES)}
    return {
        name: {"image": list(rows["image"]), **{column: score_texts(rows[column]) for column in rows.columns[1:]}}
        for name, rows in ends.items()
    }


def trouble_columns(runs: pd.DataFrame) -> Columns:
    """Runs that did not finish or do not count, and why; those that count from another sweep in one line each sweep."""
    rows = runs[runs["status"].isin(TROUBLE) | runs["left_out"].notna()]
    left_out = [one_line(reason) for reason in rows["left_out"].fillna("")]
    reasons = [left or why for left, why in zip(left_out, reason_texts(rows), strict=True)]
    names = setting_texts(rows["run_id"])
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, sweep, status, reason in zip(names, rows["sweep"], rows["status"], reasons, strict=True):
        groups.setdefault((sweep, status, reason), []).append(name)
    doubled = [bool(own[1:]) and key[2].endswith(" already") for key, own in groups.items()]
    lines = [
        (name, *key)
        for (key, own), again in zip(groups.items(), doubled, strict=True)
        for name in ([f"{len(own)} runs"] if again else own)
    ]
    return {column: [line[number] for line in lines] for number, column in enumerate(TROUBLE_COLUMNS)}


def _answer(own: pd.DataFrame) -> list[str]:
    """For the settings of one data set, as settings_scores ranks them."""
    rows: list[Row] = own.to_dict("records")
    best, others = rows[0], rows[1:]
    score = _with_interval(own.head(1), "mean", "high")[0]
    seeds = f"{best['n']} seed{'' if best['n'] == 1 else 's'}"
    judged = [row for row in others if not pd.isna(row["p_behind"])]
    few = [row["setting"] for row in rows if row["n"] < LEAST_SEEDS]
    worse = [f"{row['setting']} (by {POINTS * row['behind']:.2f} points)" for row in judged if row["told_apart"]]
    close = [row["setting"] for row in judged if not row["told_apart"]]
    alike = [row["setting"] for row in rows if row["alike"]]
    none = ", so none is told apart from the best" if best["alike"] else ""
    sentences = [f"Best mean test Dice: {best['setting']} with {score} ({seeds})."]
    sentences += [f"It is better than {_named(worse)}."] if worse else []
    sentences += [f"Not told apart from it: {_named(close)}."] if close else []
    sentences += [f"No verdict where seeds gave the very same scores{none}: {_named(alike)}."] if alike else []
    sentences += [f"No verdict on settings with fewer than {LEAST_SEEDS} seeds: {_named(few)}."] if few else []
    return sentences


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return "; ".join(names[:MOST_NAMES]) + (f"; and {more} more" if more > 0 else "")


def _with_interval(scores: pd.DataFrame, mean: str, high: str) -> list[str]:
    """A score and half the width of its interval, which is the same to both sides."""
    return [
        MISSING if pd.isna(value) else f"{value:.4f}" + ("" if pd.isna(end) else f" ± {end - value:.4f}")
        for value, end in zip(scores[mean], scores[high], strict=True)
    ]


def _seeds(row: Row) -> str:
    return f"{row['n']} of {row['n'] + row['unfinished']}" if row["unfinished"] else str(row["n"])


def _behind(row: Row) -> str:
    if pd.isna(row["behind"]):
        return MISSING if row["n"] == 0 else ""
    interval = (
        "" if pd.isna(row["behind_low"]) else f" [{POINTS * row['behind_low']:.2f}, {POINTS * row['behind_high']:.2f}]"
    )
    return f"{POINTS * row['behind']:.2f}{interval}".replace("-", "−")


def _reported(row: Row) -> str:
    if pd.isna(row["reported"]):
        return ""
    return f"{row['reported']:.4f}" + ("" if pd.isna(row["reported_to"]) else f" to {row['reported_to']:.4f}")


def _effect_word(effect: Effect) -> str:
    if not effect.is_main:
        return ""
    if effect.comparison.problem:
        return "no verdict"
    better = {"better": effect.first, "worse": effect.second}.get(effect.word)
    if better is None:
        return effect.word
    if not effect.opposed:
        return f"{better} is better"
    return f"{better} is better on average, but worse with {'; '.join(effect.opposed[:MOST_NAMES])}"


def _seeds_and_hours(seeds: float, hours: float) -> str:
    return f"more than {MOST_SEEDS:,}" if pd.isna(seeds) else f"{int(seeds):,} ({hours:.1f} h more)"
