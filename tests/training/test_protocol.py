import numpy as np
import pytest

from src.training.protocol import Protocol, image_rows


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (Protocol("foreground", "square", "none", 0.5), "headline"),
        (Protocol("ignore", "square", "none", 0.5), "border_ignore"),  # as a run trained that way writes it itself
        (Protocol("foreground", "native", "none", 0.5), "native"),
        (Protocol("background", "native", "flips", 0.4), "native_border_background_flips_threshold_0.4"),
        (Protocol("foreground", "square", "hflip", 0.5), "hflip"),
        (Protocol("foreground", "square", "none", 0.5, "valid"), "threshold_valid"),
    ],
)
def test_a_name_says_what_differs_from_the_headline(protocol, name):
    assert protocol.name == name


def test_a_threshold_that_validation_chose_never_stands_under_the_name_of_one_that_was_given():
    assert (
        Protocol("foreground", "square", "none", 0.4, "valid").name
        != Protocol("foreground", "square", "none", 0.4).name
    )


def test_an_entry_and_its_rows_by_hand():
    # tp 8, fp 4, fn 4 of 16 pixels: Dice 16/24, IoU 8/16, precision and recall 8/12
    # nothing there and nothing said: 1; fn 12: Dice 0, precision 0 although nothing is claimed
    counts = np.array([[8, 4, 4, 0], [0, 0, 0, 16], [0, 0, 12, 4]])
    entry = Protocol().entry(counts, image_size=4, batch_size=2)
    assert entry["dice"]["mean"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert entry["iou"]["mean"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert entry["precision"]["mean"] == entry["recall"]["mean"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert entry["true_foreground"] == 24 / 48  # three of four columns in two of three images
    assert entry["images"] == 3 and entry["images_both_empty"] == 1
    assert entry["dice_both_empty_as_0"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert entry["pooled_dice"] == pytest.approx(16 / (16 + 4 + 16))
    assert entry["pooled_precision"] == pytest.approx(8 / 12) and entry["pooled_recall"] == pytest.approx(8 / 24)
    # batches of 2 and 1: 16 / 24 of the first (with 1e-8), 0 of the second
    assert entry["dice_batch_flattened"] == pytest.approx((16 / 24 + 0) / 2, abs=1e-9)
    assert image_rows(["a", "b", "c"], counts)[0] == {
        "stem": "a",
        "dice": 16 / 24,
        "iou": 0.5,
        "tp": 8,
        "fp": 4,
        "fn": 4,
    }
