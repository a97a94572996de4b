"""Textures for drawn scenes: noise, stripes, tiles and fur, as float32 (H, W) in [0, 1]."""

import cv2
import numpy as np


def noise(rng: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Smooth random hills, about `cells` of them along the longer side."""
    step = max(height, width) / cells
    rows, columns = int(height / step) + 2, int(width / step) + 2
    coarse = rng.random((rows, columns), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of three scales, from large to small."""
    cells = rng.uniform(2, 6)
    large, middle, small = (noise(rng, height, width, cells * factor) for factor in (1, 3, 9))
    return np.float32(0.5) * large + np.float32(0.3) * middle + np.float32(0.2) * small


def waves(rng: np.random.Generator, height: int, width: int, count: float, bend: float) -> np.ndarray:
    """Stripes in a random direction, `count` along the longer side, bent by noise of the strength `bend`."""
    along = _distance(rng, height, width) * np.float32(count)
    if bend:
        along += np.float32(bend * count) * noise(rng, height, width, 4)
    return np.float32(0.5) + np.float32(0.5) * np.sin(np.float32(2 * np.pi) * along)


def tiles(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A slanted chequered pattern of 0 and 1."""
    count = rng.uniform(3, 9)
    one, other = (waves(rng, height, width, count, 0.0) > 0.5 for _ in range(2))
    return (one ^ other).astype(np.float32)


def ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An even gradient in a random direction, 0.5 on average."""
    distance = _distance(rng, height, width)
    return np.float32(0.5) + (distance - distance.mean()) / np.float32(1.5)


def fur(rng: np.random.Generator, height: int, width: int, length: float) -> np.ndarray:
    """Fine noise smeared into hairs of about `length` pixels in a random direction."""
    size = max(3, round(length) | 1)
    angle = rng.uniform(0, np.pi)
    reach = size // 2 * np.array((np.cos(angle), np.sin(angle)))
    ends = np.rint([size // 2 - reach, size // 2 + reach]).astype(int).tolist()
    hair = cv2.line(np.zeros((size, size), dtype=np.float32), ends[0], ends[1], 1.0)
    smeared = cv2.filter2D(rng.random((height, width), dtype=np.float32), -1, hair / hair.sum())
    # A mean of n draws spreads sqrt(n) times less: stretch it to the full range again.
    return np.clip(np.float32(0.5) + (smeared - np.float32(0.5)) * np.float32(hair.sum() ** 0.5), 0, 1)


def coloured(share: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Go from colour `low` to `high`, both (3,), by `share` (H, W): float32 planes (3, H, W)."""
    low, high = (np.asarray(colour, dtype=np.float32)[:, None, None] for colour in (low, high))
    return low + (high - low) * share


def _distance(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """How far a pixel lies in a random direction, in units of the longer side."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    return (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / np.float32(max(height, width))
