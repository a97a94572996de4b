"""Drawn photos: a made-up animal on a busy background, with its trimap. Photos are uint8 RGB (H, W, 3)."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from src.data.images import BACKGROUND, BORDER, PET

COAT, POINT, DARK, EYE = range(1, 5)  # materials; points are the ears, legs, tail and muzzle of some breeds
SURROUNDINGS = ((84, 120, 51), (115, 102, 92), (158, 168, 178), (76, 97, 133), (191, 173, 140), (140, 76, 69))
CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(20) * np.pi / 10])
FULL = 200  # the light, uint8 (H, W), that leaves a color as it is
Shape = tuple[int, int]  # (H, W)


class Breed(NamedTuple):
    """What the animals of one breed share; colors are RGB, 0 to 255, and the last four are lengths."""

    name: str
    coat: tuple[int, int, int]
    marking: tuple[int, int, int]
    pattern: Literal["plain", "stripes", "patches", "points"]
    ears: Literal["pointed", "floppy", "round"]
    tail: float
    bushy: float  # the tail's radius
    legs: float
    muzzle: float


# Four cats, which begin with a capital letter as in the official list, then four dogs. None of these breeds exists.
BREEDS = (
    Breed("Amber_Tiger", (199, 135, 69), (120, 64, 26), "stripes", "pointed", 0.75, 0.05, 0.34, 0.1),
    Breed("Fogcoat", (133, 138, 145), (97, 102, 110), "plain", "pointed", 0.55, 0.09, 0.3, 0.08),
    Breed("Harlequin", (230, 224, 212), (41, 36, 33), "patches", "pointed", 0.6, 0.06, 0.32, 0.09),
    Breed("Sable_Point", (217, 196, 166), (69, 51, 43), "points", "round", 0.65, 0.04, 0.38, 0.12),
    Breed("bog_hound", (107, 69, 41), (66, 41, 26), "plain", "floppy", 0.5, 0.05, 0.44, 0.26),
    Breed("marsh_spitz", (235, 222, 199), (178, 140, 97), "points", "pointed", 0.4, 0.14, 0.34, 0.2),
    Breed("piebald_terrier", (224, 219, 209), (115, 71, 41), "patches", "floppy", 0.3, 0.05, 0.3, 0.22),
    Breed("shadow_mastiff", (43, 41, 43), (128, 92, 56), "points", "round", 0.45, 0.07, 0.4, 0.2),
)
# A pose is the body from far to near, beginning where the tail is, then neck and head; y points down.
POSES = {
    "standing": (
        ((-0.3, 0.02, 0.12), (-0.28, 0.3, 0.07), (-0.25, 0.53, 0.05), (-0.2, 0.53, 0.045)),
        ((0.24, 0.08, 0.12), (0.26, 0.3, 0.07), (0.28, 0.53, 0.05), (0.33, 0.53, 0.045)),
        ((-0.33, 0, 0.22), (0, 0.02, 0.19), (0.28, -0.02, 0.22)),
        ((-0.38, 0.08, 0.12), (-0.4, 0.32, 0.07), (-0.38, 0.56, 0.05), (-0.33, 0.56, 0.045)),
        ((0.34, 0.08, 0.12), (0.34, 0.32, 0.07), (0.36, 0.56, 0.05), (0.42, 0.56, 0.045)),
        ((0.3, -0.05, 0.18), (0.58, -0.25, 0.2)),
    ),
    "sitting": (
        ((-0.26, 0.48, 0.15), (0.26, 0.48, 0.15)),
        ((0, 0.42, 0.24), (0, 0.05, 0.23), (0, -0.2, 0.17)),
        ((-0.1, 0.1, 0.12), (-0.12, 0.35, 0.07), (-0.14, 0.6, 0.06)),
        ((0.1, 0.1, 0.12), (0.12, 0.35, 0.07), (0.12, 0.6, 0.06)),
        ((0, -0.25, 0.16), (0.02, -0.44, 0.23)),
    ),
    "lying": (
        ((-0.35, 0.08, 0.19), (0, 0.05, 0.2), (0.32, 0.05, 0.17)),
        ((-0.3, 0.17, 0.12), (-0.15, 0.25, 0.07), (0.02, 0.25, 0.05)),
        ((0.25, 0.14, 0.12), (0.4, 0.25, 0.08), (0.68, 0.25, 0.055)),
        ((0.28, 0, 0.18), (0.5, -0.12, 0.2)),
    ),
    "portrait": (
        ((-0.2, 0.8, 0.3), (-0.25, 2, 0.4), (0.25, 2, 0.4), (0.2, 0.8, 0.3)),
        ((0, 0.8, 0.34), (0, 0, 0.38)),
    ),
}
EARS = {  # the right one of a head with radius 1
    "pointed": ((0.6, -0.5, 0.36), (0.85, -1.45, 0.03)),
    "floppy": ((0.62, -0.62, 0.2), (1.07, -0.45, 0.27), (1.15, 0.5, 0.24)),
    "round": ((0.72, -0.75, 0.36), (0.72, -0.75, 0.36)),
}


class Part(NamedTuple):
    """Circles (N, 3) with what lies between neighbors, their material, and the brightness beside other parts."""

    circles: np.ndarray
    material: int
    shade: float = 1.0


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


def make_animal(rng: Generator, breed: Breed, pose: tuple) -> list[Part]:
    """The parts of one animal of the breed: every joint of the pose is moved a little."""
    points = POINT if breed.pattern == "points" else COAT
    taller, jitter = (1, 0.4 + breed.legs / 0.6, 1), (0.03, 0.02, 0.004)
    *body, neck = ((chain + rng.normal(0, jitter, (len(chain), 3))) * taller for chain in pose)
    neck[1] += rng.normal(0, (0.06, 0.08, 0.01))
    turns = rng.uniform(2.6, 4.8) + rng.uniform(-0.6, 0.6) * np.arange(4)
    curl = np.column_stack([np.cos(turns), np.sin(turns)]).cumsum(axis=0) * breed.tail / 3
    tail = np.column_stack([curl - curl[0] + body[0][0, :2], np.full(4, breed.bushy)])
    parts = [Part(chain, points if chain[0, 2] < 0.14 else COAT, 0.8 + 0.04 * i) for i, chain in enumerate(body)]
    return [Part(tail, points, 0.9), *parts, Part(neck * (1, 1, 0.8), COAT), *_head(rng, breed, points, *neck[1])]


def _head(rng: Generator, breed: Breed, points: int, x: float, y: float, radius: float) -> list[Part]:
    """A tilted head, drawn around (0, 0) with radius 1, which looks ahead or to one side."""
    look = rng.uniform(-0.6, 1)  # 0: at the camera, 1: to the right
    tilt = rotation(rng.uniform(-0.35, 0.35))
    ears = [(np.array(EARS[breed.ears]) * (side, 1, 1) - (0.25 * look, 0, 0), points, 0.85) for side in (-1, 1)]
    eyes = [(0.42 * side * (1 - 0.4 * abs(look)) + 0.4 * look, -0.12) for side in (-1, 1)]
    nose = np.array((look * (0.6 + 2.6 * breed.muzzle), 0.35 + breed.muzzle, 0.27))
    parts = [
        (((-0.1, 0, 0.86), (0.1, 0, 0.86)), COAT, 1),
        *ears,
        *(([(*eye, size)], material, 1) for size, material in ((0.13, EYE), (0.08, DARK)) for eye in eyes),
        (((0.25 * look, 0.3, 0.46), nose), points, 1.08),
        ([nose - (0, 0.08, 0.14)], DARK, 1),
    ]
    return [
        Part(radius * (np.array(circles) @ tilt) + (x, y, 0), material, shade) for circles, material, shade in parts
    ]


def rotation(angle: float) -> np.ndarray:
    """The matrix (3, 3) that turns circles (x, y, radius) by `angle` radians: `circles @ matrix`."""
    return np.array(((np.cos(angle), np.sin(angle), 0), (-np.sin(angle), np.cos(angle), 0), (0, 0, 1)))
