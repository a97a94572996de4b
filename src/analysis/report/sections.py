"""The sections of a report, each with its text and tables, for the page and for Markdown."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from src.base.record import HEADLINE
from src.display.tables import Columns

PER_SETTING = """\
± is half a 95 % interval for new seeds and new images. Median and std are those of a run's images, averaged over \
runs; min and max are of all images of all runs. Overlapping bars do not mean a tie: all settings are scored on the \
same images, so a difference is known more precisely than each score. The top score is inflated by selection \
(winner's curse). Comparisons with the best are Bonferroni-adjusted over all pairs, so an interval that excludes 0 is \
not enough."""
EFFECTS = """\
Differences in test Dice with all else equal; intervals and p-values cover new seeds and new images. Hedges' g is the \
difference in units of the standard deviation between seeds."""
PLAN = """\
The number of seeds per setting with which the verdicts above would detect a true difference of {min_effect} points \
with {power} % power, given the variances seen so far. With 3 seeds that is a rough guess: plan again as runs finish. \
Seeds are given for these test images and for new images, which the verdicts are about. More seeds do not help if \
there are too few test images; the last column gives the minimum."""
METHODS = """\
Test Dice is the mean over test images of 2·|P∩G| / (|P| + |G|), at the network's input size, border class as \
foreground, threshold 0.5, weights of the epoch with the best validation Dice; protocol {protocol}. Differences pair \
the images and cross them with seeds; seeds are independent between settings. Their variance is s²/n of each setting, \
plus that of the images minus what seeds contribute to it; the quantile is Student's, with degrees of freedom after \
Welch and Satterthwaite, combined as described and checked in docs/statistics.md. An interval for "these test images" \
or "these validation images" does not include the variance between images. A verdict needs at least 3 seeds per \
setting."""


@dataclass(frozen=True)
class Table:
    """A table with its caption; `best_first`: whether the first row is emphasized."""

    caption: str
    columns: Columns
    best_first: bool = False


@dataclass(frozen=True)
class Section:
    """`text` comes before the tables and figures, `note` after them; `link`: its name in the page's navigation."""

    id: str
    title: str
    link: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    note: str = ""


def sections_of(
    tables: Mapping[str, Columns],
    images: Mapping[str, Columns],
    figure_parts: Collection[str],
    protocol: str,
    min_effect: float,
    power: float,
    has_answer: bool,
) -> list[Section]:
    """The sections with content. `tables`: settings, effects, plan, excluded; `min_effect` in points, `power` in %."""
    caption = "Test scores of each setting, best first" + ("" if protocol == HEADLINE else f" (protocol {protocol})")
    candidates = [
        Section(
            "effects",
            "Effect of each factor",
            "Factors",
            EFFECTS,
            [Table("Effects on test Dice, in points (hundredths)", tables["effects"])],
        ),
        Section(
            "settings",
            "Settings",
            "Settings",
            tables=[Table(caption, tables["settings"], best_first=has_answer)],
            note=PER_SETTING if has_answer else "",
        ),
        Section("curves", "Curves", "Curves"),
        Section(
            "images",
            "Images",
            "Images",
            tables=[Table(f"The {name} test images over all runs", columns) for name, columns in images.items()],
        ),
        Section(
            "seeds",
            "Seeds needed",
            "Seeds needed",
            PLAN.format(min_effect=f"{min_effect:g}", power=f"{power:g}"),
            [Table(f"Seeds needed to detect a difference of {min_effect:g} points", tables["plan"])],
        ),
        Section(
            "excluded",
            "Excluded runs",
            "Excluded runs",
            tables=[Table("Failed, interrupted, unreadable or excluded runs", tables["excluded"])],
        ),
        Section("methods", "Methods", "Methods", METHODS.format(protocol=protocol)),
    ]
    return [section for section in candidates if _has_content(section, figure_parts)]


def _has_content(section: Section, figure_parts: Collection[str]) -> bool:
    has_rows = any(any(table.columns.values()) for table in section.tables)
    return section.id in ("settings", "methods") or has_rows or section.id in figure_parts
