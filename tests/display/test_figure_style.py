"""Where lines of names break, and how much room a legend of them takes."""

import pytest

from src.display.figure_style import legend_height, wrapped


@pytest.mark.parametrize(
    ("text", "characters", "lines"),
    [
        ("resnet34_unet_cbam, flip_jitter", 19, ["resnet34_unet_cbam,", "flip_jitter"]),
        ("i" * 30, 20, ["i" * 20, "i" * 10]),
        ("two\nlines\tand  gaps", 30, ["two lines and gaps"]),
        ("", 10, [""]),
    ],
)
def test_lines_break_at_spaces_then_anywhere(text, characters, lines):
    assert wrapped(text, characters).split("\n") == lines


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("text", ["first-middle-of-a-long-name-last" * 3, "first-" + "W" * 500 + "-last"])
def test_a_name_too_long_for_its_lines_loses_its_middle(text, most):
    lines = wrapped(text, 14, most).split("\n")
    whole = "".join(lines)
    assert whole.startswith("first") and whole.endswith("last") and "…" in whole
    assert len(lines) <= most and all(len(line) <= 14 for line in lines)


def test_a_legend_of_long_names_has_a_line_each_and_short_ones_share_one():
    assert legend_height([f"{letter * 4}_resnet34_unet_cbam, flip_jitter_soft" for letter in "abcdefgh"]) == 80 / 72
    assert legend_height(["unet", "cbam"]) == 10 / 72
    assert legend_height([]) == 0
