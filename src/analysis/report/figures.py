"""The figures of a sweep: those that its runs call for, each with a caption, drawn one at a time and saved."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from src.analysis.claims.effects import Effect
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.report.plots import curves, dice_against_time, dots, effects, paired, rows_height
from src.analysis.statistics.estimates import Scores
from src.display.figure_style import COLUMN_WIDTH, LOOKS, legend_height, new_figure, saved

MOST_ROWS = 30  # of a figure with a row per setting or effect
MOST_PAIRS = 6  # scatter plots of single images
LONGEST_NAME = 100  # characters of a file's name
MOST_NETWORKS = 4  # with curves
CURVES = {  # report A's figures 2 to 19
    "lr": "Learning rate",
    "train_loss": "Training loss",
    "train_dice": "Training Dice",
    "valid_loss": "Validation loss",
    "valid_dice": "Validation Dice",
}
PLAIN_HEIGHT = 2.3  # inches of axes with their labels, without a legend


@dataclass(frozen=True)
class Picture:
    """A figure to be drawn: the name of its files, its caption, its section; `group`: a heading within the section."""

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
    """The figures that the runs call for; `scores` of settings_scores, `found`: the effects of the factors."""
    return [
        *_dot_plot(scores),
        *_forest_plot(found),
        *_against_time(records, settings, scores),
        *_pairs(found),
        *_all_curves(records, settings, scores),
    ]


def save_pictures(pictures: Sequence[Picture], folder: Path) -> None:
    """Writes each as SVG and PNG into `folder`."""
    for picture in tqdm(pictures, "figures", unit="figure", disable=None, leave=False):
        saved(picture.figure(), folder, picture.name)


def _dot_plot(scores: pd.DataFrame) -> Iterator[Picture]:
    with_runs = scores[scores["n"] > 0]
    rows = with_runs.head(MOST_ROWS)
    if len(rows):
        caption = (
            "Test Dice of each setting: mean over seeds and images, 95 % interval for new seeds and new images, "
            f"and each seed.{_of(len(rows), len(with_runs), 'settings')}"
        )
        yield Picture("settings", caption, "settings", partial(dots, settings=rows), rows_height(len(rows)))


def _forest_plot(found: Sequence[Effect]) -> Iterator[Picture]:
    known = [effect for effect in found if effect.comparison.display_values is not None]
    main = [effect for effect in known if effect.is_main]
    chosen = known if len(known) <= MOST_ROWS else main[:MOST_ROWS]  # the contexts of means are the first to go
    columns = ("comparison", "effect", "low", "high", "verdict")
    rows = [
        (one.name, *(one.comparison.display_values or ()), one.status if one.is_main else "part of a mean")
        for one in chosen
    ]
    if not rows:
        return
    in_table = " The contexts of means are in the table." if len(rows) < len(known) > len(main) else ""
    caption = (
        "The effect of each factor on test Dice, all else equal, with 95 % intervals for new seeds and new images."
        f"{in_table}{_of(len(rows), len(known if chosen is known else main), 'effects', 'first')}"
    )
    table = pd.DataFrame(rows, columns=columns)
    yield Picture("effects", caption, "effects", partial(effects, effects=table), rows_height(len(rows)))


def _against_time(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    own = {one.label: list(one.folders) for one in settings if one.folders}
    rows = scores[scores["setting"].isin(list(own))]
    table = rows.assign(
        minutes=[records.of_runs(own[name], "train_seconds").mean() / 60 for name in rows["setting"]],
        exclusive=[bool(records.of_runs(own[name], "exclusive").fillna(False).all()) for name in rows["setting"]],
    )
    if table["minutes"].notna().any():
        caption = "Test Dice of the best settings against the time of their training."
        height = PLAIN_HEIGHT + legend_height(list(rows["setting"].head(len(LOOKS))))
        yield Picture("dice_against_time", caption, "settings", partial(dice_against_time, settings=table), height)


def _pairs(found: Sequence[Effect]) -> Iterator[Picture]:
    main = [
        effect for effect in found if effect.is_main and effect.comparison.samples and not effect.comparison.problem
    ]
    for number, effect in enumerate(main[:MOST_PAIRS], start=1):
        first, second = (_profile(effect, sign) for sign in (1.0, -1.0))
        over = "seeds" if len(effect.comparison.samples) == 2 else "seeds and contexts"
        caption = (
            f"Each test image under {effect.first} and {effect.second}: mean Dice over {over}; above the line "
            f"{effect.first} is better.{_of(min(len(main), MOST_PAIRS), len(main), 'such figures', 'first')}"
        )
        draw = partial(paired, first=second, second=first, names=(effect.second, effect.first))
        yield Picture(_file_name(f"images_{number}_{effect.factor}"), caption, "images", draw, 3.4)


def _all_curves(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    """For each network a figure per quantity, with its best settings in the order of the runs.

    So what two networks have in common looks the same for both.
    """
    rank = {name: number for number, name in enumerate(scores["setting"])}
    networks: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.folders:
            networks.setdefault(str(setting.values.get("model")), []).append(setting)
    for number, (model, own) in enumerate(list(networks.items())[:MOST_NETWORKS], start=1):
        best = sorted(own, key=lambda setting: rank[setting.label])[: len(LOOKS)]
        chosen = [setting for setting in own if setting in best]
        epochs = _epochs_of(records, chosen)
        for column, words in CURVES.items() if len(epochs) else ():
            caption = (
                f"{words} of {model} over epochs: mean over seeds, band from the smallest to the largest."
                f"{_of(len(chosen), len(own), 'settings')}"
                f"{_of(min(len(networks), MOST_NETWORKS), len(networks), 'networks', 'first')}"
            )
            height = PLAIN_HEIGHT + legend_height([setting.label for setting in chosen])
            draw = partial(curves, epochs=epochs, column=column)
            yield Picture(_file_name(f"curves_{model}_{column}", number), caption, "curves", draw, height, model)


def _epochs_of(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """The epochs of all runs of `settings`, in that order, with the columns `setting` and `seed`."""
    seeds = dict(zip(records.included["folder"], records.included["seed"], strict=True))
    with_epochs = set(records.epochs["folder"]) if len(records.epochs) else set()
    parts = [
        records.curve(folder).assign(setting=setting.label, seed=seeds[folder])
        for setting in settings
        for folder in setting.folders
        if folder in with_epochs
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _profile(effect: Effect, sign: float) -> Scores:
    """Mean Dice of each image under the first level of `effect` (sign 1) or the second (-1), with its weights."""
    weighted = zip(effect.comparison.samples, effect.comparison.hypothesis.weights, strict=True)
    return np.sum([sign * weight * sample.mean(axis=0) for sample, weight in weighted if sign * weight > 0], axis=0)


def _file_name(name: str, number: int | None = None) -> str:
    """`name` without characters that are special in a path; if that changed it, with the `number`."""
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)[:LONGEST_NAME]
    return safe if number is None or safe == name else f"{safe}_{number}"


def _of(drawn: int, total: int, what: str, which: str = "best") -> str:
    return f" The {which} {drawn} of {total} {what}." if drawn < total else ""
