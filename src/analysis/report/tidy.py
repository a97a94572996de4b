"""The tables of a report for pandas: numbers as numbers in the units of the records; docs/aggregation.md has columns.

Dice and IoU are in [0, 1], times in seconds; a value that is unknown is missing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.comparison import Comparison
from src.analysis.claims.effects import Effect
from src.analysis.claims.ranking import LISTS
from src.analysis.claims.verdicts import Verdict
from src.analysis.claims.wording import arms_text
from src.analysis.records.matching import differing_columns
from src.analysis.report.report import Report
from src.analysis.report.unchanged import checksum, write_changed
from src.analysis.statistics.estimates import improvement
from src.base.identity import CHOICE_SECTIONS, NAMED_IN_RUN_ID
from src.display.text import write_csv

RUN = ("run_id", "setting", "seed")  # the columns that runs, epochs and images begin with or share
COUNTS = ("seeds_first", "seeds_second", "failed_first", "failed_second", "images")
NUMBERS = ("estimate", "low", "high", "se", "df", "p", "p_adjusted")
SIZES = ("hedges_g", "hedges_g_low", "hedges_g_high", "first_wins", "first_wins_low", "first_wins_high")
EFFECTS = (
    *("comparison", "factor", "first", "second", "context", "is_mean", "part_of_mean"),
    *("metric", "fingerprint", *NUMBERS, "p_depends", "confidence", *COUNTS),
    *("scope", "verdict", *SIZES, "correlation_of_seeds", "note"),
)
VERDICTS = (
    *("source", "claim", "comparison", "verdict", "reason", "part", "metric", "fingerprint"),
    *(*NUMBERS, "confidence", *COUNTS, "scope", "reported", *SIZES, "note"),
)
ASCII = str.maketrans({"−": "-", "÷": "/"})


def write_tables(report: Report, folder: Path) -> None:
    """Writes all of them into `folder`, unless the files there are untouched and hold the same."""
    tables = tidy_tables(report)
    write_changed(folder, (([name], _checksum(own), partial(write_csv, folder / name, own)) for name, own in tables))


def tidy_tables(report: Report) -> Iterator[tuple[str, pd.DataFrame]]:
    """All of them with the names of their files, one at a time: that of the images may take a gigabyte."""
    of_runs = runs(report)
    yield "runs.csv", of_runs
    yield "epochs.csv", epochs(report, of_runs)
    yield "images.csv.gz", images(report, of_runs)
    yield "settings.csv", settings(report, of_runs)
    yield "comparisons.csv", comparisons(report.effects)
    yield "verdicts.csv", verdicts(report.verdicts)
    yield "printed.csv", report.printed


def runs(report: Report) -> pd.DataFrame:
    """A row per run, whatever its status: its factors as they are typed, scores, costs, and why it is excluded."""
    table = report.records.runs
    label_of = {(one.config_id, one.values["fingerprint"]): one.label for one in report.settings}
    # a run that has not read its data yet counts with the others of its config
    data = table["fingerprint"].fillna(table.groupby("config_id")["fingerprint"].transform("first"))
    keys = zip(table["config_id"], data.astype(object).where(data.notna(), None), strict=True)
    labels = pd.Series([label_of.get(key) for key in keys], table.index, dtype=object)
    table = table.assign(setting=labels, reason=table["left_out"].fillna(table["error"]))
    off = [name for name in _factors(report) if name in CHOICE_SECTIONS and name in table]
    known = table["config_id"].notna()
    table.loc[known, off] = table.loc[known, off].fillna("off")
    for name in ("collapsed", "outlying"):
        listed = zip(report.scores["setting"], report.scores[name], strict=True)
        far = {(setting, seed) for setting, seeds in listed for seed in seeds}
        flags = [key in far for key in zip(table["setting"], table["seed"], strict=True)]
        table[name] = table["included"] & pd.Series(flags, table.index)
    first = ["run_id", "setting", "config_id", *_factors(report), "seed", "fingerprint", "status", "included"]
    first += ["failure_kind", "reason", "collapsed", "outlying"]
    needless = {*first, *CHOICE_SECTIONS, "left_out", "error"}
    return table.reindex(columns=[*first, *(name for name in table if name not in needless)])


def epochs(report: Report, of_runs: pd.DataFrame) -> pd.DataFrame:
    """A row per finished epoch of any run, with what epochs.jsonl has of it; `of_runs`, here and below: of `runs`."""
    found = report.records.epochs
    own = of_runs[[*RUN, "folder"]]
    return own.merge(found, on="folder") if len(found) else own.head(0).assign(epoch=[])


def images(report: Report, of_runs: pd.DataFrame) -> pd.DataFrame:
    """A row per test image of each included run: Dice, IoU and pixels under the protocol of the report."""
    own = of_runs.set_index("folder")
    table = report.records.images.copy()
    folders = table.pop("folder")
    for place, name in enumerate(RUN):
        table.insert(place, name, folders.map(own[name]))
    return table.assign(group=table["stem"].map(report.records.groups)) if report.records.groups else table


def settings(report: Report, of_runs: pd.DataFrame) -> pd.DataFrame:
    """A row per setting, best first: its factors and what settings_scores has of it, but for lists of seeds."""
    factors = of_runs[["setting", *_factors(report)]].dropna(subset="setting").drop_duplicates("setting")
    scores = report.scores.rename(columns={"n": "seeds", "data": "fingerprint"}).drop(columns=[*LISTS, "minutes"])
    return factors.merge(scores.assign(seconds=60 * report.scores["minutes"]), on="setting", how="right")


def comparisons(effects: Iterable[Effect]) -> pd.DataFrame:
    """A row per effect of a factor on test Dice: main effects, each followed by the contexts of its mean."""
    rows = [_effect_row(effect) for effect in effects]
    return _typed(pd.DataFrame(rows, columns=EFFECTS), (*NUMBERS, "p_depends", "confidence", *SIZES))


def verdicts(judged: Sequence[tuple[ClaimFile, Sequence[Verdict]]]) -> pd.DataFrame:
    """A row per comparison, with the verdict and the p-values of its claim; `part`: the number of its hypothesis."""
    rows = [
        {
            "source": file.source,
            "claim": verdict.name,
            "verdict": verdict.status,
            "reason": verdict.reason.translate(ASCII),
            "part": part,
            "comparison": arms_text(one).translate(ASCII),
            "reported": _plain(one, one.hypothesis.reported),
            **_p_values(verdict, verdict.comparisons),
            **_contrast(one),
        }
        for file, own in judged
        for verdict in own
        for part, contexts in enumerate(verdict.results, start=1)
        for one in contexts
    ]
    return _typed(pd.DataFrame(rows, columns=VERDICTS), (*NUMBERS, "confidence", "reported", *SIZES))


def _factors(report: Report) -> list[str]:
    """The columns of the five choices in a run's name and of the data, and of all else in which settings differ."""
    known = report.records.runs[report.records.runs["config_id"].notna()]
    differing = [name for name in differing_columns(known) if name not in ("fingerprint", "config_id")]
    return list(dict.fromkeys([*NAMED_IN_RUN_ID, "data", *differing]))


