"""Verdicts in words: each claim with its comparisons as a reader sees them, and what the runs had otherwise."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from src.analysis.claims import ClaimFile
from src.analysis.comparison import Comparison
from src.analysis.effects import MOST_CONTEXTS
from src.analysis.measures import effect_text, interval_text
from src.analysis.verdicts import LEVEL, Verdict, Word
from src.analysis.words import signed_text

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
