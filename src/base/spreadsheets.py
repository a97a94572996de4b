"""Texts in CSV files: what a spreadsheet would take for a formula gets a quote in front, taken off as it is read."""

import re
from typing import TypeVar

# after quotes, so that a text that has them by itself gets one more and keeps its own
_FORMULA = re.compile(r"'*(\s*[=+\-@].|[\t\r\n])", re.DOTALL)
# numbers of our own, such as `+0.62 points` and `-0.10 to +1.20`
_NUMBER = re.compile(r"'*[+-]?\d[\d.]*(e[+-]?\d+)?( to [+-]?\d[\d.]*)?( [a-z%]+)?", re.IGNORECASE)
Value = TypeVar("Value")


def quoted(value: Value) -> Value | str:
    """`value` as a cell: a text that begins like a formula with ' in front, anything else as it is."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def unquoted(cell: str) -> str:
    """The text that `quoted` made a `cell` of."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and not _NUMBER.fullmatch(text)
