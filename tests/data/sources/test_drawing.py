"""Drawn photos: sizes, shares and borders as in the real data, and an animal that color alone does not find."""

import numpy as np
import pytest

from src.data.images import BACKGROUND, BORDER, PET
from src.data.sources.drawing import BREEDS, draw_scene

Scene = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng([0, i]), BREEDS[i % len(BREEDS)], 64) for i in range(80)]


@pytest.fixture(scope="module")
def trimaps(scenes: list[Scene]) -> list[np.ndarray]:
    return [trimap for _, trimap in scenes]


def test_sizes_and_shapes_vary(scenes: list[Scene]) -> None:
    shapes = [photo.shape for photo, _ in scenes]
    assert {max(shape) for shape in shapes} == {64}
    assert any(height > width for height, width, _ in shapes)
    assert any(height < width for height, width, _ in shapes)
    assert len({min(height, width) for height, width, _ in shapes}) > 10


def test_foreground_is_as_large_as_in_the_real_data(trimaps: list[np.ndarray]) -> None:
    """Real trimaps: about 29 % pet, 59 % background, 12 % border; the foreground of single images varies widely."""
    shares = np.array([(trimap != BACKGROUND).mean() for trimap in trimaps])
    assert 0.3 < shares.mean() < 0.5
    assert shares.min() < 0.25 and shares.max() > 0.55
    border = np.mean([(trimap == BORDER).mean() for trimap in trimaps])
    assert 0.08 < border < 0.18


def test_border_lies_between_pet_and_background(trimaps: list[np.ndarray]) -> None:
    for trimap in trimaps:
        assert {PET, BACKGROUND, BORDER} == set(np.unique(trimap))
        for one, other in ((trimap[:, 1:], trimap[:, :-1]), (trimap[1:], trimap[:-1])):
            assert not ((one == PET) & (other == BACKGROUND)).any()
            assert not ((one == BACKGROUND) & (other == PET)).any()


def test_some_animals_are_cut_off_by_the_frame_and_some_are_not(trimaps: list[np.ndarray]) -> None:
    edges = [np.concatenate([trimap[0], trimap[-1], trimap[:, 0], trimap[:, -1]]) for trimap in trimaps]
    cut = np.mean([(edge == PET).any() for edge in edges])
    assert 0.3 < cut < 0.9


def test_color_alone_does_not_find_the_animal(scenes: list[Scene]) -> None:
    """The best that a look-up of 8 x 8 x 8 colors can do, learned on 60 photos and scored on 20, is a poor mask."""

    def colors_and_truth(some: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
        colors = [(photo // 32 @ np.array([64, 8, 1])).ravel() for photo, _ in some]
        return np.concatenate(colors), np.concatenate([(trimap != BACKGROUND).ravel() for _, trimap in some])

    colors, truth = colors_and_truth(scenes[:60])
    is_foreground = np.bincount(colors, weights=truth, minlength=512) > 0.5 * np.bincount(colors, minlength=512)
    colors, truth = colors_and_truth(scenes[60:])
    guess = is_foreground[colors]
    assert 2 * (guess & truth).sum() / (guess.sum() + truth.sum()) < 0.75


@pytest.mark.parametrize("breed", BREEDS, ids=lambda breed: breed.name)
@pytest.mark.parametrize("size", [16, 97])
def test_every_breed_can_be_drawn_at_any_size(breed, size: int) -> None:
    for seed in range(10):
        image, trimap = draw_scene(np.random.default_rng(seed), breed, size)
        assert image.dtype == trimap.dtype == np.uint8
        assert image.shape == (*trimap.shape, 3)
        assert max(trimap.shape) == size
        assert set(np.unique(trimap)) <= {PET, BACKGROUND, BORDER}
        assert (trimap != BACKGROUND).any()
        assert image.std() > 5
