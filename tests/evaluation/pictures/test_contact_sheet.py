"""Sheets and pictures in full: their sizes, their panels' places, and that any name fits."""

import warnings

import numpy as np
import pytest

from src.evaluation.pictures.contact_sheet import Row, contact_sheet, draw
from src.evaluation.pictures.panels import STYLES, panel
from tests.evaluation.examples import example, small

LONG = ["<script>alert(1)</script>" * 8, "W" * 200, "ü猫 $x_{1}$ a\nb\x00\udcff", ""]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (500, 333), (700, 2), (1, 700)])
def test_the_panels_of_a_picture_lie_side_by_side_at_its_bottom(style, shape):
    picture = np.asarray(draw(example(*shape), style))
    names, bottom = STYLES[style], len(picture) - 21  # margin and frame
    column = (picture.shape[1] - 40 + 10) // len(names)
    for number, name in enumerate(names):
        layer = panel(example(*shape), name, 512 if len(names) > 1 else 1024)
        left = 21 + number * column
        assert (picture[bottom - len(layer) : bottom, left : left + layer.shape[1]] == layer).all()


def test_a_sheet_has_a_block_for_each_group_and_a_row_for_each_image():
    rows = [Row.of(small("Pet_7", 0.25)), Row.of(small("Pet_2", 0.5))]
    full, one, none = (contact_sheet("a run", {"Worst": own, "Best": []}) for own in (rows, rows[:1], []))
    assert full.width == one.width == none.width == 1280
    assert full.height - one.height == 20 + 240 + 10  # a line of text, a panel with its frame, a gap
    sheet, row = np.asarray(full), rows[0].panels["errors"]
    tops = [top for top in range(full.height - 238) if (sheet[top : top + 238, 1021:1259] == row).all()]
    assert tops[1] - tops[0] == 270


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("stem", LONG, ids=range(len(LONG)))
def test_any_name_stays_within_the_margins_and_a_letter_that_the_font_lacks_is_no_warning(style, stem):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = [draw(example(60, 20, stem=stem), style)]
        pictures.append(contact_sheet(stem, {stem: [Row.of(example(60, 20, stem=stem))]}))
    for picture in map(np.asarray, pictures):
        assert (picture[:, -19:] == 255).all() and (picture[:, :19] == 255).all()


def test_a_title_of_two_lines_takes_more_room():
    assert contact_sheet("a run " * 30, {"Best": []}).height == contact_sheet("a run", {"Best": []}).height + 40


def test_another_style_is_refused():
    with pytest.raises(
        ValueError, match="style is 'report_b', allowed are panels, report_a, report_a_overlay, report_d"
    ):
        draw(small(), "report_b")
