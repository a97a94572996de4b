"""How predictions are scored: the choices that make one published Dice differ from another for the same network."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from src.data.images import BorderPolicy
from src.prediction.load_model import Tta
from src.training.metrics import dice_per_image

Size = Literal["square", "native"]
BORDERS: tuple[BorderPolicy, ...] = ("foreground", "background", "ignore")
SIZES: tuple[Size, ...] = ("square", "native")


@dataclass(frozen=True)
class Protocol:
    """`size`: scored at the network's square or at each image's own size; `threshold`: above it is foreground.

    `chosen` says where the threshold is from: None for a number that was given.
    """

    border: BorderPolicy
    size: Size
    tta: Tta
    threshold: float
    chosen: Literal["valid"] | None = None

    @property
    def name(self) -> str:
        """The key in test.json: `headline`, or what differs from it, such as `native_border_ignore_flips`."""
        differs = [
            "native" if self.size == "native" else "",
            f"border_{self.border}" if self.border != "foreground" else "",
            self.tta if self.tta != "none" else "",
            self._threshold_name(),
        ]
        return "_".join(filter(None, differs)) or "headline"

    def _threshold_name(self) -> str:
        if self.chosen is not None:
            return f"threshold_{self.chosen}"
        return f"threshold_{self.threshold:g}" if self.threshold != 0.5 else ""


def protocols_of(tta: Tta, threshold: float, chosen: Literal["valid"] | None) -> list[Protocol]:
    """Every border at every size, the headline's way first."""
    return [Protocol(border, size, tta, threshold, chosen) for size, border in product(SIZES, BORDERS)]


CANDIDATES = np.arange(1, 100, dtype=np.float32) / np.float32(100)  # 0.01 to 0.99


def best_threshold(images: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The threshold of CANDIDATES with the highest mean per-image Dice; of equal ones the nearest to 0.5.

    `images`: for each its probability, float32 (H, W) in [0, 1], and its truth, bool (H, W). Foreground is where the
    probability is above the threshold. Raises ValueError when there is no image.
    """
    dice = [dice_per_image(_counts(probability, truth)) for probability, truth in images]
    if not dice:
        raise ValueError("there are no validation images to choose a threshold on")
    means = np.mean(dice, axis=0)  # (99,)
    best = np.flatnonzero(means == means.max())
    return round(float(CANDIDATES[best[np.argmin(np.abs(CANDIDATES[best] - 0.5))]]), 2)


def _counts(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """tp, fp, fn, tn of one image at every candidate, int64 (99, 4)."""
    passed = np.searchsorted(CANDIDATES, probability.ravel())  # how many candidates each pixel is above
    above = [
        part.sum() - np.cumsum(np.bincount(part_of, minlength=len(CANDIDATES) + 1))[:-1]
        for part, part_of in ((truth.ravel(), passed[truth.ravel()]), (~truth.ravel(), passed[~truth.ravel()]))
    ]
    true_positive, false_positive = above
    return np.stack(
        [true_positive, false_positive, truth.sum() - true_positive, (~truth).sum() - false_positive], axis=1
    )
