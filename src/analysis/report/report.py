"""A report on some sweeps: loaded, judged, and written as a page, Markdown, tables and figures."""

import base64
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.effects import MIN_EFFECT, Effect, factor_effects, seed_plan
from src.analysis.claims.ranking import settings_scores
from src.analysis.claims.verdicts import Verdict, judge
from src.analysis.records.loading import Records, load_records
from src.analysis.records.matching import Setting, differing_columns, settings_of
from src.analysis.records.setting_names import shared_and_differing
from src.analysis.report.figures import Picture, pictures_of, save_pictures
from src.analysis.report.provenance import example_pictures, provenance_of
from src.analysis.report.sections import Table, sections_of
from src.analysis.report.sentences import conditions_text, no_answer_text, runs_text, sizes_text, summary_sentences
from src.analysis.report.tables import (
    MOST_NAMES,
    POINTS,
    claim_rows,
    effect_columns,
    excluded_columns,
    extreme_images,
    plan_columns,
    settings_columns,
    verdict_table,
)
from src.analysis.statistics.power import POWER
from src.base.errors import printable
from src.base.files import refuse_links, write_text
from src.base.record import HEADLINE
from src.display.tables import Columns, latex_table, markdown_table, markdown_text, plain_table, shortened, write_csv
from src.display.text import mapping_text

TEMPLATES = Path(__file__).parent / "templates"
OPTIONAL = ("max", "min", "std", "median", "test IoU", "time per run")  # columns, the first to go come first
LONGEST = 600  # characters of a line about an excluded run
TEXT_COLUMNS = ("setting", "comparison", "image", "run", "sweep", "status", "reason", "verdict", "note")


@dataclass(frozen=True)
class Report:
    """The results for some sweeps, before they are put into words.

    `scores`: of settings_scores; `effects`: of each factor on test Dice; `verdicts`: on each file of claims for which
    there are runs, `without_runs`: the sources of the others; `plan`: of seed_plan, for `min_effect` (Dice).
    """

    title: str
    records: Records
    settings: list[Setting]
    scores: pd.DataFrame
    effects: list[Effect]
    verdicts: list[tuple[ClaimFile, list[Verdict]]]
    without_runs: list[str]
    plan: pd.DataFrame
    min_effect: float

    @cached_property
    def pictures(self) -> list[Picture]:
        """The figures, each drawn when it is saved."""
        return pictures_of(self.records, self.settings, self.scores, self.effects)

    @cached_property
    def summary(self) -> list[str]:
        """The answer in a few sentences; none without included runs."""
        return summary_sentences(self.scores, self.effects, self.settings, self.verdicts)

    @cached_property
    def settings_table(self) -> Columns:
        """The table of settings."""
        return settings_columns(self.scores)


def make_report(
    sweeps: Sequence[Path],
    claims: Sequence[ClaimFile] = (),
    protocol: str = HEADLINE,
    min_effect: float = MIN_EFFECT,
    on_any_data: bool = True,
) -> Report:
    """Loads the folders `sweeps` and computes all results. Raises ValueError for a folder that is not a sweep.

    `on_any_data`: whether `claims` are also judged with runs on another kind of data than they were reported with.
    """
    records = load_records(sweeps, protocol)
    settings = settings_of(records)
    known = records.runs[records.runs["config_id"].notna()]
    factors = [name for name in differing_columns(known) if name not in ("fingerprint", "config_id")]
    effects = factor_effects(records, settings, factors)
    judged = [(file, judge(records, settings if on_any_data else file.on_its_data(settings), file)) for file in claims]
    return Report(
        title=", ".join(sweep.absolute().name for sweep in sweeps),
        records=records,
        settings=settings,
        scores=settings_scores(records, settings, claims),
        effects=effects,
        verdicts=[(file, own) for file, own in judged if any(verdict.has_runs for verdict in own)],
        without_runs=[file.source for file, own in judged if not any(verdict.has_runs for verdict in own)],
        plan=seed_plan(records, [effect for effect in effects if effect.is_main], min_effect),
        min_effect=min_effect,
    )


