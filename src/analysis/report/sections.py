"""The sections of a report with their texts and tables, and the same as Markdown."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from src.analysis.claims.effects import MOST_LEVELS
from src.analysis.records.runs import shared_and_differing
from src.analysis.report.figures import Picture
from src.analysis.report.provenance import Sheet, provenance_of, sheet_name
from src.analysis.report.report import Report
from src.analysis.report.searched import (
    chosen_columns,
    confirmed_effects,
    importance_columns,
    search_text,
    searches_of,
)
from src.analysis.report.sentences import conditions_text, runs_text, without_runs_text
from src.analysis.report.tables import (
    MOST_CONTEXTS,
    POINTS,
    claim_rows,
    comparison_rows,
    effect_columns,
    extreme_images,
    group_columns,
    needs_reason,
    plan_columns,
    printed_columns,
    ranking_columns,
    run_columns,
    settings_columns,
)
from src.analysis.statistics.estimates import POWER
from src.base.record import HEADLINE, RunRecord
from src.display.text import Columns, mapping_text, markdown_table, markdown_text

MOST_EFFECTS = 100  # with more, the page lists main effects only: a browser must open it
MOST_RUNS = 200  # listed: a browser must open the page
NUMBER = re.compile(r"-?$|[<+−-]? ?\d")  # a cell without a value, or the beginning of one with a number
CLAIMS = """\
Intervals are 95 %; that of a level (one mean Dice, IoU or accuracy) is 98.3 %, since its p-value is multiplied by 3. \
A claim holds if its interval lies entirely in the claimed region, also after Holm's adjustment over the claims of its \
source."""
PER_SETTING = """\
± is half a 95 % interval for new seeds and new images. Median and std are those of a run's images, averaged over \
runs; min and max are of all images of all runs. Overlapping bars do not mean a tie: all settings are scored on the \
same images, so a difference is known more precisely than each score. The top score is inflated by selection \
(winner's curse): the answer has its corrected interval, and comparisons with the best are Bonferroni-adjusted \
over all pairs, so an interval that excludes 0 is not enough. "Failed" counts the seeds that failed by their own fault \
(a loss that is not finite, an exception), with the exact 95 % interval of their share: a verdict in favor of their \
setting must also hold with each scored 0."""
RANKING = """\
Settings that share a letter do not differ significantly (all pairs, Bonferroni-adjusted); "first" is the share of \
resamples (seeds and images) in which a setting is the best."""
PRINTED = """\
Each number that a report prints for one of these settings, and the mean over these runs with its 95 % interval. Under \
"other conditions" stands in what the runs differ from the report, with the report's own value in parentheses: such \
numbers are not of the same experiment."""
EFFECTS = """\
Differences in test Dice with all else equal; intervals and p-values cover new seeds and new images. "First wins": how \
often a run of the first level would beat one of the second on these images (probability of improvement), with its \
95 % interval, for normal seeds of equal spread; r is the correlation of equal seeds' scores. Indented are the \
contexts of a mean, with simultaneous intervals: all of them are right in 95 % of cases. Where the effect differs \
between contexts (each against the mean, Bonferroni- and Holm-adjusted), the verdict names them; "on average" means \
that it need not hold in each. Of a factor with more than {most_levels} levels, each is compared with the best and \
with the baseline, adjusted for all pairs."""
PLAN = """\
The number of seeds per setting with which the verdicts above would detect a true difference of {min_effect:g} points \
with {power:g} % power, for each difference that is still undecided. It follows from the spread of the seeds seen so \
far, which is a guess: in parentheses is its range, by the spreads that are in 80 % of cases behind the one seen. More \
seeds do not help if there are too few test images; the last column gives the minimum."""
METHODS = """\
Test Dice is the mean over test images of 2·|P∩G| / (|P| + |G|), at the network's input size, border class as \
foreground, threshold 0.5, weights of the best epoch (by trainer.select_by); protocol {protocol}. Differences pair \
the images and cross them with seeds; {seeds}, plus that of the images minus what seeds contribute to it, with \
Student's quantile; docs/statistics.md describes and checks this. An interval for "these test images" or "these \
validation images" does not include the variance between images. {new_images} A verdict needs at least 3 seeds per \
setting. Errors of 5 % are shared among the claims of one source (Holm), the effects of all factors (Holm), and all \
pairs of settings, for the best and for the letters (Bonferroni); the contexts of each mean (Bonferroni) and the tests \
whether effects depend on the context (Holm) have their own."""
SAME_GROUPS = 'Where images belong together (breeds, patients), "new images" are of the same groups (see cluster).'
NEW_GROUPS = 'The groups of test images are the sample (see cluster): "new images" are of new groups.'
INDEPENDENT = "seeds are independent between settings. Their variance is s²/n of each setting"
PAIRED = """\
equal seeds are paired between settings (pair=seed: valid only if it was chosen before results were seen). Their \
variance is s²/n of the pairs' differences"""


