"""Made-up animals as outlines: breeds, poses, and the parts that a pose puts together.

Lengths are in units of the body's length; x goes to the right (where the animal looks), y down, and 0 is the
body's middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]  # RGB in [0, 1]
DARK: Colour = (0.07, 0.05, 0.05)
GLINT: Colour = (0.8, 0.75, 0.35)
PINK: Colour = (0.72, 0.47, 0.44)

PAW = ((-0.05, 0.05), (-0.04, -0.03), (0.04, -0.04), (0.11, 0.0), (0.12, 0.05))  # around the ankle
TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
HARMONICS = np.array([[2], [3], [5], [7], [11]])  # waves around an uneven outline
ALONG = np.linspace(0, 1, 16)[:, None]  # places along a limb
HALF_TURN = np.linspace(np.pi / 2, -np.pi / 2, 7)
END = np.stack([np.sin(HALF_TURN), np.cos(HALF_TURN)], axis=1)  # a limb's round end: aside, forward


@dataclass(frozen=True)
class Breed:
    """What the animals of one breed share; `bushy` is the tail's thickness, the rest are lengths."""

    name: str
    species: Literal["cat", "dog"]
    ground: Colour
    marking: Colour
    pattern: Literal["plain", "stripes", "patches", "points"]
    ears: Literal["pointed", "floppy", "round"]
    tail: float
    bushy: float
    legs: float
    muzzle: float


# As in the official list, cats begin with a capital letter and dogs do not. None of these breeds exists.
BREEDS = (
    Breed("Amber_Tiger", "cat", (0.78, 0.53, 0.27), (0.47, 0.25, 0.1), "stripes", "pointed", 0.75, 0.05, 0.34, 0.1),
    Breed("Fogcoat", "cat", (0.52, 0.54, 0.57), (0.38, 0.4, 0.43), "plain", "pointed", 0.55, 0.09, 0.3, 0.08),
    Breed("Harlequin", "cat", (0.9, 0.88, 0.83), (0.16, 0.14, 0.13), "patches", "pointed", 0.6, 0.06, 0.32, 0.09),
    Breed("Sable_Point", "cat", (0.85, 0.77, 0.65), (0.27, 0.2, 0.17), "points", "round", 0.65, 0.04, 0.38, 0.12),
    Breed("bog_hound", "dog", (0.42, 0.27, 0.16), (0.26, 0.16, 0.1), "plain", "floppy", 0.5, 0.05, 0.44, 0.26),
    Breed("marsh_spitz", "dog", (0.92, 0.87, 0.78), (0.7, 0.55, 0.38), "points", "pointed", 0.4, 0.14, 0.34, 0.2),
    Breed("piebald_terrier", "dog", (0.88, 0.86, 0.82), (0.45, 0.28, 0.16), "patches", "floppy", 0.3, 0.05, 0.3, 0.22),
    Breed("shadow_mastiff", "dog", (0.17, 0.16, 0.17), (0.5, 0.36, 0.22), "points", "round", 0.45, 0.07, 0.4, 0.2),
)


@dataclass(frozen=True)
class Part:
    """One part: its outline (N, 2), its brightness beside the others, and its colour, None for coat."""

    outline: np.ndarray
    shade: float = 1.0
    colour: Colour | None = None
    dark: bool = False  # has the marking's colour in breeds with points


@dataclass(frozen=True)
class Pose:
    """The parts of an animal from the farthest to the nearest; a portrait is cut off below the shoulders."""

    parts: list[Part]
    is_portrait: bool


def pose(rng: np.random.Generator, breed: Breed) -> Pose:
    """Put one animal of the breed together, standing, sitting, lying, or as a portrait."""
    poses = (_standing, _sitting, _lying, _portrait)
    chosen = poses[rng.choice(len(poses), p=(0.32, 0.26, 0.22, 0.2))]
    return Pose(chosen(rng, breed), is_portrait=chosen is _portrait)


def _standing(rng: np.random.Generator, breed: Breed) -> list[Part]:
    stride = rng.uniform(-0.14, 0.14)
    hip, shoulder = (-0.36, 0.08), (0.34, 0.08)
    depth = rng.uniform(0.19, 0.27)
    head = (rng.uniform(0.5, 0.66), rng.uniform(-0.45, -0.05))
    return [
        _tail(rng, breed, -0.44, -0.1, rng.uniform(-2.6, -0.6)),
        *_leg(breed, hip, stride + 0.1, 0.72),
        *_leg(breed, shoulder, -stride + 0.1, 0.72),
        _ellipse(rng, -0.3, 0.0, 0.24, depth + 0.01),
        _ellipse(rng, 0.0, 0.0, 0.5, depth * 0.92, rng.uniform(-0.06, 0.06)),
        *_leg(breed, hip, -stride, 1.0),
        *_leg(breed, shoulder, stride, 1.0),
        Part(_strip([(0.28, 0.0), (0.42, -0.1), head], [0.2, 0.16, 0.13])),
        *_any_head(rng, breed, *head, rng.uniform(0.17, 0.22)),
    ]


