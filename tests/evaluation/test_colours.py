"""Colours of single pixels, worked out by hand, and what becomes of them in larger and smaller pictures."""

import numpy as np
import pytest

from src.data.images import FOREGROUND, IGNORED
from src.evaluation.colours import (
    DARK,
    INVENTED,
    LEFT_OUT,
    MISSED,
    PALE,
    RIGHT_BACKGROUND,
    RIGHT_FOREGROUND,
    error_colours,
    fitted,
    hatched,
    mask_colours,
    outcome,
    overlay_colours,
    probability_colours,
    resized,
    resized_mask,
    rgb,
)

TARGET = np.array([[FOREGROUND, FOREGROUND, 0, 0, IGNORED, IGNORED]], dtype=np.uint8)
PREDICTED = np.array([[True, False, True, False, True, False]])
# what remains of linear red, green and blue: G. Machado et al., IEEE TVCG 15 (2009), severity 1; grey as in BT.709
VISIONS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}
BLACK_PIXELS = np.zeros((1, 4, 3), dtype=np.uint8)


def test_every_pixel_is_right_missed_invented_or_left_out():
    codes = [[RIGHT_FOREGROUND, MISSED, INVENTED, RIGHT_BACKGROUND, LEFT_OUT, LEFT_OUT]]
    assert outcome(TARGET, PREDICTED).tolist() == codes


def test_what_was_missed_is_blue_and_what_was_invented_vermillion():
    pale, blue, vermillion, white, dark = (212, 212, 212), (0, 114, 178), (213, 94, 0), (255, 255, 255), (112, 112, 112)
    colours = [tuple(colour) for colour in error_colours(TARGET, PREDICTED)[0].tolist()]
    assert colours == [pale, blue, vermillion, white, dark, dark]


@pytest.mark.parametrize("vision", VISIONS)
def test_outcomes_are_told_apart_by_any_colour_vision_and_in_grey(vision):
    linear = (error_colours(TARGET, PREDICTED)[0, :4] / 255) ** 2.2
    seen = 255 * (linear @ np.array(VISIONS[vision]).T).clip(0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen, axis=2)[np.triu_indices(4, 1)]
    assert apart.min() > 30


def test_a_mask_is_white_on_black():
    assert mask_colours(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]


def test_probabilities_go_from_the_first_to_the_last_colour_of_viridis_and_only_become_lighter():
    colours = probability_colours(np.linspace(0, 1, 256, dtype=np.float32)[None])[0]
    assert colours[0].tolist() == [68, 1, 84] and colours[-1].tolist() == [253, 231, 36]
    assert (np.diff(colours @ np.array([0.2126, 0.7152, 0.0722])) >= -0.3).all()


def test_over_a_black_photo_truth_is_green_prediction_red_and_both_yellow():
    truth, predicted = np.array([[True, True, False, False]]), np.array([[False, True, True, False]])
    green, both, red, neither = overlay_colours(BLACK_PIXELS, truth, predicted)[0].tolist()
    assert green == [0, 66, 32]  # 40 % of 0, 166, 81
    assert both == [102, 85, 0]  # 40 % of 255, 212, 0
    assert red == [91, 14, 17]  # 40 % of 227, 36, 43
    assert neither == [0, 0, 0]


def test_the_photo_itself_stays_as_it_was():
    photo = BLACK_PIXELS.copy()
    overlay_colours(photo, np.ones((1, 4), dtype=bool), np.zeros((1, 4), dtype=bool))
    hatched(photo, np.ones((1, 4), dtype=bool))
    assert not photo.any()


def test_a_larger_picture_shows_pixels_as_squares():
    layer = np.array([[0, 90], [180, 255]], dtype=np.uint8)
    assert resized(layer, 6, 4).tolist() == np.kron(layer, np.ones((3, 2), dtype=np.uint8)).tolist()


def test_in_a_smaller_picture_each_pixel_is_the_mean_of_what_it_covers():
    assert resized(np.array([[0, 100, 200, 200], [0, 100, 0, 0]], dtype=np.uint8), 1, 2).tolist() == [[50, 100]]


def test_a_line_one_pixel_wide_is_still_seen_in_a_picture_an_eighth_as_large():
    target = np.zeros((64, 64), dtype=np.uint8)
    target[:, 20] = FOREGROUND
    errors = resized(error_colours(target, np.zeros((64, 64), dtype=bool)), 8, 8)
    assert (errors[:, 2] < 250).any(axis=1).all() and (np.delete(errors, 2, axis=1) == 255).all()


def test_a_mask_of_another_size_is_where_at_least_half_of_a_pixel_is_in_it():
    mask = np.array([[True, False, False, False, True, True], [True, False, True, False, True, True]])
    assert resized_mask(mask, 1, 3).tolist() == [[True, False, True]]


def test_stripes_are_as_wide_whatever_they_cover():
    striped = hatched(np.full((9, 9, 3), 255, dtype=np.uint8), np.ones((9, 9), dtype=bool))
    dark, pale = list(rgb(DARK)), list(rgb(PALE))
    assert striped[0].tolist() == [dark] * 4 + [pale] * 4 + [dark]
    assert striped[1].tolist() == [dark] * 3 + [pale] * 4 + [dark] * 2


def test_only_what_is_to_be_hatched_is():
    white = np.full((2, 2, 3), 255, dtype=np.uint8)
    striped = hatched(white, np.array([[True, False], [False, False]]))
    assert striped[0, 0].tolist() == list(rgb(DARK)) and (striped[[0, 1, 1], [1, 0, 1]] == 255).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((32, 32), (512, 512)), ((375, 500), (384, 512)), ((3000, 2000), (512, 341)), ((1, 1), (512, 512))],
)
def test_a_picture_fills_its_box_in_one_direction_and_keeps_the_aspect_ratio(shape, size):
    assert fitted(shape, 512) == size


def test_an_endlessly_narrow_image_has_at_least_one_pixel():
    assert fitted((3000, 1), 512) == (512, 1) and fitted((1, 3000), 512) == (1, 512)
