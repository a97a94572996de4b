import itertools

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from src.evaluation.measures import BINS, Calibration


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
