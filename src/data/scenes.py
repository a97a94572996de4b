"""Drawn photos: an animal on a busy background, with its trimap.

A canvas is float32 planes (3, H, W), RGB in [0, 1]. Where something lies on it is uint8 (H, W), 0 to 255, in
between at its edges, which are smooth.
"""

from dataclasses import replace

import cv2
import numpy as np

from src.data import textures
from src.data.animals import BREEDS, Breed, Part, Pose, pose
from src.data.images import BACKGROUND, BORDER, PET

SURROUNDINGS = (
    (0.33, 0.47, 0.2),  # grass
    (0.55, 0.6, 0.33),  # dry grass
    (0.45, 0.4, 0.36),  # earth
    (0.62, 0.66, 0.7),  # concrete
    (0.3, 0.38, 0.52),  # denim
    (0.75, 0.68, 0.55),  # sand
    (0.55, 0.3, 0.27),  # brick
    (0.22, 0.24, 0.23),  # asphalt
    (0.85, 0.85, 0.83),  # plaster
)


def draw_scene(rng: np.random.Generator, breed: Breed, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one animal of the breed: image uint8 RGB (H, W, 3) and trimap uint8 (H, W) of codes 1, 2, 3.

    The longer side has `size` pixels, the shorter 0.66 to 1 of that. `rng` decides everything.
    """
    shorter = round(size * rng.uniform(0.66, 1.0))
    height, width = (shorter, size) if rng.random() < 0.65 else (size, shorter)
    canvas = _background(rng, breed, height, width)
    parts = _place(rng, pose(rng, breed), height, width)
    if rng.random() < 0.5:
        _cast_shadow(rng, canvas, parts)
    silhouette = _draw_animal(rng, canvas, parts, breed)
    if rng.random() < 0.2:
        thing = _draw_thing(rng, canvas, SURROUNDINGS[rng.integers(len(SURROUNDINGS))])
        silhouette[thing >= 128] = 0  # it lies before the animal, and is background
    return _photograph(rng, canvas), _trimap(silhouette >= 128, size)


def _trimap(pet: np.ndarray, size: int) -> np.ndarray:
    """Codes from the silhouette (H, W); the border is a band of about 4 % of `size`, half of it inside."""
    reach = max(1, round(0.02 * size))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inside, around = cv2.erode(pet.astype(np.uint8), disc), cv2.dilate(pet.astype(np.uint8), disc)
    trimap = np.full(pet.shape, BORDER, dtype=np.uint8)
    trimap[inside == 1] = PET
    trimap[around == 0] = BACKGROUND
    return trimap


def _place(rng: np.random.Generator, posed: Pose, height: int, width: int) -> list[Part]:
    """Turn, mirror, stretch, scale and move the animal, so that it covers a drawn share of the picture."""
    upright = posed.is_portrait or rng.random() < 0.92
    angle = rng.normal(0, 0.18) if upright else rng.uniform(-np.pi, np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    mirror = rng.choice((-1, 1))
    matrix = np.diag((mirror * rng.uniform(0.85, 1.2), 1.0)) @ np.array(((cosine, sine), (-sine, cosine)))
    outlines = [part.outline @ matrix for part in posed.parts]
    points = np.vstack(outlines)
    low, high = points.min(axis=0), points.max(axis=0)
    share = 0.07 + 0.93 * rng.beta(1.7, 3.2)
    scale = np.sqrt(share * height * width / _area(outlines, low, high))
    middle = np.array((width, height)) * rng.normal(0.5, 0.07, size=2)
    if posed.is_portrait:  # the frame cuts off what lies below the shoulders
        middle[1] = height * rng.uniform(1.05, 1.3) - (high - low)[1] * scale / 2
    return [
        replace(part, outline=(outline - (low + high) / 2) * scale + middle)
        for outline, part in zip(outlines, posed.parts, strict=True)
    ]


def _area(outlines: list[np.ndarray], low: np.ndarray, high: np.ndarray) -> float:
    """The area that the outlines cover together, counted on a grid of 64 x 64."""
    grid = np.zeros((64, 64), dtype=np.uint8)
    step = float((high - low).max()) / 64
    for outline in outlines:
        cv2.fillPoly(grid, [((outline - low) / step).astype(np.int32)], 1)
    return np.count_nonzero(grid) * step**2


def _background(rng: np.random.Generator, breed: Breed, height: int, width: int) -> np.ndarray:
    """One or two surfaces (wall and floor) with things lying about."""
    canvas = _surface(rng, breed, height, width)
    if rng.random() < 0.6:
        slope = width * rng.normal(0, 0.1) * np.linspace(-1, 1, width)
        below = np.arange(height)[:, None] > height * rng.uniform(0.35, 0.75) + slope
        np.copyto(canvas, _surface(rng, breed, height, width), where=below)
    for _ in range(rng.integers(2, 7)):
        _draw_thing(rng, canvas, _some_colour(rng, breed))
    return canvas


def _surface(rng: np.random.Generator, breed: Breed, height: int, width: int) -> np.ndarray:
    draw = rng.random()
    if draw < 0.2:
        share = textures.ramp(rng, height, width)
    elif draw < 0.45:
        share = textures.clouds(rng, height, width)
    elif draw < 0.6:
        share = textures.waves(rng, height, width, rng.uniform(3, 14), rng.uniform(0, 0.25))
    elif draw < 0.75:
        share = textures.tiles(rng, height, width)
    else:
        share = textures.fur(rng, height, width, max(height, width) * rng.uniform(0.015, 0.08))
    colour = _some_colour(rng, breed)
    surface = textures.coloured(share, colour, colour * rng.uniform(0.55, 1.25) + rng.normal(0, 0.06, 3))
    return surface * (np.float32(0.85) + np.float32(0.3) * textures.noise(rng, height, width, 40))


def _some_colour(rng: np.random.Generator, breed: Breed) -> np.ndarray:
    """A colour (3,) of the surroundings or of a coat, often this breed's own: colour alone tells nothing."""
    draw = rng.random()
    if draw < 0.25:
        colour = breed.ground if rng.random() < 0.6 else breed.marking
    elif draw < 0.5:
        colour = BREEDS[rng.integers(len(BREEDS))].ground
    else:
        colour = SURROUNDINGS[rng.integers(len(SURROUNDINGS))]
    return np.array(colour) + rng.normal(0, 0.05, 3)


def _draw_thing(rng: np.random.Generator, canvas: np.ndarray, colour: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Draw a cushion, stone, board or cable, often furry like a coat; return where."""
    where = np.zeros(canvas.shape[1:], dtype=np.uint8)
    height, width = canvas.shape[1:]
    reach = max(height, width)
    middle = rng.uniform((0, 0), (width, height))
    if rng.random() < 0.2:
        bends = middle + rng.normal(0, 0.4, (4, 2)) * reach
        thickness = max(1, round(reach * rng.uniform(0.01, 0.04)))
        cv2.polylines(where, [bends.astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    else:
        corners = rng.choice((4, 5, 24))
        turn = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, np.pi)
        radii = reach * rng.uniform(0.05, 0.22, 2) * rng.uniform(0.85, 1.15, (corners, 1))
        _fill(where, middle + np.stack([np.cos(turn), np.sin(turn)], axis=1) * radii)
    _paint(canvas, where, _cloth(rng, canvas, where, np.array(colour)), 1.0)
    return where


def _cloth(rng: np.random.Generator, canvas: np.ndarray, where: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """A fill (3, H, W) of one colour, furry or smooth; drawn only around `where`, since fur takes its time."""
    if rng.random() < 0.4:
        return np.broadcast_to(colour.astype(np.float32)[:, None, None], canvas.shape)
    fill = np.zeros_like(canvas)
    rows, columns = _window(where, 0)
    height, width = fill[0, rows, columns].shape
    length = max(where.shape) * rng.uniform(0.015, 0.06)
    if height and width:
        fur = textures.fur(rng, height, width, length)
        fill[:, rows, columns] = textures.coloured(fur, 0.75 * colour, 1.25 * colour)
    return fill


def _cast_shadow(rng: np.random.Generator, canvas: np.ndarray, parts: list[Part]) -> None:
    """Darken a flat ellipse under the animal."""
    points = np.vstack([part.outline for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    across, down = high - low
    middle = ((low[0] + high[0]) / 2, high[1] - 0.04 * down)
    axes = (across * rng.uniform(0.8, 1.2), down * rng.uniform(0.1, 0.28))
    shadow = np.zeros(canvas.shape[1:], dtype=np.float32)
    cv2.ellipse(shadow, (middle, axes, 0.0), 1.0, cv2.FILLED)
    blur = _share_of(canvas, 0.04)
    canvas *= 1 - np.float32(rng.uniform(0.2, 0.5)) * cv2.blur(shadow, (blur, blur))


def _draw_animal(rng: np.random.Generator, canvas: np.ndarray, parts: list[Part], breed: Breed) -> np.ndarray:
    """Paint the parts from the farthest to the nearest; return where they are together, the silhouette."""
    coat, points = _coat(rng, breed, *canvas.shape[1:])
    silhouette = np.zeros(canvas.shape[1:], dtype=np.uint8)
    for part in parts:
        where = _fill(np.zeros_like(silhouette), part.outline)
        if part.colour:
            fill = np.broadcast_to(np.array(part.colour, dtype=np.float32)[:, None, None], canvas.shape)
        else:
            fill = points if part.dark else coat
        _paint(canvas, where, fill, part.shade)
        np.maximum(silhouette, where, out=silhouette)
    return silhouette


def _coat(rng: np.random.Generator, breed: Breed, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The coat of the body, and of its points (ears, legs, tail, muzzle), each planes (3, H, W)."""
    tint = rng.normal(0, 0.03, 3) + rng.normal(0, 0.04)
    ground, marking = np.array(breed.ground) + tint, np.array(breed.marking) + tint
    if breed.pattern == "stripes":
        share = textures.waves(rng, height, width, rng.uniform(6, 14), 0.25)
    elif breed.pattern == "patches":
        hills = textures.noise(rng, height, width, rng.uniform(4, 8))
        share = (hills > rng.uniform(0.45, 0.65)).astype(np.float32)
    else:
        share = np.float32(0.35) * textures.clouds(rng, height, width)
    length = 0.02 * max(height, width) * rng.uniform(1, 2.5)
    hair = np.float32(0.72) + np.float32(0.5) * textures.fur(rng, height, width, length)
    coat = textures.coloured(share, ground, marking) * hair
    return coat, (textures.coloured(hair, 0 * marking, marking) if breed.pattern == "points" else coat)


def _paint(canvas: np.ndarray, where: np.ndarray, fill: np.ndarray, shade: float) -> None:
    """Put `fill` (3, H, W) where something lies, darker towards the edges, so that it looks round."""
    blur = _share_of(canvas, 0.05)
    rows, columns = _window(where, blur)
    inside = where[rows, columns]
    if inside.size:
        light = np.float32(0.62 * shade) + np.float32(0.42 / 255 * shade) * cv2.blur(inside, (blur, blur))
        under = canvas[:, rows, columns]
        under += inside / np.float32(255) * (fill[:, rows, columns] * light - under)


def _window(where: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns around what is not 0, with a margin in pixels."""
    x, y, across, down = cv2.boundingRect(where)
    return (
        slice(max(0, y - margin), y + down + margin),
        slice(max(0, x - margin), x + across + margin),
    )


def _fill(where: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Draw the inside of an outline (N, 2), x and y in pixels, with smooth edges; return `where`."""
    finer = 8  # bits of a coordinate behind the point
    corners = np.rint(outline * 2**finer).astype(np.int32)
    return cv2.fillPoly(where, [corners], 255, lineType=cv2.LINE_AA, shift=finer)


def _share_of(canvas: np.ndarray, share: float) -> int:
    """A share of the canvas' longer side in pixels, for blurring."""
    return max(3, round(share * max(canvas.shape)))


def _photograph(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Add light from one side, exposure and the camera's noise: uint8 (H, W, 3)."""
    height, width = canvas.shape[1:]
    light = rng.uniform(0.8, 1.15) * (1 + rng.uniform(0, 0.4) * (textures.ramp(rng, height, width) - 0.5))
    grain = rng.uniform(0.005, 0.03) * rng.standard_normal((height, width), dtype=np.float32)
    photo = (canvas * light.astype(np.float32) + grain) * 255
    return np.ascontiguousarray(photo.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