@dataclass
class Table:
    """A table with its caption; columns without any text are left out.

    `best_first`: whether the first row is emphasized; `sortable`: whether a reader can sort and filter the rows;
    `links`: for each row the addresses of files relative to the page, by the text of the link; only shown on a page.
    """

    caption: str
    columns: Columns
    best_first: bool = False
    sortable: bool = False
    links: Sequence[Mapping[str, str]] = ()

    def __post_init__(self) -> None:
        self.columns = {name: cells for name, cells in self.columns.items() if any(cells)}

    @property
    def right(self) -> list[str]:
        """The columns that are aligned to the right: numbers, and cells without one."""
        return [name for name, cells in self.columns.items() if all(map(NUMBER.match, cells))]


@dataclass
class Section:
    """`text` comes first, then tables with rows, `note`, figures, pictures of test images, and `code` for a shell."""

    id: str
    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    note: str = ""
    code: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    sheets: Sequence[Sheet] = ()

    def __post_init__(self) -> None:
        self.tables = [table for table in self.tables if table.columns]


def sections_of(
    report: Report, pictures: Sequence[Picture], folder: Path, sheets: Sequence[Sheet] = ()
) -> list[Section]:
    """The sections with content, for a page in `folder`."""
    records, scores = report.records, settings_table(report)
    ranked = ranking_columns(report.scores)
    ranking = [Table("Letters and ranks", ranked)] if len(ranked["setting"]) > 1 else []
    shown = [one for one in report.effects if one.is_main or len(report.effects) <= MOST_EFFECTS]
    in_file = "" if len(shown) == len(report.effects) else "; comparisons.csv has those in single contexts"
    effects = Table(f"Effects on test Dice, in points (hundredths){in_file}", effect_columns(shown))
    effects_text = EFFECTS.format(most_levels=MOST_LEVELS)
    plan_text = PLAN.format(min_effect=POINTS * report.min_effect, power=100 * POWER)
    plan = Table("Seeds needed", plan_columns(report.plan, "groups" if records.groups else "test images"))
    extremes = extreme_images(records, report.settings)
    images = [Table(f"The {name} test images over all runs", columns) for name, columns in extremes.items()]
    if groups := group_columns(records, report.settings, report.scores):
        images.append(Table("Mean Dice by group for the best setting and the next, hardest groups first", groups))
    facts = provenance_of(records)
    provenance = Table("Provenance of the included runs", {"fact": list(facts), "value": list(facts.values())})
    sections = [
        Section("settings", "Settings", "", [scores], PER_SETTING if scores.best_first else ""),
        *_search_sections(report),
        Section("pairs", "Pairs of settings", RANKING, ranking),
        Section("effects", "Effect of each factor", effects_text, [effects]),
        Section("curves", "Curves"),
        Section("images", "Images", "", images),
        Section("runs", "Runs", "", [_runs_table(records.runs, folder)]),
        Section("seeds", "Seeds needed", plan_text, [plan]),
        Section("claims", "Claims", _claims_text(report), _claim_tables(report)),
        Section("printed", "What the reports print, and these runs", PRINTED, _printed_tables(report)),
        Section("repeat", "Repeat the runs", "", [provenance], code=report.commands),
        Section("methods", "Methods", _methods(report)),
    ]
    return with_content(sections, pictures, sheets)


def with_content(
    sections: Iterable[Section], pictures: Sequence[Picture], sheets: Sequence[Sheet] = ()
) -> list[Section]:
    """The sections with tables, figures or code, each with its `pictures`, "images" with `sheets`; and the methods."""
    found = []
    for section in sections:
        own = [picture for picture in pictures if picture.section == section.id]
        if section.tables or own or section.code or section.id == "methods":
            shown = sheets if section.id == "images" else ()
            found.append(replace(section, pictures=own, sheets=shown))
    return found


def settings_table(report: Report) -> Table:
    """The scores of each setting."""
    protocol = "" if report.records.protocol == HEADLINE else f" (protocol {report.records.protocol})"
    columns = settings_columns(report.scores, report.settings)
    has_scores = bool(report.scores["n"].any())
    return Table(f"Test scores of each setting, best first{protocol}", columns, has_scores, sortable=True)


