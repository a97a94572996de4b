"""The sections of a report, written as a page, as Markdown, as CSV and LaTeX tables, and shown in a terminal."""

import base64
import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.analysis.claims.effects import MOST_LEVELS
from src.analysis.records.runs import shared_and_differing
from src.analysis.report.figures import Picture, pictures_of, save_pictures
from src.analysis.report.lab_report import (
    AUTHOR,
    execution_lines,
    network_lines,
    preprocessing_lines,
    training_columns,
)
from src.analysis.report.provenance import commands_of, contact_sheet, provenance_of
from src.analysis.report.report import Report
from src.analysis.report.sentences import answer_sentences, conditions_text, runs_text
from src.analysis.report.tables import (
    MOST_NAMES,
    POINTS,
    claim_rows,
    effect_columns,
    excluded_columns,
    extreme_images,
    plan_columns,
    printed_columns,
    settings_columns,
    verdict_table,
)
from src.analysis.statistics.estimates import POWER
from src.base.errors import printable
from src.base.files import refuse_links, write_text
from src.base.record import HEADLINE
from src.display.text import (
    Columns,
    latex_table,
    mapping_text,
    markdown_table,
    markdown_text,
    plain_table,
    shortened,
    write_csv,
)

TEMPLATES = Path(__file__).parent / "templates"
TERMINAL = ("setting", "seeds", "test Dice", "points behind the best [95 %]", "time per run")  # columns
LONGEST = 600  # characters of a line about an excluded run
MOST_CONTEXTS = 10  # of a claim, listed on the page
MOST_EFFECTS = 100  # with more, the page lists main effects only: a browser must open it
SHORT = ("name", "verdict", "says")  # of a claim
WORDS = {  # columns that are aligned to the left
    *("setting", "comparison", "image", "run", "sweep", "status", "reason", "verdict", "note", "name", "says"),
    *("as tested", "reported", "claim", "part", "metric", "images", "scope", "notes", "fact", "value"),
    *("other conditions", "model", "loss", "optimizer", "scheduler", "augmentation"),
}
CLAIMS = """\
Intervals are 95 %. A claim holds if its interval lies entirely in the claimed region, also after Holm's adjustment \
over the claims of its source."""
PER_SETTING = """\
± is half a 95 % interval for new seeds and new images. Median and std are those of a run's images, averaged over \
runs; min and max are of all images of all runs. Overlapping bars do not mean a tie: all settings are scored on the \
same images, so a difference is known more precisely than each score. The top score is inflated by selection \
(winner's curse): comparisons with the best are Bonferroni-adjusted over all pairs."""
PRINTED = """\
Each number that a report prints for one of these settings, and the mean over these runs with its 95 % interval. Under \
"other conditions" stands in what the runs differ from the report, with the report's own value in parentheses: such \
numbers are not of the same experiment."""
EFFECTS = """\
Differences in test Dice with all else equal; intervals and p-values cover new seeds and new images. Hedges' g is the \
difference in units of the standard deviation between seeds. Of a factor with more than {most_levels} levels, each is \
compared with the first."""
PLAN = """\
The number of seeds per setting with which the verdicts above would detect a true difference of {min_effect:g} points \
with {power:g} % power, given the variances seen so far: with 3 seeds a rough guess. More seeds do not help if there \
are too few test images; the last column gives the minimum."""
RESULTS = ("settings", "effects", "curves", "printed", "images")  # sections that a lab report takes over
QUESTIONS = (  # of the discussion
    "Which setting would you use, and why?",
    "What differs from what you expected, and what could explain it?",
    "On which images does it fail? Show some (the commands above write masks and overlays of all test images).",
    "What would you try next?",
)
DRAFT = "<!-- A draft by python -m src.aggregate, which replaces it until you change it ({}) -->"
METHODS = """\
Test Dice is the mean over test images of 2·|P∩G| / (|P| + |G|), at the network's input size, border class as \
foreground, threshold 0.5, weights of the best epoch (by trainer.select_by); protocol {protocol}. Differences pair \
the images and cross them with seeds; seeds are independent between settings. Their variance is s²/n of each setting, \
plus that of the images minus what seeds contribute to it, with Student's quantile; docs/statistics.md describes and \
checks this. An interval for "these test images" or "these validation images" does not include the variance between \
images. A verdict needs at least 3 seeds per setting."""


