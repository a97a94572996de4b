import numpy as np
import pytest

from src.evaluation.measures import best_threshold


def image(foreground: list[float], background: list[float]) -> tuple[np.ndarray, np.ndarray]:
    probability = np.array([foreground + background], dtype=np.float32)
    truth = np.array([[True] * len(foreground) + [False] * len(background)])
    return probability, truth


def test_the_threshold_that_separates_is_found():
    # perfect between 0.3 (the highest of the background) and 0.36 (the lowest of the foreground, which must be above);
    # of 0.30 to 0.35 the nearest to 0.5
    assert best_threshold([image([0.36, 0.9], [0.1, 0.3])]) == 0.35


def test_of_equally_good_ones_the_middle_is_taken():
    assert best_threshold([image([0.9], [0.1])]) == 0.5


def test_each_image_counts_the_same_however_many_pixels_it_has():
    # One small image wants a threshold below 0.2 (Dice 1 against 0), one large image above 0.4 (1 against 2/3), so
    # below 0.2 the mean is 5/6, above 0.4 it is 1/2.
    small = image([0.2], [0.0])
    large = image([0.9] * 50, [0.4] * 50)
    assert best_threshold([small, large]) < 0.2


def test_it_is_the_best_of_all_candidates_tried_one_by_one():
    rng = np.random.default_rng(2)
    truths = rng.random((6, 16, 16)) < 0.4
    probabilities = np.clip(rng.normal(0.35 + 0.2 * truths, 0.15), 0, 1).astype(np.float32)
    dice = []
    for step in range(1, 100):
        masks = probabilities > np.float32(step / 100)
        dice.append(np.mean([2 * (m & t).sum() / (m.sum() + t.sum()) for m, t in zip(masks, truths, strict=True)]))
    assert best_threshold(zip(probabilities, truths, strict=True)) == (np.argmax(dice) + 1) / 100


def test_no_image_no_threshold():
    with pytest.raises(ValueError, match="no validation images"):
        best_threshold([])