def _sitting(rng: np.random.Generator, breed: Breed) -> list[Part]:
    lean = rng.uniform(-0.08, 0.08)
    width = rng.uniform(0.2, 0.27)
    side = rng.choice((-1, 1))
    return [
        _tail(rng, breed, side * width * 0.8, 0.44, np.pi / 2 - side * rng.uniform(1.0, 2.2)),
        _ellipse(rng, -width * 0.8, 0.4, 0.19, 0.15, 0.3, shade=0.85),
        _ellipse(rng, width * 0.8, 0.4, 0.19, 0.15, -0.3, shade=0.85),
        Part(_strip([(0.0, 0.52), (lean / 2, 0.0), (lean, -0.3)], [width * 1.15, width * 1.2, width * 0.6])),
        *_leg(breed, (lean - 0.1, 0.12), -0.03, 0.92, 0.4),
        *_leg(breed, (lean + 0.1, 0.12), 0.03, 1.0, 0.4),
        *_any_head(rng, breed, lean * 1.5, rng.uniform(-0.5, -0.36), rng.uniform(0.2, 0.26)),
    ]


def _lying(rng: np.random.Generator, breed: Breed) -> list[Part]:
    head = (rng.uniform(0.38, 0.6), rng.uniform(-0.28, 0.08))
    reach = rng.uniform(0.6, 0.85)
    return [
        _tail(rng, breed, -0.48, 0.12, rng.uniform(-3.6, -2.4)),
        Part(_strip([(0.3, 0.12), (0.45, 0.24), (reach - 0.08, 0.18)], [0.09, 0.07, 0.05]), 0.75, dark=True),
        _ellipse(rng, 0.0, 0.05, 0.52, rng.uniform(0.17, 0.24), rng.uniform(-0.08, 0.08)),
        _ellipse(rng, -0.3, 0.08, 0.24, 0.2, -0.3, shade=1.06),
        Part(_strip([(-0.3, 0.2), (-0.15, 0.3), (0.02, 0.25)], [0.08, 0.06, 0.05]), dark=True),
        Part(_strip([(0.25, 0.14), (0.4, 0.3), (reach, 0.24)], [0.1, 0.08, 0.055]), dark=True),
        Part(_strip([(0.25, 0.0), head], [0.19, 0.15])),
        *_any_head(rng, breed, *head, rng.uniform(0.18, 0.23)),
    ]


def _portrait(rng: np.random.Generator, breed: Breed) -> list[Part]:
    """Head and shoulders; the frame usually cuts the rest off."""
    lean = rng.uniform(-0.15, 0.15)
    return [
        _ellipse(rng, lean, 1.0, rng.uniform(0.42, 0.6), 0.75, shade=0.9),
        Part(_strip([(lean, 0.7), (lean / 2, 0.3), (0.0, 0.0)], [0.36, 0.3, 0.26]), 0.95),
        *_any_head(rng, breed, 0.0, 0.0, rng.uniform(0.34, 0.42)),
    ]


def _any_head(rng: np.random.Generator, breed: Breed, x: float, y: float, radius: float) -> list[Part]:
    """A head from the front or the side, drawn around the origin with radius 1, then tilted and placed."""
    parts = _front_head(rng, breed) if rng.random() < 0.5 else _side_head(rng, breed)
    tilt = _rotation(rng.uniform(-0.35, 0.35))
    return [replace(part, outline=part.outline @ tilt * radius + (x, y)) for part in parts]


def _front_head(rng: np.random.Generator, breed: Breed) -> list[Part]:
    width, gap = rng.uniform(1.0, 1.15), rng.uniform(0.36, 0.46)
    length = breed.muzzle * 2.2
    eyes = [_ellipse(rng, side * gap, -0.12, 0.13, 0.12, rough=0.0, colour=GLINT) for side in (-1, 1)]
    pupils = [_ellipse(rng, side * gap, -0.12, 0.07, 0.11, rough=0.0, colour=DARK) for side in (-1, 1)]
    behind = [] if breed.ears == "floppy" else [*_ear(rng, breed, -1), *_ear(rng, breed, 1)]
    before = [*_ear(rng, breed, -1), *_ear(rng, breed, 1)] if breed.ears == "floppy" else []
    return [
        *behind,
        _ellipse(rng, 0, 0, width, 0.92),
        *before,
        _ellipse(rng, 0, 0.35 + length / 4, 0.4 + length / 5, 0.26 + length / 2, shade=1.08, dark=True),
        *eyes,
        *pupils,
        _ellipse(rng, 0, 0.3 + length / 3, 0.15, 0.1, rough=0.0, colour=DARK),
    ]


