"""Drawn photos: an animal on a busy background, with its trimap. Photos are uint8 RGB (H, W, 3)."""

import cv2
import numpy as np
from numpy.random import Generator

from src.data.images import BACKGROUND, BORDER, PET
from src.data.synthetic.animals import BREEDS, COAT, DARK, EYE, POINT, POSES, Breed, Part, make_animal, rotation

SURROUNDINGS = ((84, 120, 51), (115, 102, 92), (158, 168, 178), (76, 97, 133), (191, 173, 140), (140, 76, 69))
CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(20) * np.pi / 10])
FULL = 200  # the light, uint8 (H, W), that leaves a color as it is
Shape = tuple[int, int]  # (H, W)


def draw_scene(rng: Generator, breed: Breed, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an animal of the breed: its photo, whose longer side has `size` pixels, and its trimap uint8 (H, W)."""
    shorter = round(size * rng.uniform(0.66, 1))
    shape = (shorter, size) if rng.random() < 0.65 else (size, shorter)
    photo, _ = _surface(rng, breed, shape)
    if rng.random() < 0.6:
        horizon = round(shape[0] * rng.uniform(0.35, 0.8))
        photo[horizon:] = _surface(rng, breed, shape)[0][horizon:]
    _paint_things(rng, photo, breed, int(rng.integers(2, 7)))
    pet = _paint(rng, photo, _place_animal(rng, breed, shape), *_surface(rng, breed, shape, is_coat=True))
    if rng.random() < 0.2:
        pet &= ~_paint_things(rng, photo, breed, 1)  # what lies in front of the animal is background
    light = cv2.convertScaleAbs(_hills(rng, shape, 1), alpha=rng.uniform(0, 0.4), beta=FULL * rng.uniform(0.6, 0.95))
    photo = cv2.GaussianBlur(_lit(photo, light), (0, 0), rng.uniform(0.35, 0.7))
    grain, strength = rng.integers(256, size=shape, dtype=np.uint8), rng.uniform(0.02, 0.1)
    photo = cv2.addWeighted(photo, 1, cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB), strength, -128 * strength)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(0.02 * size)) + 1,) * 2)
    border = cv2.morphologyEx(pet.astype(np.uint8), cv2.MORPH_GRADIENT, disc)
    return photo, np.where(border, BORDER, np.where(pet, PET, BACKGROUND)).astype(np.uint8)


def _place_animal(rng: Generator, breed: Breed, shape: Shape) -> list[Part]:
    """An animal, turned, mirrored, stretched, scaled and moved; some of it may lie outside the frame."""
    pose = str(rng.choice(list(POSES), p=(0.32, 0.26, 0.22, 0.2)))
    angle = rng.normal(0, 0.18) if pose == "portrait" or rng.random() < 0.92 else rng.uniform(-np.pi, np.pi)
    matrix = np.diag((rng.choice((-1, 1)) * rng.uniform(0.85, 1.2), 1, 1)) @ rotation(angle)
    parts = [part._replace(circles=part.circles @ matrix) for part in make_animal(rng, breed, POSES[pose])]
    circles = np.vstack([part.circles for part in parts])
    low, high = (circles[:, :2] - circles[:, 2:]).min(axis=0), (circles[:, :2] + circles[:, 2:]).max(axis=0)
    scale = np.sqrt(np.prod(shape) / np.prod(high - low)) * rng.uniform(0.45, 1.4)
    x, y = shape[::-1] * rng.normal(0.5, 0.08, size=2) - (low + high) / 2 * scale
    if pose == "portrait":  # the frame cuts off what lies below the shoulders
        y = shape[0] * rng.uniform(0, 0.3) - low[1] * scale
    return [part._replace(circles=part.circles * scale + (x, y, 0)) for part in parts]


def _paint_things(rng: Generator, photo: np.ndarray, breed: Breed, count: int) -> np.ndarray:
    """Paint balls, cushions, branches and cables, often furry as a coat; return where."""
    size, things = max(photo.shape), []
    for _ in range(count):
        steps = rng.normal(0, 0.2 * size, (rng.integers(1, 5), 2))
        centers = rng.uniform(0, photo.shape[1::-1]) + steps.cumsum(axis=0) - steps[0]
        radii = size * rng.uniform(0.01, rng.choice((0.04, 0.15)), len(steps))
        things.append(Part(np.column_stack([centers, radii]), rng.choice((COAT, POINT))))
    return _paint(rng, photo, things, *_surface(rng, breed, photo.shape[:2]))


def _paint(rng: Generator, photo: np.ndarray, parts: list[Part], coat: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Paint the parts in their order, uneven and darker at their edges, so that they look round; return where."""
    material, light = np.zeros((2, *photo.shape[:2]), dtype=np.uint8)
    for part in parts:
        for share, brightness in ((1, 0.75), (0.7, 1.1)):
            rings = (16 * (part.circles[:, None, :2] + share * part.circles[:, None, 2:] * CIRCLE)).astype(np.int32)
            for pair in np.concatenate([rings[:-1], rings[1:]], axis=1) if len(rings) > 1 else rings:
                hull = cv2.convexHull(pair)
                cv2.fillConvexPoly(light, hull, FULL * brightness * part.shade, shift=4)
                if share == 1:
                    cv2.fillConvexPoly(material, hull, int(part.material), shift=4)
    grid = (np.indices((32, 32))[::-1].transpose(1, 2, 0) + 0.5) / 32 * photo.shape[1::-1]  # x and y of 32 x 32 places
    grid += max(photo.shape) * rng.uniform(-0.01, 0.01, grid.shape)
    x, y = cv2.split(cv2.resize(grid.astype(np.float32), photo.shape[1::-1]))
    material, light = (cv2.remap(canvas, x, y, cv2.INTER_NEAREST) for canvas in (material, light))
    light = cv2.blur(light, (round(0.03 * max(photo.shape)) | 1,) * 2)
    palette = np.zeros((256, 1, 3), dtype=np.uint8)
    palette[[POINT, DARK, EYE], 0] = (points.clip(0, 255), (18, 13, 13), (204, 191, 89))
    painted = cv2.applyColorMap(material, palette)
    cv2.copyTo(coat, cv2.inRange(material, COAT, COAT), painted)
    cv2.copyTo(_lit(painted, light), material, photo)
    return material > 0


def _surface(rng: Generator, breed: Breed, shape: Shape, is_coat: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The breed's coat; or a wall, a floor or a cloth, often colored as a coat. And a color (3,) that goes with it."""
    low, high = np.array((breed.coat, breed.marking)) + rng.normal(0, 8, 3) + rng.normal(0, 10)
    pattern, cells, stretch = breed.pattern, rng.uniform(4, 8), 1
    if not is_coat:
        coats = (breed.coat, breed.marking, BREEDS[rng.integers(len(BREEDS))].coat)
        low = rng.choice(SURROUNDINGS if rng.random() < 0.5 else coats) + rng.normal(0, 12, 3)
        high = low * rng.uniform(0.3, 1.5) + rng.normal(0, 20, 3)
        pattern = rng.choice(("plain", "stripes", "patches"), p=(0.75, 0.15, 0.1))
        cells, stretch = ((1.5, 1), (cells, 1), (2 * cells, 1000))[rng.choice(3, p=(0.3, 0.4, 0.3))]
    levels = np.linspace(0, 1, 256)[:, None, None]
    curves = {"stripes": 0.5 + 0.5 * np.sin(rng.uniform(15, 40) * levels), "patches": levels > rng.uniform(0.4, 0.65)}
    colors = (low + (high - low) * curves.get(pattern, 0.4 * levels)).clip(0, 255).astype(np.uint8)
    photo = cv2.applyColorMap(_hills(rng, shape, cells, stretch), colors)
    if is_coat or rng.random() < 0.4:
        hair = _hills(rng, shape, max(shape) / 3, rng.uniform(4, 10))
        photo = _lit(photo, cv2.convertScaleAbs(hair, alpha=0.4, beta=0.75 * FULL))
    return photo, high


def _hills(rng: Generator, shape: Shape, cells: float, stretch: float = 1) -> np.ndarray:
    """Noise, uint8 (H, W), `cells` along the longer side; stretched a little it is fur, and without end stripes."""
    matrix = cells / max(shape) * np.diag((1, 1 / stretch)) @ rotation(rng.uniform(0, np.pi))[:2, :2]
    tile = rng.integers(256, size=(128, 128), dtype=np.uint8)
    matrix = np.column_stack([matrix, rng.uniform(0, 128, 2)])
    return cv2.warpAffine(tile, matrix, shape[::-1], None, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_WRAP)


def _lit(photo: np.ndarray, light: np.ndarray) -> np.ndarray:
    return cv2.multiply(photo, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / FULL)
