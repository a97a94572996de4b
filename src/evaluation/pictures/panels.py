"""The panels in which an image is shown: its truth, its prediction, the probabilities behind it, the errors in it."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from src.data.images import FOREGROUND, IGNORED
from src.display.figure_style import BLACK, BLUE, VERMILLION

STYLES = {
    "panels": ("image", "truth", "prediction", "probability", "errors"),
    "report_a": ("image", "truth", "probability", "mask"),  # report A's figure of 4 panels
    "report_a_overlay": ("image", "mask", "mask in red"),  # and that of 3
    "report_d": ("truth and prediction",),  # report D's overlay
}

WHITE, PALE, DARK = "#FFFFFF", "#D4D4D4", "#707070"
GREEN, RED, YELLOW = "#00A651", "#E3242B", "#FFD400"  # report D's truth and prediction, and both
VIRIDIS = "viridis"  # probabilities from 0 to 1: its steps look alike, and it also reads in grey
DASH = 20  # pixels of an outline from one dash to the next


@dataclass(frozen=True)
class Example:
    """An image with all that is drawn of it, H × W pixels.

    `image`: uint8 (H, W, 3), RGB. `target`: uint8 (H, W) of FOREGROUND, 0 and IGNORED. `probability`: of foreground,
    float32 (H, W) in [0, 1]; above `threshold` it is predicted. `dice`: what the image scored, in [0, 1]. Raises
    ValueError for arrays of different sizes, or without a pixel.
    """

    stem: str
    image: np.ndarray
    target: np.ndarray
    probability: np.ndarray
    threshold: float
    dice: float

    def __post_init__(self) -> None:
        height_and_width = self.target.shape
        if self.image.shape != (*height_and_width, 3) or self.probability.shape != height_and_width:
            raise ValueError(
                f"{self.stem}: image {self.image.shape}, target {self.target.shape} and probability "
                f"{self.probability.shape}; they must be (H, W, 3), (H, W) and (H, W)"
            )
        if 0 in height_and_width:
            raise ValueError(f"{self.stem}: has no pixels, {height_and_width}")

    @property
    def truth(self) -> np.ndarray:
        """Where foreground is, bool (H, W)."""
        return self.target == FOREGROUND

    @property
    def ignored(self) -> np.ndarray:
        """What is not scored, bool (H, W)."""
        return self.target == IGNORED

    @property
    def predicted(self) -> np.ndarray:
        """Where foreground is predicted, bool (H, W)."""
        return self.probability > self.threshold

    @property
    def title(self) -> str:
        """Its score and its name."""
        return f"Dice {self.dice:.4f} · {self.stem}"


def panel(example: Example, name: str, box: int) -> np.ndarray:
    """One of the panels in STYLES, uint8 (h, w, 3), whose longer side is `box` pixels."""
    if name == "truth and prediction":
        return _outlined(example, box)
    return fitted(PAINTERS[name](example), box)


def legend(name: str, threshold: float, some_ignored: bool) -> dict[str, str]:
    """What the colors of a panel mean: words and color (or VIRIDIS)."""
    entries = {
        "truth": {"foreground": WHITE, "background": BLACK},
        "prediction": {f"probability above {threshold:g}": WHITE},
        "mask": {f"probability above {threshold:g}": WHITE},
        "mask in red": {f"probability above {threshold:g}": RED},
        "probability": {f"0 to 1, threshold {threshold:g}": VIRIDIS},
        "errors": {"missed: in the truth only": BLUE, "invented: predicted only": VERMILLION, "right: in both": PALE},
        "truth and prediction": {
            "truth only, solid outline": GREEN,
            "prediction only, dashed outline": RED,
            "both": YELLOW,
        },
    }.get(name, {})
    ignored = some_ignored and name in ("truth", "errors", "truth and prediction")
    return {**entries, **({"ignored: not scored": DARK} if ignored else {})}


def rgb(color: str) -> tuple[int, int, int]:
    """A color such as #0072B2 as three numbers from 0 to 255."""
    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return red, green, blue


def viridis(probability: np.ndarray) -> np.ndarray:
    """uint8 (…, 3): the colors of probabilities, float (…), from 0 to 1."""
    return matplotlib.colormaps[VIRIDIS](probability, bytes=True)[..., :3]


def fitted(layer: np.ndarray, box: int) -> np.ndarray:
    """`layer` (H, W) or (H, W, 3) with a longer side of `box` pixels, each the mean of what it covers.

    So a larger picture shows the pixels as squares, and in a smaller one a thin error grows pale but does not vanish.
    """
    height, width = layer.shape[:2]
    scale = box / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA)


def _painted(example: Example, ground: str, *areas: tuple[np.ndarray, str]) -> np.ndarray:
    """uint8 (H, W, 3): each of `areas`, bool (H, W), in its color over `ground`, ignored pixels in grey."""
    picture = np.full((*example.target.shape, 3), rgb(ground), dtype=np.uint8)
    for where, color in (*areas, (example.ignored, DARK)):
        picture[where] = rgb(color)
    return picture


def _mask(example: Example) -> np.ndarray:
    return cv2.cvtColor(255 * example.predicted.astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _errors(example: Example) -> np.ndarray:
    truth, predicted = example.truth, example.predicted
    return _painted(
        example, WHITE, (truth & predicted, PALE), (truth & ~predicted, BLUE), (predicted & ~truth, VERMILLION)
    )


def _tinted(image: np.ndarray, opacity: float, *areas: tuple[np.ndarray, str]) -> np.ndarray:
    shown = image.astype(np.float32)
    for where, color in areas:
        shown[where] += opacity * (np.array(rgb(color), dtype=np.float32) - shown[where])
    return np.rint(shown).astype(np.uint8)


def _outlined(example: Example, box: int) -> np.ndarray:
    """The photo tinted and outlined where truth and prediction are, which differ without color by a dashed line."""
    truth, predicted = example.truth, example.predicted
    areas = (truth & ~predicted, GREEN), (predicted & ~truth, RED), (truth & predicted, YELLOW)
    tinted = _tinted(example.image, 0.4, *areas)
    tinted[example.ignored] = rgb(DARK)
    picture = fitted(tinted, box)
    for mask, color, drawn in ((truth, GREEN, DASH), (predicted, RED, DASH // 2)):
        inside = (fitted(255 * mask.astype(np.uint8), box) > 127).astype(np.uint8)
        for line in cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
            closed = np.concatenate([line, line[:1]])
            dashes = [closed[start : start + drawn + 1] for start in range(0, len(line), DASH)]
            cv2.polylines(picture, [closed], False, rgb(WHITE), 5, cv2.LINE_AA)
            cv2.polylines(picture, dashes, False, rgb(color), 3, cv2.LINE_AA)
    return picture


PAINTERS: dict[str, Callable[[Example], np.ndarray]] = {
    "image": lambda example: example.image,
    "truth": lambda example: _painted(example, BLACK, (example.truth, WHITE)),
    "prediction": _mask,
    "mask": _mask,
    "mask in red": lambda example: _tinted(example.image, 0.3, (example.predicted, RED)),
    "probability": lambda example: viridis(example.probability),
    "errors": _errors,
}