@dataclass(frozen=True)
class Table:
    """A table with its caption; `best_first`: whether the first row is emphasized."""

    caption: str
    columns: Columns
    best_first: bool = False

    @property
    def bold(self) -> list[int]:
        """The numbers of the emphasized rows."""
        return [0] if self.best_first else []

    @property
    def right(self) -> list[str]:
        """The columns that are aligned to the right."""
        return [name for name in self.columns if name not in WORDS]


@dataclass(frozen=True)
class Section:
    """`text` comes first, then the tables, `note`, the figures of this id, and `code`, lines for a shell."""

    id: str
    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    note: str = ""
    code: Sequence[str] = ()


def write_report(report: Report, folder: Path) -> Path:
    """Writes the page, report.md, lab_report.md, the tables (CSV and LaTeX) and figures/ into `folder`.

    Each file is whole or absent; other files in the folder stay. Returns the path of the page. Raises ValueError if
    figures/ is a link.
    """
    refuse_links(folder / "figures")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(report.records, report.settings, report.scores, report.effects)
    save_pictures(pictures, folder / "figures")
    sections = sections_of(report, pictures)
    write_text(folder / "report.md", printable(_markdown(report, sections, pictures)))
    settings = next(section.tables[0] for section in sections if section.id == "settings")
    write_text(folder / "table.tex", printable(latex_table(settings.columns, settings.right, settings.bold)))
    per_seed = [" ".join(map(str, means)) for means in report.scores["per_seed"]]
    write_csv(folder / "table.csv", report.scores.assign(per_seed=per_seed))
    write_csv(folder / "effects.csv", pd.DataFrame(effect_columns(report.effects)))
    write_csv(folder / "verdicts.csv", verdict_table(report.verdicts))
    write_csv(folder / "printed.csv", report.printed)
    svgs = {picture.name: (folder / "figures" / f"{picture.name}.svg").read_bytes() for picture in pictures}
    sources = {name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in svgs.items()}
    _write_draft(folder / "lab_report.md", printable(_lab_report(report, sections, pictures)))
    page = folder / "index.html"
    write_text(page, printable(_html(report, sections, pictures, sources)))
    return page


