"""Augmentations: what each choice of conf/augmentation does to an image and its target, and what is refused."""

import colorsys
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.base.config import AugmentationSection
from src.data.augment import PairTransform, RngStream, build_transform, check_transforms, stream_seed
from src.data.images import resize_image, resize_mask, trimap_to_target
from src.data.sources.drawing import BREEDS, draw_scene

ROOT = Path(__file__).parents[2]
CHOICES = [
    "color",
    "crop_flip",
    "distort",
    "flip_jitter",
    "flip_jitter_soft",
    "geometric",
    "hflip_jitter",
    "none",
    "occlusion",
    "offline_copies",
    "strong",
]
CODES = {0, 127, 255}


def choice(name: str, image_size: int = 64) -> AugmentationSection:
    """An option of conf/augmentation as a run gets it: composed, resolved, checked against the schema."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose(None, [f"+augmentation={name}", f"+data.image_size={image_size}"])
    return AugmentationSection(**OmegaConf.to_container(composed, resolve=True)["augmentation"])


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"albumentations.{name}", **arguments}


def ellipse(size: int) -> np.ndarray:
    """A target: a filled ellipse off the center, its rim ignored."""
    rows, columns = np.mgrid[:size, :size] / size
    distance = ((rows - 0.45) / 0.3) ** 2 + ((columns - 0.55) / 0.2) ** 2
    return np.select([distance < 0.8, distance < 1.0], [255, 127], 0).astype(np.uint8)


def photo(size: int) -> np.ndarray:
    """An image without two equal pixels in a row or column: smooth colors and some noise."""
    rows, columns = np.mgrid[:size, :size] * (200 / size)
    noise = np.random.default_rng(0).integers(0, 55, (size, size))
    return np.stack([rows + noise, columns + noise, 200 - rows], axis=-1).astype(np.uint8)


def flips(array: np.ndarray) -> list[np.ndarray]:
    """As it is, mirrored, upside down, and both."""
    return [array, array[:, ::-1], array[::-1], array[::-1, ::-1]]


def drawn_pet(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair as a run on drawn pets gets it: image and target, its border ignored."""
    image, trimap = draw_scene(np.random.default_rng(3), BREEDS[1], size)
    return resize_image(image, size, "pil_bilinear"), trimap_to_target(resize_mask(trimap, size), "ignore")


def seeds(epoch: int, index: int = 0) -> np.random.SeedSequence:
    return stream_seed(0, RngStream.TRANSFORM, epoch, index)


# --- the choices -------------------------------------------------------------------------------------------


def test_conf_holds_these_choices() -> None:
    files = sorted(path.stem for path in (ROOT / "conf" / "augmentation").glob("*.yaml"))
    assert files == CHOICES  # the tests below run over all of them


@pytest.mark.parametrize("name", CHOICES)
def test_each_choice_builds_and_keeps_size_and_codes(name: str) -> None:
    section = choice(name)
    assert section.name == name and section.mask_as_image == (name == "flip_jitter_soft")
    assert check_transforms(section.transforms) == check_transforms(section.copy_transforms) == []
    load_size = round(64 * section.load_scale)
    image, target = photo(load_size), ellipse(load_size)
    image.setflags(write=False)  # a cache may hand out arrays that nobody may write to
    target.setflags(write=False)
    for nodes in (section.transforms, section.copy_transforms):
        if not nodes:
            continue
        transform = PairTransform(nodes, section.mask_as_image)
        for epoch in range(30):
            changed, target_after = transform(image, target, seeds(epoch))
            assert changed.shape == (64, 64, 3) and changed.dtype == np.uint8
            assert target_after.shape == (64, 64) and target_after.dtype == np.uint8
            if name != "flip_jitter_soft":
                assert set(np.unique(target_after)) <= CODES


@pytest.mark.parametrize("name", ["crop_flip", "distort", "offline_copies"])
def test_the_target_moves_with_the_image(name: str) -> None:
    section = choice(name)
    nodes = [n for n in section.transforms + section.copy_transforms if "Brightness" not in n["_target_"]]
    load_size = round(64 * section.load_scale)
    target = np.where(ellipse(load_size) > 0, 255, 0).astype(np.uint8)
    drawn = np.repeat(target[..., None], 3, axis=2)  # the image shows its own target
    transform = PairTransform(nodes)
    moved = 0
    for epoch in range(40):
        image, after = transform(drawn, target, seeds(epoch))
        pet = image[..., 0] > 127
        overlap = (pet & (after == 255)).sum() / (pet | (after == 255)).sum()
        assert overlap > 0.85  # bilinear and nearest round the rim differently; unrelated draws overlap by half
        moved += not np.array_equal(after, target[:64, :64])
    assert moved > 20


