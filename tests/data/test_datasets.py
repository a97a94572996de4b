"""Samples from real files: what evaluation and training see, and what each random draw depends on."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.base.config import AugmentationSection
from src.data.datasets import EvalDataset, FileReader, NativeDataset, TrainDataset
from src.data.decoding import PairDecoder
from src.data.images import ImageReader, resize_image
from src.data.masks import MaskReader
from src.data.pairs import Pair

PLAIN: dict[str, Any] = {
    "name": "plain",
    "load_scale": 1.0,
    "mask_as_image": False,
    "transforms": [],
    "copies": 0,
    "copy_transforms": [],
}
TURN = {"_target_": "albumentations.Rotate", "limit": [-90, 90], "p": 1.0}  # never twice the same angle
READ = FileReader(PairDecoder())


def augmentation(**changes: Any) -> AugmentationSection:
    return AugmentationSection(**(PLAIN | changes))


def write_pair(folder: Path, stem: str, image: np.ndarray, trimap: np.ndarray) -> Pair:
    pair = Pair(stem, folder / f"{stem}.png", folder / f"{stem}_trimap.png")
    Image.fromarray(image).save(pair.image)
    Image.fromarray(trimap).save(pair.mask)
    return pair


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Three equal pictures of 20 x 30 pixels under three names: what differs between samples was drawn."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    trimap = np.full((20, 30), 2, np.uint8)
    trimap[4:16, 5:25] = 3
    trimap[7:13, 10:20] = 1
    return [write_pair(tmp_path, stem, image, trimap) for stem in ("a", "b", "c")]


@pytest.fixture
def tiny(tmp_path: Path) -> Pair:
    """2 x 2 pixels: red, green / blue, white, of which the trimap says pet, background / border, pet."""
    image = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    return write_pair(tmp_path, "tiny", image, np.array([[1, 2], [3, 1]], np.uint8))


# --- EvalDataset -----------------------------------------------------------------------------------------------


def test_evaluation_sees_the_picture_channels_first_and_the_border_as_foreground(tiny: Pair) -> None:
    image, target, position = EvalDataset([tiny, tiny], READ, image_size=2)[1]
    assert image.tolist() == [[[255, 0], [0, 255]], [[0, 255], [0, 255]], [[0, 0], [255, 255]]]
    assert image.dtype == torch.uint8 and image.is_contiguous()
    assert target.tolist() == [[255, 0], [255, 255]] and target.dtype == torch.uint8
    assert position == 1


@pytest.mark.parametrize(("border", "code"), [("foreground", 255), ("background", 0), ("ignore", 127)])
def test_border_policies(tiny: Pair, border: Any, code: int) -> None:
    for samples, key in (
        (EvalDataset([tiny], READ, 2, border), 0),
        (TrainDataset([tiny], READ, 2, border, augmentation(), seed=0), (0, 0)),
    ):
        assert samples[key].target.tolist() == [[255, 0], [code, 255]]  # type: ignore[index]


def test_evaluation_resizes_to_a_square(pairs: list[Pair]) -> None:
    image, target, _ = EvalDataset(pairs, READ, image_size=10)[2]
    assert image.shape == (3, 10, 10) and target.shape == (10, 10)
    assert len(EvalDataset(pairs, READ, image_size=10)) == 3
    assert set(target.unique().tolist()) == {0, 255}


def test_a_missing_file_is_named(pairs: list[Pair]) -> None:
    pairs[1].mask.unlink()
    with pytest.raises(ValueError, match=r"b_trimap\.png: .*No such file"):
        EvalDataset(pairs, READ, 8)[1]


# --- NativeDataset ----------------------------------------------------------------------------------------------


def test_scoring_at_any_size_sees_the_resized_picture_and_the_trimap_as_it_is_stored(pairs: list[Pair]) -> None:
    image, trimap, position = NativeDataset(pairs, PairDecoder(), image_size=10)[2]
    assert torch.equal(image, EvalDataset(pairs, READ, image_size=10)[2].image) and position == 2
    assert np.array_equal(trimap, MaskReader()(pairs[2].mask)) and trimap.shape == (20, 30)


# --- TrainDataset ----------------------------------------------------------------------------------------------


def test_training_without_augmentation_sees_what_evaluation_sees(pairs: list[Pair]) -> None:
    samples = TrainDataset(pairs, READ, 16, "foreground", augmentation(), seed=0)
    expected = EvalDataset(pairs, READ, 16)
    for index in range(3):
        assert torch.equal(samples[0, index].image, expected[index].image)
        assert torch.equal(samples[7, index].target, expected[index].target)


def test_every_epoch_and_every_image_draws_anew_and_reproducibly(pairs: list[Pair]) -> None:
    turning = augmentation(transforms=[TURN])
    samples = TrainDataset(pairs, READ, 16, "foreground", turning, seed=0)
    keys = [(epoch, index) for epoch in range(4) for index in range(3)]
    images = {key: samples[key].image.numpy().tobytes() for key in keys}
    assert len(set(images.values())) == 12
    again = TrainDataset(pairs, READ, 16, "foreground", turning, seed=0)
    assert all(again[key].image.numpy().tobytes() == images[key] for key in reversed(keys))
    other_seed = TrainDataset(pairs, READ, 16, "foreground", turning, seed=1)
    assert all(other_seed[key].image.numpy().tobytes() != images[key] for key in keys)


def test_copies_are_added_to_the_originals_and_stay_the_same(pairs: list[Pair]) -> None:
    copying = augmentation(copies=3, copy_transforms=[TURN])
    samples = TrainDataset(pairs, READ, 16, "foreground", copying, seed=0)
    originals = EvalDataset(pairs, READ, 16)
    assert len(samples) == 3 * (1 + 3)
    first_epoch = [samples[0, index] for index in range(12)]
    assert all(torch.equal(first_epoch[i].image, originals[i].image) for i in range(3))
    # The three files hold one picture, so the nine copies differ by their draws alone.
    assert len({sample.image.numpy().tobytes() for sample in first_epoch}) == 1 + 9
    for index in range(12):
        assert torch.equal(samples[5, index].image, first_epoch[index].image)
        assert torch.equal(samples[5, index].target, first_epoch[index].target)
        assert first_epoch[index].position == index


def test_copies_are_augmented_anew_in_every_epoch_where_both_are_asked_for(pairs: list[Pair]) -> None:
    both = augmentation(transforms=[TURN], copies=1, copy_transforms=[TURN])
    samples = TrainDataset(pairs, READ, 16, "foreground", both, seed=0)
    assert len({samples[epoch, 3].image.numpy().tobytes() for epoch in range(4)}) == 4


def test_a_random_border_is_drawn_at_each_access(pairs: list[Pair]) -> None:
    """By seed, epoch and image (or copy) alone; inside and outside of the border nothing changes."""
    flip = augmentation(copies=1, copy_transforms=[{"_target_": "albumentations.HorizontalFlip", "p": 1.0}])
    samples = TrainDataset(pairs, READ, 20, "random", flip, seed=0)
    first, second, _, copy_of_first, *_ = (samples[0, index].target for index in range(6))
    assert torch.equal(first, TrainDataset(pairs, READ, 20, "random", flip, seed=0)[0, 0].target)
    others = [second, copy_of_first.flip(1), samples[9, 0].target]
    others.append(TrainDataset(pairs, READ, 20, "random", flip, seed=1)[0, 0].target)
    plain = EvalDataset(pairs, READ, 20, "ignore")[0].target
    for other in others:
        assert not torch.equal(first, other) and torch.equal(first[plain != 127], other[plain != 127])


@pytest.mark.parametrize("how", ["pil_bilinear", "cv2_linear"])
def test_training_evaluation_and_scoring_resize_alike(pairs: list[Pair], how: Any) -> None:
    decoder = PairDecoder(ImageReader(resize=how))
    read = FileReader(decoder)
    expected = torch.from_numpy(resize_image(decoder.images(pairs[0].image), 16, how)).permute(2, 0, 1)
    assert torch.equal(TrainDataset(pairs, read, 16, "foreground", augmentation(), seed=0)[0, 0].image, expected)
    assert torch.equal(EvalDataset(pairs, read, 16)[0].image, expected)
    assert torch.equal(NativeDataset(pairs, decoder, 16)[0][0], expected)


def test_load_scale_is_what_the_reader_is_asked_for(pairs: list[Pair]) -> None:
    asked = []

    def read_pair(pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:  # as a cache would stand in
        asked.append((pair.stem, size))
        return READ(pair, size)

    crop = [{"_target_": "albumentations.RandomCrop", "height": 256, "width": 256}]
    samples = TrainDataset(pairs, read_pair, 256, "foreground", augmentation(load_scale=286 / 256, transforms=crop), 0)
    assert samples[0, 2].image.shape == (3, 256, 256)
    assert asked == [("c", 286)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"load_scale": 1.5}, r"a\.png: cannot be augmented: .*\(24, 24, 3\).* but data.image_size is 16"),
        (
            {"transforms": [{"_target_": "albumentations.ToFloat", "p": 1.0}]},
            r"a\.png.* an image of float32 .* both must be uint8",
        ),
        ({"transforms": [TURN | {"fill_mask": 9}]}, r"a\.png: cannot be augmented: .* wrote \[9\]"),
        (
            {"transforms": [{"_target_": "albumentations.RandomCrop", "height": 17, "width": 17}]},
            r"a\.png: cannot be augmented: Crop size",
        ),
    ],
)
def test_an_unusable_result_is_refused_with_the_file(pairs: list[Pair], changes: Any, said: str) -> None:
    samples = TrainDataset(pairs, READ, 16, "foreground", augmentation(**changes), seed=0)
    with pytest.raises(ValueError, match=f"(?s){said}"):
        samples[0, 0]


def test_refused_before_the_first_sample(pairs: list[Pair]) -> None:
    with pytest.raises(ValueError, match="unknown argument 'angle'"):
        TrainDataset(pairs, READ, 16, "foreground", augmentation(transforms=[TURN | {"angle": 3}]), seed=0)


def test_a_training_set_can_be_sent_to_another_process(pairs: list[Pair]) -> None:
    samples = TrainDataset(pairs, READ, 16, "random", augmentation(transforms=[TURN]), seed=0)
    received = pickle.loads(pickle.dumps(samples))
    assert torch.equal(received[3, 1].image, samples[3, 1].image)
    assert torch.equal(received[3, 1].target, samples[3, 1].target)
