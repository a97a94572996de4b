"""A report of some sweeps: loaded, judged, drawn, and written as a page, as Markdown and as tables to go on from."""

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
from src.analysis.claims.verdicts import Verdict, judge
from src.analysis.records.loading import Records, load_records
from src.analysis.records.matching import Setting, differing_columns, settings_of
from src.analysis.records.setting_names import tell_apart
from src.analysis.report.figures import Picture, pictures_of, save_pictures
from src.analysis.report.provenance import example_pictures, provenance_of
from src.analysis.report.views import (
    MOST_NAMES,
    answers,
    claim_rows,
    conditions_note,
    counted_words,
    effect_columns,
    extreme_images,
    plan_columns,
    settings_columns,
    settled_effects,
    trouble_columns,
)
from src.analysis.statistics.effects import Effect, factor_effects
from src.analysis.statistics.power import DETECT, POWER, seed_plan
from src.analysis.statistics.ranking import settings_scores
from src.base.errors import printable
from src.base.files import refuse_links, write_text
from src.base.record import HEADLINE
from src.display.tables import Columns, latex_table, markdown_table, markdown_text, plain_table, shortened, write_csv
from src.display.text import by_status, counted

TEMPLATES = Path(__file__).parent / "templates"
SECONDARY = ("max", "min", "std", "median", "test IoU", "time a run")  # columns, the least needed first
LONGEST = 600  # characters of a line about a run that does not count
LEFT = ("setting", "comparison", "image", "run", "sweep", "status", "reason", "verdict", "note")  # columns of words


@dataclass(frozen=True)
class Report:
    """Everything that is said of some sweeps, before any of it is put into words.

    `scores`: as of settings_scores; `effects`: of each factor on test Dice; `verdicts`: of each file of claims that
    these runs can be asked about, `not_asked` the sources of the others; `plan`: as of seed_plan, for `detect` (Dice).
    """

    title: str
    records: Records
    settings: list[Setting]
    scores: pd.DataFrame
    effects: list[Effect]
    verdicts: list[tuple[ClaimFile, list[Verdict]]]
    not_asked: list[str]
    plan: pd.DataFrame
    detect: float

    @cached_property
    def pictures(self) -> list[Picture]:
        """The figures, drawn when they are asked for."""
        return pictures_of(self.records, self.settings, self.scores, self.effects)


def make_report(
    sweeps: Sequence[Path],
    claims: Sequence[ClaimFile] = (),
    protocol: str = HEADLINE,
    detect: float = DETECT,
    on_any_data: bool = True,
) -> Report:
    """Loads the folders `sweeps` and answers all they can be asked. Raises ValueError for one that is no sweep.

    `on_any_data`: whether runs on another kind of data than `claims` were reported with are asked too.
    """
    records = load_records(sweeps, protocol)
    settings = settings_of(records)
    known = records.runs[records.runs["config_id"].notna()]
    factors = [name for name in differing_columns(known) if name not in ("fingerprint", "config_id")]
    effects = factor_effects(records, settings, factors)
    judged = [(file, judge(records, settings if on_any_data else file.on_its_data(settings), file)) for file in claims]
    asked = [(file, own) for file, own in judged if any(verdict.was_asked for verdict in own)]
    return Report(
        title=", ".join(sweep.absolute().name for sweep in sweeps),
        records=records,
        settings=settings,
        scores=settings_scores(records, settings, claims),
        effects=effects,
        verdicts=asked,
        not_asked=[file.source for file, own in judged if not any(verdict.was_asked for verdict in own)],
        plan=seed_plan(records, [effect for effect in effects if effect.is_main], detect),
        detect=detect,
    )


def write_report(report: Report, folder: Path) -> Path:
    """Writes index.html, report.md, table.csv, table.tex, effects.csv, verdicts.csv and figures/ into `folder`.

    Each file is whole or not there; other files in the folder stay. Returns the path of the page. Raises ValueError
    where figures/ leads elsewhere.
    """
    refuse_links(folder / "figures")
    folder.mkdir(parents=True, exist_ok=True)
    save_pictures(report.pictures, folder / "figures")
    content = _content(report)
    columns = settings_columns(report.scores)
    write_text(folder / "report.md", _render("report.md.jinja", {**content, "table": _markdown, "code": _code}))
    best = [0] if report.scores["n"].any() else []
    write_text(folder / "table.tex", printable(latex_table(columns, _right(columns), bold=best)))
    write_csv(folder / "table.csv", report.scores.assign(per_seed=report.scores["per_seed"].map(_numbers)))
    write_csv(folder / "effects.csv", pd.DataFrame(effect_columns(report.effects)))
    write_csv(folder / "verdicts.csv", pd.DataFrame(_verdict_rows(content)))
    page = folder / "index.html"
    figures = {picture.name: _data_uri(folder / "figures" / f"{picture.name}.svg") for picture in report.pictures}
    examples = example_pictures(report.records, report.settings, report.scores)
    on_the_page = {"figures": figures, "right": _right, "examples": examples}
    write_text(page, _render("index.html.jinja", {**content, **on_the_page}))
    return page


