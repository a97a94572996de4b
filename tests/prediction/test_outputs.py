"""Which pictures are written, where, and what is in them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.prediction.outputs import Outcome, Outputs, as_16_bit, check_output, closing_line, write_summary
from tests.prediction.pictures import grey

PHOTO = Path("cats/IMG (1).jpg")


def outputs(tmp_path, **choices) -> Outputs:
    return Outputs(tmp_path / "masks", **choices)


def test_names_keep_the_folders_and_the_whole_name(tmp_path):
    names = [outputs(tmp_path).path(PHOTO, kind).relative_to(tmp_path) for kind in ("mask", "overlay", "probability")]
    assert [name.as_posix() for name in names] == [
        "masks/cats/IMG (1).jpg.mask.png",
        "masks/cats/IMG (1).jpg.overlay.png",
        "masks/cats/IMG (1).jpg.probability.png",
    ]


def test_a_picture_is_written_whole_and_nothing_is_left_behind(tmp_path):
    outputs(tmp_path).write(PHOTO, "mask", np.array([[0, 255]], dtype=np.uint8))
    np.testing.assert_array_equal(grey(outputs(tmp_path).path(PHOTO, "mask")), [[0, 255]])
    assert len(list((tmp_path / "masks").rglob("*"))) == 2  # the folder cats and the picture


def test_a_png_may_be_longer_than_a_million_pixels(tmp_path):
    """Where libpng gives up."""
    outputs(tmp_path).write(PHOTO, "mask", np.full((1, 1_000_001), 7, dtype=np.uint8))
    assert grey(outputs(tmp_path).path(PHOTO, "mask")).shape == (1, 1_000_001)


def test_16_bits_reach_from_0_to_1():
    np.testing.assert_array_equal(as_16_bit(np.array([0, 1 / 65535, 1], dtype=np.float32)), [0, 1, 65535])


def test_only_what_is_missing_is_written_unless_all_is_to_be_overwritten(tmp_path):
    outputs(tmp_path).write(PHOTO, "mask", np.array([[0, 255]], dtype=np.uint8))
    assert outputs(tmp_path).to_write(PHOTO) == []
    assert outputs(tmp_path, kinds=("mask", "probability")).to_write(PHOTO) == ["probability"]
    assert outputs(tmp_path, kinds=("mask", "overlay"), overwrite=True).to_write(PHOTO) == ["mask", "overlay"]
    np.testing.assert_array_equal(outputs(tmp_path).kept_mask(PHOTO), [[False, True]])


def test_a_damaged_mask_is_not_kept(tmp_path):
    wanted = outputs(tmp_path)
    path = wanted.path(PHOTO, "mask")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a ma")
    with pytest.raises(ValueError, match=r"mask\.png: cannot be read .*; overwrite=true makes it again"):
        wanted.kept_mask(PHOTO)


def test_a_link_that_leads_out_is_not_written_through(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "masks" / "cats").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"cats leads out of .*masks"):
        outputs(tmp_path, overwrite=True).to_write(PHOTO)


def test_a_link_in_the_place_of_a_mask_is_replaced_and_not_followed(tmp_path):
    wanted = outputs(tmp_path, overwrite=True)
    path = wanted.path(PHOTO, "mask")
    path.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    assert outputs(tmp_path).to_write(PHOTO) == []  # it is there: without overwrite it stays
    wanted.write(PHOTO, "mask", np.array([[0, 255]], dtype=np.uint8))
    assert (tmp_path / "precious").read_text() == "precious" and not path.is_symlink()


def test_an_output_folder_that_is_a_link_itself_is_used(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "masks").symlink_to(tmp_path / "disk")
    assert outputs(tmp_path).to_write(PHOTO) == ["mask"]


# --- The table of what became of each photo, and the words at the end

WRITTEN = Outcome(Path("in/a,b.jpg"), "written", size=(2, 3), foreground=0.5, mask=Path("a,b.jpg.mask.png"))
FAILED = Outcome(Path('in/"x".jpg'), "failed", "no such file")


def test_a_row_for_each_photo(tmp_path):
    write_summary([WRITTEN, FAILED], tmp_path)
    assert (tmp_path / "summary.csv").read_text() == (
        "input,status,reason,width,height,foreground,dice,mask\n"
        '"in/a,b.jpg",written,,3,2,0.500000,,"a,b.jpg.mask.png"\n'
        '"in/""x"".jpg",failed,no such file,,,,,\n'
    )


def test_any_name_comes_back(tmp_path):
    names = ["ü猫.jpg", "it's.jpg", "a\nb.jpg", " x ", "1e5"]
    write_summary([Outcome(Path(name), "kept") for name in names], tmp_path)
    assert pd.read_csv(tmp_path / "summary.csv", dtype=str)["input"].tolist() == names
    write_summary([Outcome(Path("\udcff.jpg"), "kept")], tmp_path)  # a byte that is no UTF-8
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["input"] == "\\udcff.jpg"


def test_our_own_summary_may_be_replaced_and_no_other(tmp_path):
    check_output(tmp_path / "new")
    check_output(tmp_path)
    write_summary([WRITTEN], tmp_path)
    check_output(tmp_path)
    (tmp_path / "summary.csv").write_text("name,score\n")
    with pytest.raises(ValueError, match=r"summary\.csv is not from an inference; move it away"):
        check_output(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        check_output(tmp_path / "summary.csv")
    (tmp_path / "summary.csv").unlink()
    (tmp_path / "summary.csv").mkdir()
    with pytest.raises(ValueError, match=r"summary\.csv is not from an inference"):
        check_output(tmp_path)


def test_the_last_line_says_what_was_done():
    kept = Outcome(Path("k"), "kept")
    assert closing_line([WRITTEN], Path("out"), 0) == "masks in out: 1 (see out/summary.csv)"
    assert closing_line([WRITTEN] * 9 + [kept] * 2 + [FAILED], Path("out"), 1200) == (
        "masks in out: 11 (2 kept (overwrite=true makes them again), 1 failed, 1,200 other files left out, "
        "see out/summary.csv)"
    )


def test_names_that_begin_like_formulas_are_no_formulas(tmp_path):
    name = "=1+cmd|' C'!A0"
    write_summary([Outcome(Path(f"{name}.jpg"), "written", "", (2, 3), 0.5, None, Path(f"{name}.mask.png"))], tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["input"], row["mask"], row["foreground"]) == (f"'{name}.jpg", f"'{name}.mask.png", "0.500000")
