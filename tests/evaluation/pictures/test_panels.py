"""The pixels of every panel, worked out by hand."""

import matplotlib
import numpy as np
import pytest

from src.data.images import FOREGROUND
from src.evaluation.pictures.panels import STYLES, Example, fitted, legend, panel, viridis
from tests.evaluation.examples import PROBABILITY, TARGET, example, small

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


def black(target=TARGET):
    """The example of 4 × 4 pixels with a black photo."""
    return Example("Pet_1", np.zeros((4, 4, 3), dtype=np.uint8), target, PROBABILITY, 0.5, 0.5)


def test_the_errors_of_four_by_four_pixels():
    assert panel(small(), "errors", 4).tolist() == [
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
    truth = panel(small(), "truth", 4).tolist()
    assert truth == [[WHITE, WHITE, BLACK, BLACK], [WHITE, DARK, BLACK, BLACK], *[[WHITE, WHITE, BLACK, BLACK]] * 2]
    for name in ("prediction", "mask"):
        assert panel(small(), name, 4).tolist() == [[WHITE] * 4] * 2 + [[BLACK] * 4] * 2


def test_another_threshold_gives_another_prediction_and_other_errors():
    assert panel(small(threshold=0.7), "prediction", 4).tolist() == [[WHITE] * 4] + [[BLACK] * 4] * 3
    assert panel(small(threshold=0.7), "errors", 4)[1, 0].tolist() == BLUE


def test_the_photo_and_the_probabilities_keep_every_pixel():
    assert panel(small(), "image", 4).tolist() == small().image.tolist()
    expected = matplotlib.colormaps["viridis"](PROBABILITY, bytes=True)[..., :3]
    assert panel(small(), "probability", 4).tolist() == expected.tolist()


def test_probabilities_only_become_lighter():
    colors = viridis(np.linspace(0, 1, 256))
    assert colors[0].tolist() == [68, 1, 84] and colors[-1].tolist() == [253, 231, 36]
    assert (np.diff(colors @ np.array([0.2126, 0.7152, 0.0722])) >= -0.3).all()


def test_report_as_overlay_is_the_photo_under_30_percent_red():
    red = [68, 11, 13]  # 30 % of 227, 36, 43
    assert panel(black(), "mask in red", 4).tolist() == [[red] * 4] * 2 + [[BLACK] * 4] * 2


def test_report_ds_overlay_has_truth_in_green_prediction_in_red_and_both_in_yellow():
    middles = panel(black(), "truth and prediction", 1024)[128::256, 128::256].tolist()  # far from outlines
    both, green, red, nothing = [102, 85, 0], [0, 66, 32], [91, 14, 17], [0, 0, 0]  # 40 % of each over black
    assert middles[0] == [both, both, red, red]
    assert middles[1] == [both, DARK, red, red]
    assert middles[2] == middles[3] == [green, green, nothing, nothing]


def test_outlines_differ_without_color():
    picture = panel(black(np.full((4, 4), FOREGROUND, dtype=np.uint8)), "truth and prediction", 1024)
    solid, dashed = picture[1023, 100:900], picture[511, 100:900]  # the lower edges of truth and prediction
    assert (solid == [0, 166, 81]).all()
    dash, gap = (dashed == [227, 36, 43]).all(axis=1), (dashed == 255).all(axis=1)
    assert dash.sum() > 300 and gap.sum() > 150


def test_with_nothing_to_find_and_nothing_found_all_is_right():
    nothing = example(16, 16, empty=True, ignored=False)
    assert (panel(nothing, "errors", 16) == 255).all() and not panel(nothing, "truth", 16).any()
    assert (panel(nothing, "truth and prediction", 16) == nothing.image).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "size"),
    [((375, 500), (384, 512)), ((2000, 3000), (341, 512)), ((1, 1), (512, 512)), ((700, 1), (512, 1))],
)
def test_any_image_fits_its_box_and_keeps_its_aspect_ratio(name, shape, size):
    assert panel(example(*shape), name, 512).shape == (*size, 3)


def test_a_larger_picture_shows_pixels_as_squares():
    layer = np.array([[0, 90], [180, 255]], dtype=np.uint8)
    assert fitted(layer, 6).tolist() == np.kron(layer, np.ones((3, 3), dtype=np.uint8)).tolist()


def test_a_line_one_pixel_wide_is_still_seen_in_a_picture_an_eighth_as_large():
    target = np.zeros((64, 64), dtype=np.uint8)
    target[:, 20] = FOREGROUND
    nothing = np.zeros((64, 64), dtype=np.float32)
    errors = panel(Example("Pet_1", np.zeros((64, 64, 3), dtype=np.uint8), target, nothing, 0.5, 0.0), "errors", 8)
    assert (errors[:, 2] < 250).any(axis=1).all() and (np.delete(errors, 2, axis=1) == 255).all()


def test_the_photo_itself_stays_as_it_was():
    photo = black()
    for name in NAMES:
        panel(photo, name, 4)
    assert not photo.image.any()


@pytest.mark.parametrize("name", NAMES)
def test_the_legend_speaks_of_ignored_pixels_only_where_they_are_shown(name):
    assert not [words for words in legend(name, 0.5, some_ignored=False) if "ignored" in words]
    shown = (panel(black(), name, 1024)[384, 384] == DARK).all()
    assert bool([words for words in legend(name, 0.5, some_ignored=True) if "ignored" in words]) == shown


def test_the_legend_names_the_threshold():
    assert [*legend("mask", 0.25, False), *legend("probability", 0.25, False)] == [
        "probability above 0.25",
        "0 to 1, threshold 0.25",
    ]


def test_arrays_of_different_sizes_are_refused():
    photo, target = np.zeros((4, 5, 3), dtype=np.uint8), np.full((4, 4), FOREGROUND, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"Pet_1: image \(4, 5, 3\), target \(4, 4\) and probability \(4, 4\)"):
        Example("Pet_1", photo, target, PROBABILITY, 0.5, 0.5)
    with pytest.raises(ValueError, match="has no pixels"):
        Example("Pet_1", np.zeros((0, 4, 3)), np.zeros((0, 4)), np.zeros((0, 4)), 0.5, 0.5)
