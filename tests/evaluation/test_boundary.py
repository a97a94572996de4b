import numpy as np
import pytest
from scipy.spatial.distance import cdist

from src.evaluation.measures import boundary_f, tolerance_pixels


def square(top: int, left: int, side: int, size: int = 32) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize(("shape", "pixels"), [((256, 256), 3), ((64, 64), 1), ((375, 500), 5), ((1, 1), 1)])
def test_the_tolerance_is_a_share_of_the_diagonal_in_whole_pixels(shape, pixels):
    # 0.008 * 362.04 = 2.90, 0.008 * 90.51 = 0.72, 0.008 * 625 = 5.0, 0.008 * 1.41 = 0.01
    assert tolerance_pixels(shape) == pixels


def test_equal_masks_and_masks_moved_within_the_tolerance_are_perfect():
    assert boundary_f(square(8, 8, 10), square(8, 8, 10)) == 1.0
    assert boundary_f(square(8, 9, 10), square(8, 8, 10)) == 1.0  # by 1 pixel, and 32 x 32 allows 1


def test_a_square_moved_by_three_keeps_what_its_outlines_share():
    # Outlines of two 10 x 10 squares, 36 pixels each, 3 apart to the right. Of a top row, 7 pixels lie on the other's
    # top row and 1 is next to it: 8, as of the bottom row. Of its left or right side, the two pixels next to these rows
    # are 1 away from the other's rows where they cross. All others are further than the 1 that 32 x 32 allows.
    ours, theirs = square(8, 11, 10), square(8, 8, 10)
    near = [cdist(outline(a), outline(b)).min(axis=1) <= 1 for a, b in ((ours, theirs), (theirs, ours))]
    assert boundary_f(ours, theirs) == pytest.approx(near[0].mean())  # p = r, so F is either of them
    assert near[0].sum() == near[1].sum() == 18


def outline(mask: np.ndarray) -> np.ndarray:
    """Positions of the pixels of `mask` with a direct neighbour in the image outside of it, found one by one."""
    height, width = mask.shape
    return np.array(
        [
            (y, x)
            for y, x in zip(*np.nonzero(mask), strict=True)
            if any(
                0 <= y + dy < height and 0 <= x + dx < width and not mask[y + dy, x + dx]
                for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
            )
        ]
    )


def test_ragged_masks_agree_with_distances_taken_one_by_one():
    rng = np.random.default_rng(5)
    for _ in range(20):
        ours, theirs = (rng.random((24, 40)) < 0.3 for _ in range(2))
        distances = cdist(outline(ours), outline(theirs))
        limit = tolerance_pixels(ours.shape)
        precision, recall = (distances.min(axis=axis) <= limit for axis in (1, 0))
        expected = 2 * precision.mean() * recall.mean() / (precision.mean() + recall.mean())
        assert boundary_f(ours, theirs) == pytest.approx(expected, abs=1e-12)


def test_masks_without_an_outline():
    empty, full = np.zeros((9, 9), dtype=bool), np.ones((9, 9), dtype=bool)
    assert boundary_f(empty, empty) == 1.0
    assert boundary_f(full, full) == 1.0  # the image's edge is no outline
    assert boundary_f(empty, square(2, 2, 3, 9)) == 0.0
    assert boundary_f(square(2, 2, 3, 9), empty) == 0.0


def test_outlines_that_never_meet_score_nothing():
    assert boundary_f(square(0, 0, 3), square(25, 25, 3)) == 0.0
