"""Whether probabilities mean what they say, as a picture: the reliability diagram."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from src.display.figure_style import BLUE, GREY, new_figure, note, saved, styled


@styled
def reliability(ax: Axes, bins: Sequence[Mapping[str, Any]], error: float | None) -> Axes:
    """The share of foreground among the pixels of each bin, against their mean probability; the diagonal is perfect.

    `bins`: as Calibration.bins gives them; the area of a point is in proportion to its share of the pixels.
    `error`: the expected calibration error.
    """
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", zorder=1)
    probability, foreground, pixels = (
        np.array([one[key] for one in bins], dtype=float) for key in ("probability", "foreground", "pixels")
    )
    ax.plot(probability, foreground, color=BLUE, linewidth=1, zorder=2)
    ax.scatter(probability, foreground, s=8 + 150 * pixels / max(pixels.sum(), 1), color=BLUE, alpha=0.7, zorder=3)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set_xlabel("mean probability of foreground")
    ax.set_ylabel("share of foreground")
    if error is not None:
        note(ax, f"calibration error {error:.4f}", "top left")
    return ax


def save_reliability(entry: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws the calibration of an entry of test.json into `folder`, as calibration.svg and .png."""
    figure, ax = new_figure(height=3.4)
    reliability(ax, entry["calibration_bins"], entry["calibration_error"])
    return saved(figure, folder, "calibration")
