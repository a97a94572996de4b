"""How one image is drawn: beside its truth, its prediction, the probabilities behind it and the errors in it."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke

from src.analysis.plot_style import BLACK, BLUE, VERMILLION, text_width
from src.data.images import FOREGROUND, IGNORED
from src.evaluation.colours import (
    GREEN,
    PALE,
    RED,
    WHITE,
    YELLOW,
    error_colours,
    fitted,
    hatched,
    mask_colours,
    overlay_colours,
    probability_colours,
    resized,
    resized_mask,
)
from src.evaluation.paper import LINE, drawing, fitting, key, key_height, lay, paper, say, text_height

PANELS = {
    "panels": ("image", "truth", "prediction", "probability", "errors"),
    "report_a": ("image", "truth", "probability", "mask"),  # report A's figure of 4 panels
}
STYLES = (*PANELS, "report_d")

BOX = 512  # pixels of the longer side of a panel: the data's own photos have 500
OVERLAY_BOX = 1024
LEAST_COLUMN = 440  # for what is written below a panel
MARGIN, GAP = 24, 28
TITLE, WORDS = 30, 23  # heights of letters: a row of five panels is seen at half its size
OUTLINES = {"truth": (GREEN, "-"), "prediction": (RED, (0, (3, 2)))}  # solid and dashed, to be told without colour
STROKE = 3.5


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
    def predicted(self) -> np.ndarray:
        """Where foreground is predicted, bool (H, W)."""
        return self.probability > self.threshold

    @property
    def title(self) -> str:
        """Its score and its name."""
        return f"Dice {self.dice:.4f} · {self.stem}"


def draw(example: Example, style: str) -> Figure:
    """A picture of `example` in one of STYLES.

    `panels`: image, truth, prediction, probability and errors; `report_a`: image, truth, probability and mask, as in
    report A; `report_d`: the image with truth in green and prediction in red, as in report D. Each says in words what
    its colours mean. Raises ValueError for another style.
    """
    if style not in STYLES:
        raise ValueError(f"style is {style!r}, allowed are {', '.join(STYLES)}")
    with drawing():
        figure = (_row(example, PANELS[style]) if style in PANELS else _overlay(example)).figure
    assert isinstance(figure, Figure)
    return figure


def panel(example: Example, name: str, height: int, width: int) -> np.ndarray:
    """One of the panels of `example`, by its name in PANELS, as uint8 (height, width, 3)."""
    layers = {
        "image": lambda: example.image,
        "truth": lambda: mask_colours(example.target == FOREGROUND),
        "prediction": lambda: mask_colours(example.predicted),
        "mask": lambda: mask_colours(example.predicted),
        "probability": lambda: probability_colours(resized(example.probability, height, width)),
        "errors": lambda: error_colours(example.target, example.predicted),
    }
    layer = resized(layers[name](), height, width)
    return hatched(layer, _ignored(example, height, width)) if name in ("truth", "errors") else layer


def meanings(name: str, threshold: float, some_ignored: bool) -> dict[str, str]:
    """What the colours of a panel mean: words and colour, "hatched" where `some_ignored` pixels are."""
    entries = {
        "truth": {"foreground": WHITE, "background": BLACK},
        "prediction": {f"probability above {threshold:g}": WHITE},
        "mask": {f"probability above {threshold:g}": WHITE},
        "errors": {
            "missed: in the truth only": BLUE,
            "invented: predicted only": VERMILLION,
            "right: in both": PALE,
        },
    }.get(name, {})
    ignored = {"ignored: not scored": "hatched"} if some_ignored and name in ("truth", "errors") else {}
    return {**entries, **ignored}


def probability_bar(ax: Axes, threshold: float, left: float, top: float, width: float, size: float) -> float:
    """The colours of probabilities from 0 to 1, with the threshold marked; returns where it ends."""
    edge = text_width("0", size) + 0.4 * size
    start, length, height = round(left + edge), round(width - 2 * edge), round(0.8 * size)
    top = round(top + 0.25 * size)
    steps = np.repeat(np.linspace(0, 1, length, dtype=np.float32)[None], height, axis=0)
    lay(ax, probability_colours(steps), start, top)
    for end, x, side in (("0", start - 0.3 * size, "right"), ("1", start + length + 0.3 * size, "left")):
        say(ax, end, x, top - 0.2 * size, size, ha=side)
    here, words = start + threshold * length, f"threshold {threshold:g}"
    casing = [withStroke(linewidth=4, foreground="white"), Normal()]
    ax.plot([here, here], [top - 3, top + height + 5], color=BLACK, linewidth=2, path_effects=casing)
    half = text_width(words, size) / 2
    return say(ax, words, min(max(here, left + half), left + width - half), top + height + 5, size, ha="center")


def bar_height(size: float) -> float:
    """Pixels that `probability_bar` takes."""
    return round(0.25 * size) + round(0.8 * size) + 5 + text_height("threshold", size) + 1


def _row(example: Example, names: tuple[str, ...]) -> Axes:
    """Panels side by side, the meaning of each below it."""
    height, width = fitted(example.target.shape, BOX)
    column = max(width, LEAST_COLUMN)
    whole = len(names) * (column + GAP) - GAP
    title = fitting(example.title, whole, TITLE, most=2)
    some_ignored = bool((example.target == IGNORED).any())
    keys = {name: meanings(name, example.threshold, some_ignored) for name in names}
    below = max(bar_height(WORDS), *(key_height(entries, column, WORDS) for entries in keys.values()))
    captions = MARGIN + text_height(title, TITLE) + 0.3 * TITLE
    top = round(captions + LINE * WORDS + 4)
    ax = paper(whole + 2 * MARGIN, math.ceil(top + height + 8 + below + MARGIN))
    say(ax, title, MARGIN, MARGIN, TITLE)
    for number, (name, entries) in enumerate(keys.items()):
        left = MARGIN + number * (column + GAP)
        say(ax, name, left, captions, WORDS, weight="bold")
        lay(ax, panel(example, name, height, width), left, top, name)
        if name == "probability":
            probability_bar(ax, example.threshold, left, top + height + 8, width=column, size=WORDS)
        key(ax, entries, left, top + height + 8, column, WORDS)
    return ax


def _overlay(example: Example) -> Axes:
    """The photo, tinted and outlined where truth and prediction are, with the meaning of colours and lines below."""
    height, width = fitted(example.target.shape, OVERLAY_BOX)
    whole = max(width, LEAST_COLUMN)
    masks = {
        "truth": resized_mask(example.target == FOREGROUND, height, width),
        "prediction": resized_mask(example.predicted, height, width),
    }
    ignored = _ignored(example, height, width)
    title = fitting(example.title, whole, TITLE)
    fills = {"truth and prediction: yellow": YELLOW, **({"ignored: not scored": "hatched"} if ignored.any() else {})}
    top = round(MARGIN + text_height(title, TITLE) + 8)
    below = 2 * LINE * WORDS + key_height(fills, whole, WORDS)
    ax = paper(whole + 2 * MARGIN, math.ceil(top + height + 8 + below + MARGIN))
    say(ax, title, MARGIN, MARGIN, TITLE)
    tinted = overlay_colours(resized(example.image, height, width), **_named(masks))
    lay(ax, hatched(tinted, ignored), MARGIN, top, "overlay")
    end: float = top + height + 8
    for name, mask in masks.items():
        _outline(ax, mask, MARGIN, top, name)
        end = _line_key(ax, name, MARGIN, end)
    key(ax, fills, MARGIN, end, whole, WORDS)
    return ax


def _named(masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"truth": masks["truth"], "predicted": masks["prediction"]}


def _ignored(example: Example, height: int, width: int) -> np.ndarray:
    return resized_mask(example.target == IGNORED, height, width)


def _outline(ax: Axes, mask: np.ndarray, left: float, top: float, name: str) -> None:
    """The outline of a bool (H, W) `mask` whose top left corner lies there, in the look of truth or prediction."""
    if not mask.any():
        return
    colour, line = OUTLINES[name]
    closed = np.pad(mask.astype(np.float32), 1)  # at the image's edge too
    x, y = (start - 0.5 + np.arange(length) for start, length in zip((left, top), closed.shape[::-1], strict=True))
    lines = ax.contour(x, y, closed, levels=[0.5], colors=[colour], linestyles=[line], linewidths=STROKE)
    lines.set(path_effects=[withStroke(linewidth=STROKE + 2, foreground="white"), Normal()], gid=f"outline: {name}")


def _line_key(ax: Axes, name: str, left: float, top: float) -> float:
    colour, line = OUTLINES[name]
    words = {"truth": "truth: green, solid outline", "prediction": "prediction: red, dashed outline"}[name]
    middle = top + 0.5 * LINE * WORDS
    ax.plot([left, left + 3 * WORDS], [middle, middle], color=colour, linestyle=line, linewidth=STROKE)
    return say(ax, words, left + 3.6 * WORDS, top, WORDS)
