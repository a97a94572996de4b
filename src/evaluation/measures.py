"""What only an evaluation measures: calibration, the accuracy of outlines, and the best threshold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from src.training.metrics import count_pixels, dice_per_image

BINS = 15  # of equal width, as in C. Guo et al., On Calibration of Modern Neural Networks (ICML 2017)


@dataclass
class Calibration:
    """Counts pixels by their probability of foreground, image after image."""

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    foreground: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    probability: np.ndarray = field(default_factory=lambda: np.zeros(BINS))  # sums

    def add(self, probability: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> None:
        """Counts the pixels of one image where `counted`; probability float32 in [0, 1], truth and counted bool."""
        values = probability[counted].astype(np.float64)
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)  # 1.0 belongs to the last bin
        self.pixels += np.bincount(bins, minlength=BINS)
        self.foreground += np.bincount(bins[truth[counted]], minlength=BINS)
        self.probability += np.bincount(bins, weights=values, minlength=BINS)

    def error(self) -> float | None:
        """The expected calibration error, in [0, 1]; None when no pixel counted.

        Mean over all pixels of |mean probability - share of foreground| of their bin (M. Naeini et al., AAAI 2015).
        """
        total = int(self.pixels.sum())
        return float(np.abs(self.probability - self.foreground).sum() / total) if total else None

    def bins(self) -> list[dict[str, Any]]:
        """A row for each bin that has pixels: its limits, pixels, mean probability and share of foreground."""
        return [
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "pixels": int(pixels),
                "probability": float(self.probability[number] / pixels),
                "foreground": float(self.foreground[number] / pixels),
            }
            for number, pixels in enumerate(self.pixels)
            if pixels
        ]


TOLERANCE = 0.008  # of the image's diagonal, as in DAVIS (F. Perazzi et al., CVPR 2016)


def tolerance_pixels(shape: tuple[int, ...]) -> int:
    """How far apart two outlines may be in an image of `shape` (H, W) and still count as met, in whole pixels."""
    return math.ceil(TOLERANCE * math.hypot(*shape))


def boundary_f(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The boundary F-score of one image (G. Csurka et al., BMVC 2013; tolerance as in DAVIS).

    It is 2 p r / (p + r), where p is the share of the predicted outline within `tolerance_pixels` (Euclidean) of the
    true one, and r the share of the true outline within it of the predicted one. The outline are the pixels of a mask
    with a direct neighbor outside of it; the image's edge does not count as one.

    Args:
        predicted, truth: bool (H, W).

    Returns:
        A number in [0, 1]; 1 where neither mask has an outline, 0 where only one has.
    """
    ours, theirs = _outline(predicted), _outline(truth)
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    limit = tolerance_pixels(truth.shape)
    precision = float((_distance_to(theirs)[ours] <= limit).mean())
    recall = float((_distance_to(ours)[theirs] <= limit).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _outline(mask: np.ndarray) -> np.ndarray:
    """Bool (H, W): pixels of `mask` with one of their four neighbors in the image outside of it."""
    inside = np.pad(mask, 1, constant_values=True)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return mask & ~surrounded


def _distance_to(outline: np.ndarray) -> np.ndarray:
    """float32 (H, W): from each pixel to the nearest one of `outline`, in pixels, exact."""
    return cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


CANDIDATES = np.arange(1, 100, dtype=np.float32) / np.float32(100)  # 0.01 to 0.99


def best_threshold(images: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The threshold of CANDIDATES with the highest mean per-image Dice; of equal ones the nearest to 0.5.

    `images`: for each its probability, float32 (H, W) in [0, 1], and its target, uint8 (H, W). Foreground is where the
    probability is above the threshold.
    """
    dice = [
        dice_per_image(np.stack([count_pixels(probability > candidate, target) for candidate in CANDIDATES]))
        for probability, target in images
    ]
    means = np.mean(dice, axis=0)  # (99,)
    best = np.flatnonzero(means == means.max())
    return round(float(CANDIDATES[best[np.argmin(np.abs(CANDIDATES[best] - 0.5))]]), 2)