def _search_sections(report: Report) -> list[Section]:
    """For each search what was chosen and what is confirmed, and how much each key matters."""
    return [
        Section(
            f"search_{number}",
            f"Search {name}",
            search_text(search),
            [
                Table("Best trials: chosen, not confirmed", chosen_columns(search, trials)),
                Table(
                    "Confirmed on new seeds: test Dice minus that of the config without the search, in points",
                    effect_columns(confirmed_effects(report.records, report.settings, search)),
                ),
                Table("How much of the ranks of all trials each key explains by itself", importance_columns(trials)),
            ],
        )
        for number, (name, search, trials) in enumerate(searches_of(report.records), start=1)
    ]


def _methods(report: Report) -> str:
    return METHODS.format(
        protocol=report.records.protocol,
        seeds=PAIRED if report.pairs_seeds else INDEPENDENT,
        new_images=NEW_GROUPS if report.records.groups else SAME_GROUPS,
    )


def _claims_text(report: Report) -> str:
    conditions = [conditions_text(file, verdicts) for file, verdicts in report.verdicts]
    return " ".join(filter(None, [CLAIMS, *conditions, without_runs_text(report)]))


def _claim_tables(report: Report) -> list[Table]:
    """For each source of claims its verdicts, and the comparisons with runs: the first contexts of each claim."""
    tables = []
    for file, verdicts in report.verdicts_with_runs:
        caption = f"Comparisons for {file.source}, at most {MOST_CONTEXTS} contexts of each; verdicts.csv has all"
        tables.append(Table(f"Verdicts on {file.source}", _columns(claim_rows(verdicts))))
        tables.append(Table(caption, _columns(comparison_rows(verdicts))))
    return tables


def _columns(rows: Sequence[Mapping[str, str]]) -> Columns:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _runs_table(runs: pd.DataFrame, folder: Path) -> Table:
    """The first runs, those with a reason on top, with links from a page in `folder`."""
    order = (~needs_reason(runs)).sort_values(kind="stable").index
    shown = runs.loc[order].head(MOST_RUNS)
    records = [RunRecord(Path(run)) for run in shown["folder"]]
    needless = "sweep" if runs["sweep"].nunique() == 1 else None
    columns = {name: cells for name, cells in run_columns(shown).items() if name != needless}
    files = [{"folder": run.folder, "config": run.config_file, "log": run.log_file} for run in records]
    links = [{name: _address(file, folder) for name, file in own.items() if file.exists()} for own in files]
    of_all = "" if len(shown) == len(runs) else f", {MOST_RUNS} of {len(runs):,}; runs.csv has all"
    return Table(f"Runs, those that failed or are excluded first{of_all}", columns, sortable=True, links=links)


def _address(file: Path, folder: Path) -> str:
    """The address of `file` relative to a page in `folder`."""
    return quote(os.fsencode(os.path.relpath(file, folder)))


def _printed_tables(report: Report) -> list[Table]:
    sources = report.printed.groupby("source", sort=False)
    return [Table(f"{source}: printed and measured", printed_columns(own)) for source, own in sources]


def introduction(report: Report) -> str:
    """How many runs there are, and what they share."""
    shared, _ = shared_and_differing(report.records.runs)
    return f"{runs_text(report.records.runs)}." + (f" All with {mapping_text(shared)}." if shared else "")


def markdown_parts(sections: Sequence[Section]) -> list[str]:
    """The sections one after another; text from records is escaped: the name of an image may hold any character."""
    parts: list[str] = []
    for section in sections:
        parts += [f"## {section.title}", *map(markdown_text, section.text.split("\n\n"))]
        for table in section.tables:
            rows = markdown_table(table.columns, table.right, table.best_first)
            parts += [f"{markdown_text(table.caption)}:", rows]
        parts.append(markdown_text(section.note))
        parts += [f"![{markdown_text(one.caption)}](figures/{one.name}.svg)" for one in section.pictures]
        for number, sheet in enumerate(section.sheets, start=1):
            caption = markdown_text(sheet.caption)
            parts.append(f"![{caption}](figures/{sheet_name(number)})" if sheet.jpeg else caption)
        parts.append(_code_block(section.code))
    return [part for part in parts if part]


def _code_block(lines: Sequence[str]) -> str:
    """Its fence is longer than any in `lines`."""
    fence = max(["``", *re.findall("`+", "\n".join(lines))], key=len) + "`"
    return "\n".join([fence, *lines, fence]) if lines else ""
