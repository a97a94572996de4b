from pathlib import Path

import numpy as np
import pytest

from src.data.images import BACKGROUND, BORDER, PET
from src.data.pairs import Pair
from src.evaluation.protocol_table import table_columns, table_markdown, table_notes
from src.evaluation.scoring import Prediction, entry_of, every_protocol, score_all


def entries(*found: tuple[list[float], list[int]], threshold: float = 0.5, chosen=None) -> dict:
    """Of images of one row: probabilities and trimap codes of its pixels, each row repeated to a square."""
    predictions = [
        Prediction(
            np.array([probability] * len(probability), dtype=np.float32),
            np.array([trimap] * len(trimap), dtype=np.uint8),
        )
        for probability, trimap in found
    ]
    pairs = [Pair(f"a_{number}", Path("/none/images/a.jpg"), Path("/none")) for number in range(len(found))]
    scored = score_all(predictions, every_protocol("none", threshold, chosen))
    return {one.protocol.name: entry_of(one, pairs, image_size=2, batch_size=32) for one in scored}


def test_the_card_shows_every_protocol_side_by_side():
    # predicted pet, border right as foreground: perfect; as background one of two wrong: Dice 2 / 3
    card = table_columns(entries(([0.9, 0.9], [PET, BORDER])))
    assert card["protocol"] == [
        "headline",
        "border_background",
        "border_ignore",
        "native",
        "native_border_background",
        "native_border_ignore",
    ]
    assert card["Dice per image"] == ["1.0000", "0.6667", "1.0000"] * 2
    assert card["precision"] == ["1.0000", "0.5000", "1.0000"] * 2
    assert card["boundary F"][2] == "-"
    assert card["border"][:3] == ["foreground", "background", "left out"]


def test_the_range_of_one_prediction_is_said():
    assert table_notes(entries(([0.9, 0.9], [PET, BORDER])))[0] == (
        "The same predictions score 0.6667 to 1.0000, a range of 33.33 points, by the protocol alone."
    )


def test_what_report_a_makes_of_empty_images_is_said():
    notes = "\n".join(table_notes(entries(([0.1, 0.1], [BACKGROUND, BACKGROUND]), ([0.9, 0.9], [PET, PET]))))
    assert "1 of 2 images have neither true nor predicted foreground" in notes
    assert "they count 1 here; with report A's 0 the first row's Dice per image would be 0.5000." in notes


def test_masks_without_a_border_class_are_named():
    assert any("no border class" in note for note in table_notes(entries(([0.9, 0.1], [PET, PET]))))
    assert not any("no border class" in note for note in table_notes(entries(([0.9, 0.9], [PET, BORDER]))))
    # a network that predicts nothing scores 0 under every border, which says nothing of the masks
    assert not any("no border class" in note for note in table_notes(entries(([0.1, 0.1, 0.1], [PET, PET, BORDER]))))


def test_a_chosen_threshold_is_told():
    notes = table_notes(entries(([0.9, 0.9], [PET, PET]), threshold=0.4, chosen="valid"))
    assert notes[-1] == "Threshold 0.4: the best mean Dice per image on the validation images."


def test_the_markdown_has_breeds_where_they_are_known():
    found = entries(([0.9, 0.9], [PET, PET]))
    found["headline"]["by_breed"] = {
        "american_bulldog": {"images": 3, "dice": 0.8},
        "Bombay": {"images": 1, "dice": 0.9},
    }
    text = table_markdown("test: a run", found)
    assert text.startswith("# test: a run\n") and "## By breed, the hardest first" in text
    assert text.index("american bulldog") < text.index("Bombay") and "By species" not in text


@pytest.mark.parametrize("border", ["border_ignore", "native_border_ignore"])
def test_pixels_that_are_all_left_out_have_no_calibration(border):
    card = table_columns(found := entries(([0.9, 0.9], [BORDER, BORDER])))
    assert found[border]["calibration_error"] is None
    assert card["ECE"][list(found).index(border)] == "-"