def test_none_changes_nothing() -> None:
    image, target = PairTransform(choice("none").transforms)(photo(8), ellipse(8), seeds(0))
    assert np.array_equal(image, photo(8)) and np.array_equal(target, ellipse(8))


def test_flip_jitter_changes_brightness_by_up_to_a_fifth_in_every_draw() -> None:
    # Contrast and saturation leave an even grey as it is, so what is left is 100 times the brightness factor.
    grey = np.full((4, 4, 3), 100, np.uint8)
    transform = PairTransform(choice("flip_jitter").transforms)
    values = [int(transform(grey, ellipse(4), seeds(epoch))[0][0, 0, 0]) for epoch in range(200)]
    assert 80 <= min(values) < 84 and 116 < max(values) <= 120
    assert values.count(100) < 20  # p is 1: with p 0.5 a hundred draws would leave it alone


def test_flip_jitter_keeps_the_hue() -> None:
    orange = np.full((4, 4, 3), (200, 120, 60), np.uint8)
    transform = PairTransform(choice("flip_jitter").transforms)
    for epoch in range(50):
        red, green, blue = transform(orange, ellipse(4), seeds(epoch))[0][0, 0].astype(float)
        # With the hue fixed, green stays where it was between blue and red: (120 - 60) / (200 - 60).
        assert (green - blue) / (red - blue) == pytest.approx(60 / 140, abs=0.03)


def test_flip_jitter_leaves_the_target_to_the_flips() -> None:
    target = ellipse(64)
    flipped = [target, target[:, ::-1], target[::-1], target[::-1, ::-1]]
    transform = PairTransform(choice("flip_jitter").transforms)
    seen: Counter[int] = Counter()
    for epoch in range(200):
        image, after = transform(photo(64), target, seeds(epoch))
        assert not any(np.array_equal(image, way) for way in (photo(64), photo(64)[:, ::-1]))
        seen[next(i for i, way in enumerate(flipped) if np.array_equal(after, way))] += 1
    # Both flips have p 0.5 and know nothing of each other: each of the four comes up 50 times or so.
    assert all(30 <= seen[i] <= 70 for i in range(4))


def test_flip_jitter_soft_differs_from_flip_jitter_in_the_target_alone() -> None:
    hard, soft = choice("flip_jitter"), choice("flip_jitter_soft")
    assert hard.transforms == soft.transforms
    target = np.where(ellipse(64) > 0, 255, 0).astype(np.uint8)
    softened = 0
    for epoch in range(40):
        image, binary = PairTransform(hard.transforms)(photo(64), target, seeds(epoch))
        same_image, labels = PairTransform(soft.transforms, mask_as_image=True)(photo(64), target, seeds(epoch))
        assert np.array_equal(image, same_image)
        assert np.array_equal(binary == 255, labels > 127)  # still the same side of a half
        softened += not np.array_equal(binary, labels)
    # A quarter of the draws raise brightness and contrast both, which clips the labels back to 0 and 255.
    assert 20 <= softened < 40


def test_crop_flip_takes_a_window_and_maybe_mirrors_it() -> None:
    rows, columns = np.mgrid[:72, :72]
    where = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)  # each pixel tells where it was
    target = ellipse(72)
    section = choice("crop_flip", image_size=64)
    assert round(64 * section.load_scale) == 72 and round(256 * section.load_scale) == 286
    windows = set()
    for epoch in range(60):
        image, after = PairTransform(section.transforms)(where, target, seeds(epoch))
        mirrored = image[0, 0, 1] > image[0, -1, 1]
        image, after = (image[:, ::-1], after[:, ::-1]) if mirrored else (image, after)
        top, left = int(image[0, 0, 0]), int(image[0, 0, 1])
        assert np.array_equal(image, where[top : top + 64, left : left + 64])
        assert np.array_equal(after, target[top : top + 64, left : left + 64])
        windows.add((top, left, bool(mirrored)))
    assert len(windows) > 30  # of 9 * 9 * 2


def test_hflip_jitter_is_flip_jitter_without_the_vertical_flip() -> None:
    kept = [n for n in choice("flip_jitter").transforms if "Vertical" not in n["_target_"]]
    assert choice("hflip_jitter").transforms == kept and len(kept) == 2
    target = ellipse(64)
    transform = PairTransform(choice("hflip_jitter").transforms)
    mirrored = 0
    for epoch in range(100):
        _, after = transform(photo(64), target, seeds(epoch))
        mirrored += np.array_equal(after, target[:, ::-1])
        assert np.array_equal(after, target) or np.array_equal(after, target[:, ::-1])
    assert 30 <= mirrored <= 70


