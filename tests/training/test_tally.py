"""Losses and counts of batches, put together by hand."""

import pytest
import torch

from src.training.metrics import MetricAccumulator


@pytest.fixture
def tally():
    """Two batches, of two images and of one; tp, fp, fn, tn of each image, the last two with ignored pixels."""
    tally = MetricAccumulator()
    tally.add(torch.tensor(1.0), torch.tensor([[3, 1, 2, 4], [0, 0, 0, 8]]))
    tally.add(torch.tensor(4.0), torch.tensor([[2, 2, 0, 3]]))
    return tally


def test_scores_by_hand(tally):
    scores = tally.read()
    assert scores.loss == (2 * 1.0 + 4.0) / 3
    assert scores.dice == pytest.approx((6 / 9 + 1 + 4 / 6) / 3)
    assert scores.iou == pytest.approx((3 / 6 + 1 + 2 / 4) / 3)
    assert scores.accuracy == (7 + 8 + 5) / (10 + 8 + 7)  # pooled: an image with fewer counted pixels weighs less
    assert scores.dice_batch_flattened == pytest.approx((6 / 9 + 4 / 6) / 2)


def test_a_tally_goes_on_after_a_checkpoint(tally):
    again = MetricAccumulator.from_state_dict(tally.state_dict(), torch.device("cpu"))
    more = (torch.tensor(1.0), torch.tensor([[0, 5, 5, 0]]))
    again.add(*more)
    assert again.read().accuracy == 20 / 35
    assert again.read().batch_sizes.tolist() == [2, 1, 1]
