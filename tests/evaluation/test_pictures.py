"""How one image is drawn: the pixels of every panel worked out by hand, and that any image fits its picture."""

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import ContourSet
from matplotlib.image import AxesImage
from matplotlib.text import Text

from src.data.images import FOREGROUND
from src.evaluation.paper import drawing, save_png
from src.evaluation.pictures import OUTLINES, PANELS, STYLES, Example, draw
from tests.evaluation.examples import PROBABILITY, TARGET, example, small

WHITE, BLACK, PALE = [255] * 3, [0] * 3, [212] * 3
BLUE, VERMILLION = [0, 114, 178], [213, 94, 0]
CASES = {
    "one pixel": example(1, 1),
    "tiny": example(32, 32, ignored=False),
    "tiny and empty": example(32, 32, empty=True),
    "a photo": example(500, 333),
    "large": example(2000, 3000),
    "high": example(700, 2, ignored=False),
    "wide": example(1, 700),
}
LONG = ["<script>alert(1)</script>" * 8, "W" * 200, "ü猫 $x_{1}$ a\nb\x00\udcff"]


def layers(figure):
    """What is laid on a picture, by name: uint8 (H, W, 3)."""
    return {image.get_gid(): image.get_array() for image in figure.findobj(AxesImage) if image.get_gid()}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def centres(layer):
    """The colours in the middle of each of the 4 × 4 squares that a picture of 4 × 4 pixels consists of."""
    side = len(layer) // 4
    return layer[side // 2 :: side, side // 2 :: side].tolist()


def rendered(figure):
    """The pixels of a picture, uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    with drawing():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_the_errors_of_four_by_four_pixels():
    errors = centres(layers(draw(small(), "panels"))["errors"])
    assert errors[0] == [PALE, PALE, VERMILLION, VERMILLION]
    assert [errors[1][column] for column in (0, 2, 3)] == [PALE, VERMILLION, VERMILLION]
    assert errors[2] == errors[3] == [BLUE, BLUE, WHITE, WHITE]  # 0.5 is not above the threshold of 0.5


def test_an_ignored_pixel_is_hatched_in_truth_and_errors():
    drawn = layers(draw(small(), "panels"))
    for name in ("truth", "errors"):
        inside = drawn[name][128:256, 128:256].reshape(-1, 3)
        assert {tuple(colour) for colour in inside.tolist()} == {(112,) * 3, (212,) * 3}


def test_truth_and_prediction_are_white_on_black():
    drawn = layers(draw(small(), "panels"))
    truth = centres(drawn["truth"])
    assert truth[0] == truth[2] == truth[3] == [WHITE, WHITE, BLACK, BLACK] and truth[1][0] == WHITE
    assert centres(drawn["prediction"]) == [[WHITE] * 4] * 2 + [[BLACK] * 4] * 2


def test_the_photo_and_the_probabilities_keep_every_pixel():
    drawn = layers(draw(small(), "panels"))
    assert centres(drawn["image"]) == small().image.tolist()
    viridis = matplotlib.colormaps["viridis"](PROBABILITY, bytes=True)[..., :3]
    assert centres(drawn["probability"]) == viridis.tolist()


def test_another_threshold_gives_another_prediction_and_other_errors():
    drawn = layers(draw(small(threshold=0.7), "panels"))
    assert centres(drawn["prediction"]) == [[WHITE] * 4] + [[BLACK] * 4] * 3
    assert centres(drawn["errors"])[1][0] == BLUE
    assert "threshold 0.7" in texts(draw(small(threshold=0.7), "panels"))


def test_each_style_has_its_panels():
    assert list(layers(draw(small(), "panels"))) == ["image", "truth", "prediction", "probability", "errors"]
    assert list(layers(draw(small(), "report_a"))) == ["image", "truth", "probability", "mask"]
    assert list(layers(draw(small(), "report_d"))) == ["overlay"]


def test_what_colours_and_lines_mean_stands_in_words_on_the_picture():
    assert set(texts(draw(small(), "panels"))) == {
        *("Dice 0.5000 · Pet_1", "image", "truth", "prediction", "probability", "errors"),
        *("foreground", "background", "probability above 0.5", "0", "1", "threshold 0.5"),
        *("missed: in the truth only", "invented: predicted only", "right: in both", "ignored: not scored"),
    }
    assert set(texts(draw(small(), "report_d"))) == {
        *("Dice 0.5000 · Pet_1", "truth: green, solid outline", "prediction: red, dashed outline"),
        *("truth and prediction: yellow", "ignored: not scored"),
    }


@pytest.mark.parametrize("style", STYLES)
def test_without_ignored_pixels_none_are_spoken_of(style):
    assert "ignored: not scored" not in texts(draw(example(8, 8, ignored=False), style))


def test_the_overlay_has_truth_in_green_prediction_in_red_and_both_in_yellow():
    plain = Example("Pet_1", np.zeros((4, 4, 3), dtype=np.uint8), TARGET, PROBABILITY, 0.5, 0.5)
    both, green, red, nothing = [102, 85, 0], [0, 66, 32], [91, 14, 17], [0, 0, 0]  # 40 % of each over black
    colours = centres(layers(draw(plain, "report_d"))["overlay"])
    assert colours[0] == [both, both, red, red]
    assert colours[2] == colours[3] == [green, green, nothing, nothing]


def test_outlines_run_along_the_edges_of_pixels_and_differ_without_colour():
    outlines = {lines.get_gid(): lines for lines in draw(small(), "report_d").findobj(ContourSet)}
    assert set(outlines) == {"outline: truth", "outline: prediction"}
    (path,) = outlines["outline: prediction"].get_paths()  # the upper half of 1024 pixels
    left, top = path.vertices.min(axis=0)
    assert path.vertices.max(axis=0) - (left, top) == pytest.approx([1024, 512], abs=1)
    solid, dashed = (OUTLINES[name][1] for name in ("truth", "prediction"))
    assert (outlines["outline: truth"].get_linestyles()[0][1], solid) == (None, "-")
    assert outlines["outline: prediction"].get_linestyles()[0][1] is not None and dashed != "-"


def test_a_mask_without_a_pixel_has_no_outline():
    assert draw(example(16, 16, empty=True), "report_d").findobj(ContourSet) == []


def test_with_nothing_to_find_and_nothing_found_all_is_right():
    drawn = layers(draw(example(16, 16, empty=True, ignored=False), "panels"))
    assert (drawn["errors"] == 255).all() and not drawn["truth"].any() and not drawn["prediction"].any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_any_image_keeps_its_aspect_ratio_and_its_pixels_meet_those_of_the_picture(style, case):
    figure = draw(CASES[case], style)
    pixels = rendered(figure)
    assert pixels.shape[1] <= 5 * 512 + 4 * 28 + 48 and pixels.shape[0] <= 1400
    for image in [image for image in figure.findobj(AxesImage) if image.get_gid()]:
        left, right, bottom, top = (round(edge) for edge in image.get_extent())
        size, shape = image.get_array().shape[:2], CASES[case].target.shape
        assert size == (bottom - top, right - left)
        assert [max(1, round(max(size) * side / max(shape))) for side in shape] == list(size)
        if style != "report_d":  # which has outlines above it; here the frame is left out
            inside = pixels[top + 2 : bottom - 2, left + 2 : right - 2]
            assert (inside == image.get_array()[2:-2, 2:-2]).all()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("stem", LONG, ids=range(len(LONG)))
def test_no_text_leaves_the_picture_or_lies_on_another_whatever_an_image_is_called(style, stem):
    figure = draw(example(600, 20, stem=stem), style)
    width, height = figure.get_size_inches() * 72
    with drawing():
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
    assert min(box.x0 for box in boxes) >= 0 and max(box.x1 for box in boxes) <= width
    assert min(box.y0 for box in boxes) >= 0 and max(box.y1 for box in boxes) <= height
    assert [(a, b) for number, a in enumerate(boxes) for b in boxes[:number] if a.padded(-1.5).overlaps(b)] == []


@pytest.mark.parametrize("style", STYLES)
def test_a_letter_that_the_font_lacks_is_a_box_without_a_warning(style, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_png(draw(example(8, 8, stem="猫"), style), tmp_path / "cat.png")
    assert (tmp_path / "cat.png").stat().st_size > 1000


@pytest.mark.parametrize("style", STYLES)
def test_a_picture_is_the_same_bytes_each_time_whatever_style_a_notebook_has(style, tmp_path):
    save_png(draw(small(), style), tmp_path / "once.png")
    with matplotlib.style.context(["dark_background", {"font.size": 20, "savefig.dpi": 50, "image.origin": "lower"}]):
        save_png(draw(small(), style), tmp_path / "again.png")
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.png", "once.png"]


def test_every_style_is_there_and_another_is_refused():
    assert STYLES == ("panels", "report_a", "report_d") and set(PANELS) < set(STYLES)
    with pytest.raises(ValueError, match="style is 'report_b', allowed are panels, report_a, report_d"):
        draw(small(), "report_b")


def test_arrays_of_different_sizes_are_refused():
    photo, target = np.zeros((4, 5, 3), dtype=np.uint8), np.full((4, 4), FOREGROUND, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"Pet_1: image \(4, 5, 3\), target \(4, 4\) and probability \(4, 4\)"):
        Example("Pet_1", photo, target, PROBABILITY, 0.5, 0.5)
    with pytest.raises(ValueError, match="has no pixels"):
        Example("Pet_1", np.zeros((0, 4, 3)), np.zeros((0, 4)), np.zeros((0, 4)), 0.5, 0.5)
