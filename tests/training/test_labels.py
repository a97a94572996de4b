"""Tags and notes of a run that is finished: united with those that come later, never lost, never without need."""

import json
import os

import pytest

from src.base.record import RunRecord
from src.training.reuse import add_labels


@pytest.fixture
def labelled(run_copy, composed, small):
    """`labelled("tags=[b]")`: what is said and then recorded when a finished run is asked for once more."""
    from src.training.checks import checked

    record = RunRecord(run_copy)
    with record.locked():
        record.update(tags=["a"], notes="first")

    def add(*overrides):
        said = add_labels(record, checked(composed(*small, *overrides)), list(overrides))
        run = record.read()
        return said, run["tags"], run["notes"]

    return add


@pytest.mark.parametrize(
    ("overrides", "result"),
    [
        ([], ("", ["a"], "first")),
        (["tags=[a]"], ("", ["a"], "first")),
        (["tags=[]", "notes=first"], ("", ["a"], "first")),
        (["tags=[c,a,b,b]"], ("; tags changed", ["a", "c", "b"], "first")),
        (["notes=second"], ("; notes changed", ["a"], "second")),
        (["notes=''"], ("; notes changed", ["a"], "")),
        (["tags=[b]", "notes=second"], ("; tags and notes changed", ["a", "b"], "second")),
    ],
)
def test_tags_are_united_and_notes_replaced_where_given(labelled, run_copy, overrides, result):
    assert labelled(*overrides) == result
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in run_copy.rglob("*")}
    assert labelled(*overrides) == ("", *result[1:])  # the same call twice changes nothing
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in run_copy.rglob("*")} == before


def test_a_record_that_another_sweep_shares_keeps_its_own(labelled, run_copy, tmp_path):
    other = tmp_path / "other.json"
    os.link(run_copy / "run.json", other)
    before = other.read_bytes()
    assert labelled("tags=[b]")[1] == ["a", "b"]
    assert other.read_bytes() == before and other.stat().st_nlink == 1


def test_a_run_that_another_process_works_on_stays_and_it_is_said(labelled, run_copy):
    with RunRecord(run_copy).locked():
        said, *labels = labelled("tags=[b]")
    assert said.startswith("; tags and notes stay as they are, another process is working on ") and labels == [
        ["a"],
        "first",
    ]


def test_a_run_that_goes_on_keeps_its_tags_and_notes(begun, start):
    folder = begun("tags=[a]", "notes=first").parent
    outcome = start("trainer.epochs=4", "tags=[b]")
    assert (outcome.status, outcome.folder) == ("finished", folder)
    run = json.loads((folder / "run.json").read_text())
    assert (run["tags"], run["notes"]) == (["a", "b"], "first")
