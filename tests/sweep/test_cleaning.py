"""`python -m src.clean`: which checkpoints go, which stay, and that the record says so."""

import json
import os

import pytest

from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.clean import clean
from src.prediction.load_model import load_model
from src.sweep.cleaning import CleanOptions
from src.sweep.cleaning import clean as lines_of
from src.training.checks import checked
from src.training.reuse import finished_before, finished_elsewhere
from tests.analysis.sweeps import another_process, begin, fail, finish, holding

CHECKPOINTS = ("best.pt", "epoch_0002.pt", "last.pt", "previous.pt")
SIZE = 1_000_000


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "outputs" / "demo"


def with_checkpoints(record):
    for name in CHECKPOINTS:
        (record.checkpoints / name).write_bytes(bytes(SIZE))
    return record


def names(record):
    return sorted(path.name for path in record.checkpoints.iterdir())


def said(sweep, keep="best", go=False, older_than=None):
    return list(lines_of(CleanOptions(sweep=str(sweep), keep=keep, older_than=older_than, go=go)))


@pytest.mark.parametrize(
    ("keep", "stays"), [("best", ["best.pt"]), ("weights", ["best.pt", "epoch_0002.pt"]), ("records", [])]
)
def test_first_it_says_what_goes_and_then_it_goes_with_a_note(here, sweep, keep, stays):
    record = with_checkpoints(finish(sweep, 0.7))
    before = record.run_file.read_bytes()
    gone = [name for name in CHECKPOINTS if name not in stays]
    done = here(clean, f"sweep={sweep}", f"keep={keep}")
    total = f"{len(gone)} checkpoints, {len(gone)}.0 MB of space"
    assert done.returncode == 0 and done.stdout.splitlines() == [
        f"{record.folder.name}: {', '.join(gone)} ({len(gone)}.0 MB)",
        f"would be removed: {total}; go=true removes them",
    ]
    assert names(record) == list(CHECKPOINTS) and record.run_file.read_bytes() == before
    assert here(clean, f"sweep={sweep}", f"keep={keep}", "go=true").stdout.endswith(f"removed: {total}\n")
    assert names(record) == stays
    run = record.read()
    (note,) = run.pop("removed")
    assert (note["keep"], note["files"]) == (keep, dict.fromkeys(gone, SIZE)) and run == json.loads(before)
    assert record.why_missing("last.pt").startswith(f"last.pt was removed by src.clean keep={keep} (")
    assert record.why_missing("best.pt") is None or keep == "records"
    assert said(sweep, keep, go=True) == ["removed: 0 checkpoints, 0.0 MB of space"]


def test_what_a_process_holds_what_is_not_finished_and_what_is_young_stays(sweep):
    held, young = with_checkpoints(finish(sweep, 0.7, seed=0)), with_checkpoints(finish(sweep, 0.7, seed=1))
    others = [begin(sweep, seed=2), fail(sweep, "nan", seed=3), fail(sweep, "stopped", "interrupted", seed=4)]
    for record in others:
        with_checkpoints(record)
    with another_process(holding(held)):
        lines = said(sweep, "records", go=True, older_than="1d")
    assert sum(line.startswith("stays: ") for line in lines) == 4 and lines[-1].startswith("removed: 0 checkpoints")
    reasons = "\n".join(lines)
    assert "stays: 1 × another process holds the run" in reasons and "stays: 1 × did not finish 1d ago" in reasons
    assert "stays: 1 × failed, resumes" in reasons and "stays: 2 × interrupted, resumes" in reasons
    assert all(names(record) == list(CHECKPOINTS) for record in (held, young, *others))
    with young.locked():
        young.update(finished="2026-01-01T00:00:00+00:00")
    assert said(sweep, "records", older_than="1d")[0].startswith(young.folder.name)


def test_a_broken_record_is_named_with_exit_code_1_and_keeps_its_checkpoints(here, sweep):
    whole, *broken = (with_checkpoints(finish(sweep, 0.7, seed=seed)) for seed in range(3))
    for record, text in zip(broken, ("{", json.dumps({**broken[1].read(), "removed": 5})), strict=True):
        record.run_file.write_text(text)
    ended = here(clean, f"sweep={sweep}", "keep=records", "go=true")
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and "removed: 4 checkpoints" in ended.stdout
    assert all(f"broken: {record.run_file}: is not" in ended.stderr for record in broken)
    assert names(whole) == [] and all(names(record) == list(CHECKPOINTS) for record in broken)


def test_the_last_weights_and_files_of_others_stay(sweep):
    record, lost = (with_checkpoints(finish(sweep, 0.7, seed=seed)) for seed in range(2))
    for name in ("my_backup.pt", "epoch_2_mine.pt"):
        (record.checkpoints / name).touch()
    (lost.checkpoints / "best.pt").unlink()
    for keep in ("weights", "best"):
        assert "stays: 1 × has no best.pt, so its other checkpoints stay" in said(sweep, keep, go=True)
    assert names(lost) == list(CHECKPOINTS[1:])
    said(sweep, "records", go=True)
    assert names(record) == ["epoch_2_mine.pt", "my_backup.pt"] and names(lost) == []


