"""What reports printed for a setting, beside the same number of the recorded runs."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.analysis.claims.claim_file import ClaimFile, Printed
from src.analysis.claims.comparison import folders_by_device
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.statistics.estimates import estimate_contrast
from src.analysis.statistics.metrics import METRICS

# what no report has: a setting with one of these is not a report's
OURS = ("mix", "init_from", "trainer.ema_decay", "trainer.flip_tta", "model.attention", "model.residual")
# they make runs smaller or larger; a setting that is smaller than the report's is compared, and its size is named
SIZES = ("data.image_size", "model.width", "trainer.epochs", "trainer.batch_size", "train_images")
COLUMNS = ["source", "setting", "metric", "printed", "printed_to", "here", "low", "high", "seeds", "other_conditions"]


def printed_beside_measured(records: Records, judged: Sequence[tuple[ClaimFile, Sequence[Setting]]]) -> pd.DataFrame:
    """One row for each number that a report printed and each of its settings that has runs.

    Columns: source, setting (label), metric (its key in METRICS), printed and printed_to (the ends of a range), here
    (the mean over runs), low and high (95 % interval for new seeds, of scores of single images for new images too),
    seeds, and other_conditions, in what the runs differ from the report. Units are the records': Dice in [0, 1],
    seconds, bytes. An interval is missing with fewer than 2 seeds, and for costs, which are those of runs that had a
    device of one kind to themselves.

    `judged`: the files, each with the settings that it may be about.
    """
    rows = [
        {"source": file.source, "setting": setting.label, **numbers, "other_conditions": _differing(file, one, setting)}
        for file, settings in judged
        for one in file.printed
        for setting in _its_settings(file, one, settings)
        for numbers in _numbers(records, one, setting)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _its_settings(file: ClaimFile, printed: Printed, settings: Sequence[Setting]) -> list[Setting]:
    """Those that differ from the printed one only in conditions and size; if some have its size, those alone."""
    plain = dict.fromkeys(OURS)
    choices = {key: value for key, value in printed.setting.items() if key not in SIZES}
    alike = [one for one in settings if one.folders and one.meets({**plain, **file.where, **choices})]
    exact = [one for one in alike if one.meets(printed.setting)]
    return exact or alike


def _numbers(records: Records, printed: Printed, setting: Setting) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, number in printed.numbers.items():
        metric = METRICS[name]
        (sample,) = metric.samples(records, [setting.folders if not metric.cost else _comparable(records, setting)])
        low, high = math.nan, math.nan
        if len(sample) and not metric.cost:
            low, high = estimate_contrast([sample], [1.0], metric.is_per_image).interval()
            low, high = np.clip((low, high), 0, 1) if metric.quality else (low, high)
        here = float(np.mean(sample)) if len(sample) else math.nan
        rows.append(
            {"metric": name, "printed": number[0], "printed_to": number[1], "here": here, "low": low, "high": high}
            | {"seeds": len(sample)}
        )
    return rows


def _comparable(records: Records, setting: Setting) -> Sequence[str]:
    """The folders of the runs of `setting` whose costs mean something: each alone on its device, all on one kind."""
    by_device = folders_by_device(records, [setting])
    return by_device.popitem()[1][0] if len(by_device) == 1 else []


def _differing(file: ClaimFile, printed: Printed, setting: Setting) -> str:
    """`model.width 8 (64), trainer.epochs 6 (50)`: what the runs have, and the report; empty if all is alike."""
    wanted = {**file.reported_with, **{key: value for key, value in printed.setting.items() if key in SIZES}}
    return ", ".join(
        f"{key} {setting.values.get(key)} ({value})" for key, value in wanted.items() if not setting.meets({key: value})
    )
