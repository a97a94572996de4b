"""The scores of every setting: means with intervals, report A's statistics, time, and the distance to the best."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import LEAST_SEEDS, LEVEL, estimate_contrast, has_identical_seeds, hedges_g

FACTS = ("setting", "config_id", "data", "n", "unfinished", "per_seed", "identical_seeds")
SCORES = ("mean", "low", "high", "iou", "iou_low", "iou_high", "median", "std", "min", "max")
NUMBERS = (*SCORES, "minutes", "reported", "reported_to")


def settings_scores(records: Records, settings: Sequence[Setting], files: Sequence[ClaimFile] = ()) -> pd.DataFrame:
    """One row per setting: those with at least 3 seeds first, best mean test Dice on top, then those with fewer.

    Columns: setting (label), config_id, data (fingerprint), n (included runs), unfinished, mean, low and high (95 %
    interval for new seeds and new images), per_seed (list of means), identical_seeds (whether seeds have identical
    results, so that the interval is unknown), iou, iou_low and iou_high, median and std (of a run's images, mean over
    runs), min and max (of all images of all runs), minutes (mean over runs), reported and reported_to (what a report
    of `files` printed for exactly this setting; a range has both). Dice and IoU are in [0, 1]; unknown is missing.

    Against the best on the same data, the first row: behind, behind_low, behind_high (best minus this), p_behind
    (times the number of pairs, since the best was selected by the same scores), significant (whether p_behind is below
    0.05), effect_size (Hedges' g). p_behind is missing with fewer than 3 seeds, or with identical seeds.
    """
    rows = [_row(records, setting) | _reported(setting, files) for setting in settings]
    table = pd.DataFrame(rows, columns=[*FACTS, *NUMBERS]).astype(dict.fromkeys(NUMBERS, "float64"))
    enough = (table["n"] >= LEAST_SEEDS).rename("enough")  # one lucky seed must not hide what five have shown
    order = pd.concat([enough, table["mean"]], axis=1).sort_values(["enough", "mean"], ascending=False).index
    ranked = [settings[index] for index in order]
    return pd.concat([table.loc[order].reset_index(drop=True), _behind_the_best(records, ranked)], axis=1)


def _row(records: Records, setting: Setting) -> dict[str, object]:
    facts = {
        "setting": setting.label,
        "config_id": setting.config_id,
        "data": setting.values["fingerprint"],
        "n": len(setting.folders),
        "unfinished": setting.unfinished,
    }
    if not setting.folders:
        return {**facts, "per_seed": [], "identical_seeds": False}
    dice, iou = (records.per_image(setting.folders, column) for column in ("dice", "iou"))
    low, high = estimate_contrast([dice], [1.0]).interval()
    iou_low, iou_high = estimate_contrast([iou], [1.0]).interval()
    return {
        **facts,
        "mean": dice.mean(),
        "low": low,
        "high": high,
        "per_seed": dice.mean(axis=1).tolist(),
        "identical_seeds": has_identical_seeds(dice),
        "iou": iou.mean(),
        "iou_low": iou_low,
        "iou_high": iou_high,
        "median": np.median(dice, axis=1).mean(),
        "std": dice.std(axis=1).mean(),
        "min": dice.min(),
        "max": dice.max(),
        "minutes": records.of_runs(setting.folders, "seconds").mean() / 60,
    }


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
    samples = [records.per_image(one.folders, "dice") for one in (best, setting)]
    difference = estimate_contrast(samples, [1.0, -1.0])
    low, high = difference.interval()
    enough = min(len(sample) for sample in samples) >= LEAST_SEEDS and not math.isnan(difference.variance)
    return {
        "behind": difference.value,
        "behind_low": low,
        "behind_high": high,
        "p_behind": difference.p_within(0.0, math.inf) if enough else math.nan,
        "effect_size": hedges_g(samples[0].mean(axis=1), samples[1].mean(axis=1)),
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