def test_links_between_sweeps_are_respected(sweep):
    record = with_checkpoints(finish(sweep, 0.7))
    other = sweep.parent / "other" / record.folder.name / "checkpoints"
    other.mkdir(parents=True)
    os.link(record.checkpoints / "best.pt", other / "best.pt")  # as a run that is reused has it
    (other / "last.pt").symlink_to(record.checkpoints / "last.pt")
    lines = said(sweep, "records", go=True)
    assert lines[1] == "stays: 1 × checkpoint, linked from another sweep"
    assert lines[2] == "removed: 3 checkpoints, 2.0 MB of space; 1 of them are linked elsewhere, where they stay"
    assert names(record) == ["last.pt"] and len((other / "best.pt").read_bytes()) == SIZE


def test_a_link_is_found_from_inside_the_sweep_through_a_link_and_one_folder_deeper(sweep, tmp_path, monkeypatch):
    record = with_checkpoints(finish(sweep, 0.7))
    (sweep.parent / "latest").symlink_to(sweep)  # is not another sweep
    (tmp_path / "short").symlink_to(sweep)
    linking = [("last.pt", sweep.parent / "other"), ("best.pt", sweep.parent / "group" / "other")]
    for name, other in [*linking, ("previous.pt", tmp_path / "beside")]:
        path = other / record.folder.name / "checkpoints" / name
        path.parent.mkdir(parents=True)
        path.symlink_to(record.checkpoints / name)
    monkeypatch.chdir(sweep)
    for typed, files in ((".", 2), (tmp_path / "short", 3)):
        assert f"stays: {files} × checkpoint, linked from another sweep" in said(typed, "records")
    said(tmp_path / "short", "records", go=True)
    assert names(record) == ["best.pt", "last.pt", "previous.pt"]


def test_nothing_outside_the_sweep_is_removed_through_a_link(sweep, tmp_path):
    outside = with_checkpoints(finish(tmp_path / "elsewhere", 0.7, seed=1))
    own = with_checkpoints(finish(sweep, 0.7))
    (sweep / outside.folder.name).symlink_to(outside.folder)
    (own.checkpoints / "last.pt").unlink()
    (own.checkpoints / "last.pt").symlink_to(outside.checkpoints / "last.pt")
    moved = with_checkpoints(finish(sweep, 0.7, seed=2))
    moved.checkpoints.rename(tmp_path / "moved")
    moved.checkpoints.symlink_to(tmp_path / "moved")
    circle = finish(sweep, 0.7, seed=3).checkpoints
    circle.rmdir(), circle.symlink_to(circle)
    lines = said(sweep, "records", go=True)
    assert "stays: 2 × a link leads out of the sweep, nothing is deleted through it" in lines
    assert names(own) == ["last.pt"] and names(outside) == names(moved) == list(CHECKPOINTS)


def test_a_crash_between_note_and_removal_leaves_nothing_missing_without_a_note(sweep, monkeypatch):
    record = with_checkpoints(finish(sweep, 0.7))
    monkeypatch.setattr(RunRecord, "check", lambda self: 1 / 0 if "removed" in self.run_file.read_text() else None)
    with pytest.raises(ZeroDivisionError):
        said(sweep, go=True)
    assert set(record.read()["removed"][0]["files"]) == set(CHECKPOINTS) - {"best.pt"}
    assert names(record) == list(CHECKPOINTS)


def test_what_needs_the_weights_later_says_when_they_were_removed(run_copy, composed, caplog):
    fingerprint = RunRecord(run_copy).read()["data"]["fingerprint"]
    said(run_copy.parent, "records", go=True)
    with pytest.raises(ValueError, match=r"has no checkpoints/best.pt; best.pt was removed by src.clean keep=rec"):
        load_model(run_copy)
    weights = f"init_from={run_copy}/checkpoints/best.pt"
    with pytest.raises(ConfigError, match=r"init_from: got .*, which is not a file; best.pt was removed by src.clean"):
        checked(composed("data=synthetic", "size=small", "device=cpu", weights))
    assert finished_elsewhere(RunRecord(run_copy.parent.parent / "mine" / run_copy.name), fingerprint) is None
    assert "is not reused: best.pt was removed by src.clean keep=records (" in caplog.text
    assert finished_before(RunRecord(run_copy), fingerprint)["status"] == "finished"  # and the run is not repeated


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["keep=best"], "sweep: missing; it takes the folder of a sweep"),
        (["sweep={}"], "keep: missing; it takes best, weights or records"),
        (["sweep={}", "keep=most"], "keep: got 'most'; input should be 'best', 'weights' or 'records'"),
        (["sweep={}", "keep=best", "older_than=soon"], "older_than: got 'soon'; string should match pattern"),
        (["sweep={}", "keep=best"], "{}: does not hold runs; give a sweep, for example sweep=multirun_outputs/demo"),
    ],
)
def test_a_mistake_is_one_line(here, tmp_path, typed, line):
    done = here(clean, *(word.format(tmp_path) for word in typed))
    assert done.returncode == 1 and line.format(tmp_path) in done.stderr and "Traceback" not in done.stderr