@pytest.mark.parametrize("name", ["geometric", "strong"])
def test_stronger_geometry_moves_a_drawn_pet_and_its_target_together(name: str) -> None:
    pet, target = drawn_pet(96)
    painted = np.repeat(np.where(target > 0, 255, 0).astype(np.uint8)[..., None], 3, axis=2)  # like its target
    transform = PairTransform(choice(name).transforms)
    moved = 0
    for epoch in range(40):
        image, after = transform(painted, target, seeds(epoch))
        # Colors and blur change black and white, but never so far that either crosses the middle between them.
        middle = (int(image.min()) + int(image.max())) / 2
        assert np.mean((image[..., 0] > middle) != (after > 0)) < 0.01  # the rim alone; the pet has almost half
        assert set(np.unique(after)) == CODES
        # The photograph itself goes the same way: the same draw gives it the same target.
        assert np.array_equal(transform(pet, target, seeds(epoch))[1], after)
        moved += not any(np.array_equal(after, way) for way in flips(target))
    assert 24 <= moved < 40  # p is 0.8


def test_geometric_keeps_its_limits() -> None:
    # A bar of 72 x 24 pixels around the center: its area tells the scale, its moments place, angle and shape. It is
    # its own mirror image but for the sign of the angle.
    rows, columns = np.abs(np.mgrid[:256, :256] - 127.5)
    bar = np.where((rows < 12) & (columns < 36), 255, 0).astype(np.uint8)
    transform = PairTransform(choice("geometric").transforms)
    scales, angles, shifts = [], [], []
    for epoch in range(200):
        _, after = transform(photo(256), bar, seeds(epoch))
        moments = cv2.moments(after, binaryImage=True)
        wide, tall, both = (moments[key] / moments["m00"] for key in ("mu20", "mu02", "mu11"))
        spread = np.linalg.eigvalsh([[wide, both], [both, tall]])
        assert np.sqrt(spread[1] / spread[0]) == pytest.approx(3, abs=0.1)  # 72 / 24: sides alike, and no shear
        scales.append(np.sqrt(moments["m00"] / (72 * 24)))
        angles.append(np.degrees(np.arctan2(2 * both, wide - tall) / 2))
        shifts += [(moments[key] / moments["m00"] - 127.5) / 256 for key in ("m10", "m01")]
    for values, lowest, highest, near in [(scales, 0.75, 1.25, 0.02), (angles, -20, 20, 2), (shifts, -0.1, 0.1, 0.01)]:
        assert lowest - near / 2 < min(values) < lowest + near
        assert highest - near < max(values) < highest + near / 2


def test_what_geometric_brings_in_from_outside_is_the_mirror_image() -> None:
    # albumentations' default would bring in black, and background in the target; mirrored, white and pet stay so.
    white, full = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64), 255, np.uint8)
    affine = [n for n in choice("geometric").transforms if "Affine" in n["_target_"]]
    smaller = [{**affine[0], "scale": [0.75, 0.75], "p": 1.0}]
    assert len(affine) == 1
    for epoch in range(20):
        image, after = PairTransform(smaller)(white, full, seeds(epoch))
        assert np.array_equal(image, white) and np.array_equal(after, full)


def test_strong_never_turns_a_picture_upside_down_and_geometric_does() -> None:
    above = np.zeros((64, 64), np.uint8)
    above[:32] = 255
    upside_down = {}
    for name in ("strong", "geometric"):
        transform = PairTransform(choice(name).transforms)
        targets = [transform(photo(64), above, seeds(epoch))[1] for epoch in range(100)]
        upside_down[name] = sum(int(after[32:].sum()) > int(after[:32].sum()) for after in targets)
    assert upside_down["strong"] == 0
    assert 30 <= upside_down["geometric"] <= 70


def test_strong_is_geometric_and_color_without_the_vertical_flip() -> None:
    geometric, color = choice("geometric").transforms, choice("color").transforms
    assert choice("strong").transforms == [geometric[0], geometric[2], *color[2:]]
    assert geometric[:2] == color[:2] == choice("flip_jitter").transforms[:2]
    assert geometric[3:] == choice("flip_jitter").transforms[2:]


