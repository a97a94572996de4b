"""The pixels of every panel, worked out by hand."""

import warnings

import matplotlib
import numpy as np
import pytest

from src.data.images import FOREGROUND
from src.display.panels import PAINTERS, STYLES, draw_panels, fitted, legend, outlined
from tests.display.examples import PROBABILITY, TARGET, example, seen, small
from tests.prediction.pictures import blocks

WHITE, BLACK, PALE, DARK = [255] * 3, [0] * 3, [212] * 3, [112] * 3
BLUE, VERMILLION = [0, 114, 178], [213, 94, 0]
# what remains of linear red, green and blue: G. Machado et al., IEEE TVCG 15 (2009), severity 1; grey as in BT.709
VISIONS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}
NAMES = sorted({name for names in STYLES.values() for name in names})


def panel(example, name):
    return PAINTERS[name](example)


def black(target=TARGET):
    """The example of 4 × 4 pixels with a black photo."""
    return seen("Pet_1", np.zeros((4, 4, 3), dtype=np.uint8), target, PROBABILITY, 0.5, 0.5)


def test_the_errors_of_four_by_four_pixels():
    assert panel(small(), "errors").tolist() == [
        [PALE, PALE, VERMILLION, VERMILLION],
        [PALE, DARK, VERMILLION, VERMILLION],
        *[[BLUE, BLUE, WHITE, WHITE]] * 2,  # 0.5 is not above the threshold of 0.5
    ]


@pytest.mark.parametrize("vision", VISIONS)
def test_errors_differ_in_any_color_vision_and_in_grey(vision):
    linear = (np.array([PALE, BLUE, VERMILLION, WHITE, DARK]) / 255) ** 2.2
    seen = 255 * (linear @ np.array(VISIONS[vision]).T).clip(0, 1) ** (1 / 2.2)
    outcomes = np.linalg.norm(seen[:4, None] - seen[:4], axis=2)[np.triu_indices(4, 1)]
    assert outcomes.min() > 30 and np.linalg.norm(seen[4] - seen[[0, 3]], axis=1).min() > 100


def test_truth_and_prediction_are_white_on_black():
    truth = panel(small(), "truth").tolist()
    assert truth == [[WHITE, WHITE, BLACK, BLACK], [WHITE, DARK, BLACK, BLACK], *[[WHITE, WHITE, BLACK, BLACK]] * 2]
    assert panel(small(), "prediction").tolist() == [[WHITE] * 4] * 2 + [[BLACK] * 4] * 2


def test_another_threshold_gives_another_prediction_and_other_errors():
    assert panel(small(threshold=0.7), "prediction").tolist() == [[WHITE] * 4] + [[BLACK] * 4] * 3
    assert panel(small(threshold=0.7), "errors")[1, 0].tolist() == BLUE


def test_the_photo_and_the_probabilities_keep_every_pixel():
    assert panel(small(), "image").tolist() == small().image.tolist()
    expected = matplotlib.colormaps["viridis"](PROBABILITY, bytes=True)[..., :3]
    assert np.abs(panel(small(), "probability") - expected.astype(int)).max() <= 1  # OpenCV rounds viridis otherwise


def test_report_as_overlay_is_the_photo_under_30_percent_red():
    red = [68, 11, 13]  # 30 % of 227, 36, 43
    assert panel(black(), "prediction in red").tolist() == [[red] * 4] * 2 + [[BLACK] * 4] * 2


def test_report_ds_overlay_has_truth_in_green_prediction_in_red_and_both_in_yellow():
    both, green, red = [102, 85, 0], [0, 66, 32], [91, 14, 17]  # 40 % of each over black
    assert panel(black(), "truth and prediction").tolist() == [
        [both, both, red, red],
        [both, DARK, red, red],
        *[[green, green, BLACK, BLACK]] * 2,
    ]


def test_with_nothing_to_find_and_nothing_found_all_is_right():
    nothing = example(16, 16, empty=True, ignored=False)
    assert (panel(nothing, "errors") == 255).all() and not panel(nothing, "truth").any()
    assert (panel(nothing, "truth and prediction") == nothing.image).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((375, 500), (384, 512)), ((2000, 3000), (341, 512)), ((1, 1), (512, 512)), ((700, 1), (512, 1))],
)
def test_any_image_fits_its_box_and_keeps_its_aspect_ratio(shape, size):
    assert fitted(np.zeros((*shape, 3), dtype=np.uint8), 512).shape == (*size, 3)


