"""A sweep for Python and notebooks: its tables, its answers, and its figures on axes of yours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from src.analysis.claims.comparison import Hypothesis, compare, compare_choice
from src.analysis.claims.effects import effects_in_contexts
from src.analysis.claims.wording import listed
from src.analysis.records.matching import Filter, Setting
from src.analysis.report import tidy
from src.analysis.report.figures import Picture, pictures_of
from src.analysis.report.options import claims_named
from src.analysis.report.page import terminal_text, write_report
from src.analysis.report.plots import paired
from src.analysis.report.report import Report, verdicts_on
from src.analysis.report.tables import MOST_NAMES
from src.analysis.statistics.metrics import METRICS, Metric
from src.base.errors import did_you_mean
from src.display.figure_style import new_figure
from src.display.text import count_text, mapping_text, value_text

WIDTH = 5  # inches of a new figure


@dataclass(frozen=True)
class Sweep:
    """Of `load`. The columns of all tables are in docs/aggregation.md; Dice is in [0, 1].

    `report`: what everything here is taken from. Figures are drawn into the axes that they are given, by default into
    those of a new figure, and return them.
    """

    report: Report

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run, also of failed and broken ones, with the reason."""
        return tidy.runs(self.report)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """A row per finished epoch of a run."""
        return tidy.epochs(self.report, tidy.runs(self.report))

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row per test image of an included run."""
        return tidy.images(self.report, tidy.runs(self.report))

    @property
    def plan(self) -> pd.DataFrame:
        """The seeds that each undecided effect needs, of seed_plan."""
        return self.report.plan

    def settings(self) -> pd.DataFrame:
        """A row per setting, best first."""
        return tidy.settings(self.report, tidy.runs(self.report))

    def effects(self) -> pd.DataFrame:
        """The effect of each factor on test Dice, all else equal, adjusted for all of them."""
        return tidy.comparisons(self.report.effects)

    def claims(self, *names: str) -> pd.DataFrame:
        """The verdicts on the claims of files, each a name in conf/claims or a path. Raises ValueError for others."""
        return tidy.verdicts([(file, verdicts_on(self.report, file)) for file in claims_named(names)])

    def compare(self, first: str | Filter, second: str | Filter, metric: str = "dice") -> pd.DataFrame:
        """`first` minus `second`, of a time or memory the ratio, with p-values that are not adjusted.

        Each is the label of a setting, or its factors, such as {"model": "unet"}. If both are factors that several
        settings have, there is a row per context, after their mean. `metric`: dice, iou or a measure of docs/claims.md.
        Raises ValueError for names without runs, factors of different keys, a setting against itself, and settings on
        different data.
        """
        hypothesis = Hypothesis(_metric(metric), ())
        records, settings = self.report.records, self.report.settings
        if isinstance(first, str) or isinstance(second, str):
            choice = (self._setting(first), self._setting(second))
            if choice[0].values["fingerprint"] != choice[1].values["fingerprint"]:
                raise ValueError(f"{choice[0].label} and {choice[1].label} are settings on different data")
            hypothesis = replace(hypothesis, arms=tuple(map(_factors, choice)))
            factor, names = "setting", (choice[0].label, choice[1].label)
            found = compare_choice(records, choice, hypothesis)
        else:
            if first.keys() != second.keys():
                keys = (", ".join(sorted(one)) or "none" for one in (first, second))
                raise ValueError("the factors have the keys {} and {}; give the same keys on both sides".format(*keys))
            found = compare(records, settings, replace(hypothesis, arms=(first, second)))
            if not found[0].settings:
                raise ValueError(found[0].problem)
            differing = [key for key in first if first[key] != second[key]]
            factor = ", ".join(differing)
            names = (_level(first, differing), _level(second, differing))
        if same := [one.settings[0].label for one in found if one.settings[0] is one.settings[1]]:
            raise ValueError(f"both sides have the setting {same[0]}; a setting is not compared with itself")
        effects = effects_in_contexts(factor, names, found)
        return tidy.comparisons(one.adjusted(one.p, one.p_depends) if one.is_main else one for one in effects)

    def plot_settings(self, ax: Axes | None = None) -> Axes:
        """The mean test Dice of each setting with its interval and seeds."""
        return self._draw("settings", ax)

    def plot_effects(self, ax: Axes | None = None) -> Axes:
        """The effect of each factor on test Dice with its interval."""
        return self._draw("effects", ax)

    def plot_curves(self, ax: Axes | None = None, column: str = "valid_dice") -> Axes:
        """A column of `epochs`, such as train_loss, for the best settings: the mean and range of their seeds."""
        return self._draw(f"curves_{column}", ax)

    def plot_images(self, first: str | Filter, second: str | Filter, ax: Axes | None = None) -> Axes:
        """Mean Dice of each test image under one setting (x) against another (y), named as in `compare`."""
        records, x, y = self.report.records, self._setting(first), self._setting(second)
        records.check_same_images([*x.folders, *y.folders])
        of_x, of_y = (records.per_image(setting.folders, "dice").mean(axis=0) for setting in (x, y))
        return paired(ax or new_figure(WIDTH, WIDTH)[1], of_x, of_y, (x.label, y.label))

    def answer(self) -> str:
        """What `python -m src.aggregate` prints."""
        return terminal_text(self.report)

    def write(self, folder: str | Path) -> Path:
        """Writes the report with all tables and figures into `folder`; returns the path of its page."""
        return write_report(self.report, Path(folder))

    def _setting(self, name: str | Filter) -> Setting:
        """The one with runs that has this label, or these factors. Raises ValueError if it is not one."""
        known = {one.label: one for one in self.report.settings if one.folders}
        if isinstance(name, str):
            if name not in known:
                raise ValueError(f"setting: got {name!r}; allowed: {listed(known, MOST_NAMES) or 'none'}")
            return known[name]
        found = [one for one in known.values() if one.meets(name)]
        if len(found) != 1:
            raise ValueError(
                f"{mapping_text(name)}: {count_text(len(found), 'setting')} with runs; give one by its label"
            )
        return found[0]

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        own = self.report
        return {one.name: one for one in pictures_of(own.records, own.settings, own.scores, own.effects)}

    def _draw(self, name: str, ax: Axes | None) -> Axes:
        if name not in self._pictures:
            raise ValueError(f"figure: got {name!r}; {did_you_mean(name, list(self._pictures))}")
        picture = self._pictures[name]
        return picture.draw(ax or new_figure(WIDTH, picture.height)[1])


def _factors(setting: Setting) -> Filter:
    """What distinguishes it from the other settings."""
    return {name: setting.values.get(name) for name in (*setting.labels, *setting.null_labels)}


def _level(factors: Filter, names: Sequence[str]) -> str:
    """The values of `names` among `factors` as labels have them."""
    return ", ".join(value_text(name, factors[name]) for name in names if name in factors)


def _metric(name: str) -> Metric:
    metric = METRICS.get(name) or METRICS.get(f"test_{name}")
    if metric is None:
        raise ValueError(f"metric: got {name!r}; {did_you_mean(name, list(METRICS))}")
    return metric
