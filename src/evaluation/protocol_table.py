"""The protocol table: the same predictions under every protocol, side by side, so that published numbers compare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from src.display.figure_style import BLUE, GREY, new_figure, note, saved, styled
from src.display.text import Columns, markdown_table, markdown_text
from src.evaluation.measures import TOLERANCE

BORDERS = {"foreground": "foreground", "background": "background", "ignore": "left out"}
RIGHT = ("Dice per image", "batch-flattened", "pooled", "IoU", "boundary F", "precision", "recall", "ECE")


def table_columns(entries: Mapping[str, Mapping[str, Any]]) -> Columns:
    """A row for each protocol of `entries`, as test.json has them."""
    rows = [_row(name, entry) for name, entry in entries.items()]
    return {column: [row[column] for row in rows] for column in rows[0]}


def table_notes(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences that explain the columns of the table and what each protocol does to a published number."""
    first = next(iter(entries.values()))
    single = [entry["dice"]["mean"] for entry in entries.values()]
    every = [*single, *(entry["dice_batch_flattened"] for entry in entries.values())]
    every += [entry["pooled_dice"] for entry in entries.values()]
    notes = [
        f"The same predictions score {min(every):.4f} to {max(every):.4f}, a range of "
        f"{100 * (max(every) - min(every)):.2f} points, by the protocol alone.",
        "Per image: mean over images of 2 |P∩G| / (|P| + |G|), with 1 where both are empty (report A's Table 1, report "
        "B's test at batch 1, report C's formula).",
        f"Batch-flattened: each batch of {first['batch_size']} taken as one image, mean over batches (report A's "
        "curves, report B's validation); with 1e-8 in the denominator it is 0 where both are empty.",
        "Pooled: all pixels of all images as one image.",
        f"{first['images_both_empty']} of {first['images']} images have neither true nor predicted foreground: they "
        f"count 1 here; with report A's 0 the first row's Dice per image would be {first['dice_both_empty_as_0']:.4f}.",
        "Report A counts the border as foreground. Square: scored at the "
        f"{first['image_size']} pixels of the network; native: probabilities enlarged bilinearly to each image's size.",
        f"Boundary F: outlines within {TOLERANCE:.1%} of the image's diagonal count as met (at the square "
        "as at the image's own size); not defined where the border is left out. ECE: calibration error over 15 bins.",
    ]
    # not from equal scores: a network that predicts nothing scores 0 whatever the border is
    at_one_size = [
        entry for entry in entries.values() if entry["size"] == first["size"] and entry["border"] != "ignore"
    ]
    if len({entry["true_foreground"] for entry in at_one_size}) == 1:
        notes.append("The three borders agree: these masks have no border class.")
    if first["threshold_chosen_on"]:
        notes.append(f"Threshold {first['threshold']:g}: the best mean Dice per image on the validation images.")
    return notes


def table_markdown(title: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The table and its notes as Markdown, with Dice by species and breed where they are known."""
    first = next(iter(entries.values()))
    parts = [f"# {markdown_text(title)}", markdown_table(table_columns(entries), RIGHT), *table_notes(entries)]
    for what in ("species", "breed"):
        groups = first[f"by_{what}"]
        columns = {
            what: [name.replace("_", " ") for name in groups],
            "images": [str(group["images"]) for group in groups.values()],
            "Dice": [f"{group['dice']:.4f}" for group in groups.values()],
        }
        if groups:
            parts += [f"## By {what}, the hardest first", markdown_table(columns, ("images", "Dice"))]
    return "\n\n".join(parts) + "\n"


def _row(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    boundary, calibration = entry["boundary_f"], entry["calibration_error"]
    return {
        "protocol": name,
        "border": BORDERS[entry["border"]],
        "scored at": entry["size"],
        "Dice per image": f"{entry['dice']['mean']:.4f}",
        "batch-flattened": f"{entry['dice_batch_flattened']:.4f}",
        "pooled": f"{entry['pooled_dice']:.4f}",
        "IoU": f"{entry['iou']['mean']:.4f}",
        "boundary F": "-" if boundary is None else f"{boundary['mean']:.4f}",
        "precision": f"{entry['precision']['mean']:.4f}",
        "recall": f"{entry['recall']['mean']:.4f}",
        "ECE": "-" if calibration is None else f"{calibration:.4f}",
    }


def draw_reliability(entry: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws the calibration of an entry of test.json into `folder`, as calibration.svg and .png.

    The share of foreground among the pixels of each bin, against their mean probability; the diagonal is perfect, and
    the area of a point is in proportion to its share of the pixels.
    """
    figure, ax = new_figure(height=3.4)
    _reliability(ax, entry["calibration_bins"])
    if entry["calibration_error"] is not None:
        note(ax, f"calibration error {entry['calibration_error']:.4f}", "top left")
    return saved(figure, folder, "calibration")


@styled
def _reliability(ax: Axes, bins: Sequence[Mapping[str, Any]]) -> Axes:
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", zorder=1)
    probability, foreground, pixels = (
        np.array([one[key] for one in bins], dtype=float) for key in ("probability", "foreground", "pixels")
    )
    ax.plot(probability, foreground, color=BLUE, linewidth=1, zorder=2)
    ax.scatter(probability, foreground, s=8 + 150 * pixels / max(pixels.sum(), 1), color=BLUE, alpha=0.7, zorder=3)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel="mean probability of foreground", ylabel="share of foreground")
    return ax
