"""The counts against hand-drawn masks, the scores against hand-worked fractions and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_f1_score,
    binary_jaccard_index,
    binary_stat_scores,
)

from src.training.metrics import (
    MetricAccumulator,
    batch_flattened_dice,
    confusion,
    dice_per_image,
    foreground_logit,
    iou_per_image,
    pooled,
    pooled_accuracy,
    precision_per_image,
    recall_per_image,
    summary,
)

# tp, fp, fn, tn of four images of 10 pixels: mixed, perfect, all wrong, and both masks empty.
COUNTS = np.array([[3, 1, 2, 4], [5, 0, 0, 5], [0, 4, 6, 0], [0, 0, 0, 10]])

image_counts = st.tuples(*[st.integers(0, 512 * 512)] * 4)
many_counts = st.lists(image_counts, min_size=1, max_size=8).map(lambda rows: np.array(rows, dtype=np.int64))


def random_masks(seed: int, images: int = 6, size: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted, true and counted masks, bool (B, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    predicted, truth, counted = torch.rand(3, images, size, size, generator=generator)
    return predicted > 0.4, truth > 0.6, counted > 0.2


def test_foreground_logit_of_one_channel_is_that_channel() -> None:
    logits = torch.tensor([[[[-2.0, 0.5]]]])  # (1, 1, 1, 2)
    assert foreground_logit(logits).tolist() == [[[-2.0, 0.5]]]


def test_foreground_logit_of_two_channels_is_their_difference() -> None:
    background, foreground = [[1.0, -1.0]], [[3.0, 0.5]]
    logits = torch.tensor([[background, foreground]])  # (1, 2, 1, 2)
    assert foreground_logit(logits).tolist() == [[[2.0, 1.5]]]


def test_two_channels_predict_the_argmax_and_probabilities_above_a_half() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    predicted = foreground_logit(logits) > 0
    assert predicted.any() and not predicted.all()
    assert torch.equal(predicted, logits.argmax(dim=1) == 1)
    assert torch.equal(predicted, logits.softmax(dim=1)[:, 1] > 0.5)


def test_a_tie_is_background() -> None:
    assert not (foreground_logit(torch.zeros(1, 1, 1, 1)) > 0).any()
    assert not (foreground_logit(torch.full((1, 2, 1, 1), 7.0)) > 0).any()


def test_bfloat16_logits_are_subtracted_in_float32() -> None:
    # 256 - 1.0078125 needs more than bfloat16's 8 bits; there it would be rounded to 255.
    logits = torch.tensor([1.0078125, 256.0], dtype=torch.bfloat16).reshape(1, 2, 1, 1)
    assert foreground_logit(logits).dtype == torch.float32
    assert foreground_logit(logits).item() == 254.9921875


def test_three_channels_have_no_foreground_logit() -> None:
    with pytest.raises(AssertionError, match="3 channels"):
        foreground_logit(torch.zeros(1, 3, 2, 2))


def test_confusion_counts_each_image_by_itself() -> None:
    predicted = torch.tensor([[[1, 1, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 1]]]).bool()
    truth = torch.tensor([[[1, 0, 1], [1, 1, 0]], [[1, 1, 1], [0, 0, 1]]]).bool()
    counts = confusion(predicted, truth, torch.ones_like(truth))
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[2, 1, 2, 1], [1, 0, 3, 2]]


def test_confusion_leaves_ignored_pixels_out() -> None:
    predicted = torch.tensor([[[1, 1, 0, 0, 1]]]).bool()
    truth = torch.tensor([[[1, 0, 1, 0, 1]]]).bool()
    counted = torch.tensor([[[0, 0, 0, 1, 1]]]).bool()
    assert confusion(predicted, truth, counted).tolist() == [[1, 0, 0, 1]]
    assert confusion(predicted, truth, torch.zeros_like(counted)).tolist() == [[0, 0, 0, 0]]


def test_confusion_agrees_with_torchmetrics() -> None:
    predicted, truth, counted = random_masks(seed=1)
    labels = truth.long().masked_fill(~counted, -1)
    theirs = binary_stat_scores(predicted.long(), labels, multidim_average="samplewise", ignore_index=-1)
    tp, fp, tn, fn, _ = theirs.unbind(dim=1)
    assert torch.equal(confusion(predicted, truth, counted), torch.stack([tp, fp, fn, tn], dim=1))


def test_confusion_never_looks_at_the_values() -> None:
    # Tensors on the meta device have no values: anything that waits for them raises there.
    masks = torch.zeros(2, 4, 4, dtype=torch.bool, device="meta")
    counts = confusion(masks, masks, masks)
    assert counts.shape == (2, 4) and counts.device.type == "meta"


def test_masks_that_are_not_bool_are_our_mistake() -> None:
    truth = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(AssertionError):
        confusion(truth.float(), truth, truth)


def test_dice_per_image_by_hand() -> None:
    # 2*3 / (2*3 + 1 + 2) = 6/9; 10/10; 0/10; both empty is 1.
    assert dice_per_image(COUNTS).tolist() == [6 / 9, 1.0, 0.0, 1.0]


def test_iou_per_image_by_hand() -> None:
    # 3 / (3 + 1 + 2) = 3/6; 5/5; 0/10; both empty is 1.
    assert iou_per_image(COUNTS).tolist() == [0.5, 1.0, 0.0, 1.0]


def test_precision_and_recall_by_hand() -> None:
    # 3 of the 4 predicted, 3 of the 5 true pixels; all; none; both empty is 1.
    assert precision_per_image(COUNTS).tolist() == [3 / 4, 1.0, 0.0, 1.0]
    assert recall_per_image(COUNTS).tolist() == [3 / 5, 1.0, 0.0, 1.0]
    assert precision_per_image(pooled(COUNTS)) == 8 / 13 and recall_per_image(pooled(COUNTS)) == 8 / 16


def test_nothing_is_earned_by_predicting_nothing_or_where_nothing_is_true() -> None:
    silent, invented = np.array([[0, 0, 5, 5]]), np.array([[0, 5, 0, 5]])
    assert precision_per_image(silent) == 0 and recall_per_image(silent) == 0
    assert precision_per_image(invented) == 0 and recall_per_image(invented) == 0


def test_pooled_scores_by_hand() -> None:
    # Sums: tp 8, fp 5, fn 8. Dice 16 / (16 + 13), IoU 8 / (8 + 13).
    assert dice_per_image(pooled(COUNTS)) == 16 / 29
    assert iou_per_image(pooled(COUNTS)) == 8 / 21


def test_pooled_scores_without_any_foreground_are_one() -> None:
    empty = np.zeros((3, 4), dtype=np.int64)
    assert dice_per_image(pooled(empty)) == 1.0
    assert iou_per_image(pooled(empty)) == 1.0


def test_pooled_accuracy_by_hand() -> None:
    # Right: 3 + 4, 5 + 5, 0 and 10 of 10 pixels each.
    assert pooled_accuracy(COUNTS) == 27 / 40
    # Ignored pixels are in no count: 7 of 10 and 1 of 2 pixels, where the mean over images would be 0.6.
    assert pooled_accuracy(np.array([[3, 1, 2, 4], [1, 0, 1, 0]])) == 8 / 12


def test_pooled_accuracy_of_nothing_but_ignored_pixels_is_one() -> None:
    assert pooled_accuracy(np.zeros((2, 4), dtype=np.int64)) == 1.0


def test_batch_flattened_dice_by_hand() -> None:
    # Batch 1: tp 8, fp 1, fn 2: 16/19. Batch 2: tp 0: 0. The mean over the two batches, not over the images.
    assert batch_flattened_dice(COUNTS, [2, 2]) == pytest.approx((16 / 19 + 0) / 2, abs=1e-9)
    # A smaller last batch weighs as much as the others: 16/29 of the first three and 0 of the empty one.
    assert batch_flattened_dice(COUNTS, [3, 1]) == pytest.approx((16 / 29 + 0) / 2, abs=1e-9)
    assert batch_flattened_dice(COUNTS, np.array([4])) == pytest.approx(16 / 29, abs=1e-9)


def test_batch_flattened_dice_is_report_a_s_formula_on_the_masks() -> None:
    predicted, truth, _ = random_masks(seed=2, images=5)
    counts = confusion(predicted, truth, torch.ones_like(truth)).numpy()
    expected = []
    for batch in (slice(0, 2), slice(2, 4), slice(4, 5)):
        flat_predicted, flat_truth = predicted[batch].double().flatten(), truth[batch].double().flatten()
        overlap = (flat_predicted * flat_truth).sum()
        expected.append(float(2 * overlap / (flat_predicted.sum() + flat_truth.sum() + 1e-8)))
    assert batch_flattened_dice(counts, [2, 2, 1]) == pytest.approx(np.mean(expected), abs=1e-12)


def test_batch_flattened_dice_of_empty_masks_is_zero() -> None:
    assert batch_flattened_dice(np.zeros((2, 4), dtype=np.int64), [1, 1]) == 0.0


@pytest.mark.parametrize("batch_sizes", [[], [2], [2, 3], [4, 0], [5, -1]])
def test_batch_sizes_must_split_the_images(batch_sizes: list[int]) -> None:
    with pytest.raises(AssertionError, match="do not split 4 images"):
        batch_flattened_dice(COUNTS, batch_sizes)


def test_summary_by_hand() -> None:
    # Mean 5/4; median (0.5 + 1.5) / 2; squared distances 1.5625, 0.5625, 0.0625, 3.0625 have the mean 1.3125.
    described = summary([0.0, 3.0, 0.5, 1.5])
    assert described == pytest.approx({"mean": 1.25, "median": 1.0, "std": 1.3125**0.5, "min": 0.0, "max": 3.0})
    assert all(type(value) is float for value in described.values())


def test_summary_of_one_value_has_no_spread() -> None:
    assert summary([0.25]) == {"mean": 0.25, "median": 0.25, "std": 0.0, "min": 0.25, "max": 0.25}


def test_summary_of_nothing_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="no values"):
        summary([])


@pytest.mark.parametrize("seed", [3, 4])
def test_scores_agree_with_torchmetrics(seed: int) -> None:
    predicted, truth, counted = random_masks(seed)
    counts = confusion(predicted, truth, counted).numpy()
    labels = truth.long().masked_fill(~counted, -1)

    f1 = binary_f1_score(predicted.long(), labels, multidim_average="samplewise", ignore_index=-1)
    np.testing.assert_allclose(dice_per_image(counts), f1, rtol=1e-6)
    jaccard = [binary_jaccard_index(p.long(), t, ignore_index=-1) for p, t in zip(predicted, labels, strict=True)]
    np.testing.assert_allclose(iou_per_image(counts), jaccard, rtol=1e-6)

    assert dice_per_image(pooled(counts)) == pytest.approx(
        binary_f1_score(predicted.long(), labels, ignore_index=-1).item()
    )
    assert iou_per_image(pooled(counts)) == pytest.approx(
        binary_jaccard_index(predicted.long(), labels, ignore_index=-1).item()
    )
    assert pooled_accuracy(counts) == pytest.approx(binary_accuracy(predicted.long(), labels, ignore_index=-1).item())


@given(many_counts)
def test_dice_and_iou_are_in_range_and_tied(counts: np.ndarray) -> None:
    dice, iou = dice_per_image(counts), iou_per_image(counts)
    assert ((iou >= 0) & (iou <= dice) & (dice <= 1)).all()
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), rtol=1e-12)
    assert dice_per_image(pooled(counts)) == pytest.approx(
        2 * iou_per_image(pooled(counts)) / (1 + iou_per_image(pooled(counts)))
    )


@given(many_counts)
def test_prediction_and_truth_can_be_exchanged(counts: np.ndarray) -> None:
    exchanged = counts[:, [0, 2, 1, 3]]
    np.testing.assert_array_equal(dice_per_image(counts), dice_per_image(exchanged))
    np.testing.assert_array_equal(iou_per_image(counts), iou_per_image(exchanged))
    assert pooled_accuracy(counts) == pooled_accuracy(exchanged)


@given(many_counts)
def test_recognised_background_counts_for_the_accuracy_alone(counts: np.ndarray) -> None:
    assert pooled_accuracy(counts) == pooled_accuracy(counts[:, ::-1])  # background is a class like the other
    larger = counts + np.array([0, 0, 0, 1000])
    np.testing.assert_array_equal(dice_per_image(larger), dice_per_image(counts))
    np.testing.assert_array_equal(iou_per_image(larger), iou_per_image(counts))


@given(many_counts)
def test_batches_of_one_image_with_foreground_give_the_per_image_mean(counts: np.ndarray) -> None:
    counts[:, 1] += 1  # at least one foreground pixel: the two definitions part only where both masks are empty
    assert batch_flattened_dice(counts, [1] * len(counts)) == pytest.approx(dice_per_image(counts).mean())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_summary_stays_between_its_extremes(values: list[float]) -> None:
    described = summary(values)
    assert described["min"] <= described["median"] <= described["max"]
    assert described["min"] - 1e-12 <= described["mean"] <= described["max"] + 1e-12
    assert 0 <= described["std"] <= (described["max"] - described["min"]) / 2 + 1e-12


# --- Losses and counts of batches, put together by hand


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
