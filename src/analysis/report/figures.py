"""The figures of a sweep: which ones its runs call for, each with a caption, drawn one at a time and saved."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.report.plots import curves, dice_against_time, dots, effects, paired, rows_height
from src.analysis.statistics.effects import Effect
from src.display.figure_style import COLUMN_WIDTH, LOOKS, legend_height, new_figure, saved

MOST_ROWS = 30  # of a figure with a row for each setting or effect
MOST_PAIRS = 6  # scatter plots of single images
LONGEST_NAME = 100  # characters of a file's name
MOST_NETWORKS = 4  # with curves of their own
CURVES = {  # report A's figures 2 to 19
    "lr": "Learning rate",
    "train_loss": "Training loss",
    "train_dice": "Training Dice",
    "valid_loss": "Validation loss",
    "valid_dice": "Validation Dice",
}
PLAIN_HEIGHT = 2.3  # inches of axes with their labels, but without a legend


@dataclass(frozen=True)
class Picture:
    """A figure yet to be drawn: the name of its files, what it shows in a sentence, its part of the report.

    `group`: what figures of one part that belong together are headed by.
    """

    name: str
    caption: str
    part: str
    draw: Callable[..., Axes]
    height: float
    group: str = ""

    def figure(self) -> Figure:
        """Drawn at column width."""
        figure, ax = new_figure(COLUMN_WIDTH, self.height)
        self.draw(ax)
        return figure


def pictures_of(
    records: Records, settings: Sequence[Setting], scores: pd.DataFrame, found: Sequence[Effect]
) -> list[Picture]:
    """What the runs call for; `scores` as of settings_scores, `found` the effects of the factors."""
    return [
        *_dot_plot(scores),
        *_forest(found),
        *_against_time(records, settings, scores),
        *_pairs(found),
        *_all_curves(records, settings, scores),
    ]


def save_pictures(pictures: Sequence[Picture], folder: Path) -> None:
    """Writes each as SVG and PNG into `folder`."""
    for picture in tqdm(pictures, "figures", unit="figure", disable=None, leave=False):
        saved(picture.figure(), folder, picture.name)


def _dot_plot(scores: pd.DataFrame) -> Iterator[Picture]:
    rows = scores[scores["n"] > 0].head(MOST_ROWS)
    table = rows.assign(seeds=rows["per_seed"])
    if len(rows):
        yield Picture(
            "settings",
            "Test Dice of each setting: mean over seeds and images, 95 % interval for new seeds and new images, "
            f"and each seed.{_of(len(rows), int((scores['n'] > 0).sum()), 'settings')}",
            "settings",
            partial(dots, settings=table),
            rows_height(len(rows)),
        )


def _forest(found: Sequence[Effect]) -> Iterator[Picture]:
    known = [effect for effect in found if effect.comparison.shown is not None]
    answers = [effect for effect in known if effect.is_main]
    told = known if len(known) <= MOST_ROWS else answers[:MOST_ROWS]  # without room, the parts of means go first
    rows = [
        dict(zip(("comparison", "effect", "low", "high", "verdict"), (effect.name, *shown, _word(effect)), strict=True))
        for effect in told
        if (shown := effect.comparison.shown) is not None
    ]
    without_parts = " The parts of means are in the table." if len(rows) < len(known) > len(answers) else ""
    if rows:
        yield Picture(
            "effects",
            "What each factor does to test Dice, all else equal, with 95 % intervals for new seeds and new images."
            f"{without_parts}{_of(len(rows), len(known if told is known else answers), 'answers', 'first')}",
            "effects",
            partial(effects, effects=pd.DataFrame(rows)),
            rows_height(len(rows)),
        )


def _against_time(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    counted = records.counted.set_index("folder")
    own = {setting.label: counted.loc[list(setting.folders)] for setting in settings if setting.folders}
    rows = scores[scores["setting"].isin(list(own))]
    table = rows.assign(
        minutes=[own[name]["train_seconds"].mean() / 60 for name in rows["setting"]],
        alone=[bool(own[name]["alone"].fillna(False).all()) for name in rows["setting"]],
    )
    if table["minutes"].notna().any():
        yield Picture(
            "dice_against_time",
            "Test Dice of the best settings against the time their training takes.",
            "settings",
            partial(dice_against_time, settings=table),
            PLAIN_HEIGHT + legend_height(list(rows["setting"].head(len(LOOKS)))),
        )


def _pairs(found: Sequence[Effect]) -> Iterator[Picture]:
    both = [effect for effect in found if effect.is_main and effect.comparison.arms and not effect.comparison.problem]
    for number, effect in enumerate(both[:MOST_PAIRS], start=1):
        arms = effect.comparison.arms
        first, second = (_profile(effect, sign) for sign in (1.0, -1.0))
        yield Picture(
            _file_name(f"images_{number}_{effect.factor}"),
            f"Each test image under {effect.first} and {effect.second}: mean Dice over "
            f"{'seeds' if len(arms) == 2 else 'seeds and contexts'}; above the line {effect.first} is better."
            f"{_of(min(len(both), MOST_PAIRS), len(both), 'such figures', 'first')}",
            "images",
            partial(paired, first=second, second=first, names=(effect.second, effect.first)),
            3.4,
        )


def _all_curves(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    """For each network a figure for each quantity, with its best settings.

    They come in the order of the table of runs, so that what two networks have in common looks the same in both.
    """
    rank = {name: number for number, name in enumerate(scores["setting"])}
    networks: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.folders:
            networks.setdefault(str(setting.values.get("model")), []).append(setting)
    for number, (model, own) in enumerate(list(networks.items())[:MOST_NETWORKS], start=1):
        best = sorted(own, key=lambda setting: rank[setting.label])[: len(LOOKS)]
        shown = [setting for setting in own if setting in best]
        epochs = _epochs_of(records, shown)
        for column, words in CURVES.items() if len(epochs) else ():
            yield Picture(
                _file_name(f"curves_{model}_{column}", number),
                f"{words} of {model} over epochs: mean over seeds, band from the smallest to the largest."
                f"{_of(len(shown), len(own), 'settings')}"
                f"{_of(min(len(networks), MOST_NETWORKS), len(networks), 'networks', 'first')}",
                "curves",
                partial(curves, epochs=epochs, column=column),
                PLAIN_HEIGHT + legend_height([setting.label for setting in shown]),
                model,
            )


def _epochs_of(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """The epochs of all runs of `settings`, in that order, with `setting` and `seed` beside them."""
    seeds = dict(zip(records.counted["folder"], records.counted["seed"], strict=True))
    parts = []
    for setting in settings:
        for folder in setting.folders:
            try:
                parts.append(records.curve(folder).assign(setting=setting.label, seed=seeds[folder]))
            except KeyError:
                continue  # its epochs are not on record
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _profile(effect: Effect, sign: float) -> npt.NDArray[np.float64]:
    """Mean Dice of each image under the first level of `effect` (sign 1) or the second (-1), weighed as it does."""
    weighted = zip(effect.comparison.arms, effect.comparison.question.weights, strict=True)
    return np.sum([sign * weight * arm.mean(axis=0) for arm, weight in weighted if sign * weight > 0], axis=0)


def _word(effect: Effect) -> str:
    return effect.word if effect.is_main else "part of a mean"


def _file_name(name: str, number: int | None = None) -> str:
    """`name` without signs that mean something in a path; where that changed it, with the `number`."""
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)[:LONGEST_NAME]
    return safe if number is None or safe == name else f"{safe}_{number}"


def _of(shown: int, there: int, what: str, which: str = "best") -> str:
    return f" The {which} {shown} of {there} {what}." if shown < there else ""
