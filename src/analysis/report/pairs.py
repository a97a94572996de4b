"""Two runs, or two settings, found by name and compared: their configs, scores, and Dice image by image."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.analysis.claims.comparison import compare_settings
from src.analysis.claims.ranking import BETTER
from src.analysis.claims.wording import listed
from src.analysis.records.loading import A_COPY, Records, load_records
from src.analysis.records.matching import Setting, settings_of
from src.analysis.records.runs import RECORD_FILES
from src.analysis.report.provenance import provenance_of, typical_runs
from src.analysis.report.tables import MOST_NAMES
from src.analysis.statistics.estimates import LEVEL, Estimate, estimate_contrast
from src.analysis.statistics.metrics import METRICS, Metric, unit_scores
from src.base.errors import one_line, shown
from src.base.record import HEADLINE
from src.display.text import MISSING, collapse_whitespace, setting_text

COMPARED = ("test_dice", "test_iou")
RECORDED = ("device", "numerics", "git", "versions")  # facts that are shown where they differ
WAYS = "the folder of a run, <sweep>/<label of a setting>, or with sweep=<folder> a label or run_id"


@dataclass(frozen=True)
class Difference:
    """A metric of the first minus that of the second, in [0, 1]; `problem`: why a verdict is missing."""

    metric: Metric
    means: tuple[float, float]
    estimate: Estimate
    p: float
    problem: str | None = None

    @property
    def verdict(self) -> str:
        """Which of the two is better, as `first`, `second`, `undecided` or `no verdict`."""
        if self.problem or math.isnan(self.estimate.variance):
            return "no verdict"
        if self.p >= LEVEL:
            return "undecided"
        return "first" if self.estimate.value > 0 else "second"


@dataclass(frozen=True)
class Pair:
    """Two settings with all their runs, or with one run each (`of_runs`), on the same data.

    `records`: with their runs only; `names`: what each is called; `file_names`: the same for folders.
    """

    records: Records
    settings: tuple[Setting, Setting]
    of_runs: bool
    file_names: tuple[str, str]

    @property
    def names(self) -> tuple[str, str]:
        """What each is called."""
        first, second = (setting.label for setting in self.settings)
        return first, second

    @property
    def paths(self) -> list[str]:
        """What names the two to `find_pair`."""
        folders = [Path(setting.folders[0]) for setting in self.settings]
        if self.of_runs:
            return list(map(str, folders))
        return [str(folder.parent / one.config_id) for folder, one in zip(folders, self.settings, strict=True)]

    @cached_property
    def dice(self) -> pd.DataFrame:
        """Mean Dice of each test image: `stem`, `first`, `second`, and their `difference`, the largest first."""
        first, second = (self.records.per_image(one.folders, "dice").mean(axis=0) for one in self.settings)
        stems = self.records.stems(self.settings[0].folders[0])
        table = pd.DataFrame({"stem": stems, "first": first, "second": second, "difference": first - second})
        return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def typical_runs(self) -> dict[str, str]:
        """By name the folder of one run of each: with weights if any has them, nearest to the median test Dice."""
        chosen = {}
        for name, setting in zip(self.names, self.settings, strict=True):
            nearest = list(typical_runs(self.records, setting.folders).index)
            with_weights = [folder for folder in nearest if (Path(folder) / "checkpoints" / "best.pt").exists()]
            chosen[name] = [*with_weights, *nearest][0]
        return chosen

    def largest(self, count: int) -> dict[str, tuple[float, float]]:
        """Dice under both of `typical_runs` of the `count` images whose mean Dice differs most, by stem."""
        order = self.dice["difference"].abs().sort_values(ascending=False, kind="stable").index
        folders = list(self.typical_runs.values())
        of_runs = self.records.per_image(folders, "dice").T.tolist()
        known = dict(zip(self.records.stems(folders[0]), map(tuple, of_runs), strict=True))
        return {stem: known[stem] for stem in self.dice.loc[order[:count], "stem"]}

    @cached_property
    def differences(self) -> list[Difference]:
        """Of test Dice and test IoU."""
        return [(_of_runs if self.of_runs else _of_settings)(self, METRICS[name]) for name in COMPARED]

    @property
    def configs(self) -> dict[str, tuple[str, str]]:
        """The keys of the configs that differ, as they are typed, and facts of the record, each with both values."""
        first, second = self.settings
        values = {
            key: (_value(first, key), _value(second, key))
            for key in dict.fromkeys([*first.values, *second.values])
            if first.comparable.get(key) != second.comparable.get(key) and not key.endswith("._target_")
        }
        if self.of_runs:
            values |= {"seed": (str(first.seeds[0]), str(second.seeds[0]))}
        facts = [provenance_of(_restricted(self.records, setting.folders)) for setting in self.settings]
        values |= {name: (facts[0].get(name, MISSING), facts[1].get(name, MISSING)) for name in RECORDED}
        return {key: texts for key, texts in values.items() if texts[0] != texts[1]}


def find_pair(names: Sequence[str], sweep: str | None = None, protocol: str = HEADLINE) -> Pair:
    """The pair of these two `names`, each as WAYS has it. Raises ValueError, in a line, for what cannot be compared."""
    places = [_place(key, name, sweep) for key, name in zip("ab", names, strict=True)]
    sweeps = list({place.resolve(): place for place, _ in places}.values())
    records = load_records(sweeps, protocol)
    settings = settings_of(records)
    own = {place.resolve(): str(place) for place in sweeps}
    first, second = (
        _find(f"{key}: got {shown(name)}", records, settings, own[place.resolve()], inner)
        for key, name, (place, inner) in zip("ab", names, places, strict=True)
    )
    if isinstance(first, Setting) and isinstance(second, Setting):
        return _pair_of_settings(records, first, second)
    if isinstance(first, Setting) or isinstance(second, Setting):
        raise ValueError("a, b: one is a run, the other a setting of several runs; give two runs or two settings")
    return _pair_of_runs(records, first, second)


def _place(key: str, name: str, sweep: str | None) -> tuple[Path, str]:
    """The folder of the sweep that `name` is in, and what it is called there; "" stands for its only setting."""
    path = Path(name)
    if sweep is not None:
        return Path(sweep), name
    if os.path.isdir(name):  # noqa: PTH112, since Path.is_dir raises for a label that is too long
        is_run = not RECORD_FILES.isdisjoint(file.name for file in path.iterdir())
        return (path.absolute().parent, path.absolute().name) if is_run else (path, "")
    around = next((folder for folder in path.parents if folder.is_dir()), Path())
    if "/" not in name or around == Path(path.anchor):
        raise ValueError(f"{key}: got {shown(name)}; it takes {WAYS}")
    return around, str(path.relative_to(around))


def _find(what: str, records: Records, settings: Sequence[Setting], sweep: str, name: str) -> Setting | str:
    """The setting of `sweep` that is called `name`, or the folder of the run. Raises ValueError, beginning with `what`.

    A setting is named by its label, enough parts of it, or its config_id; a run by its run_id or the end of it.
    """
    runs = records.runs[records.runs["sweep"] == sweep]
    called = runs[[name in (run_id, run_id.rpartition("-")[2]) for run_id in runs["run_id"]]]
    if name and len(called) == 1:
        if str(called.iloc[0]["left_out"]).startswith(A_COPY):
            identity = ["config_id", "seed", "fingerprint"]
            originals = records.included.merge(called[identity], on=identity)
            called = originals if len(originals) else called
        run = called.iloc[0]
        if not run["included"]:
            raise ValueError(f"{what}, which is {_why_excluded(run)}; only runs that count in reports are compared")
        return str(run["folder"])
    known = [one for one in settings if one.config_id in set(runs["config_id"])]
    parts = {part.strip() for part in name.split(",") if part.strip()}
    found = (
        [one for one in known if name in (one.label, one.config_id)]
        or [one for one in known if parts <= set(one.labels.values())]
    )  # fmt: skip
    if len(found) != 1:
        labels = listed((one.label for one in found or known), MOST_NAMES)
        many = f"{len(found)} settings fit, name one" if found else f"it takes {WAYS}; settings"
        raise ValueError(f"{what}; {many} of {one_line(sweep)}: {labels}")
    if not found[0].folders:
        why = _why_excluded(runs[runs["config_id"] == found[0].config_id].iloc[0])
        raise ValueError(f"{what}; none of its runs is finished and included; the first is {why}")
    return found[0]


def _why_excluded(run: pd.Series) -> str:
    """Its status, and the reason of a failure or exclusion."""
    reason = run["left_out"] if not pd.isna(run["left_out"]) else run["error"]
    return str(run["status"]) if pd.isna(reason) else f"{run['status']}: {collapse_whitespace(reason)}"


def _pair_of_settings(records: Records, *pair: Setting) -> Pair:
    """Labels name only what distinguishes the two."""
    ids = [(setting.config_id, setting.values["fingerprint"]) for setting in pair]
    if ids[0] == ids[1]:
        raise ValueError(f"a, b: both are the setting {pair[0].label}")
    _check_data(pair)
    own = replace(records, runs=records.runs[records.runs["config_id"].isin([config_id for config_id, _ in ids])])
    named = {(one.config_id, one.values["fingerprint"]): one for one in settings_of(own)}
    first, second = named[ids[0]], named[ids[1]]
    return Pair(own, (first, second), False, (first.label, second.label))


def _pair_of_runs(records: Records, *folders: str) -> Pair:
    own = _restricted(records, folders)
    settings = settings_of(own)
    pair = []
    for folder in folders:
        setting = next(one for one in settings if folder in one.folders)
        seed = int(own.of_runs([folder], "seed").iloc[0])
        labels = {**setting.labels, "seed": f"seed {seed}"}
        pair.append(replace(setting, labels=labels, folders=(folder,), seeds=(seed,), failures=0, failed_before=()))
    if folders[0] == folders[1]:
        raise ValueError(f"a, b: both are the run {folders[0]}")
    _check_data(pair)
    return Pair(own, (pair[0], pair[1]), True, (Path(folders[0]).name, Path(folders[1]).name))


def _check_data(pair: Sequence[Setting]) -> None:
    """Raises ValueError for different data: their images cannot be paired."""
    first, second = (str(setting.values["fingerprint"])[:8] for setting in pair)
    if first != second:
        raise ValueError(f"a, b: are of different data (fingerprints {first} and {second}), so nothing is compared")


def _restricted(records: Records, folders: Sequence[str]) -> Records:
    return replace(records, runs=records.runs[records.runs["folder"].isin(folders)])


def _of_settings(pair: Pair, metric: Metric) -> Difference:
    comparison = compare_settings(pair.records, pair.settings, replace(BETTER, metric=metric))
    assert comparison.estimate is not None, "both have runs"
    p_value = min(1.0, comparison.p_confirming, comparison.p_contradicting)
    return Difference(metric, _means(pair, metric), comparison.estimate, p_value, comparison.problem)


def _of_runs(pair: Pair, metric: Metric) -> Difference:
    """A paired t interval over the test images."""
    first, second = (unit_scores(pair.records, one.folders, str(metric.image_column))[0] for one in pair.settings)
    estimate = estimate_contrast([(first - second)[:, np.newaxis]], [1.0])
    problem = "a single test image is not a sample of images" if len(first) == 1 else None
    problem = "they have the same score on each image" if (first == second).all() else problem
    p_value = min(estimate.p_within(0, math.inf), estimate.p_within(-math.inf, 0))
    return Difference(metric, _means(pair, metric), estimate, p_value, problem)


def _means(pair: Pair, metric: Metric) -> tuple[float, float]:
    first, second = (pair.records.per_image(one.folders, str(metric.image_column)).mean() for one in pair.settings)
    return float(first), float(second)


def _value(setting: Setting, key: str) -> str:
    """As it is typed, `-` for a key that it does not have."""
    value: Any = setting.values.get(key)
    if key not in setting.values:
        return MISSING
    return "off" if value is None else setting_text(value).lower() if value is True else setting_text(value)
