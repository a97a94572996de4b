"""Every setting with its scores: mean and interval over seeds and images, report A's statistics, time, and the best."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.comparison import LEAST_SEEDS
from src.analysis.statistics.estimates import LEVEL, are_alike, estimated, hedges_g

FACTS = ("setting", "config_id", "data", "n", "unfinished", "per_seed", "alike")
SCORES = ("mean", "low", "high", "iou", "iou_low", "iou_high", "median", "std", "min", "max")
NUMBERS = (*SCORES, "minutes", "reported", "reported_to")


class PrintedScore(Protocol):
    """A test Dice that a report printed for one setting; `test_dice_to` is the end of a range."""

    @property
    def setting(self) -> Mapping[str, Any]: ...
    @property
    def test_dice(self) -> float: ...
    @property
    def test_dice_to(self) -> float | None: ...


class Reported(Protocol):
    """What a report printed, and with which data and settings."""

    @property
    def where(self) -> Mapping[str, Any]: ...
    @property
    def reported_with(self) -> Mapping[str, Any]: ...
    @property
    def printed(self) -> Sequence[PrintedScore]: ...


def settings_scores(records: Records, settings: Sequence[Setting], files: Sequence[Reported] = ()) -> pd.DataFrame:
    """One row a setting: those with at least 3 seeds first, best mean test Dice on top, then those with fewer.

    Columns: setting (label), config_id, data (fingerprint), n (finished seeds), unfinished, mean, low and high (95 %
    interval for new seeds and new images), per_seed (list of means), alike (whether seeds gave the very same, so that
    no interval is known), iou, iou_low and iou_high, median and std (of the
    images of a run, mean over runs), min and max (of all images of all runs), minutes (worked, mean over runs),
    reported and reported_to (what a report of `files` printed for just this setting; a range has both). Dice and IoU
    are in [0, 1]; what is not known is missing.

    Against the best of its data, the first row of them: behind, behind_low, behind_high (what it has less), p_behind
    (times the number of pairs there are, since the best was picked by the same scores), told_apart (whether p_behind is
    below 0.05), effect_size (Hedges' g). No p_behind with fewer than 3 seeds, or where seeds are alike.
    """
    rows = [_row(records, setting) | _reported(setting, files) for setting in settings]
    table = pd.DataFrame(rows, columns=[*FACTS, *NUMBERS]).astype(dict.fromkeys(NUMBERS, "float64"))
    enough = (table["n"] >= LEAST_SEEDS).rename("enough")  # one lucky seed is not to hide what five have shown
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
        return {**facts, "per_seed": [], "alike": False}
    dice, iou = (records.per_image(setting.folders, column) for column in ("dice", "iou"))
    low, high = estimated([dice], [1.0]).interval()
    iou_low, iou_high = estimated([iou], [1.0]).interval()
    return {
        **facts,
        "mean": dice.mean(),
        "low": low,
        "high": high,
        "per_seed": dice.mean(axis=1).tolist(),
        "alike": are_alike(dice),
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
    """For each of `ranked` (best first) what it has less than the first with the same data."""
    best: dict[object, Setting] = {}
    for setting in ranked:
        best.setdefault(setting.values["fingerprint"], setting)
    rows = [_behind(records, best[setting.values["fingerprint"]], setting) for setting in ranked]
    table = pd.DataFrame(rows, columns=["behind", "behind_low", "behind_high", "p_behind", "effect_size"])
    judged = Counter(setting.values["fingerprint"] for setting in ranked if len(setting.folders) >= LEAST_SEEDS)
    pairs = sum(math.comb(count, 2) for count in judged.values())
    p_values = (pairs * table["p_behind"]).clip(upper=1.0)
    return table.assign(p_behind=p_values, told_apart=p_values < LEVEL)


def _behind(records: Records, best: Setting, setting: Setting) -> dict[str, float]:
    if setting is best or not setting.folders:
        return {}
    arms = [records.per_image(one.folders, "dice") for one in (best, setting)]
    difference = estimated(arms, [1.0, -1.0])
    low, high = difference.interval()
    enough = min(len(arm) for arm in arms) >= LEAST_SEEDS and not math.isnan(difference.variance)
    return {
        "behind": difference.value,
        "behind_low": low,
        "behind_high": high,
        "p_behind": difference.p_within(0.0, math.inf) if enough else math.nan,
        "effect_size": hedges_g(arms[0].mean(axis=1), arms[1].mean(axis=1)),
    }


def _reported(setting: Setting, files: Sequence[Reported]) -> dict[str, float | None]:
    for file in files:
        # beside a smaller data set of the same kind too, since the page says how many images there were
        others = {key: value for key, value in file.reported_with.items() if key != "train_images"}
        for printed in file.printed:
            if setting.meets({**file.where, **others, **printed.setting}):
                return {"reported": printed.test_dice, "reported_to": printed.test_dice_to}
    return {}
