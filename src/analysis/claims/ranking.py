"""The scores of every setting: means with intervals, report A's statistics, time, and the distance to the best."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.comparison import (
    Hypothesis,
    compare_settings,
    counted_mean,
    with_failures_as_0,
)
from src.analysis.claims.effects import Effect
from src.analysis.claims.printed import OURS
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import (
    CONFIDENCE,
    LEAST_SEEDS,
    LEVEL,
    collapsed,
    estimate_contrast,
    has_identical_seeds,
    outlying,
    share_interval,
)
from src.analysis.statistics.metrics import METRICS
from src.analysis.statistics.ranks import letters, share_first

LISTS = ("per_seed", "collapsed", "outlying")
FACTS = ("setting", "config_id", "data", "n", "unfinished", "failed", "tried", *LISTS, "identical_seeds", "images")
SCORES = ("mean", "low", "high", "iou", "iou_low", "iou_high", "median", "std", "min", "max")
NUMBERS = (
    *SCORES,
    "best_low",
    "first",
    "failed_low",
    "failed_high",
    "counted_mean",
    "minutes",
    "reported",
    "reported_to",
)
SIZES = ("effect_size", "effect_size_low", "effect_size_high")
MOST_COMPARED = 20  # settings, each with each
BETTER = Hypothesis(METRICS["test_dice"], ({}, {}))


def settings_scores(records: Records, settings: Sequence[Setting], files: Sequence[ClaimFile] = ()) -> pd.DataFrame:
    """One row per setting: those with at least 3 seeds first, best mean test Dice on top, then those with fewer.

    Columns: setting (label), config_id, data (fingerprint), n (included runs), unfinished, failed (seeds that failed by
    their own fault) of tried, failed_low and failed_high (the exact 95 % interval of their share), counted_mean (with
    failed runs scored 0: the order of the rows; equal to mean without them or if they do not count), mean, low and high
    (95 % interval for new seeds and new images, within [0, 1]), per_seed (list of means), identical_seeds (whether
    seeds have identical results, so that the interval is unknown), collapsed and outlying (lists of seeds), images
    (their number), iou, iou_low and iou_high, median and std (of a run's images, mean over runs), min and max (of all
    images of all runs), minutes (mean over runs), reported and reported_to (what a report of `files` printed for just
    this setting; a range has both). Dice and IoU are in [0, 1]; unknown is missing.

    Of the best on its data, the first row: best_low, the lower end of the interval of that score, corrected for its
    selection (Bonferroni over the settings that could have been it). Of up to 20 with enough seeds: letters (settings
    that share none differ, adjusted over all pairs) and first (the share of resamples in which it is the best).

    Against the best: behind, behind_low, behind_high (best minus this), p_behind
    (times the number of pairs, since the best was selected by the same scores), significant (whether p_behind is below
    0.05), effect_size (Hedges' g) with effect_size_low and effect_size_high. p_behind is missing with fewer than 3
    seeds, or with identical seeds.
    """
    rows = [_row(records, setting) | _reported(setting, files) for setting in settings]
    far = outlying([np.array(row["per_seed"]) for row in rows])
    for row, setting, seeds in zip(rows, settings, far, strict=True):
        row["outlying"] = records.of_runs(setting.folders, "seed")[seeds].tolist()
    table = pd.DataFrame(rows, columns=[*FACTS, *NUMBERS, "letters"])
    table = table.astype(dict.fromkeys(NUMBERS, "float64") | {"letters": "object"})
    enough = (table["n"] >= LEAST_SEEDS).rename("enough")  # one lucky seed must not hide what five have shown
    best = pd.concat([enough, table["counted_mean"]], axis=1)
    order = best.sort_values(["enough", "counted_mean"], ascending=False).index
    ranked = [settings[index] for index in order]
    table = pd.concat([table.loc[order].reset_index(drop=True), _behind_the_best(records, ranked)], axis=1)
    for _, own in table[table["n"] >= LEAST_SEEDS].groupby("data", sort=False, dropna=False):
        _add_selection(records, ranked, table, own.index)
    return table


def _add_selection(records: Records, ranked: Sequence[Setting], table: pd.DataFrame, rows: pd.Index) -> None:
    """Adds to the `rows` of `table`, which are the settings on one data set, what selecting the best among them means.

    `table` is in the order of `ranked`.
    """
    dice = METRICS["test_dice"]
    best, *_ = rows
    table.loc[best, "best_low"], _ = _interval(records, ranked[best], "test_dice", 1 - (1 - CONFIDENCE) / len(rows))
    compared = list(rows[:MOST_COMPARED])
    differ = np.zeros((len(compared), len(compared)), dtype=np.bool_)
    for first, second in itertools.combinations(range(len(compared)), 2):
        comparison = compare_settings(records, (ranked[compared[first]], ranked[compared[second]]), BETTER)
        p_value = min(comparison.p_confirming, comparison.p_contradicting)
        differ[first, second] = _pairs(ranked) * p_value < LEVEL
    samples = dice.samples(records, [ranked[row].folders for row in compared])
    counted = [with_failures_as_0(records, ranked[row], own, dice) for row, own in zip(compared, samples, strict=True)]
    table.loc[compared, "letters"] = letters(differ)
    table.loc[compared, "first"] = share_first(counted)


def _pairs(settings: Sequence[Setting]) -> int:
    """How many pairs of settings with enough seeds on the same data there are."""
    tested = Counter(one.values["fingerprint"] for one in settings if len(one.folders) >= LEAST_SEEDS)
    return sum(math.comb(count, 2) for count in tested.values())


def best_and_second(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> tuple[list[Effect], int]:
    """The difference of the two first rows of `scores`, if both have enough seeds; and among how many pairs it is."""
    names = list(scores.loc[scores["n"] >= LEAST_SEEDS, "setting"][:2])
    pair = tuple(next(one for one in settings if one.label == name) for name in names)
    if len(pair) < 2 or pair[0].values["fingerprint"] != pair[1].values["fingerprint"]:
        return [], 0
    comparison = compare_settings(records, pair, BETTER)
    effect = Effect("best and second", names[0], names[1], "", comparison)
    return [effect.adjusted(scores["p_behind"].fillna(1.0)[1])], _pairs(settings)


def _row(records: Records, setting: Setting) -> dict[str, object]:
    facts = {
        "setting": setting.label,
        "config_id": setting.config_id,
        "data": setting.values["fingerprint"],
        "n": len(setting.folders),
        "unfinished": setting.unfinished,
        "failed": setting.failures,
        "tried": setting.tried,
        **dict(zip(("failed_low", "failed_high"), share_interval(setting.failures, setting.tried), strict=True)),
    }
    if not setting.folders:
        return {**facts, "per_seed": [], "identical_seeds": False, "collapsed": [], "images": 0}
    dice, iou = (records.per_image(setting.folders, column) for column in ("dice", "iou"))
    (low, high), (iou_low, iou_high) = (_interval(records, setting, name) for name in ("test_dice", "test_iou"))
    return {
        **facts,
        "mean": dice.mean(),
        "counted_mean": counted_mean(records, setting),
        "low": low,
        "high": high,
        "per_seed": dice.mean(axis=1).tolist(),
        "identical_seeds": has_identical_seeds(dice),
        "images": dice.shape[1],
        "collapsed": records.of_runs(setting.folders, "seed")[collapsed(dice.mean(axis=1))].tolist(),
        "iou": iou.mean(),
        "iou_low": iou_low,
        "iou_high": iou_high,
        "median": np.median(dice, axis=1).mean(),
        "std": dice.std(axis=1).mean(),
        "min": dice.min(),
        "max": dice.max(),
        "minutes": records.of_runs(setting.folders, "seconds").mean() / 60,
    }


def _interval(records: Records, setting: Setting, metric: str, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the setting's mean Dice or IoU, within [0, 1]."""
    estimate = estimate_contrast(METRICS[metric].samples(records, [setting.folders]), [1.0], per_image=True)
    low, high = np.clip(estimate.interval(confidence), 0, 1)
    return low, high


def _behind_the_best(records: Records, ranked: Sequence[Setting]) -> pd.DataFrame:
    """For each of `ranked` (best first) its distance to the first with the same data."""
    best: dict[object, Setting] = {}
    for setting in ranked:
        best.setdefault(setting.values["fingerprint"], setting)
    rows = [_behind(records, best[setting.values["fingerprint"]], setting) for setting in ranked]
    table = pd.DataFrame(rows, columns=["behind", "behind_low", "behind_high", "p_behind", *SIZES])
    p_values = (_pairs(ranked) * table["p_behind"]).clip(upper=1.0)
    return table.assign(p_behind=p_values, significant=p_values < LEVEL)


def _behind(records: Records, best: Setting, setting: Setting) -> dict[str, float]:
    if setting is best or not setting.folders:
        return {}
    comparison = compare_settings(records, (best, setting), BETTER)
    assert comparison.estimate is not None, "both have runs"
    low, high = comparison.estimate.interval()
    return {
        "behind": comparison.estimate.value,
        "behind_low": low,
        "behind_high": high,
        "p_behind": math.nan if comparison.problem else comparison.p_confirming,
        **dict(zip(SIZES, comparison.hedges_g, strict=True)),
    }


def _reported(setting: Setting, files: Sequence[ClaimFile]) -> dict[str, float | None]:
    for file in files:
        # also beside a smaller data set of the same kind, since the page shows the number of images
        conditions = {key: value for key, value in file.reported_with.items() if key != "train_images"}
        for printed in file.printed:
            number = printed.numbers.get("test_dice")
            wanted = {**dict.fromkeys(OURS), **file.where, **conditions, **printed.setting}
            if number is not None and setting.meets(wanted):
                first, last = number
                return {"reported": first, "reported_to": None if first == last else last}
    return {}
