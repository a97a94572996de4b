"""A report written as a page, as Markdown, as CSV and LaTeX tables and figures, and shown in a terminal."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.analysis.report.curve_data import curve_data
from src.analysis.report.figures import pictures_of, save_pictures, sources_of
from src.analysis.report.lab_report import lab_report, write_draft
from src.analysis.report.provenance import contact_sheets, sheet_name
from src.analysis.report.report import Report
from src.analysis.report.sections import Section, introduction, markdown_parts, sections_of, settings_table
from src.analysis.report.sentences import answer_sentences, without_runs_text
from src.analysis.report.tables import (
    MOST_NAMES,
    claim_rows,
    factor_columns,
    needs_reason,
    run_columns,
)
from src.analysis.report.tidy import write_tables
from src.analysis.report.unchanged import checksum
from src.base.errors import printable
from src.base.files import refuse_links, write_text
from src.display.text import latex_table, markdown_text, plain_table, shortened

TEMPLATES = Path(__file__).parent / "templates"
PAGE_ONLY = ("test IoU", "median", "std", "min", "max", "reported Dice")  # columns that a terminal has no room for
FACTOR_WIDTH = 20  # characters of a level of a factor that are never cut off in a terminal
LONGEST = 600  # characters of a line about an excluded run


def write_report(report: Report, folder: Path) -> Path:
    """Writes the page, report.md, lab_report.md, the tables (CSV and LaTeX) and figures/ into `folder`.

    Each file is whole or absent. Figures of an earlier report that are not in this one are deleted; other files in the
    folder stay. Returns the path of the page. Raises ValueError if figures/ is a link.
    """
    refuse_links(folder / "figures")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(report.records, report.settings, report.scores, report.effects)
    sheets = contact_sheets(report.records, report.settings, report.scores)
    named = {sheet_name(number): sheet for number, sheet in enumerate(sheets, start=1) if sheet.jpeg}
    sheet_files = (
        ([name], checksum(one.jpeg), partial(one.save, folder / "figures" / name)) for name, one in named.items()
    )
    save_pictures(pictures, folder / "figures", sheet_files)
    sections = sections_of(report, pictures, folder, sheets)
    beginning, answer = introduction(report), answer_sentences(report)
    parts = [f"# {markdown_text(report.title)}", markdown_text(beginning), "\n".join(map(markdown_text, answer))]
    write_text(folder / "report.md", printable("\n\n".join([*parts, *markdown_parts(sections)]) + "\n"))
    write_draft(folder / "lab_report.md", printable(lab_report(report, sections)))
    settings = settings_table(report)
    write_text(folder / "table.tex", printable(latex_table(settings.columns, settings.right, settings.best_first)))
    write_tables(report, folder)
    page = folder / "index.html"
    curves = curve_data(report.records, report.settings, report.scores)
    write_text(page, render_page(report.title, beginning, answer, sections, folder / "figures", curves))
    return page


def terminal_text(report: Report) -> str:
    """The report for a terminal: the answer, the table of settings, a line per claim, the excluded runs."""
    rows = [row for _, verdicts in report.verdicts_with_runs for row in claim_rows(verdicts)]
    width = max((len(row["name"]) for row in rows), default=0)
    claims = [f"{row['name']:{width}}   {row['verdict']:9}  {row['says']}" for row in rows]
    table = settings_table(report)
    columns = {name: texts for name, texts in table.columns.items() if name not in PAGE_ONLY}
    floors = dict.fromkeys(factor_columns(report.scores["setting"], report.settings), FACTOR_WIDTH)
    settings = plain_table(columns, table.right, floors)
    if claims:
        claims.append(without_runs_text(report))
    parts = [answer_sentences(report), settings, claims, _excluded_lines(report.records.runs)]
    return "\n\n".join(filter(None, ("\n".join(filter(None, part)) for part in parts))) + "\n"


def _excluded_lines(runs: pd.DataFrame) -> list[str]:
    """A line for each of the first runs that are unreadable or excluded, with the reason."""
    columns = run_columns(runs[needs_reason(runs) & (runs["status"].eq("unreadable") | runs["left_out"].notna())])
    rows = zip(columns["run"], columns["sweep"], columns["reason"], strict=True)
    lines = [shortened(f"excluded: {run} in {sweep}: {reason}", LONGEST) for run, sweep, reason in rows]
    more = len(lines) - MOST_NAMES
    return [*lines[:MOST_NAMES], *([f"and {more} more, listed in the report"] if more > 0 else [])]


def render_page(
    title: str,
    introduction: str,
    answer: Sequence[str],
    sections: Sequence[Section],
    figures: Path = Path(),
    curves: Mapping[str, Any] | None = None,
) -> str:
    """A page, in which text from records is escaped.

    `answer`: sentences; `figures`: the folder of the saved pictures; `curves` of curve_data: stand in the section
    "curves", in place of its pictures on a screen.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # which no browser reads
    text = environment.get_template("index.html.jinja").render(
        title=title,
        introduction=introduction,
        answer=answer,
        sections=sections,
        sources=sources_of([picture for section in sections for picture in section.pictures], figures),
        curves=curves or {},
        zip=zip,
    )
    return printable(text)
