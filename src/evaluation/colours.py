"""Photo, masks, probabilities and errors of an image as colours, at any size."""

import cv2
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from src.analysis.plot_style import BLUE, VERMILLION
from src.data.images import FOREGROUND, IGNORED

STRIPE = 4  # pixels of the picture, whatever the size of the image

WHITE, PALE, DARK = "#FFFFFF", "#D4D4D4", "#707070"
GREEN, RED, YELLOW = "#00A651", "#E3242B", "#FFD400"  # report D's truth and prediction, and both

# What became of a pixel.
RIGHT_BACKGROUND, RIGHT_FOREGROUND, MISSED, INVENTED, LEFT_OUT = range(5)
COLOUR_OF = {RIGHT_BACKGROUND: WHITE, RIGHT_FOREGROUND: PALE, MISSED: BLUE, INVENTED: VERMILLION, LEFT_OUT: DARK}


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour such as #0072B2 as three numbers from 0 to 255."""
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


def outcome(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What became of each pixel, uint8 (H, W): one of RIGHT_BACKGROUND, RIGHT_FOREGROUND, MISSED, INVENTED, LEFT_OUT.

    `target`: uint8 (H, W) of FOREGROUND, 0 and IGNORED; `predicted`: bool (H, W). Ignored pixels are left out.
    """
    truth = target == FOREGROUND
    codes = np.where(truth, np.where(predicted, RIGHT_FOREGROUND, MISSED), np.where(predicted, INVENTED, 0))
    return np.where(target == IGNORED, LEFT_OUT, codes).astype(np.uint8)


def error_colours(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): blue what was missed, vermillion what was invented, pale grey and white what is right."""
    palette = np.array([rgb(COLOUR_OF[code]) for code in range(len(COLOUR_OF))], dtype=np.uint8)
    return palette[outcome(target, predicted)]


def mask_colours(mask: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): white where the bool (H, W) `mask` is, else black."""
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def probability_colours(probability: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): float (H, W) from 0 to 1 in viridis, whose steps look alike and which also reads in grey."""
    return matplotlib.colormaps["viridis"](probability, bytes=True)[..., :3]


def overlay_colours(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): the photo under green truth and red prediction, yellow where both are (report D).

    `image`: uint8 (H, W, 3); `truth` and `predicted`: bool (H, W).
    """
    shown = image.astype(np.float32)
    for where, colour in ((truth & ~predicted, GREEN), (predicted & ~truth, RED), (truth & predicted, YELLOW)):
        shown[where] = 0.6 * shown[where] + 0.4 * np.array(rgb(colour), dtype=np.float32)
    return np.rint(shown).astype(np.uint8)


def resized(layer: np.ndarray, height: int, width: int) -> np.ndarray:
    """`layer` (H, W) or (H, W, 3) at another size: each new pixel is the mean of what it covers.

    So a larger picture shows the pixels as squares, and in a smaller one a thin error grows pale but does not vanish.
    """
    return cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)


def resized_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A bool (H, W) `mask` at another size: where at least half of what a new pixel covers is in it."""
    return resized(mask_colours(mask)[..., 0], height, width) > 127


def hatched(layer: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A copy of `layer`, uint8 (H, W, 3), with grey stripes `where`, bool (H, W)."""
    height, width = where.shape
    dark = (np.arange(height)[:, None] + np.arange(width)) // STRIPE % 2 == 0
    stripes = np.where(dark[..., None], rgb(DARK), rgb(PALE)).astype(np.uint8)
    return np.where(where[..., None], stripes, layer)


def fitted(shape: tuple[int, ...], box: int) -> tuple[int, int]:
    """Height and width of the largest picture of an image of `shape` (H, W) in a square `box` pixels wide.

    An image keeps its aspect ratio, but is at least one pixel high and wide.
    """
    height, width = shape
    scale = box / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
