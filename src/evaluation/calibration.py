"""Whether probabilities mean what they say: of the pixels with 0.8, are 80 % foreground?"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
