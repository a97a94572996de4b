"""Tables of text, for a terminal of any width and for Markdown, and the words for numbers in them."""

from collections.abc import Collection, Mapping

import pandas as pd

GAP = "  "


def plain_table(cells: pd.DataFrame, right: Collection[str], floors: Mapping[str, int], width: int) -> list[str]:
    """The lines of a table of the texts `cells`, header first; the columns named in `right` are aligned to the right.

    Where it is wider than `width` characters, the widest of the columns in `floors` are shortened, none below its floor.
    """
    widths = _widths(cells)
    while sum(widths.values()) + len(GAP) * (len(widths) - 1) > width:
        widest = max((name for name in floors if widths[name] > floors[name]), key=widths.__getitem__, default=None)
        if widest is None:
            break
        widths[widest] -= 1
    return [GAP.join(_padded(row, widths, right)).rstrip() for row in _rows(cells)]


def markdown_table(cells: pd.DataFrame, right: Collection[str] = ()) -> str:
    """A Markdown table of the texts `cells` that reads well as plain text too; the last column is not padded."""
    safe = cells.apply(lambda column: column.str.replace("|", "\\|", regex=False))
    widths = _widths(safe)
    rule = ["-" * (widths[name] - 1) + (":" if name in right else "-") for name in safe]
    widths[safe.columns[-1]] = 0 if safe.columns[-1] not in right else widths[safe.columns[-1]]
    header, *rows = [_padded(row, widths, right, cut=False) for row in _rows(safe)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` characters, with … where something was cut off."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def one_line(text: str) -> str:
    """`text` without line breaks and other characters that would upset a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def human_seconds(seconds: float) -> str:
    """A duration in its two largest units: `21 s`, `4 min 02 s`, `1 h 05 min`, `2 d 03 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def _widths(cells: pd.DataFrame) -> dict[str, int]:
    return {name: max([len(name), *cells[name].str.len()]) for name in cells}


def _rows(cells: pd.DataFrame) -> list[dict[str, str]]:
    return [{name: name for name in cells}, *cells.to_dict("records")]


def _padded(row: Mapping[str, str], widths: Mapping[str, int], right: Collection[str], cut: bool = True) -> list[str]:
    fitting = {name: shortened(text, widths[name]) if cut else text for name, text in row.items()}
    return [text.rjust(widths[name]) if name in right else text.ljust(widths[name]) for name, text in fitting.items()]
