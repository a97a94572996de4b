"""One photo through a trained network: the probability of foreground at the photo's own size, and the mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from src.base.errors import ConfigError
from src.prediction.load_model import VIEWS, Predictor
from src.training.protocol import Tta

Photo = npt.NDArray[np.uint8]  # RGB (H, W, 3)
Mask = npt.NDArray[np.bool_]  # (H, W)
Map = npt.NDArray[np.float32]  # (H, W), probabilities in [0, 1]


@dataclass(frozen=True)
class Prediction:
    """What a network says of one photo of H x W pixels.

    `mask`: bool (H, W), True where foreground is more probable than the threshold. `probability`: of foreground,
    float32 (H, W) in [0, 1].
    """

    mask: Mask
    probability: Map


def predict_photo(
    predictor: Predictor, image: str | Path | Photo, tta: Tta = "none", threshold: float = 0.5
) -> Prediction:
    """The prediction for one photo: the path of a file, or uint8 RGB (H, W, 3), of any size.

    Raises ValueError for a file that cannot be read, another array, an unknown `tta`, a threshold not between 0 and 1.
    """
    _check_choices(tta, threshold)
    photo = _checked(image) if isinstance(image, np.ndarray) else predictor.reader(Path(image))
    square = predictor.reader.resized(photo, predictor.image_size)
    height, width, _ = photo.shape
    return upsample(predict_resized(predictor, [square], tta)[0], height, width, threshold)


def predict_resized(predictor: Predictor, squares: Sequence[Photo], tta: Tta = "none") -> Map:
    """Of foreground: float32 (B, S, S) in [0, 1], for B photos resized to the network's S x S."""
    # one image alone takes another way through a CPU's kernels, with other last bits: as a pair it gets those it would
    # have in any batch
    pixels = np.stack([*squares, *squares] if len(squares) == 1 else squares)  # (B, S, S, 3)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()  # (B, 3, S, S)
    return predictor.probabilities(images, tta)[: len(squares)].cpu().numpy()


def upsample(square: Map, height: int, width: int, threshold: float) -> Prediction:
    """The prediction at `height` x `width` pixels from probabilities (S, S): interpolated (bilinear), then thresholded.

    In this order, so that the mask's edge runs between the network's pixels, not along them.
    """
    probability: Map = np.asarray(cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    np.clip(probability, 0, 1, out=probability)  # rounded weights need not add up to 1
    return Prediction(probability > threshold, probability)


def _check_choices(tta: str, threshold: float) -> None:
    problems = [] if tta in VIEWS else [f"tta: got {tta!r}; allowed: {', '.join(VIEWS)}"]
    if not 0 < threshold < 1:
        problems.append(f"threshold: got {threshold!r}; it takes a probability between 0 and 1, both excluded")
    if problems:
        raise ConfigError(problems)


def _checked(image: npt.NDArray[Any]) -> Photo:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"image: got an array of {image.dtype} {image.shape}; allowed is uint8 (height, width, 3) of at "
            "least one pixel, RGB from 0 to 255, or the path of a file"
        )
    return np.ascontiguousarray(image)
