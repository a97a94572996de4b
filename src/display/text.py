"""Numbers, durations, values and names as people read them; and tables for a terminal, Markdown, LaTeX and CSV."""

import gzip
import io
import re
import shutil
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.base.errors import one_line, quoted
from src.base.files import replacing

STATUS_ORDER = ("finished", "pruned", "running", "planned", "interrupted", "failed", "unreadable")
MISSING = "-"
GAP = "  "
LONGEST_NAME = 120  # bytes in the name of a file: two of them and a temporary ending are below 255
LAST_WIDTH = 20  # characters to which the last column of a Markdown table is padded at most
# what pdflatex's default font lacks, or shows as another letter
LATEX_LETTERS = {
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "…": r"\ldots{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}
# characters that Markdown would read as code, emphasis, links, pictures, tags, entities, headings, quotes or lists
_MARKDOWN = re.compile(
    r"[\\`*]|<(?=[A-Za-z/!?])|\](?=[(\[])|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|~(?=~)|:(?=//)|(?<=www)\."
    r"|^[#>]|^[+-](?= )"
)
_QUOTED_IN_CSV = re.compile(r'[,"\r\n]')
ROWS_AT_ONCE = 10_000  # of a CSV file: a table of images may take a gigabyte
Columns = Mapping[str, list[str]]  # the texts of each column under its name, all of the same length


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


def file_name_text(text: str) -> str:
    """`text` as a part of a file's name: a `_` for what is not a letter, digit, `.`, `-` or `_`; at most 120 bytes."""
    return re.sub(r"[^\w.-]+", "_", text).encode()[:LONGEST_NAME].decode(errors="ignore")


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


def plain_table(
    columns: Columns, right: Collection[str], floors: Mapping[str, int], width: int | None = None
) -> list[str]:
    """The lines of a table, names first; the columns in `right` are aligned to the right.

    If it is wider than `width` characters, by default those of the terminal, the widest columns of `floors` are
    shortened, none below its floor.
    """
    width = width or shutil.get_terminal_size((160, 24)).columns
    widths = _widths(columns)
    while sum(widths.values()) + len(GAP) * (len(widths) - 1) > width:
        widest = max((name for name in floors if widths[name] > floors[name]), key=widths.__getitem__, default=None)
        if widest is None:
            break
        widths[widest] -= 1
    shown = [_padded(row, widths, right) for row in _rows(columns)]
    return [GAP.join(row).rstrip() for row in shown]


def markdown_text(text: str) -> str:
    """`text` escaped, as part of a line of Markdown."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def markdown_table(columns: Columns, right: Collection[str] = (), best_first: bool = False) -> str:
    """A Markdown table that is aligned as plain text too, but for a last column of sentences.

    `best_first`: whether the first row is in bold face.
    """
    safe = {name: [markdown_text(text).replace("|", "\\|") for text in texts] for name, texts in columns.items()}
    for texts in safe.values() if best_first else ():
        texts[0] = texts[0] and f"**{texts[0]}**"
    *_, last = safe
    widths = _widths(safe)
    widths[last] = min(widths[last], LAST_WIDTH)
    header, *rows = [_padded(row, widths, right, cut=False) for row in _rows(safe)]
    rule = ["-" * (widths[name] - 1) + (":" if name in right else "-") for name in safe]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def latex_table(columns: Columns, right: Collection[str] = (), best_first: bool = False) -> str:
    """A LaTeX tabular for the package booktabs; `best_first`: whether the first row is in bold face.

    Names are escaped; letters that are not Latin need lualatex or xelatex.
    """
    styler = pd.DataFrame(columns).style.format(escape="latex").format_index(escape="latex", axis=1).hide(axis="index")
    if best_first:
        styler.set_properties(subset=pd.IndexSlice[[0], :], textbf="--rwrap")
    text = styler.to_latex(hrules=True, column_format="".join("r" if name in right else "l" for name in columns))
    text = re.sub(r"-(?=-)", "-{}", text)  # two hyphens would become one dash
    text = re.sub(r"(?m)^(?=[\[*])", "{}", text)  # after the end of a row, [ and * would be its options
    for letter, command in LATEX_LETTERS.items():
        text = text.replace(letter, command)
    return text


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes `table` to `path`; texts that a spreadsheet would read as formulas get a leading quote.

    The file is what pandas would write, in half the time. A name that ends in `.gz` is compressed, fast rather than
    small, and equal tables give equal bytes.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        packed = gzip.GzipFile("", "wb", 1, file, mtime=0) if path.suffix == ".gz" else file
        with packed, io.TextIOWrapper(packed, "utf-8", "backslashreplace", newline="") as lines:
            lines.write(",".join(map(_cell, table.columns)) + "\n")
            for start in range(0, len(table), ROWS_AT_ONCE):
                rows = table.iloc[start : start + ROWS_AT_ONCE]
                columns = [_cells(column) for _, column in rows.items()]
                lines.write("\n".join(map(",".join, zip(*columns, strict=True))) + "\n")


def _cells(column: pd.Series) -> list[str]:
    values = column.tolist()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return ["" if value != value else str(value) for value in values]
    return [str(value) if type(value) is float and value == value else _cell(value) for value in values]


@lru_cache(10_000, typed=True)  # names of settings and images stand in many rows; 0.0 and -0.0 would be the same
def _cell(value: Hashable) -> str:
    """`value` in a CSV file; a missing one is empty."""
    if value is None or value is pd.NA or value != value:
        return ""
    text = str(quoted(value))
    return '"' + text.replace('"', '""') + '"' if _QUOTED_IN_CSV.search(text) else text


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` characters, … in place of an end that was cut off."""
    return text if len(text) <= width else text[: width - 1] + "…"


def shortened_inside(text: str, width: int) -> str:
    """`text` in at most `width` characters, … in place of its middle, since names often differ at their ends."""
    head = (width - 1) // 2
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _widths(columns: Columns) -> dict[str, int]:
    return {name: max(len(text) for text in (name, *texts)) for name, texts in columns.items()}


def _rows(columns: Columns) -> list[dict[str, str]]:
    values = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in [tuple(columns), *values]]


def _padded(row: Mapping[str, str], widths: Mapping[str, int], right: Collection[str], cut: bool = True) -> list[str]:
    fitting = {name: shortened_inside(text, widths[name]) if cut else text for name, text in row.items()}
    return [text.rjust(widths[name]) if name in right else text.ljust(widths[name]) for name, text in fitting.items()]
