"""The contact sheet at the end of a run: which images it shows, and that no score depends on it."""

import csv

import pytest

from src.base.record import EXAMPLES, RunRecord
from src.training import examples


@pytest.fixture
def drawn(monkeypatch):
    """What the sheets of the runs of this test show: group, stem and Dice of each example, sheet by sheet."""
    sheets = []

    def contact_sheet(title, groups, side):
        sheets.append(
            [(group, one.stem, one.dice) for group, group_examples in groups.items() for one in group_examples]
        )
        return original(title, groups, side)

    original = examples.contact_sheet
    monkeypatch.setattr(examples, "contact_sheet", contact_sheet)
    return sheets


def test_the_worst_median_and_best_test_images_and_two_that_are_the_same_in_all_runs_are_drawn(start, drawn):
    outcome = start("examples=1")
    assert (outcome.folder / EXAMPLES).read_bytes().startswith(b"\xff\xd8")  # a JPEG
    with (outcome.folder / "test_images.csv").open() as file:
        rows = [(row["stem"], float(row["dice"])) for row in csv.DictReader(file)]
    upwards = sorted(rows, key=lambda row: row[1])
    shared = "the same images in all runs"
    worst, median, best, *same = drawn[0]
    assert worst == ("worst", *upwards[0]) and best == ("best", *upwards[5])
    assert median[0] == "median" and median[1:] in (upwards[2], upwards[3])
    assert same == [(shared, *rows[2]), (shared, *rows[4])]


def test_without_examples_or_when_they_cannot_be_drawn_the_run_has_the_same_scores(start, drawn, monkeypatch, tmp_path):
    with_pictures = start("seed=1", f"output={tmp_path / 'with'}")
    without = start("seed=1", "examples=0", f"output={tmp_path / 'without'}")
    assert len(drawn) == 1 and not (without.folder / EXAMPLES).exists()
    monkeypatch.setattr(examples, "contact_sheet", lambda *_: 1 / 0)
    failed = start("seed=1", f"output={tmp_path / 'failed'}")
    assert with_pictures.folder.name == without.folder.name == failed.folder.name
    assert with_pictures.scores == without.scores == failed.scores
    assert "the test images are not drawn: division by zero" in RunRecord(failed.folder).log_file.read_text()