def test_a_larger_picture_shows_pixels_as_squares():
    layer = np.array([[0, 90], [180, 255]], dtype=np.uint8)
    assert fitted(layer, 6).tolist() == np.kron(layer, np.ones((3, 3), dtype=np.uint8)).tolist()


def test_a_line_one_pixel_wide_is_still_seen_in_a_picture_an_eighth_as_large():
    target = np.zeros((64, 64), dtype=np.uint8)
    target[:, 20] = FOREGROUND
    nothing = np.zeros((64, 64), dtype=np.float32)
    photo = np.zeros((64, 64, 3), dtype=np.uint8)
    errors = fitted(panel(seen("Pet_1", photo, target, nothing, 0.5, 0.0), "errors"), 8)
    assert (errors[:, 2] < 250).any(axis=1).all() and (np.delete(errors, 2, axis=1) == 255).all()


def test_the_photo_itself_stays_as_it_was():
    photo = black()
    for name in NAMES:
        panel(photo, name)
    assert not photo.image.any()


@pytest.mark.parametrize("name", NAMES)
def test_every_color_of_the_legend_is_a_color_of_the_panel(name):
    black_and_white = seen("Pet_1", np.zeros((4, 4, 3), dtype=np.uint8), TARGET, PROBABILITY.round(), 0.25, 0.5)
    shown = panel(black_and_white, name).reshape(-1, 3).astype(float)
    for color in legend(name, 0.25).values():
        wanted = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
        tints = [np.rint(opacity * wanted) for opacity in (1, 0.4, 0.3)]
        assert any((np.abs(shown - tint) <= 1).all(axis=1).any() for tint in tints), (name, color)


def test_the_legend_names_the_threshold():
    assert list(legend("prediction", 0.25)) == ["above 0.25"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (500, 333), (700, 2), (1, 700)])
def test_the_panels_of_a_row_lie_side_by_side_at_its_bottom(style, shape):
    picture = np.asarray(draw_panels(example(*shape), style, 64, names=True))
    assert picture.shape[1] == 76 * len(STYLES[style]) - 10
    layers = [fitted(panel(example(*shape), name), 64) for name in STYLES[style]]
    top = len(picture) - 1 - len(layers[0])  # a frame of one pixel
    for number, layer in enumerate(layers):
        left = 1 + 76 * number
        assert (picture[top : top + len(layer), left : left + layer.shape[1]] == layer).all()


@pytest.mark.parametrize("stem", ["<script>alert(1)</script>" * 8, "W" * 200, "ü猫 $x_{1}$ a\nb\x00\udcff", ""])
def test_any_name_can_be_drawn_and_a_letter_that_the_font_lacks_is_no_warning(stem):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw_panels(example(60, 20, stem=stem), "panels", 64, names=False).size == (370, 20 + 66)


def test_an_overlay_is_tinted_inside_the_outline_and_untouched_outside():
    """Inside: 0.55 of grey 100 and 0.45 of sky blue (86, 180, 233): 93.7, 136, 159.85."""
    photo, mask = np.full((7, 7, 3), 100, dtype=np.uint8), np.zeros((7, 7), dtype=bool)
    mask[1:6, 1:6] = True
    picture = outlined(photo, mask)
    assert picture[3, 3].tolist() == [94, 136, 160]
    outline = mask.copy()
    outline[2:5, 2:5] = False
    assert (picture[outline] == BLUE).all() and (picture[~mask] == 100).all()
    assert (picture[2:5, 2:5] == picture[3, 3]).all() and (photo == 100).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (1000, 500)])
def test_an_overlay_of_any_size_and_of_nothing(shape):
    photo = blocks(0, *shape)
    np.testing.assert_array_equal(outlined(photo, np.zeros(shape, dtype=bool)), photo)
    assert outlined(photo, np.ones(shape, dtype=bool)).shape == photo.shape
