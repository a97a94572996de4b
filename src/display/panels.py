"""What is drawn of an image: photo, truth, prediction, probability and errors, in panels side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from src.base.errors import one_line
from src.display.colors import BLACK, BLUE, SKY_BLUE, VERMILLION, font_file

STYLES = {
    "panels": ("image", "truth", "prediction", "probability", "errors"),
    "report_a": ("image", "truth", "probability", "prediction"),  # report A's figure of 4 panels
    "report_a_overlay": ("image", "prediction", "prediction in red"),  # and that of 3
    "report_d": ("truth and prediction",),  # report D's overlay
}
WHITE, PALE, DARK = "#FFFFFF", "#D4D4D4", "#707070"
GREEN, RED, YELLOW = "#00A651", "#E3242B", "#FFD400"  # report D's truth and prediction, and both
TRUTH = ("truth", "errors", "truth and prediction")  # panels that show it
BOX, LONE_BOX = 512, 1024  # pixels of a panel in full, and of one that stands alone: the data's own photos have 500
MARGIN = 20  # pixels around a figure
GAP = 10  # pixels between panels
LETTERS, LINE = 15, 20  # pixels; of text, and from one line to the next


@dataclass(frozen=True)
class Example:
    """An image with all that is drawn of it, H × W pixels.

    `image`: uint8 (H, W, 3), RGB. `truth`: where foreground is, and `ignored`: what is not scored (everything, where
    the truth is not known), bool (H, W). `probability`: of foreground, float32 (H, W) in [0, 1]; above `threshold` it
    is predicted. `dice`: of the image, in [0, 1], if it was scored.
    """

    stem: str
    image: np.ndarray
    truth: np.ndarray
    ignored: np.ndarray
    probability: np.ndarray
    threshold: float
    dice: float | None

    @property
    def predicted(self) -> np.ndarray:
        """Where foreground is predicted, bool (H, W)."""
        return self.probability > self.threshold

    @property
    def title(self) -> str:
        """Its score, if any, and its name."""
        return self.stem if self.dice is None else f"Dice {self.dice:.4f} · {self.stem}"


def legend(name: str, threshold: float) -> dict[str, str]:
    """What the colors of a panel mean: words and their color."""
    above = f"above {threshold:g}"
    return {
        "truth": {"foreground": WHITE, "not scored": DARK},
        "prediction": {above: WHITE},
        "prediction in red": {above: RED},
        "probability": {"0": "#440154", "1": "#FDE725"},  # the ends of viridis
        "errors": {"missed": BLUE, "invented": VERMILLION, "right": PALE, "not scored": DARK},
        "truth and prediction": {"truth only": GREEN, "prediction only": RED, "both": YELLOW, "not scored": DARK},
    }.get(name, {})


def draw_figure(example: Example, style: str) -> Image.Image:
    """The panels of one of STYLES in full, in a figure."""
    box = BOX if len(STYLES[style]) > 1 else LONE_BOX
    return ImageOps.expand(draw_panels(example, style, box, names=True), MARGIN, WHITE)


def draw_panels(example: Example, style: str, box: int, names: bool) -> Image.Image:
    """The panels of one of STYLES side by side below the example's title, their longer sides `box` pixels.

    `names`: between the title and the panels stand their names, and what their colors mean.
    """
    heads = [{name: None, **legend(name, example.threshold)} if names else {} for name in STYLES[style]]
    layers = [Image.fromarray(fitted(PAINTERS[name](example), box)) for name in STYLES[style]]
    top, column = LINE * (1 + max(map(len, heads))), box + 2 + GAP
    sheet = Image.new("RGB", (len(layers) * column - GAP, top + layers[0].height + 2), WHITE)
    write_line(sheet, example.title)
    for left, head, layer in zip(count(0, column), heads, layers, strict=False):
        for line, (words, color) in enumerate(head.items(), start=1):
            write_line(sheet, words, left + (2 * LETTERS if color else 0), line * LINE)
            if color:
                square = (left + 1, line * LINE + 2, left + LETTERS, line * LINE + LETTERS)
                ImageDraw.Draw(sheet).rectangle(square, color, DARK)
        # in a thin line, since much of a panel may be white
        sheet.paste(ImageOps.expand(layer, 1, DARK), (left, top))
    return sheet


def write_line(sheet: Image.Image, text: str, left: int = 0, top: int = 0, size: int = LETTERS) -> None:
    """Writes `text` on one line of `sheet`, whose edge cuts off what is longer."""
    ImageDraw.Draw(sheet).text((left, top), one_line(text), BLACK, ImageFont.truetype(font_file(), size))


def text_width(text: str, size: int) -> float:
    """Pixels that `write_line` takes for it."""
    return ImageFont.truetype(font_file(), size).getlength(one_line(text))


def painted(ground: np.ndarray, *areas: tuple[np.ndarray, str], opacity: float = 1.0) -> np.ndarray:
    """`ground`, uint8 (H, W, 3), with each of `areas`, bool (H, W), in its color of this `opacity`."""
    picture = ground.copy()
    for where, color in areas:
        full = np.full_like(ground, ImageColor.getrgb(color))
        picture[where] = cv2.addWeighted(ground, 1 - opacity, full, opacity, 0)[where]
    return picture


def outlined(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo, uint8 (H, W, 3), with the mask, bool (H, W), as a translucent tint and an outline."""
    thickness = max(1, round(min(mask.shape) / 200))  # pixels
    inside = mask.astype(np.uint8)
    core = cv2.erode(inside, np.ones((2 * thickness + 1, 2 * thickness + 1), dtype=np.uint8))
    return painted(painted(photo, (mask, SKY_BLUE), opacity=0.45), (inside > core, BLUE))