def _side_head(rng: np.random.Generator, breed: Breed) -> list[Part]:
    """A head in profile, looking to the right."""
    tip = 0.75 + breed.muzzle * 3.4
    drop = rng.uniform(0.2, 0.36)
    behind = [] if breed.ears == "floppy" else [*_ear(rng, breed, 0.4, 0.75), *_ear(rng, breed, -0.6)]
    before = _ear(rng, breed, -0.6) if breed.ears == "floppy" else []
    return [
        *behind,
        _ellipse(rng, 0, 0, 1.0, 0.9),
        Part(_strip([(0.3, 0.12), (0.7, drop), (tip, drop + 0.06)], [0.55, 0.42, 0.24]), 1.05, dark=True),
        *before,
        _ellipse(rng, 0.42, -0.16, 0.13, 0.12, rough=0.0, colour=DARK),
        _ellipse(rng, tip, drop - 0.08, 0.15, 0.13, rough=0.0, colour=DARK),
    ]


def _ear(rng: np.random.Generator, breed: Breed, side: float, shade: float = 0.9) -> list[Part]:
    """One ear of a head of radius 1; `side` from -1 (left) to 1 (right)."""
    x = side * 0.62
    if breed.ears == "round":
        return [_ellipse(rng, x * 1.15, -0.78, 0.36, 0.36, shade=shade, dark=True)]
    if breed.ears == "floppy":
        hang = rng.uniform(0.55, 0.8)
        tip = (side * 1.1, -0.4 + hang * 1.4)
        return [Part(_strip([(x, -0.62), (side * 1.15, -0.5), tip], [0.2, 0.32, 0.22]), shade * 0.85, dark=True)]
    peak = (side * rng.uniform(0.75, 0.95), rng.uniform(-1.6, -1.35))
    outer = np.array(((x - 0.36, -0.55), peak, (x + 0.36, -0.55)))
    inner = outer.mean(axis=0) + 0.55 * (outer - outer.mean(axis=0))
    return [Part(outer, shade, dark=True), Part(inner, shade, PINK)]


def _leg(breed: Breed, top: tuple[float, float], swing: float, shade: float, length: float | None = None) -> list[Part]:
    """A leg from the joint `top` down; `swing` moves the paw to the right."""
    x, y = top
    down = y + 0.12 + (breed.legs if length is None else length)
    knee = (x + swing * 0.4 - 0.03, (y + down) / 2)
    ankle = (x + swing, down)
    line = _strip([top, knee, ankle], [0.12, 0.07, 0.05])
    return [Part(line, shade, dark=True), Part(np.add(PAW, ankle), shade * 1.05, dark=True)]


def _tail(rng: np.random.Generator, breed: Breed, x: float, y: float, direction: float) -> Part:
    """A tail that leaves (x, y) in a direction (radians, 0 is right, negative is up) and curls on its way."""
    length = breed.tail * rng.uniform(0.8, 1.2)
    turns = direction + np.cumsum(rng.uniform(-0.8, 0.8) + rng.uniform(-0.4, 0.4, size=3))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 3
    points = np.cumsum(np.vstack([[(x, y)], steps]), axis=0)
    return Part(_strip(points, [0.05, breed.bushy, breed.bushy, breed.bushy * 0.5]), 0.9, dark=True)


def _ellipse(
    rng: np.random.Generator,
    x: float,
    y: float,
    across: float,
    down: float,
    angle: float = 0.0,
    *,
    rough: float = 0.02,
    shade: float = 1.0,
    colour: Colour | None = None,
    dark: bool = False,
) -> Part:
    """An ellipse of half-axes `across` and `down`, turned by `angle`, uneven by the share `rough`."""
    outline = CIRCLE * (across, down)
    if rough:
        phases = rng.uniform(0, 2 * np.pi, (len(HARMONICS), 1))
        outline *= 1 + rough * np.sin(HARMONICS * TURN + phases).sum(axis=0)[:, None]
    return Part(outline @ _rotation(angle) + (x, y), shade, colour, dark)


def _strip(points: Sequence[tuple[float, float]] | np.ndarray, radii: Sequence[float]) -> np.ndarray:
    """The outline (N, 2) around a smooth curve (Bezier, with `points` as its controls), with round ends."""
    controls = np.asarray(points, dtype=float)[:, None, :]  # (K, 1, 2)
    while len(controls) > 2:
        controls = controls[:-1] * (1 - ALONG) + controls[1:] * ALONG
    start, end = controls
    curve = start * (1 - ALONG) + end * ALONG  # (16, 2)
    radius = np.interp(ALONG[:, 0], np.arange(len(radii)) / (len(radii) - 1), radii)[:, None]
    forward = (end - start) / (np.hypot(*(end - start).T)[:, None] + 1e-9) + 0 * ALONG
    aside = forward[:, ::-1] * (-1, 1)
    last = curve[-1] + radius[-1] * (aside[-1] * END[:, :1] + forward[-1] * END[:, 1:])
    first = curve[0] - radius[0] * (aside[0] * END[:, :1] + forward[0] * END[:, 1:])
    return np.vstack([curve + aside * radius, last, (curve - aside * radius)[::-1], first])


def _rotation(angle: float) -> np.ndarray:
    """The matrix that turns rows (x, y) by `angle` radians: `rows @ matrix`."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array(((cosine, sine), (-sine, cosine)))
