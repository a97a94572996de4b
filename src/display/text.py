"""Numbers, durations, counts and values as people read them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from src.base.errors import one_line

STATUS_ORDER = ("finished", "running", "planned", "interrupted", "failed", "unreadable")
MISSING = "-"


def count_text(count: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def status_counts_text(runs: pd.DataFrame) -> str:
    """How many of `runs` have which status: `3 finished, 1 failed`."""
    counts = runs["status"].value_counts()
    return ", ".join(f"{counts[status]} {status}" for status in STATUS_ORDER if status in counts)


def mapping_text(values: Mapping[str, Any]) -> str:
    """Names and values as a list: `loss bce, optimizer adamw`."""
    return ", ".join(f"{name} {collapse_whitespace(value)}" for name, value in values.items())


def value_text(name: str, value: Any) -> str:
    """A choice without its name, a config value with it: `unet`, `lr 0.0001`, `no ema_decay`, `data 1a2b3c4d`."""
    if name == "fingerprint":
        return f"data {str(value)[:8]}"
    if value is None:
        return f"no {name.rpartition('.')[2]}"
    text = setting_text(value)
    return f"{name.rpartition('.')[2]} {text}" if "." in name or name == "init_from" else text


def setting_text(value: Any) -> str:
    """A choice or config value, numbers as short as possible."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.10g}" if is_number else collapse_whitespace(value)


def cell_texts(column: Iterable[Any], write: Callable[[Any], str], missing: str = MISSING) -> list[str]:
    """The cells of a column: `write` of each value, or `missing`."""
    return [missing if pd.isna(value) else write(value) for value in column]


def score_text(value: float) -> str:
    """A score, with four decimals."""
    return f"{value:.4f}"


def collapse_whitespace(text: Any) -> str:
    """`text` in one line with single spaces; characters that a terminal would act on are escaped."""
    return " ".join(one_line(str(text)).split())


def human_seconds(seconds: float) -> str:
    """A duration in its two largest units: `21s`, `4m 02s`, `1h 05m`, `2d 03h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
