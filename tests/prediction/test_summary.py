"""The table of what became of each photo, and the words at the end."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from src.prediction.outputs import Outcome, check_output, closing_line, write_summary

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