def test_color_leaves_the_target_to_the_flips() -> None:
    pet, target = drawn_pet(64)
    transform = PairTransform(choice("color").transforms)
    seen: Counter[int] = Counter()
    for epoch in range(100):
        image, after = transform(pet, target, seeds(epoch))
        way = next(i for i, flipped in enumerate(flips(target)) if np.array_equal(after, flipped))
        assert not np.array_equal(image, flips(pet)[way])
        seen[way] += 1
    assert all(10 <= seen[i] <= 40 for i in range(4))


def test_color_changes_brightness_by_up_to_two_fifths() -> None:
    # As with flip_jitter: all else leaves an even grey as it is.
    grey = np.full((8, 8, 3), 100, np.uint8)
    transform = PairTransform(choice("color").transforms)
    values = [int(transform(grey, ellipse(8), seeds(epoch))[0][0, 0, 0]) for epoch in range(200)]
    assert 60 <= min(values) < 66 and 134 < max(values) <= 140


def test_color_turns_the_hue_by_up_to_a_twentieth_and_makes_one_in_ten_grey() -> None:
    brick = np.full((8, 8, 3), (140, 100, 60), np.uint8)  # hue 30 of 360 degrees; dull enough for all factors
    transform = PairTransform(choice("color").transforms)
    pixels = [transform(brick, ellipse(8), seeds(epoch))[0][0, 0].tolist() for epoch in range(300)]
    colored = [pixel for pixel in pixels if len(set(pixel)) > 1]
    turns = [360 * colorsys.rgb_to_hsv(*pixel)[0] - 30 for pixel in colored]
    assert -21 < min(turns) < -15 and 15 < max(turns) < 21  # 18 degrees, and 3 for the rounding to bytes
    assert 15 <= len(pixels) - len(colored) <= 50


def test_color_blurs_one_in_ten_a_little() -> None:
    # White left of a straight edge, black right of it: the last white column keeps the kernel's left half and its
    # center, (1 + center) / 2. The center is 1 / (1 + 2 (e ** -2)) = 0.79 for sigma 0.5, so 0.89, and for sigma 1
    # 1 / (1 + 2 (e ** -0.5 + e ** -2 + e ** -4.5)) = 0.40, so 0.70.
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[:, :8] = 255
    transform = PairTransform([n for n in choice("color").transforms if "Blur" in n["_target_"]])
    last_white = [transform(edge, ellipse(16), seeds(epoch))[0][8, 7, 0] / 255 for epoch in range(300)]
    blurred = [share for share in last_white if share < 1]
    assert 15 <= len(blurred) <= 50
    assert 0.69 < min(blurred) < 0.73 and 0.85 < max(blurred) < 0.90


# --- draws -------------------------------------------------------------------------------------------------


def test_a_flip_is_the_mirror_image() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    target = np.array([[255, 127, 0], [0, 0, 255]], np.uint8)
    flipped, target = PairTransform([node("HorizontalFlip", p=1.0)])(image, target, seeds(0))
    assert flipped[0, :, 0].tolist() == [6, 3, 0]
    assert target.tolist() == [[0, 127, 255], [255, 0, 0]]


def test_equal_seeds_give_equal_results_whatever_came_before() -> None:
    section = choice("distort")
    first, second = PairTransform(section.transforms), PairTransform(section.transforms)
    expected = [first(photo(64), ellipse(64), seeds(epoch)) for epoch in range(5)]
    for epoch in reversed(range(5)):
        image, target = second(photo(64), ellipse(64), seeds(epoch))
        assert np.array_equal(image, expected[epoch][0]) and np.array_equal(target, expected[epoch][1])


def test_no_two_draws_share_a_stream() -> None:
    streams = {
        tuple(stream_seed(seed, draw, first, second).generate_state(4))
        for seed in (0, 1, 2**32 - 1)
        for draw in RngStream
        for first in range(20)
        for second in range(20)
    }
    assert len(streams) == 3 * len(RngStream) * 20 * 20


# --- targets -----------------------------------------------------------------------------------------------


def test_masks_are_interpolated_nearest_whatever_the_node_says() -> None:
    linear = [node("Rotate", limit=[17, 17], p=1.0, mask_interpolation=1)]
    _, target = PairTransform(linear)(photo(64), ellipse(64), seeds(0))
    assert set(np.unique(target)) == CODES


def test_a_value_that_is_no_code_is_refused() -> None:
    transform = PairTransform([node("Rotate", limit=[45, 45], p=1.0, fill_mask=7)])
    with pytest.raises(ValueError, match=r"wrote \[7\] into the target; allowed are 0, 127, 255"):
        transform(photo(64), ellipse(64), seeds(0))


