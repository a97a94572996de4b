"""How well the outline of a predicted mask follows the true one, within a stated tolerance."""

import math

import cv2
import numpy as np

TOLERANCE = 0.008  # of the image's diagonal, as in DAVIS (F. Perazzi et al., CVPR 2016)


def tolerance_pixels(shape: tuple[int, ...]) -> int:
    """How far apart two outlines may be in an image of `shape` (H, W) and still count as met, in whole pixels."""
    return math.ceil(TOLERANCE * math.hypot(*shape))


def boundary_f(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The boundary F-score of one image (G. Csurka et al., BMVC 2013; tolerance as in DAVIS).

    It is 2 p r / (p + r), where p is the share of the predicted outline within `tolerance_pixels` (Euclidean) of the
    true one, and r the share of the true outline within it of the predicted one. The outline are the pixels of a mask
    with a direct neighbour outside of it; the image's edge is no outline.

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
    """Bool (H, W): pixels of `mask` with one of their four neighbours in the image outside of it."""
    inside = np.pad(mask, 1, constant_values=True)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return mask & ~surrounded


def _distance_to(outline: np.ndarray) -> np.ndarray:
    """float32 (H, W): from each pixel to the nearest one of `outline`, in pixels, exact."""
    return cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
