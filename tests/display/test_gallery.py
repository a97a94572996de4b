"""Which images are worst, median and best, worked out by hand; the files of a gallery and its contact sheet."""

import os

import numpy as np
import pytest
from PIL import Image

from src.display.gallery import THUMBNAIL, worst_median_best, write_gallery
from src.display.panels import STYLES
from tests.display.examples import example, small

BLUE, VERMILLION = (0, 114, 178), (213, 94, 0)


def strip(stem):
    """An example whose pictures are small."""
    return example(2, 40, stem=stem)


def test_worst_median_and_best_of_nine():
    dice = [0.9, 0.1, 0.5, 0.8, 0.2, 0.6, 0.7, 0.3, 0.4]
    assert worst_median_best(dice, 2) == {"worst": [1, 4], "median": [2, 5], "best": [0, 3]}
    assert worst_median_best(dice, 3) == {"worst": [1, 4, 7], "median": [8, 2, 5], "best": [0, 3, 6]}
    assert worst_median_best(dice, 1) == {"worst": [1], "median": [2], "best": [0]}


def test_of_equal_dice_the_earlier_image_comes_first():
    assert worst_median_best([0.5, 0.2, 0.9, 0.2, 0.9, 0.2, 0.5, 0.5], 2) == {
        "worst": [1, 3],
        "median": [0, 6],
        "best": [2, 4],
    }


def test_images_that_are_all_alike_are_still_taken_once():
    assert worst_median_best([1.0] * 6, 2) == {"worst": [0, 1], "median": [2, 3], "best": [4, 5]}


@pytest.mark.parametrize(
    ("count", "shares"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (4, (2, 1, 1)), (5, (2, 1, 2)), (8, (3, 2, 3))],
)
def test_too_few_images_are_shared_out_and_none_is_taken_twice(count, shares):
    groups = worst_median_best(np.linspace(0, 1, count).tolist(), 10)
    assert tuple(len(own) for own in groups.values()) == shares
    assert sorted(position for own in groups.values() for position in own) == list(range(count))


def test_no_image_is_ever_in_two_groups_and_the_median_lies_between_the_others():
    for count in range(3, 40):
        dice = np.random.default_rng(count).permutation(count) / count
        for k in range(1, 12):
            worst, median, best = (
                [dice[position] for position in own] for own in worst_median_best(dice.tolist(), k).values()
            )
            assert worst == sorted(worst) and median == sorted(median) and best == sorted(best, reverse=True)
            assert max(worst) < min(median) and max(median) < min(best)
            below, above = (dice < min(median)).sum(), (dice > max(median)).sum()
            assert abs(below - above) <= 1


def test_a_dice_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a finite number"):
        worst_median_best([0.5, float("nan")], 1)


def test_each_image_has_a_file_for_each_style_named_by_group_rank_and_stem(tmp_path):
    groups = {"worst": [strip("Pet_7"), strip("Pet_2")], "best": [strip("Pet_1")]}
    written = write_gallery(tmp_path, groups, ["panels", "report_d"], "a run")
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "gallery/worst_01_Pet_7_panels.png",
        "gallery/worst_01_Pet_7_report_d.png",
        "gallery/worst_02_Pet_2_panels.png",
        "gallery/worst_02_Pet_2_report_d.png",
        "gallery/best_01_Pet_1_panels.png",
        "gallery/best_01_Pet_1_report_d.png",
        "contact_sheet.png",
    ]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)


@pytest.mark.long
def test_stems_of_any_length_and_letters_become_names_that_a_disk_takes(tmp_path):
    stems = ["<script>alert('x')</script>", "W" * 200, "ü猫" * 100, "IMG (1).jpg", "a\nb\x00\udcff", "..", "nul:|?*\\"]
    written = write_gallery(tmp_path, {"worst": [strip(stem) for stem in stems]}, ["report_d"], "a run")
    names = [path.name for path in written[:-1]]
    assert names[0] == "worst_01__script_alert_x_script__report_d.png"
    assert names[1] == f"worst_02_{'W' * 120}_report_d.png"
    assert names[2] == f"worst_03_{'ü猫' * 24}_report_d.png"  # 120 bytes: two and three for a letter
    assert names[3:] == [
        "worst_04_IMG_1_.jpg_report_d.png",
        "worst_05_a_b__report_d.png",
        "worst_06_.._report_d.png",
        "worst_07_nul__report_d.png",
    ]
    assert all(path.parent == tmp_path / "gallery" and path.is_file() for path in written[:-1])


def test_the_sheet_shows_what_was_missed_and_invented(tmp_path):
    sheet = write_gallery(tmp_path, {"worst": [small()]}, [], "a run")[-1]
    with Image.open(sheet) as image:
        colors = {color: count for count, color in image.convert("RGB").getcolors(1_000_000)}
    square = (THUMBNAIL / 4) ** 2  # a pixel of the image; one swatch of each color is in the legend
    assert colors[BLUE] == pytest.approx(4 * square, rel=0.05)
    assert colors[VERMILLION] == pytest.approx(4 * square, rel=0.05)


def test_of_more_than_ten_images_the_sheet_says_how_many_it_leaves_out(tmp_path):
    groups = {"best": (example(4, 4, stem=f"Pet_{number}") for number in range(12))}
    (sheet,) = write_gallery(tmp_path, groups, [], "a run")
    with Image.open(sheet) as image:
        assert image.width == 1280 and image.height < 3300  # ten rows of 270 pixels, not twelve


def test_examples_are_taken_one_at_a_time(tmp_path):
    alive = []

    def one_by_one():
        for number in range(3):
            alive.append(len(list((tmp_path / "gallery").iterdir())))
            yield strip(f"Pet_{number}")

    write_gallery(tmp_path, {"worst": one_by_one()}, ["report_d"], "a run")
    assert alive == [0, 1, 2]  # the pictures of each are written before the next one is asked for


def test_the_same_examples_give_the_same_bytes_and_leave_nothing_else(tmp_path):
    groups = {"worst": [small()], "best": [strip("Pet_2")]}
    first, again = (write_gallery(tmp_path / name, groups, STYLES, "a run") for name in ("first", "again"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert not list(tmp_path.rglob(".*"))


def test_pictures_that_are_no_longer_in_the_gallery_are_deleted_and_no_other_file(tmp_path):
    write_gallery(tmp_path, {"worst": [strip("Pet_1"), strip("Pet_2")]}, ["panels", "report_d"], "a run")
    for name in ("worst_notes.txt", "worst_01_mine.png"):
        (tmp_path / "gallery" / name).write_text("mine")
    write_gallery(tmp_path, {"worst": [strip("Pet_3")]}, ["panels"], "a run")
    assert sorted(os.listdir(tmp_path / "gallery")) == [  # noqa: PTH208, names of files
        "worst_01_Pet_3_panels.png",
        "worst_01_mine.png",
        "worst_notes.txt",
    ]
