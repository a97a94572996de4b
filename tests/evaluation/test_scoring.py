from pathlib import Path

import numpy as np
import pytest

from src.data.images import BACKGROUND, BORDER, FOREGROUND, PET
from src.data.pairs import Pair
from src.evaluation.measures import best_threshold
from src.evaluation.scoring import Prediction, entry_of, every_protocol, rows_of, score_all
from src.training.protocol import Protocol

TRIMAP = np.array([[PET, PET, BORDER, BACKGROUND]] * 4, dtype=np.uint8)
# rows alike: sure of the first pixel, against the second, for the border, for the background
PROBABILITY = np.array([[0.9, 0.2, 0.8, 0.7]] * 4, dtype=np.float32)


def pairs(count: int) -> list[Pair]:
    return [Pair(f"cat_{number}", Path(f"/none/images/{number}.jpg"), Path("/none")) for number in range(count)]


def scored(protocol: Protocol, *found: tuple[np.ndarray, np.ndarray]):
    predictions = [Prediction(*one) for one in found]
    (one,) = score_all(predictions, [protocol])
    return one


@pytest.mark.parametrize(
    ("border", "counts"),
    [
        # predicted: pixels 1, 3, 4 of each of 4 rows
        ("foreground", [8, 4, 4, 0]),  # true: 1, 2, 3
        ("background", [4, 8, 4, 0]),  # true: 1, 2
        ("ignore", [4, 4, 4, 0]),  # true: 1, 2; pixel 3 does not count
    ],
)
def test_the_border_counts_as_the_protocol_says(border, counts):
    one = scored(Protocol(border, "square", "none", 0.5), (PROBABILITY, TRIMAP))
    assert one.counts[0].tolist() == counts


def test_a_higher_threshold_predicts_less_and_a_probability_at_it_is_background():
    def predicted(threshold: float) -> int:
        one = scored(Protocol("foreground", "square", "none", threshold), (PROBABILITY, TRIMAP))
        return int(one.counts[0][:2].sum())

    assert [predicted(threshold) for threshold in (0.1, 0.2, 0.5, 0.75, 0.8, 0.9)] == [16, 12, 12, 8, 4, 0]


def test_native_enlarges_the_probabilities_and_scores_at_the_trimaps_own_size():
    # 1 x 2 becomes 1 x 4, bilinear with pixel centres: 0, 0.25, 0.75, 1 of the way from 0 to 1
    probability = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    trimap = np.array([[BACKGROUND, BACKGROUND, PET, PET]] * 2, dtype=np.uint8)
    prediction = Prediction(probability, trimap)
    enlarged, target = prediction.at(Protocol("foreground", "native", "none", 0.5))
    assert np.allclose(enlarged, [[0, 0.25, 0.75, 1]] * 2) and target.shape == (2, 4)
    assert scored(Protocol("foreground", "native", "none", 0.5), (probability, trimap)).counts[0].tolist() == [
        4,
        0,
        0,
        4,
    ]
    assert scored(Protocol("foreground", "square", "none", 0.5), (probability, trimap)).counts[0].tolist() == [
        2,
        0,
        0,
        2,
    ]


def test_an_entry_by_hand():
    empty = np.full((4, 4), BACKGROUND, dtype=np.uint8)
    one = scored(
        Protocol("foreground", "square", "none", 0.5),
        (PROBABILITY, TRIMAP),  # tp 8, fp 4, fn 4: Dice 16/24, IoU 8/16, precision and recall 8/12
        (np.zeros((4, 4), dtype=np.float32), empty),  # nothing there and nothing said: 1
        (np.zeros((4, 4), dtype=np.float32), TRIMAP),  # fn 12: Dice 0, precision 0 although nothing is claimed
    )
    entry = entry_of(one, pairs(3), image_size=4, batch_size=2)
    counts = np.array([[8, 4, 4, 0], [0, 0, 0, 16], [0, 0, 12, 4]])
    assert entry.items() >= one.protocol.entry(counts, image_size=4, batch_size=2).items()
    assert entry["calibration_bins"] and entry["by_breed"] == {} and entry["by_species"] == {}
    assert entry["boundary_f"]["min"] == 0.0 and entry["boundary_f"]["max"] == 1.0
    assert [(row["stem"], row["tp"], row["fp"], row["fn"]) for row in rows_of(one, pairs(3))] == [
        ("cat_0", 8, 4, 4),
        ("cat_1", 0, 0, 0),
        ("cat_2", 0, 0, 12),
    ]


def test_no_outline_is_judged_where_the_border_is_left_out():
    one = scored(Protocol("ignore", "square", "none", 0.5), (PROBABILITY, TRIMAP))
    assert entry_of(one, pairs(1), image_size=4, batch_size=1)["boundary_f"] is None


def test_no_outline_is_judged_of_an_image_with_pixels_that_do_not_count():
    void = np.where(np.arange(16).reshape(4, 4) == 0, 4, TRIMAP)
    one = scored(Protocol("foreground", "square", "none", 0.5), (PROBABILITY, void.astype(np.uint8)))
    assert entry_of(one, pairs(1), image_size=4, batch_size=1)["boundary_f"] is None and one.counts[0].sum() == 15


def test_six_protocols_score_one_prediction_each_in_its_own_way():
    found = score_all([Prediction(PROBABILITY, TRIMAP)], every_protocol("none", 0.5, None))
    assert [one.counts[0].tolist() for one in found] == [[8, 4, 4, 0], [4, 8, 4, 0], [4, 4, 4, 0]] * 2


def test_every_border_at_every_size_with_the_headline_first():
    names = [protocol.name for protocol in every_protocol("none", 0.5, None)]
    assert names == [
        "headline",
        "border_background",
        "border_ignore",
        "native",
        "native_border_background",
        "native_border_ignore",
    ]


# --- evaluation/test_threshold


def image(foreground: list[float], background: list[float]) -> tuple[np.ndarray, np.ndarray]:
    probability = np.array([foreground + background], dtype=np.float32)
    target = np.array([[FOREGROUND] * len(foreground) + [0] * len(background)], dtype=np.uint8)
    return probability, target


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
    targets = FOREGROUND * truths.astype(np.uint8)
    assert best_threshold(zip(probabilities, targets, strict=True)) == (np.argmax(dice) + 1) / 100
