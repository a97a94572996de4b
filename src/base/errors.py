"""What commands tell users: errors, and texts of others made safe for terminals and spreadsheets."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
Value = TypeVar("Value")
LONGEST = 200  # characters of a value that a message repeats
# what a spreadsheet takes for a formula; after quotes, so that a text that has them gets one more and keeps its own
_FORMULA = re.compile(r"'*(\s*[=+\-@].|[\t\r\n])", re.DOTALL)
# numbers of our own, such as `+0.62 points` and `-0.10 to +1.20`
_NUMBER = re.compile(r"'*[+-]?\d[\d.]*(e[+-]?\d+)?( to [+-]?\d[\d.]*)?( [a-z%]+)?", re.IGNORECASE)


class ConfigError(ValueError):
    """What a user asked for cannot be done; `problems` holds one line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Ended(Exception):
    """The work of a command ended before it was done; the message says how, and `code` is the command's exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def attempt(problems: list[str], work: Callable[[], Result]) -> Result | None:
    """What `work` returns; where it raises ValueError, None, and its lines are added to `problems`."""
    try:
        return work()
    except ConfigError as error:
        problems += error.problems
    except ValueError as error:
        problems.append(str(error))
    return None


def shown(value: object) -> str:
    """`value` as Python writes it, cut where it gets long."""
    return cut(repr(value))


def cut(text: str) -> str:
    """`text`, or its beginning and how long it is."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The hint at the end of a message about an unknown `word`: the closest of `allowed`, and all of them."""
    close = difflib.get_close_matches(word, allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed) or 'none'}"


def one_line(text: str) -> str:
    """`text` without line ends, and with other signs that a terminal would act on as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else repr(sign)[1:-1] for sign in text)


def reason_of(error: BaseException) -> str:
    """Why code of a user or of a library failed."""
    if isinstance(error, SystemExit):
        return f"it ended the program (sys.exit({'' if error.code is None else shown(error.code)}))"
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """The lines of `text`, each as `one_line` has it."""
    return "\n".join(map(one_line, text.split("\n")))


def quoted(value: Value) -> Value | str:
    """`value` as a cell of a CSV file: a text that begins like a formula with ' in front, anything else as it is."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def unquoted(cell: str) -> str:
    """The text that `quoted` made a `cell` of."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and not _NUMBER.fullmatch(text)
