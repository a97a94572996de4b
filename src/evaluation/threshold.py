"""The threshold that suits the validation images best."""

from collections.abc import Iterable

import numpy as np

from src.training.metrics import dice_per_image

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
