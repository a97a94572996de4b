"""The text of contrasts and their numbers: effects with units, intervals, regions, the names of what was compared."""

import itertools
import math
from collections.abc import Sequence

from src.analysis.claims.comparison import Comparison
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import LEVEL
from src.analysis.statistics.metrics import Metric
from src.display.text import value_text

DIGITS = {"points": 2, "%": 1, "epochs": 1}


def effect_text(metric: Metric, value: float) -> str:
    """An effect in display units: `+0.62 points`, `1.88 times`, `−0.0123`."""
    return f"{_number(metric, value)} {'times' if metric.cost else metric.unit}".rstrip()


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


def undecided_text(comparison: Comparison) -> str:
    """Why the hypothesis is not confirmed: the interval and where it would have to be."""
    return f"the interval, {_interval_of(comparison)}, is not entirely {region_text(comparison)}"


def reversed_text(comparison: Comparison) -> str:
    """Why the hypothesis is contradicted: the interval and where it would have to be."""
    return f"the interval, {_interval_of(comparison)}, is nowhere {region_text(comparison)}"


def arms_text(comparison: Comparison) -> str:
    """What was compared: `flip_jitter − none (unet, cosine)`, with what all arms share in brackets."""
    labels = [setting.labels for setting in comparison.settings]
    if not labels:
        return ""
    shared = {name: text for name, text in labels[0].items() if all(own.get(name) == text for own in labels)}
    differing = {name for own in labels for name in own} - set(shared)
    keys = dict.fromkeys(itertools.chain(*comparison.hypothesis.arms))
    extra = [key for key in keys if _is_only_in_hypothesis(comparison.settings, key)]
    names = [_arm_text(setting, differing, extra) for setting in comparison.settings]
    context = ", ".join(shared.values())
    if len(names) == 1:
        return context
    sign = " ÷ " if comparison.hypothesis.metric.cost else " − "
    pairs = [sign.join(pair) for pair in zip(names[::2], names[1::2], strict=True)]
    return (pairs[0] if len(pairs) == 1 else f"({f'){sign}('.join(pairs)})") + (f" ({context})" if context else "")


def p_text(p_value: float) -> str:
    """Three decimals, or more if rounding would move it across 0.05."""
    if p_value < 0.001:
        return "< 0.001"
    return f"{p_value:.3f}" if (round(p_value, 3) < LEVEL) == (p_value < LEVEL) else f"{p_value:.5f}"


def _number(metric: Metric, value: float) -> str:
    if metric.cost:
        return f"{value:.3g}"
    return f"{value:+.{DIGITS.get(metric.unit, 4)}f}".replace("-", "−")


def _interval_of(comparison: Comparison) -> str:
    assert comparison.display_values is not None
    return interval_text(comparison.hypothesis.metric, *comparison.display_values[1:])


def _is_only_in_hypothesis(settings: Sequence[Setting], key: str) -> bool:
    """Whether the arms differ in a value that the settings' labels do not have."""
    values = [setting.values.get(key) for setting in settings]
    labeled = any(key in setting.labels or key in setting.null_labels for setting in settings)
    return "." in key and not labeled and any(value != values[0] for value in values)


def _arm_text(setting: Setting, names: set[str], extra: Sequence[str]) -> str:
    """The labels of a setting among `names`, or, if it has none, what it lacks; and its values of `extra`."""
    own = [text for name, text in setting.labels.items() if name in names]
    own = own or [text for name, text in setting.null_labels.items() if name in names]
    return ", ".join([*own, *(value_text(key, setting.values.get(key)) for key in extra)])