def fitted(layer: np.ndarray, box: int) -> np.ndarray:
    """`layer` (H, W, 3) with a longer side of `box` pixels, each the mean of what it covers.

    So a larger picture shows the pixels as squares, and in a smaller one a thin error grows pale but does not vanish.
    """
    height, width = layer.shape[:2]
    scale = box / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA)


def _on_black(example: Example, *areas: tuple[np.ndarray, str]) -> np.ndarray:
    return painted(np.zeros_like(example.image), *areas)


def _bytes(probability: np.ndarray) -> np.ndarray:
    return np.minimum(probability * 256, 255).astype(np.uint8)  # as matplotlib chooses among 256 colors


def _errors(example: Example) -> np.ndarray:
    truth, predicted = example.truth, example.predicted
    outcomes = (truth & predicted, PALE), (truth & ~predicted, BLUE), (predicted & ~truth, VERMILLION)
    return painted(np.full_like(example.image, 255), *outcomes, (example.ignored, DARK))


def _truth_and_prediction(example: Example) -> np.ndarray:
    truth, predicted = example.truth, example.predicted
    outcomes = (truth & ~predicted, GREEN), (predicted & ~truth, RED), (truth & predicted, YELLOW)
    return painted(painted(example.image, *outcomes, opacity=0.4), (example.ignored, DARK))


# how each of the panels in STYLES is drawn, uint8 (H, W, 3)
PAINTERS: dict[str, Callable[[Example], np.ndarray]] = {
    "image": lambda example: example.image,
    "truth": lambda example: _on_black(example, (example.truth, WHITE), (example.ignored, DARK)),
    "prediction": lambda example: _on_black(example, (example.predicted, WHITE)),
    "prediction in red": lambda example: painted(example.image, (example.predicted, RED), opacity=0.3),
    "probability": lambda example: cv2.applyColorMap(_bytes(example.probability), cv2.COLORMAP_VIRIDIS)[..., ::-1],
    "errors": _errors,
    "truth and prediction": _truth_and_prediction,
}