def terminal_text(report: Report) -> str:
    """The report for a terminal: the answer, a line per claim, the table of settings, the excluded runs."""
    rows = [row for _, verdicts in report.verdicts for row in claim_rows(verdicts)]
    width = max((len(row["name"]) for row in rows), default=0)
    claims = [f"{row['name']:{width}}   {row['verdict']:9}  {row['says']}" for row in rows]
    table = Table("", {name: texts for name, texts in settings_columns(report.scores).items() if name in TERMINAL})
    terminal = shutil.get_terminal_size(fallback=(160, 24)).columns
    settings = plain_table(table.columns, table.right, {"setting": 20}, terminal)
    parts = [answer_sentences(report), claims, settings, _excluded_lines(report.records.runs)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def sections_of(report: Report, pictures: Sequence[Picture]) -> list[Section]:
    """The sections with content."""
    records, has_scores = report.records, bool(report.scores["n"].any())
    protocol = "" if records.protocol == HEADLINE else f" (protocol {records.protocol})"
    scores = Table(f"Test scores of each setting, best first{protocol}", settings_columns(report.scores), has_scores)
    shown = [one for one in report.effects if one.is_main or len(report.effects) <= MOST_EFFECTS]
    in_file = "" if len(shown) == len(report.effects) else "; effects.csv has those in single contexts"
    effects = Table(f"Effects on test Dice, in points (hundredths){in_file}", effect_columns(shown))
    effects_text = EFFECTS.format(most_levels=MOST_LEVELS)
    plan_text = PLAN.format(min_effect=POINTS * report.min_effect, power=100 * POWER)
    plan = Table("Seeds needed", plan_columns(report.plan))
    excluded = Table("Failed, interrupted, unreadable or excluded runs", excluded_columns(records.runs))
    extremes = extreme_images(records, report.settings)
    images = [Table(f"The {name} test images over all runs", columns) for name, columns in extremes.items()]
    facts = provenance_of(records)
    provenance = Table("Provenance of the included runs", {"fact": list(facts), "value": list(facts.values())})
    candidates = [
        Section("claims", "Claims", _claims_text(report), _claim_tables(report)),
        Section("effects", "Effect of each factor", effects_text, [effects]),
        Section("settings", "Settings", "", [scores], PER_SETTING if has_scores else ""),
        Section("printed", "What the reports print, and these runs", PRINTED, _printed_tables(report)),
        Section("curves", "Curves"),
        Section("images", "Images", "", images),
        Section("seeds", "Seeds needed", plan_text, [plan]),
        Section("excluded", "Excluded runs", "", [excluded]),
        Section("methods", "Methods", METHODS.format(protocol=records.protocol)),
        Section("repeat", "Provenance, and commands to repeat the runs", "", [provenance], code=commands_of(records)),
    ]
    return [
        section
        for section in candidates
        if section.id in ("settings", "methods")
        or any(picture.section == section.id for picture in pictures)
        or any(any(table.columns.values()) for table in section.tables)
    ]


def _claims_text(report: Report) -> str:
    conditions = [conditions_text(file, verdicts) for file, verdicts in report.verdicts]
    without = [f"There are no runs for the claims of {source}." for source in report.without_runs]
    return " ".join(filter(None, [CLAIMS, *conditions, *without]))


def _claim_tables(report: Report) -> list[Table]:
    """For each source of claims its verdicts, and the comparisons with runs: the first contexts of each claim."""
    tables = []
    for file, verdicts in report.verdicts:
        compared = verdict_table([(file, verdicts)])
        compared = compared[compared["effect"] != ""].groupby(["claim", "part"], sort=False).head(MOST_CONTEXTS)
        tables.append(Table(f"Verdicts on {file.source}", _filled(pd.DataFrame(claim_rows(verdicts)))))
        if len(compared):
            caption = f"Comparisons for {file.source}, at most {MOST_CONTEXTS} contexts of each; verdicts.csv has all"
            shown = compared.drop(columns=["source", "verdict", "reason", "p", "hedges_g"])
            tables.append(Table(caption, _filled(shown)))
    return tables


def _short_claim_tables(report: Report) -> list[Table]:
    """For each source of claims its verdicts alone."""
    return [
        Table(f"Verdicts on {file.source}", {key: [row[key] for row in claim_rows(own)] for key in SHORT})
        for file, own in report.verdicts
    ]


def _printed_tables(report: Report) -> list[Table]:
    sources = report.printed.groupby("source", sort=False)
    return [
        Table(f"{source}: printed and measured", _filled(pd.DataFrame(printed_columns(own)))) for source, own in sources
    ]


def _filled(table: pd.DataFrame) -> Columns:
    """The columns of texts that are not all empty."""
    return {str(name): list(table[name]) for name in table if table[name].any()}


def _excluded_lines(runs: pd.DataFrame) -> list[str]:
    """A line for each of the first runs that are unreadable or excluded, with the reason."""
    columns = excluded_columns(runs[runs["status"].eq("unreadable") | runs["left_out"].notna()])
    rows = zip(columns["run"], columns["sweep"], columns["reason"], strict=True)
    lines = [shortened(f"excluded: {run} in {sweep}: {reason}", LONGEST) for run, sweep, reason in rows]
    more = len(lines) - MOST_NAMES
    return [*lines[:MOST_NAMES], *([f"and {more} more, listed in the report"] if more > 0 else [])]


def _introduction(report: Report) -> str:
    shared, _ = shared_and_differing(report.records.runs)
    return f"{runs_text(report.records.runs)}." + (f" All with {mapping_text(shared)}." if shared else "")


def _html(report: Report, sections: Sequence[Section], pictures: Sequence[Picture], sources: dict[str, str]) -> str:
    """The page; text from records is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheet, caption = contact_sheet(report.records, report.settings, report.scores)
    return environment.get_template("index.html.jinja").render(
        title=report.title,
        runs=_introduction(report),
        answer=answer_sentences(report),
        sections=sections,
        pictures=pictures,
        sources=sources,
        sheet=sheet,
        sheet_caption=caption,
        zip=zip,
    )


def _markdown(report: Report, sections: Sequence[Section], pictures: Sequence[Picture]) -> str:
    """The same as Markdown."""
    answer = "\n".join(map(markdown_text, answer_sentences(report)))
    parts = [f"# {markdown_text(report.title)}", markdown_text(_introduction(report)), answer]
    return "\n\n".join([*parts, *_markdown_parts(sections, pictures)]) + "\n"


def _lab_report(report: Report, sections: Sequence[Section], pictures: Sequence[Picture]) -> str:
    """The draft of a lab report; its figures and tables of results are those of the report."""
    own = [
        Section(
            "implementation",
            "Implementation details",
            "\n\n".join([*network_lines(report), f"{AUTHOR} What you wrote yourself, and how."]),
            [Table("How each setting was trained", training_columns(report))],
        ),
        Section(
            "preprocessing",
            "Data preprocessing",
            "\n\n".join([*preprocessing_lines(report), f"{AUTHOR} Why you chose this preprocessing."]),
        ),
        Section(
            "results", "Analysis of the results", "\n\n".join(answer_sentences(report)), _short_claim_tables(report)
        ),
        Section("execution", "Execution steps", "From a clone of the project:", code=execution_lines(report)),
        Section("discussion", "Discussion", "\n\n".join(f"{AUTHOR} {question}" for question in QUESTIONS)),
    ]
    results = sorted((one for one in sections if one.id in RESULTS), key=lambda one: RESULTS.index(one.id))
    head = [
        f"# Lab report: {markdown_text(report.title)}",
        f"{AUTHOR} Name, date. A draft from {_introduction(report)}",
    ]
    parts = [head[0], markdown_text(head[1]), *_markdown_parts([*own[:3], *results, *own[3:]], pictures)]
    return "\n\n".join(parts) + "\n"


def _write_draft(path: Path, text: str) -> None:
    """Writes `text` under a line with its checksum; a draft that its author has changed since it was written stays."""
    if path.exists():
        line, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("\n\n")
        if line != _draft_line(rest):
            return
    write_text(path, f"{_draft_line(text)}\n\n{text}")


def _draft_line(text: str) -> str:
    return DRAFT.format(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16])


def _markdown_parts(sections: Sequence[Section], pictures: Sequence[Picture]) -> list[str]:
    """The sections one after another; text from records is escaped: the name of an image may hold any character."""
    parts: list[str] = []
    for section in sections:
        parts += [f"## {section.title}", *map(markdown_text, section.text.split("\n\n"))]
        for table in section.tables:
            rows = markdown_table(table.columns, table.right, table.bold)
            parts += [f"{markdown_text(table.caption)}:", rows]
        parts.append(markdown_text(section.note))
        parts += [
            f"![{markdown_text(one.caption)}](figures/{one.name}.svg)" for one in pictures if one.section == section.id
        ]
        parts.append(_code_block(section.code))
    return [part for part in parts if part]


def _code_block(lines: Sequence[str]) -> str:
    """Its fence is longer than any in `lines`."""
    fence = max(["``", *re.findall("`+", "\n".join(lines))], key=len) + "`"
    return "\n".join([fence, *lines, fence]) if lines else ""