def write_report(report: Report, folder: Path) -> Path:
    """Writes index.html, report.md, table.csv, table.tex, effects.csv, verdicts.csv and figures/ into `folder`.

    Each file is whole or absent; other files in the folder stay. Returns the path of the page. Raises ValueError if
    figures/ is a link.
    """
    refuse_links(folder / "figures")
    folder.mkdir(parents=True, exist_ok=True)
    save_pictures(report.pictures, folder / "figures")
    content = _content(report)
    columns = report.settings_table
    write_text(folder / "report.md", _render("report.md.jinja", {**content, "table": _markdown, "code": _code}))
    best = [0] if report.scores["n"].any() else []
    write_text(folder / "table.tex", printable(latex_table(columns, _right(columns), bold=best)))
    per_seed = [" ".join(map(str, means)) for means in report.scores["per_seed"]]
    write_csv(folder / "table.csv", report.scores.assign(per_seed=per_seed))
    write_csv(folder / "effects.csv", pd.DataFrame(effect_columns(report.effects)))
    write_csv(folder / "verdicts.csv", verdict_table(report.verdicts))
    figures = {picture.name: _data_uri(folder / "figures" / f"{picture.name}.svg") for picture in report.pictures}
    examples = example_pictures(report.records, report.settings, report.scores)
    page = folder / "index.html"
    write_text(
        page, _render("index.html.jinja", {**content, "figures": figures, "right": _right, "examples": examples})
    )
    return page


def terminal_text(report: Report) -> str:
    """The report for a terminal: the answer, a line per claim, the table of settings, the excluded runs."""
    rows = [row for _, verdicts in report.verdicts for row in claim_rows(verdicts)]
    width = max((len(row["name"]) for row in rows), default=0)
    claims = [f"{row['name']:{width}}   {row['verdict']:9}  {row['says']}" for row in rows]
    table = _fitting(report.settings_table, shutil.get_terminal_size(fallback=(160, 24)).columns)
    runs = report.records.runs
    parts = [report.summary or [no_answer_text(runs)], claims, table, _excluded_lines(runs)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _fitting(columns: Columns, width: int) -> list[str]:
    """The lines of a table of settings, without the columns for which a narrow terminal has no room."""
    kept = dict(columns)
    for name in OPTIONAL:
        lines = plain_table(kept, _right(kept), {"setting": 20}, width)
        if max(map(len, lines)) <= width:
            return lines
        del kept[name]
    return plain_table(kept, _right(kept), {"setting": 20}, width)


def _excluded_lines(runs: pd.DataFrame) -> list[str]:
    """A line for each of the first runs that are unreadable or excluded, with the reason."""
    columns = excluded_columns(runs[runs["status"].eq("unreadable") | runs["left_out"].notna()])
    sweeps: dict[tuple[str, str], list[str]] = {}  # of each run and reason
    for run, sweep, reason in zip(columns["run"], columns["sweep"], columns["reason"], strict=True):
        sweeps.setdefault((run, reason), []).append(sweep)
    lines = [
        shortened(f"excluded: {run} in {' and '.join(own)}: {reason}", LONGEST) for (run, reason), own in sweeps.items()
    ]
    more = len(lines) - MOST_NAMES
    return [*lines[:MOST_NAMES], *([f"and {more} more, listed in the report"] if more > 0 else [])]


def _content(report: Report) -> dict[str, Any]:
    """The variables of both templates."""
    records = report.records
    shared, _ = shared_and_differing(records.runs)
    tables = {
        "settings": report.settings_table,
        "effects": effect_columns(report.effects),
        "plan": plan_columns(report.plan),
        "excluded": excluded_columns(records.runs),
    }
    parts = {picture.part for picture in report.pictures}
    images = extreme_images(records, report.settings)
    min_effect, power = POINTS * report.min_effect, 100 * POWER
    return {
        "title": report.title,
        "runs": runs_text(records.runs),
        "shared": mapping_text(shared),
        "sizes": sizes_text(report.settings),
        "summary": report.summary or [no_answer_text(records.runs)],
        "claims": [
            {"source": file.source, "conditions": conditions_text(file, verdicts), "rows": claim_rows(verdicts)}
            for file, verdicts in report.verdicts
        ],
        "without_runs": ", ".join(report.without_runs),
        "sections": sections_of(tables, images, parts, records.protocol, min_effect, power, bool(report.summary)),
        "pictures": report.pictures,
        "provenance": provenance_of(records),
    }


def _render(template: str, content: dict[str, Any]) -> str:
    """Text from records is escaped, on the page and in Markdown: the name of a picture may hold any character."""
    html = template.endswith(".html.jinja")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        finalize=None if html else _markdown_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return printable(environment.get_template(template).render(content, zip=zip))


def _right(columns: Columns) -> list[str]:
    return [name for name in columns if name not in TEXT_COLUMNS]


def _markdown(table: Table) -> Markup:
    return Markup(markdown_table(table.columns, _right(table.columns), bold=[0] if table.best_first else []))


def _markdown_value(value: object) -> object:
    return markdown_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(lines: Sequence[str]) -> Markup:
    """A block of code whose fence is longer than any in it."""
    text = "\n".join(lines)
    fence = max(["``", *re.findall("`+", text)], key=len) + "`"
    return Markup(f"{fence}\n{text}\n{fence}")


def _data_uri(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