def _effect_row(effect: Effect) -> dict[str, Any]:
    one = effect.comparison
    return {
        "comparison": effect.name.translate(ASCII),
        "factor": effect.factor,
        "first": effect.first,
        "second": effect.second,
        "context": effect.context,
        "is_mean": bool(effect.parts),
        "part_of_mean": not effect.is_main,
        "p_depends": effect.p_depends,
        "verdict": "no verdict" if one.problem else effect.status,
        "correlation_of_seeds": one.correlation_of_seeds,
        **_p_values(effect, [one]),
        **_contrast(one),
    }


def _p_values(found: Effect | Verdict, tested: Sequence[Comparison]) -> dict[str, float]:
    """Missing if none of `tested` allows a verdict."""
    if all(one.problem for one in tested):
        return {}
    return {"p": found.p, "p_adjusted": found.p_adjusted}


def _contrast(one: Comparison) -> dict[str, Any]:
    """The numbers of a comparison; seeds of each side, of a mean those of all contexts together."""
    tested = one.merged() if one.samples else one
    seeds = _by_side(tested, tested.seeds or [len(setting.folders) for setting in tested.settings])
    failed = _by_side(tested, [setting.failures for setting in tested.settings])
    size = one.hedges_g
    facts: dict[str, Any] = {
        "metric": one.hypothesis.metric.description,
        "fingerprint": one.settings[0].values["fingerprint"] if one.settings else None,
        "confidence": one.confidence,
        **dict(zip(COUNTS[:4], (*seeds, *failed), strict=True)),
        "images": one.images,
        "scope": one.scope,
        "note": "; ".join(filter(None, [*one.notes, one.problem])).translate(ASCII),
        **dict(zip(SIZES, (*size, *map(improvement, size)), strict=True)),
    }
    if one.estimate is None:
        return facts
    low, high = one.estimate.interval(one.confidence)
    if one.is_level:
        low, high = np.clip((low, high), 0, 1)
    ends = {"estimate": one.estimate.value, "low": low, "high": high}
    numbers = {name: _plain(one, value) for name, value in ends.items()}
    return {**facts, **numbers, "se": one.estimate.standard_error, "df": one.estimate.df}


def _by_side(one: Comparison, counts: Sequence[int]) -> list[int]:
    """The sum of `counts` over the settings with a positive and over those with a negative weight, each once a side."""
    # a comparison may lack all settings
    weighted = list(zip(map(id, one.settings), counts, one.hypothesis.weights, strict=False))
    return [sum({own: count for own, count, weight in weighted if sign * weight > 0}.values()) for sign in (1, -1)]


def _plain(one: Comparison, value: float | None) -> float:
    """An effect in the units of the records, of a cost as a ratio."""
    if value is None:
        return math.nan
    return math.exp(value) if one.hypothesis.metric.cost else float(value)


def _checksum(table: pd.DataFrame) -> str:
    """Of all that its file holds."""
    rows = pd.util.hash_pandas_object(table, index=False, encoding="unicode_escape")  # which also half a character has
    return checksum(repr(table.dtypes.to_dict()).encode(), rows.to_numpy().tobytes())


def _typed(table: pd.DataFrame, numbers: Sequence[str]) -> pd.DataFrame:
    return table.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(COUNTS, "Int64"))
