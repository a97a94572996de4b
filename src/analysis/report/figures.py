"""The figures of a sweep: those that its runs call for, each with a caption, drawn one at a time and saved."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from src.analysis.claims.effects import Effect
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.report.plots import CURVES, curves, dots, effects, history, paired, parallel, rows_height
from src.analysis.report.searched import levels_of, searches_of
from src.analysis.report.tables import factor_columns
from src.analysis.report.unchanged import FileSet, checksum, write_changed
from src.analysis.statistics.estimates import Scores
from src.base.progress import ProgressBar
from src.display.figure_style import COLUMN_WIDTH, LOOKS, legend_height, new_figure, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 30  # of a figure with a row per setting or effect
MOST_LINES, LEAST_FACTORS = 100, 3  # of parallel coordinates
MOST_PAIRS = 6  # scatter plots of single images
PHASES = {"loss": "loss", "dice": "Dice", "accuracy": "accuracy"}  # recorded for training and for validation
PLAIN_HEIGHT = 2.3  # inches of axes with their labels, without a legend


@dataclass(frozen=True)
class Picture:
    """A figure to be drawn: the name of its files, its caption, the id of its section, its size in inches."""

    name: str
    caption: str
    section: str
    draw: partial[Axes]
    height: float
    width: float = COLUMN_WIDTH

    def figure(self) -> Figure:
        """Drawn."""
        figure, ax = new_figure(self.width, self.height)
        self.draw(ax)
        return figure

    @property
    def files(self) -> tuple[str, str]:
        """The names of its files."""
        return f"{self.name}.svg", f"{self.name}.png"

    def save(self, folder: Path) -> None:
        """Draws it and writes its files into `folder`."""
        saved(self.figure(), folder, self.name)


def pictures_of(
    records: Records, settings: Sequence[Setting], scores: pd.DataFrame, found: Sequence[Effect]
) -> list[Picture]:
    """The figures that the runs call for; `scores` of settings_scores, `found`: the effects of the factors."""
    return [
        *_searches(records),
        *_dot_plot(scores),
        *_parallel(settings, scores),
        *_forest_plot(found),
        *_pairs(found),
        *_curves(records, settings, scores),
        *_phases(records, settings, scores),
    ]


def pictures_of_two(
    records: Records, settings: tuple[Setting, Setting], scores: pd.DataFrame, first: Scores, second: Scores
) -> list[Picture]:
    """The figures of two settings on the same images; `first`, `second`: mean Dice of each image, (images,)."""
    labels = settings[0].label, settings[1].label
    caption = f"Each test image under {labels[0]} and {labels[1]}: mean Dice; above the line {labels[0]} is better."
    return [
        *_dot_plot(scores),
        *_curves(records, settings, scores),
        _scatter("images", caption, labels, first, second),
    ]


def save_pictures(pictures: Sequence[Picture], folder: Path, others: Iterable[FileSet] = ()) -> None:
    """Writes each as SVG and PNG into `folder`, and `others`, as `write_changed` does."""
    progress = ProgressBar(pictures, "figures", unit="figure", leave=False)
    drawn = ((one.files, _checksum(one), partial(one.save, folder)) for one in progress)
    write_changed(folder, chain(drawn, others))


def sources_of(pictures: Sequence[Picture], folder: Path) -> dict[str, str]:
    """The source of an `<img>` for each of the `pictures` that were saved in `folder`, by name."""
    svgs = {picture.name: (folder / f"{picture.name}.svg").read_bytes() for picture in pictures}
    return {name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in svgs.items()}


def _checksum(picture: Picture) -> str:
    """Of all that the figure shows, and of the code that draws it."""
    parts = [str(picture.width), str(picture.height), picture.draw.func.__name__]
    for name, value in picture.draw.keywords.items():
        if isinstance(value, pd.DataFrame):
            try:
                value = value.to_json(orient="split", double_precision=15)
            except (ValueError, OverflowError):  # a label of a record may hold what no encoding has
                value = value.to_dict("split")
        parts += [name, repr(value.tolist() if isinstance(value, np.ndarray) else value)]
    return checksum(json.dumps(parts).encode())


def _dot_plot(scores: pd.DataFrame) -> Iterator[Picture]:
    with_runs = scores[scores["n"] > 0]
    rows = with_runs.head(MOST_ROWS)
    if len(rows):
        caption = (
            "Test Dice of each setting: mean over seeds and images, 95 % interval for new seeds and new images, "
            f"and each seed.{_of(len(rows), len(with_runs), 'settings')}"
        )
        yield Picture("settings", caption, "settings", partial(dots, settings=rows), rows_height(len(rows)))


def _parallel(settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    with_runs = scores[scores["n"] > 0]
    rows = with_runs.head(MOST_LINES)
    factors = factor_columns(rows["setting"], settings)
    if len(factors) < LEAST_FACTORS or len(rows) < 2:
        return
    table = pd.DataFrame({**factors, "mean": rows["mean"].to_list()})
    caption = (
        "Each setting as a line through its level of each factor to its mean test Dice; levels with a higher mean over "
        f"their settings stand higher.{_of(len(rows), len(with_runs), 'settings')}"
    )
    draw, levels = partial(parallel, settings=table), max(len(set(column)) for column in factors.values())
    yield Picture("parallel", caption, "settings", draw, max(2.4, 0.3 * levels), 1.35 * (len(factors) + 1))


def _searches(records: Records) -> Iterator[Picture]:
    for number, (name, _, trials) in enumerate(searches_of(records), start=1):
        caption = f"{name}: the best validation Dice of each trial until its end, in the order of the trials."
        columns = trials[["number", "status", "dice"]]
        yield Picture(f"search_{number}", caption, f"search_{number}", partial(history, trials=columns), PLAIN_HEIGHT)
        table = levels_of(trials).assign(mean=trials["dice"]).nlargest(MOST_LINES, "mean")
        caption = (
            f"{name}: each trial as a line through its values (of numbers, the part of the range) to its validation "
            f"Dice; levels with a higher mean stand higher.{_of(len(table), len(trials), 'trials')}"
        )
        draw, width = partial(parallel, settings=table, score="validation Dice"), 1.2 * len(table.columns)
        yield Picture(f"search_{number}_parallel", caption, f"search_{number}", draw, 2.4, max(COLUMN_WIDTH, width))


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
    caption = (
        "The effect of each factor on test Dice, all else equal, with 95 % intervals for new seeds and new images."
        f"{_of(len(rows), len(known), 'effects', 'main')}"
    )
    table = pd.DataFrame(rows, columns=columns)
    yield Picture("effects", caption, "effects", partial(effects, effects=table), rows_height(len(rows)))


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
        yield _scatter(f"images_{number}", caption, (effect.first, effect.second), first, second)


def _scatter(name: str, caption: str, names: tuple[str, str], first: Scores, second: Scores) -> Picture:
    """Dice of each image, (images,) each: the first upwards, so that it is better above the line."""
    return Picture(name, caption, "images", partial(paired, first=second, second=first, names=names[::-1]), 3.4)


def _curves(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    """A figure per quantity, with the best settings in the order of the runs."""
    names = list(scores.loc[scores["n"] > 0, "setting"])
    drawn = names[: len(LOOKS)]
    labels = {folder: one.label for one in settings if one.label in drawn for folder in one.folders}
    epochs = _epochs_of(records, labels, [*CURVES, "lr_first", "lr_max"])
    if not len(epochs):
        return
    for column, quantity in CURVES.items():
        caption = (
            f"The {quantity} over epochs: mean over seeds, band from the smallest to the largest."
            f"{_of(len(drawn), len(names), 'settings')}"
        )
        draw = partial(curves, epochs=epochs, column=column)
        yield Picture(f"curves_{column}", caption, "curves", draw, PLAIN_HEIGHT + legend_height(drawn))


def _phases(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Iterator[Picture]:
    """Training and validation of the best setting of each network in one figure, as the task sheet asks."""
    by_label = {one.label: one for one in settings}
    best: dict[str, Setting] = {}
    for name in scores.loc[scores["n"] > 0, "setting"]:
        best.setdefault(str(by_label[name].values.get("model")), by_label[name])
    drawn = dict(list(best.items())[: len(LOOKS) // 2])
    networks = {folder: name for name, one in drawn.items() for folder in one.folders}
    for quantity, words in PHASES.items():
        phases = {f"train_{quantity}": "training", f"valid_{quantity}": "validation"}
        epochs = _epochs_of(records, networks, list(phases))
        if not len(epochs):
            return
        both = epochs.melt(["setting", "seed", "epoch"], list(phases), "phase", words).dropna(subset=words)
        both["setting"] += ", " + both["phase"].map(phases)
        if len(both):
            caption = (
                f"The {words} of both phases over epochs, for the best setting of each network "
                f"({'; '.join(one.label for one in drawn.values())}): mean over seeds, band from the smallest to the "
                f"largest.{_of(len(drawn), len(best), 'networks')}"
            )
            height = PLAIN_HEIGHT + legend_height(list(dict.fromkeys(both["setting"])))
            yield Picture(f"phases_{quantity}", caption, "curves", partial(curves, epochs=both, column=words), height)


def _epochs_of(records: Records, labels: Mapping[str, str], columns: Sequence[str]) -> pd.DataFrame:
    """The epochs of the runs in the folders `labels`, with `columns`, `seed`, and the label as `setting`."""
    if not len(records.epochs):
        return pd.DataFrame()
    runs = records.included.loc[records.included["folder"].isin(list(labels)), ["folder", "seed"]]
    epochs = runs.merge(records.epochs.reindex(columns=["folder", "epoch", *columns]), on="folder")
    return epochs.assign(setting=epochs["folder"].map(labels))


def _profile(effect: Effect, sign: float) -> Scores:
    """Mean Dice of each image under the first level of `effect` (sign 1) or the second (-1), with its weights."""
    weighted = zip(effect.comparison.samples, effect.comparison.hypothesis.weights, strict=True)
    return np.sum([sign * weight * sample.mean(axis=0) for sample, weight in weighted if sign * weight > 0], axis=0)


def _of(drawn: int, total: int, what: str, which: str = "best") -> str:
    return f" The {which} {drawn} of {total} {what}." if drawn < total else ""