def told(report: Report) -> str:
    """What a terminal shows of a report: the answer, a line for each claim, the table of settings, what is left out."""
    rows = [row for _, own in report.verdicts for row in claim_rows(own)]
    width = max((len(row["name"]) for row in rows), default=0)
    claims = [f"{row['name']:{width}}   {row['word']:9}  {row['says']}" for row in rows]
    table = _fitting(settings_columns(report.scores), shutil.get_terminal_size(fallback=(160, 24)).columns)
    parts = [summary_lines(report) or [_nothing(report.records.runs)], claims, table, _left_out(report.records.runs)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _left_out(runs: pd.DataFrame) -> list[str]:
    """A line for each of the first runs that were to count and do not, with the reason."""
    columns = trouble_columns(runs[runs["status"].eq("unreadable") | runs["left_out"].notna()])
    sweeps: dict[tuple[str, str], list[str]] = {}  # of each run and reason
    for run, sweep, reason in zip(columns["run"], columns["sweep"], columns["reason"], strict=True):
        sweeps.setdefault((run, reason), []).append(sweep)
    lines = [
        shortened(f"does not count: {run} in {' and '.join(own)}: {reason}", LONGEST)
        for (run, reason), own in sweeps.items()
    ]
    more = len(lines) - MOST_NAMES
    return [*lines[:MOST_NAMES], *([f"and {more} more, which the report names"] if more > 0 else [])]


def _nothing(runs: pd.DataFrame) -> str:
    """Why there is no answer."""
    finished = runs["status"].eq("finished").any()
    return f"No run {'counts' if finished else 'has finished yet'}, so there is nothing to compare."


def _fitting(columns: Columns, width: int) -> list[str]:
    """The lines of a table of settings; what a narrow terminal has no room for is left to the page."""
    left = dict(columns)
    for name in (*SECONDARY, None):
        lines = plain_table(left, _right(left), {"setting": 20}, width)
        if name is None or max(map(len, lines)) <= width:
            break
        del left[name]
    return lines


def summary_lines(report: Report) -> list[str]:
    """The answer in a few sentences: which setting is best, how the claims of each source fared."""
    fates = [
        f"{file.source}: {counted_words(verdict.word for verdict in own)} of {len(own)} claims."
        for file, own in report.verdicts
    ]
    sizes = {setting.values.get("data.image_size") for setting in report.settings if setting.folders}
    warning = ["The settings differ in data.image_size, and each is scored at its own."] if len(sizes) > 1 else []
    # of the only factor the best setting and those behind it say it already
    effects = settled_effects(report.effects) if len({effect.factor for effect in report.effects}) > 1 else []
    return [*answers(report.scores), *effects, *warning, *fates]


def _content(report: Report) -> dict[str, Any]:
    """What both templates are filled with."""
    records = report.records
    shared, _ = tell_apart(records.runs)
    return {
        "title": report.title,
        "counts": _counts(records.runs),
        "shared": shared,
        "sizes": _sizes(report.settings),
        "protocol": records.protocol,
        "answers": summary_lines(report),
        "nothing": _nothing(records.runs),
        "claims": [
            {"source": file.source, "conditions_note": conditions_note(file, verdicts), "rows": claim_rows(verdicts)}
            for file, verdicts in report.verdicts
        ],
        "not_asked": report.not_asked,
        "settings": settings_columns(report.scores),
        "effects": effect_columns(report.effects),
        "plan": plan_columns(report.plan),
        "detect": f"{100 * report.detect:g}",
        "power": f"{100 * POWER:g}",
        "images": extreme_images(records, report.settings),
        "trouble": trouble_columns(records.runs),
        "pictures": report.pictures,
        "provenance": provenance_of(records),
    }


def _counts(runs: pd.DataFrame) -> str:
    left_out = int((runs["status"].eq("finished") & ~runs["counted"]).sum())
    return f"{counted(runs)}: {by_status(runs)}" + (f", of which {left_out} do not count" if left_out else "")


def _sizes(settings: Sequence[Setting]) -> dict[str, str]:
    """How large the runs are, which decides what an answer is worth: the different values of each."""
    names = {
        "data": "data",
        "train_images": "training images",
        "data.image_size": "pixels",
        "model.width": "network width",
        "trainer.epochs": "epochs",
        "trainer.batch_size": "batch size",
    }
    counted = [setting.values for setting in settings if setting.folders]
    values = {
        words: dict.fromkeys(own[key] for own in counted if own.get(key) is not None) for key, words in names.items()
    }
    return {words: ", ".join(map(str, own)) for words, own in values.items() if own}


def _render(template: str, content: dict[str, Any]) -> str:
    """Values from files are escaped, on the page and in Markdown: a picture's name may hold any character."""
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
    return [name for name in columns if name not in LEFT]


def _markdown(columns: Columns, best: object = False) -> Markup:
    """A table whose first row is in bold face where it is the `best`."""
    return Markup(markdown_table(columns, _right(columns), bold=[0] if best else []))


def _markdown_value(value: object) -> object:
    return markdown_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(lines: Sequence[str]) -> Markup:
    """A block of code whose fence is longer than any in it."""
    text = "\n".join(lines)
    fence = max(["``", *re.findall("`+", text)], key=len) + "`"
    return Markup(f"{fence}\n{text}\n{fence}")


def _verdict_rows(content: dict[str, Any]) -> list[dict[str, str]]:
    """One row a comparison, with the verdict of its claim beside it."""
    return [
        {
            "source": file["source"],
            "claim": row["name"],
            "verdict": row["word"],
            "why": row["why"],
            "p": row["p"],
            **part,
        }
        for file in content["claims"]
        for row in file["rows"]
        for part in row["parts"]
    ]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(map(str, values))


def _data_uri(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
