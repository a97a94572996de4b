"""The scores of every setting: means with intervals, report A's statistics, time, and the distance to the best."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.comparison import ABOVE, BELOW, DIFFERENCE, Hypothesis, compare_settings
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import (
    LEAST_SEEDS,
    LEVEL,
    collapsed,
    estimate_contrast,
    has_identical_seeds,
    outlying,
    share_interval,
)
from src.analysis.statistics.metrics import METRICS

LISTS = ("per_seed", "collapsed", "outlying")
FACTS = ("setting", "config_id", "data", "n", "unfinished", "failed", "tried", *LISTS, "identical_seeds")
SCORES = ("mean", "low", "high", "iou", "iou_low", "iou_high", "median", "std", "min", "max")
NUMBERS = (*SCORES, "failed_low", "failed_high", "counted_mean", "minutes", "reported", "reported_to")
BETTER = Hypothesis(METRICS["test_dice"], ({}, {}), DIFFERENCE, ABOVE, (BELOW,))


def settings_scores(records: Records, settings: Sequence[Setting], files: Sequence[ClaimFile] = ()) -> pd.DataFrame:
    """One row per setting: those with at least 3 seeds first, best mean test Dice on top, then those with fewer.

    Columns: setting (label), config_id, data (fingerprint), n (included runs), unfinished, failed (seeds that failed by
    their own fault) of tried, failed_low and failed_high (the exact 95 % interval of their share), counted_mean (with
    failed runs scored 0: the order of the rows; equal to mean without them or if they do not count), mean, low and high
    (95 % interval for new seeds and new images, within [0, 1]), per_seed (list of means), identical_seeds (whether
    seeds have identical results, so that the interval is unknown), collapsed and outlying (lists of seeds), iou,
    iou_low and iou_high, median and std (of a run's images, mean over runs), min and max (of all images of all runs),
    minutes (mean over runs), reported and reported_to (what a report of `files` printed for exactly this setting; a
    range has both). Dice and IoU are in [0, 1]; unknown is missing.

    Against the best on the same data, the first row: behind, behind_low, behind_high (best minus this), p_behind
    (times the number of pairs, since the best was selected by the same scores), significant (whether p_behind is below
    0.05), effect_size (Hedges' g). p_behind is missing with fewer than 3 seeds, or with identical seeds.
    """
    rows = [_row(records, setting) | _reported(setting, files) for setting in settings]
    far = outlying([np.array(row["per_seed"]) for row in rows])
    for row, setting, seeds in zip(rows, settings, far, strict=True):
        row["outlying"] = records.of_runs(setting.folders, "seed")[seeds].tolist()
    table = pd.DataFrame(rows, columns=[*FACTS, *NUMBERS]).astype(dict.fromkeys(NUMBERS, "float64"))
    enough = (table["n"] >= LEAST_SEEDS).rename("enough")  # one lucky seed must not hide what five have shown
    best = pd.concat([enough, table["counted_mean"]], axis=1)
    order = best.sort_values(["enough", "counted_mean"], ascending=False).index
    ranked = [settings[index] for index in order]
    return pd.concat([table.loc[order].reset_index(drop=True), _behind_the_best(records, ranked)], axis=1)


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
        return {**facts, "per_seed": [], "identical_seeds": False, "collapsed": []}
    dice, iou = (records.per_image(setting.folders, column) for column in ("dice", "iou"))
    low, high = np.clip(estimate_contrast([dice], [1.0]).interval(), 0, 1)
    iou_low, iou_high = np.clip(estimate_contrast([iou], [1.0]).interval(), 0, 1)
    return {
        **facts,
        "mean": dice.mean(),
        "counted_mean": _counted(records, setting) if setting.has_failures else dice.mean(),
        "low": low,
        "high": high,
        "per_seed": dice.mean(axis=1).tolist(),
        "identical_seeds": has_identical_seeds(dice),
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


def _counted(records: Records, setting: Setting) -> float:
    """Mean test Dice with 0 for each run that failed by its own fault, also if it finished in a later attempt."""
    clean = [folder for folder in setting.folders if folder not in setting.failed_before]
    return float(records.per_image(clean, "dice").mean(axis=1).sum()) / setting.tried if clean else 0.0


def _behind_the_best(records: Records, ranked: Sequence[Setting]) -> pd.DataFrame:
    """For each of `ranked` (best first) its distance to the first with the same data."""
    best: dict[object, Setting] = {}
    for setting in ranked:
        best.setdefault(setting.values["fingerprint"], setting)
    rows = [_behind(records, best[setting.values["fingerprint"]], setting) for setting in ranked]
    table = pd.DataFrame(rows, columns=["behind", "behind_low", "behind_high", "p_behind", "effect_size"])
    tested = Counter(setting.values["fingerprint"] for setting in ranked if len(setting.folders) >= LEAST_SEEDS)
    pairs = sum(math.comb(count, 2) for count in tested.values())
    p_values = (pairs * table["p_behind"]).clip(upper=1.0)
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
        "effect_size": comparison.hedges_g,
    }


def _reported(setting: Setting, files: Sequence[ClaimFile]) -> dict[str, float | None]:
    for file in files:
        # also beside a smaller data set of the same kind, since the page shows the number of images
        conditions = {key: value for key, value in file.reported_with.items() if key != "train_images"}
        for printed in file.printed:
            number = printed.numbers.get("test_dice")
            if number is not None and setting.meets({**file.where, **conditions, **printed.setting}):
                first, last = number
                return {"reported": first, "reported_to": None if first == last else last}
    return {}
