import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torchmetrics.classification import BinaryCalibrationError

from src.data.pairs import Pair
from src.data.sources.oxford_pet import breeds_of
from src.evaluation.measures import BINS, Calibration, boundary_f, tolerance_pixels
from src.evaluation.scoring import by_group


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


# --- evaluation/test_breeds


def pairs_under(root: Path, *stems: str) -> list[Pair]:
    return [Pair(stem, root / "images" / f"{stem}.jpg", root / "annotations/trimaps" / f"{stem}.png") for stem in stems]


def test_the_official_list_names_species_and_breed(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\namerican_bulldog_7 2 2 1\n"
    )
    assert breeds_of(pairs_under(tmp_path, "Abyssinian_100")) == {
        "Abyssinian_100": ("cat", "Abyssinian"),
        "american_bulldog_7": ("dog", "american_bulldog"),
    }


def test_lines_that_do_not_say_it_are_passed_over(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "list.txt").write_text("Abyssinian_100\nBombay_1 2 3 1\nnameless 1 1 1\n")
    assert breeds_of(pairs_under(tmp_path, "Abyssinian_100")) == {}


def test_a_data_set_without_a_list_has_no_breeds(tmp_path):
    assert breeds_of(pairs_under(tmp_path, "a")) == {}


def test_means_of_groups_come_hardest_first_and_leave_out_who_belongs_to_none():
    found = by_group(["cat", "dog", None, "cat"], [0.9, 0.5, 0.0, 0.7])
    assert found == {"dog": {"images": 1, "dice": 0.5}, "cat": {"images": 2, "dice": 0.8}}
    assert list(found) == ["dog", "cat"]


# --- evaluation/test_calibration


def counted_over(*images: tuple[np.ndarray, np.ndarray]) -> Calibration:
    calibration = Calibration()
    for probability, truth in images:
        calibration.add(probability, truth, np.ones_like(truth))
    return calibration


def test_two_bins_by_hand():
    # bin [3/15, 4/15): four pixels with 0.25, one of them foreground: |0.25 - 0.25| = 0
    # bin [13/15, 14/15): two pixels with 0.9, one of them foreground: |0.9 - 0.5| = 0.4
    probability = np.array([[0.25, 0.25, 0.25], [0.25, 0.9, 0.9]], dtype=np.float32)
    truth = np.array([[True, False, False], [False, True, False]])
    calibration = counted_over((probability, truth))
    assert calibration.error() == pytest.approx((4 * 0.0 + 2 * 0.4) / 6, abs=1e-7)
    assert [(one["pixels"], one["foreground"]) for one in calibration.bins()] == [(4, 0.25), (2, 0.5)]


def test_images_add_up_and_ignored_pixels_do_not_count():
    rng = np.random.default_rng(0)
    probability = rng.random((2, 8, 8)).astype(np.float32)
    truth = rng.random((2, 8, 8)) < 0.5
    counted = rng.random((2, 8, 8)) < 0.7
    calibration = Calibration()
    for one in zip(probability, truth, counted, strict=True):
        calibration.add(*one)
    flat = counted_over((probability[counted][None], truth[counted][None]))
    assert calibration.error() == pytest.approx(flat.error()) and calibration.bins() == flat.bins()


def test_a_sure_network_that_is_right_is_calibrated_and_one_that_is_wrong_is_not():
    truth = np.array([[True, False]])
    sure = np.array([[1.0, 0.0]], dtype=np.float32)
    assert counted_over((sure, truth)).error() == 0.0
    assert counted_over((sure, ~truth)).error() == 1.0


def test_it_is_the_error_of_the_foreground_that_an_independent_library_computes_bin_by_bin():
    # torchmetrics bins the probability of the foreground too, in equal bins, with the accuracy of "is foreground"
    rng = np.random.default_rng(3)
    probability = rng.random((40, 40)).astype(np.float32)
    truth = rng.random((40, 40)) < probability**2
    metric = BinaryCalibrationError(n_bins=BINS, norm="l1")
    theirs = metric(torch.from_numpy(probability).ravel(), torch.from_numpy(truth).ravel().int())
    edges = np.linspace(0, 1, BINS + 1)
    by_hand = sum(
        abs(probability[inside].mean() - truth[inside].mean()) * inside.mean()
        for low, high in itertools.pairwise(edges)
        if (inside := (probability >= low) & (probability < high)).any()
    )
    error = counted_over((probability, truth)).error()
    assert error == pytest.approx(by_hand, abs=1e-6)
    assert error == pytest.approx(float(theirs), abs=1e-5)


def test_without_pixels_there_is_no_error():
    assert Calibration().error() is None and Calibration().bins() == []