def test_soft_labels_never_become_ignored_and_ignored_pixels_stay_so() -> None:
    dim = node("ColorJitter", brightness=[0.4985, 0.4985], contrast=[1, 1], saturation=[1, 1], hue=[0, 0], p=1.0)
    target = np.array([[255, 0, 127]], np.uint8)
    image = np.repeat(target[..., None], 3, axis=2)
    image, soft = PairTransform([dim], mask_as_image=True)(image, target, seeds(0))
    assert image[0, :, 0].tolist() == [127, 0, 63]  # 255 * 0.4985 = 127.1: by accident the code of ignored pixels
    assert soft.tolist() == [[128, 0, 127]]


def test_ignored_pixels_move_with_the_soft_target() -> None:
    target = np.array([[255, 0, 127]], np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    _, soft = PairTransform([node("HorizontalFlip", p=1.0)], mask_as_image=True)(image, target, seeds(0))
    assert soft.tolist() == [[127, 0, 255]]


# --- what is refused ---------------------------------------------------------------------------------------


def test_every_problem_is_named_at_once() -> None:
    nodes = [
        node("ColorJitter", brightnes=0.2, value=3),
        node("OneOf", transforms=[node("RandomCrop", height=3), node("HorizontalFlop")]),
    ]
    problems = check_transforms(nodes, "augmentation.transforms")
    assert problems == [
        "augmentation.transforms[0] (ColorJitter): unknown argument 'brightnes'; "
        "it accepts brightness, contrast, hue, p, saturation",
        "augmentation.transforms[0] (ColorJitter): unknown argument 'value'; "
        "it accepts brightness, contrast, hue, p, saturation",
        "augmentation.transforms[1] (OneOf).transforms[0] (RandomCrop): width: Field required",
        "augmentation.transforms[1] (OneOf).transforms[1]._target_: got 'albumentations.HorizontalFlop', which "
        "cannot be found (AttributeError: module 'albumentations' has no attribute 'HorizontalFlop'); did you mean "
        "albumentations.HorizontalFlip?",
    ]
    with pytest.raises(ValueError) as refused:
        build_transform(nodes)
    assert str(refused.value).count("\n") == 3


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (node("HorizontalFlip", p=2), "p is 2: Input should be less than or equal to 1"),
        (node("ColorJitter", brightness="bright"), "brightness is 'bright'"),
        (node("GridDistortion", value=0.2), "unknown argument 'value'"),  # not in this version
        (node("RandomRotate90", factor=1), "unknown argument 'factor'; it accepts p"),
        (node("HorizontalFlip", strict=False), "unknown argument 'strict'"),
        (node("Compose", transforms=[], seed=3), "unknown argument 'seed'"),
        (node("SomeOf", n=3, transforms=[node("NoOp")]), "greater than number of transforms"),
        (node("OneOf", transforms=node("NoOp")), r"transforms: got .* expected a list"),
        (node("OneOf", transforms=[node("NoOp", p=0)]), "division by zero"),
        (node("CenterCrop3D", size=[1, 2, 3]), "needs more inputs than an image and its mask"),
        (node("OverlayElements"), "needs more inputs than an image and its mask"),
        ({"_target_": "os.system", "command": "true"}, "got 'os.system'; allowed are names under src"),
        ({"_target_": "albumentations.os.system"}, "cannot be found"),
        ({"_target_": "albumentations.to_dict"}, "which is not a BasicTransform or BaseCompose of an allowed package"),
        (node("BboxParams", format="coco"), "got 'albumentations.BboxParams', which is not a BasicTransform"),
        (node("DualTransform"), "got 'albumentations.DualTransform', which is not a transform for a config"),
        (node("BaseCompose"), "got 'albumentations.BaseCompose', which is not a transform for a config"),
        (node("Lambda"), "got 'albumentations.Lambda', which is not a transform for a config"),
        (node("OneOf", transforms=[node("Lambda")]), r"transforms\[0\]\._target_: got 'albumentations.Lambda', which"),
        ({"p": 0.5}, "got None; allowed are names under src"),
        ("HorizontalFlip", "got 'HorizontalFlip'; expected a mapping with _target_"),
    ],
)
def test_a_broken_node_is_refused(broken: Any, said: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s)transforms\[0\].*{said}"):
        build_transform([broken])


def test_a_single_node_is_no_list() -> None:
    assert "expected a list of transforms" in check_transforms(node("NoOp"))[0]  # type: ignore[arg-type]


@pytest.mark.long
def test_importing_asks_for_no_updates() -> None:
    watched = (
        "import socket\n"
        "def refuse(*arguments): print('asked', arguments)\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "import src.data.augment\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", watched], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
