"""Examples of any size to draw: a photo of noise, a truth, and a prediction that misses some and invents some."""

import numpy as np

from src.data.images import FOREGROUND, IGNORED
from src.display.panels import Example

# One pixel of each kind and more, 4 × 4: the truth is the left half but for an ignored pixel, the prediction the upper.
TARGET = np.array(
    [
        [FOREGROUND, FOREGROUND, 0, 0],
        [FOREGROUND, IGNORED, 0, 0],
        [FOREGROUND, FOREGROUND, 0, 0],
        [FOREGROUND, FOREGROUND, 0, 0],
    ],
    dtype=np.uint8,
)
PROBABILITY = np.array([[0.9] * 4, [0.6] * 4, [0.5] * 4, [0.1] * 4], dtype=np.float32)  # 0.5 is not above 0.5


def seen(stem, photo, target, probability, threshold, dice) -> Example:
    """An example whose truth comes as FOREGROUND, 0 and IGNORED."""
    return Example(stem, photo, target == FOREGROUND, target == IGNORED, probability, threshold, dice)


def small(stem: str = "Pet_1", dice: float = 0.5, threshold: float = 0.5) -> Example:
    """The example of 4 × 4 pixels."""
    photo = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return seen(stem, photo, TARGET, PROBABILITY, threshold, dice)


def example(height: int, width: int, *, ignored: bool = True, empty: bool = False, stem: str = "Pet_1") -> Example:
    """One of `height` × `width` pixels; `empty`: neither truth nor prediction has foreground."""
    target = np.zeros((height, width), dtype=np.uint8)
    probability = np.zeros((height, width), dtype=np.float32)
    if not empty:
        target[: -(-height // 2), : -(-width // 2)] = FOREGROUND
        probability[: -(-height // 2)] = 0.9
    if ignored:
        target[-1] = IGNORED
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return seen(stem, photo, target, probability, 0.5, 0.75)
