"""The text of contrasts and their numbers: effects with units, intervals, regions, the names of what was compared."""

import math
from collections.abc import Iterable

from src.analysis.claims.comparison import Comparison
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import LEVEL
from src.analysis.statistics.metrics import Metric

DIGITS = {"points": 2, "%": 1, "epochs": 1}


def effect_text(metric: Metric, value: float) -> str:
    """An effect in display units: `+0.62 points`, `1.88 times`, `−0.0123`."""
    return f"{_number(metric, value)} {_unit(metric)}".rstrip()


def interval_text(metric: Metric, low: float, high: float) -> str:
    """The two ends of an interval in display units: `−0.10 to +0.62`; `unknown` if they are nan."""
    return f"{_number(metric, low)} to {_number(metric, high)}" if math.isfinite(low + high) else "unknown"


def region_text(comparison: Comparison) -> str:
    """Where the effect must be for the hypothesis to hold: `above 0`, `between −0.5 and 0.5`."""
    hypothesis = comparison.hypothesis
    times = " times" if hypothesis.metric.cost else ""
    ends = [f"{hypothesis.to_display(end):.4g}{times}".replace("-", "−") for end in hypothesis.confirming]
    if math.isinf(hypothesis.confirming[1]):
        return f"above {ends[0]}"
    return f"below {ends[1]}" if math.isinf(hypothesis.confirming[0]) else f"between {ends[0]} and {ends[1]}"


def unmet_text(comparison: Comparison, how: str) -> str:
    """Why the hypothesis is not confirmed: the interval is, for example, `nowhere` where it would have to be."""
    assert comparison.estimate is not None
    hypothesis, estimate, condition = comparison.hypothesis, comparison.estimate, ""
    with_failures = comparison.with_failures_against(hypothesis.confirming)
    if with_failures is not None and estimate.p_within(*hypothesis.confirming) < 1 - comparison.confidence:
        estimate, condition = with_failures, "with failed runs scored 0, "
    interval = interval_text(hypothesis.metric, *comparison.display_interval(estimate))
    interval = f"{interval} {_unit(hypothesis.metric)}".rstrip()
    arms = arms_text(comparison)
    return f"{f'{arms}: ' if arms else ''}{condition}the interval, {interval}, is {how} {region_text(comparison)}"


def arms_text(comparison: Comparison) -> str:
    """What was compared: `flip_jitter − none (unet, cosine)`, with what all arms share in brackets."""
    labels = [setting.labels for setting in comparison.settings]
    if not labels:
        return ""
    shared = {name: text for name, text in labels[0].items() if all(own.get(name) == text for own in labels)}
    differing = {name for own in labels for name in own} - set(shared)
    context = ", ".join(shared.values())
    if not differing:  # a single arm, or a setting and itself
        return context
    names = [_arm_text(setting, differing) for setting in comparison.settings]
    sign = " ÷ " if comparison.hypothesis.metric.cost else " − "
    pairs = [sign.join(pair) for pair in zip(names[::2], names[1::2], strict=True)]
    return (pairs[0] if len(pairs) == 1 else f"({f'){sign}('.join(pairs)})") + (f" ({context})" if context else "")


def listed(texts: Iterable[str], most: int) -> str:
    """Each of `texts` once: the first `most`, and the number of the others."""
    different = list(dict.fromkeys(texts))
    more = [f"and {len(different) - most} more"] if len(different) > most else []
    return "; ".join([*different[:most], *more])


def p_text(p_value: float) -> str:
    """Three decimals, or more if rounding would move it across 0.05."""
    if p_value < 0.001:
        return "< 0.001"
    return f"{p_value:.3f}" if (round(p_value, 3) < LEVEL) == (p_value < LEVEL) else f"{p_value:.5f}"


def _number(metric: Metric, value: float) -> str:
    if metric.cost:
        return f"{value:.3g}"
    return f"{value:+.{DIGITS.get(metric.unit, 4)}f}".replace("-", "−")


def _unit(metric: Metric) -> str:
    return "times" if metric.cost else metric.unit


def _arm_text(setting: Setting, names: set[str]) -> str:
    """The labels of a setting among `names`, or, if it has none, what it lacks."""
    labels = [text for name, text in setting.labels.items() if name in names]
    return ", ".join(labels or [text for name, text in setting.null_labels.items() if name in names])
