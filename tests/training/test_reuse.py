"""A finished run of another sweep is reused where it is whole and its scores follow from what lies beside them."""

import json
import logging
import os
import shutil

import pytest

from src.base.record import RunRecord
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.reuse import add_labels, finished_before, finished_elsewhere, link_finished_run, note_of_old_runs


@pytest.fixture
def sibling(run_copy, tmp_path):
    """A finished run in the sweep `copied`."""
    folder = tmp_path / "runs" / "copied" / run_copy.name
    folder.parent.mkdir(parents=True)
    return RunRecord(run_copy.rename(folder))


@pytest.fixture
def own(sibling):
    """The record of the same run in another sweep, where it has not begun."""
    return RunRecord(sibling.folder.parent.parent / "mine" / sibling.folder.name)


def found(own, sibling):
    return finished_elsewhere(own, sibling.read()["data"]["fingerprint"])


def edit(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def scores(record, **changes):
    edit(record.run_file, scores={**record.read()["scores"], **changes})


def in_test_json(record, **changes):
    content = json.loads((record.folder / "test.json").read_text())
    content["protocols"]["headline"].update(changes)
    (record.folder / "test.json").write_text(json.dumps(content))


def lines(record, name, change):
    path = record.folder / name
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def best(record, **changes):
    path = record.checkpoints / "best.pt"
    save_checkpoint(path, load_checkpoint(path) | changes)


def first_cell(line, column, value):
    cells = line.rstrip("\r\n").split(",")
    cells[column] = value
    return ",".join(cells) + "\n"


HOLLOW = {
    "no checkpoints": lambda record: shutil.rmtree(record.checkpoints),
    "no best.pt": lambda record: (record.checkpoints / "best.pt").unlink(),
    "an empty best.pt": lambda record: (record.checkpoints / "best.pt").write_bytes(b""),
    "half a best.pt": lambda record: (record.checkpoints / "best.pt").write_bytes(
        (record.checkpoints / "best.pt").read_bytes()[:2000]
    ),
    "weights of another epoch": lambda record: best(record, epoch=7),
    "weights of another validation Dice": lambda record: best(record, valid_dice=0.99),
    "no test images": lambda record: (record.folder / "test_images.csv").unlink(),
    "test images without rows": lambda record: lines(record, "test_images.csv", lambda rows: rows[:1]),
    "half of the test images": lambda record: lines(record, "test_images.csv", lambda rows: rows[:4]),
    "an image twice": lambda record: lines(record, "test_images.csv", lambda rows: [*rows, rows[1]]),
    "another Dice of an image": lambda record: lines(
        record, "test_images.csv", lambda rows: [rows[0], first_cell(rows[1], 2, "0.987"), *rows[2:]]
    ),
    "other pixels of an image": lambda record: lines(
        record, "test_images.csv", lambda rows: [rows[0], first_cell(rows[1], 4, "900"), *rows[2:]]
    ),
    "a cell that is no number": lambda record: lines(
        record, "test_images.csv", lambda rows: [rows[0], first_cell(rows[1], 4, "many"), *rows[2:]]
    ),
    "no test.json": lambda record: (record.folder / "test.json").unlink(),
    "another mean in test.json": lambda record: in_test_json(record, dice={"mean": 0.99}),
    "no mean in test.json": lambda record: in_test_json(record, dice=0.99),
    "an edited config.yaml": lambda record: lines(
        record, "config.yaml", lambda rows: [row.replace("width: 2", "width: 3") for row in rows]
    ),
    "an empty config.yaml": lambda record: (record.folder / "config.yaml").write_text(""),
    "a config.yaml that is none": lambda record: (record.folder / "config.yaml").write_text("seed: x\ntrainer: 3\n"),
    "the run_id of another": lambda record: edit(record.run_file, run_id="unet-seed9"),
    "no config.yaml": lambda record: (record.folder / "config.yaml").unlink(),
    "no epochs.jsonl": lambda record: record.epochs_file.unlink(),
    "epochs without the best one": lambda record: record.epochs_file.write_text(""),
    "a test Dice that was typed in": lambda record: scores(record, test_dice=0.99),
    "an IoU that was typed in": lambda record: scores(record, test_iou=0.99),
    "a pooled Dice that was typed in": lambda record: scores(record, test_pooled_dice=0.99),
    "a validation Dice that was typed in": lambda record: scores(record, valid_dice=0.99),
    "no scores": lambda record: edit(record.run_file, scores={}),
    "a record of a wrong shape": lambda record: record.run_file.write_text('{"status": "finished"}'),
}


def test_a_whole_sibling_is_reused(own, sibling):
    assert found(own, sibling) == sibling.folder


@pytest.mark.parametrize("hollow", HOLLOW.values(), ids=HOLLOW)
def test_a_hollow_sibling_is_not_reused(own, sibling, hollow, caplog):
    fingerprint = sibling.read()["data"]["fingerprint"]
    hollow(sibling)
    assert finished_elsewhere(own, fingerprint) is None
    assert f"{sibling.folder} is not reused: " in caplog.text and len(caplog.text.splitlines()) == 1


def test_what_has_begun_here_is_not_replaced(own, sibling):
    own.checkpoints.mkdir(parents=True)
    assert found(own, sibling) is None


def test_no_sweep_writes_into_the_files_of_another(own, sibling):
    with sibling.locked():
        sibling.add_to_log("of the first\n")
    before = {file: file.read_bytes() for file in sibling.folder.rglob("*") if file.is_file()}
    with own.locked():
        assert link_finished_run(own, sibling.read()["data"]["fingerprint"]) == own.read()
    assert (own.checkpoints / "best.pt").samefile(sibling.checkpoints / "best.pt")
    for file in own.folder.iterdir():  # as an editor may do, or a tool of the user's own
        if file.is_file():
            assert file.read_bytes() == (sibling.folder / file.name).read_bytes()
            with file.open("a") as opened:
                opened.write("changed")
    assert {file: file.read_bytes() for file in before} == before


def test_a_log_that_an_earlier_version_linked_is_not_written_to(own, sibling):
    with sibling.locked():
        sibling.add_to_log("of the first\n")
    own.folder.mkdir(parents=True)
    own.log_file.hardlink_to(sibling.log_file)
    before = sibling.log_file.read_bytes()
    with own.locked():
        own.add_to_log("of the second\n")
        with own.logging():
            logging.getLogger("src").info("and more")
    assert sibling.log_file.read_bytes() == before
    assert (
        own.log_file.read_bytes().startswith(before + b"of the second\n") and b"and more" in own.log_file.read_bytes()
    )


def as_schema_1(record):
    edit(record.run_file, schema=1)


def test_a_run_of_schema_1_is_not_reused_and_that_is_no_fault_of_it(own, sibling, caplog):
    as_schema_1(sibling)
    assert found(own, sibling) is None and caplog.text == ""


def test_nor_is_it_taken_for_the_run_in_its_own_folder(sibling):
    as_schema_1(sibling)
    with pytest.raises(
        ValueError, match=r"run\.json: is not the record of this run, it has schema 1 and .* move .* away"
    ):
        finished_before(sibling, sibling.read()["data"]["fingerprint"])


def test_the_runs_of_schema_1_in_a_folder_are_counted(tmp_path):
    assert note_of_old_runs(tmp_path) is None
    for name, content in {
        "unet-old": '{"schema": 1}',
        "unet-new": '{"schema": 2}',
        "unet-broken": "{",
        ".hidden": '{"schema": 1}',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(content)
    assert note_of_old_runs(tmp_path) == (f"1 run of schema 1 is here; it is neither resumed nor reused ({tmp_path})")
    (tmp_path / "unet-broken" / "run.json").write_text('{"schema": 1, "status": "running"}')
    assert (
        note_of_old_runs(tmp_path) == f"2 runs of schema 1 are here; they are neither resumed nor reused ({tmp_path})"
    )


# --- Tags and notes of a run that is finished: united with those that come later, never lost, never without need


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
