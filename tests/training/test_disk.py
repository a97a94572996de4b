"""Disks that are full, limited or read-only: one clear line, and the last checkpoint stays."""

import errno
import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from src.base.record import RunRecord
from src.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def disk(tmp_path):
    """A separate disk of 3 MB; a checkpoint of the small runs takes half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, text=True)
    if mount.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all but `leave` bytes of the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(file.tell() - leave)
    return filler


@pytest.mark.parametrize("leave", [200_000, pytest.param(0, marks=pytest.mark.long)])
def test_a_full_disk_fails_the_run_in_one_line_and_leaves_the_checkpoint_before(train, small, disk, monkeypatch, leave):
    arguments = [*small, "trainer.epochs=4", "trainer.checkpoint_seconds=0", f"output={disk}"]
    append = RunRecord.append_epoch

    def append_and_fill(record, row):  # another program takes the disk while the second epoch is written down
        append(record, row)
        if row["epoch"] == 2:
            fill(disk, leave)

    monkeypatch.setattr(RunRecord, "append_epoch", append_and_fill)
    failed = train(*arguments)
    monkeypatch.setattr(RunRecord, "append_epoch", append)
    (folder,) = (path.parent for path in disk.rglob("run.json"))
    assert failed.returncode == 1 and "Traceback" not in failed.stdout + failed.stderr
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("failed: ")]
    assert str(folder) in line and "cannot be written: No space left on device; make room on that disk" in line
    if leave:
        assert "Traceback" in (folder / "train.log").read_text()
    facts = json.loads((folder / "run.json").read_text())
    assert facts["status"] == "failed" and "No space left on device" in facts["error"]
    last = load_checkpoint(folder / "checkpoints" / "last.pt")
    assert (last["epoch"], last["batch"]) == (2, 5)  # after the last step of the second epoch
    assert not [*folder.rglob(".*.tmp")]

    (disk / "filler").unlink()
    again = train(*arguments)
    assert again.returncode == 0 and "resuming in epoch 2 after 5 of its batches" in again.stdout
    assert [row["epoch"] for row in RunRecord(folder).read_epochs()] == [1, 2, 3, 4]


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_disk_that_is_full_already_is_named_with_what_to_do(train, small, disk, flags):
    fill(disk, leave=0)
    refused = train(*flags, *small, f"output={disk}")
    assert refused.returncode == 1 and refused.stdout == ""
    *named, line = refused.stderr.splitlines()
    assert len(named) == (flags == []) and line.startswith(f"cannot continue: {disk}")
    assert line.endswith("No space left on device; make room on that disk")


@pytest.mark.long
def test_a_run_that_is_asked_to_stop_on_a_full_disk_says_that_it_could_not_save(start, disk, monkeypatch):
    append = RunRecord.append_epoch

    def append_fill_and_stop(record, row):
        append(record, row)
        fill(disk, leave=200_000)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunRecord, "append_epoch", append_fill_and_stop)
    outcome = start(f"output={disk}", "trainer.checkpoint_seconds=0")
    assert (outcome.status, outcome.exit_code) == ("interrupted", 143)
    assert (
        outcome.error.startswith("stopped by SIGTERM; CannotWrite: ") and "last.pt cannot be written" in outcome.error
    )
    assert RunRecord(outcome.folder).read()["error"] == outcome.error
    assert load_checkpoint(outcome.folder / "checkpoints" / "last.pt")["epoch"] == 1  # saved before the disk was full


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    path, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    save_checkpoint(path, {"epoch": 1})
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, unlimited[1]))
    try:
        with pytest.raises(OSError, match=r"last\.pt cannot be written: File too large; raise the limit on the size"):
            save_checkpoint(path, {"epoch": 2, "padding": "x" * 20_000}, previous)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"] and load_checkpoint(path)["epoch"] == 1


def test_a_checkpoint_that_is_written_keeps_the_one_before(tmp_path):
    path, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    for epoch in (1, 2, 3):
        save_checkpoint(path, {"epoch": epoch}, previous)
    assert (load_checkpoint(path)["epoch"], load_checkpoint(previous)["epoch"]) == (3, 2)


@pytest.fixture
def read_only(tmp_path):
    """`read_only(folder)`: the folder may not be written from then on, not even by root."""
    mounted = []

    def protect(folder: Path) -> None:
        if os.getuid() != 0:
            folder.chmod(0o555)
            mounted.append(["chmod", "755", folder])
            return
        for options in ("bind", "remount,bind,ro"):
            mount = subprocess.run(["mount", "-o", options, folder, folder], capture_output=True, text=True)
            if mount.returncode != 0:
                pytest.skip(f"nothing can be mounted here: {mount.stderr.strip()}")
        mounted.append(["umount", folder])

    yield protect
    for undo in mounted:
        subprocess.run(undo, check=True)


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_read_only_output_is_refused_before_any_work(train, small, tmp_path, read_only, mode):
    output = tmp_path / "archive"
    output.mkdir()
    read_only(output)
    # data that are not there would be noticed first, if any work were done
    arguments = [*mode, *small, f"output={output}", f"data.root={tmp_path}/never", f"data.cache_dir={tmp_path}/never"]
    refused = train(*arguments)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    reason = f"{output} is on a read-only disk, or this user has no right to write there"
    assert f"cannot continue: {reason}" in refused.stderr
    assert "output=<folder>" in refused.stderr
    assert not (tmp_path / "never").exists() and not list(output.iterdir())


def test_a_run_whose_folder_became_read_only_is_refused_and_stays_as_it_is(start, begun, read_only):
    checkpoints = begun()
    before = {file: file.read_bytes() for file in checkpoints.parent.rglob("*") if file.is_file()}
    read_only(checkpoints.parent)
    with pytest.raises(ValueError, match="cannot continue: "):
        start("trainer.epochs=4")
    assert {file: file.read_bytes() for file in checkpoints.parent.rglob("*") if file.is_file()} == before
