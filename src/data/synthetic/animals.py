"""Made-up animals: breeds, poses, and the parts that an animal is made of, from the farthest to the nearest."""

from typing import Literal, NamedTuple

import numpy as np

COAT, POINT, DARK, EYE = range(1, 5)  # materials; points are the ears, legs, tail and muzzle of some breeds


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


def make_animal(rng: np.random.Generator, breed: Breed, pose: tuple) -> list[Part]:
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


def _head(rng: np.random.Generator, breed: Breed, points: int, x: float, y: float, radius: float) -> list[Part]:
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
