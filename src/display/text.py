"""The words and numbers that tables of runs are made of; a column of a table becomes a list of texts."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from src.base import errors

STATUS_ORDER = ("finished", "running", "planned", "interrupted", "failed", "unreadable")
MISSING = "-"


def counted(runs: pd.DataFrame) -> str:
    """How many `runs` there are."""
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}"


def by_status(runs: pd.DataFrame) -> str:
    """How many of `runs` stand how: `3 finished, 1 failed`."""
    counts = runs["status"].value_counts()
    return ", ".join(f"{counts[status]} {status}" for status in STATUS_ORDER if status in counts)


def named(settings: Mapping[str, Any]) -> str:
    """Names and values as a list: `loss bce, optimizer adamw`."""
    return ", ".join(f"{name} {one_line(value)}" for name, value in settings.items())


def value_text(name: str, value: Any) -> str:
    """A choice by its name alone, a value with its own name: `unet`, `lr 0.0001`, `no ema_decay`, `data 1a2b3c4d`."""
    if name == "fingerprint":
        return f"data {str(value)[:8]}"
    if value is None:
        return f"no {name.rpartition('.')[2]}"
    text = f"{value:.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else one_line(value)
    return f"{name.rpartition('.')[2]} {text}" if "." in name or name == "init_from" else text


def signed_text(value: float, digits: int) -> str:
    """A difference with its sign, a real minus, and none before zero: `+0.6`, `−0.6`, `0.0`."""
    text = f"{value:+.{digits}f}"
    return (text[1:] if not text.strip("+-0.") else text).replace("-", "−")


def setting_texts(column: pd.Series) -> list[str]:
    """Choices or values of settings, numbers as short as they go."""
    return _texts(column, "{:.10g}".format if pd.api.types.is_numeric_dtype(column) else one_line)


def epoch_texts(runs: pd.DataFrame) -> list[str]:
    """Epochs ended, of how many: `12/50`."""
    ended, in_all = _texts(runs["epoch"], str, "?"), _texts(runs["epochs"], str, "?")
    return [f"{done}/{of}" for done, of in zip(ended, in_all, strict=True)]


def score_texts(column: pd.Series) -> list[str]:
    """Scores, with four decimals."""
    return _texts(column, "{:.4f}".format)


def time_texts(column: pd.Series) -> list[str]:
    """Seconds, as human_seconds says them."""
    return _texts(column, human_seconds)


def reason_texts(runs: pd.DataFrame) -> list[str]:
    """Why runs did not finish, each in one line, empty where there is nothing to say."""
    return _texts(runs["error"], one_line, missing="")


def one_line(text: str) -> str:
    """`text` without line breaks, and with what a terminal would obey as escapes."""
    return " ".join(errors.one_line(str(text)).split())


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


def _texts(column: pd.Series, write: Callable[[Any], str], missing: str = MISSING) -> list[str]:
    return [missing if pd.isna(value) else write(value) for value in column]
