"""Checkpoints that are written beside training: what is in them, when they are due, what becomes of errors."""

import errno
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from src.base.files import CannotWrite
from src.base.record import RunRecord
from src.base.runtime import Numerics
from src.data import loaders
from src.training import checkpoint_writer
from src.training.build import build_train_state
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.checkpoint_writer import CheckpointWriter
from src.training.checks import checked
from src.training.state import TrainState


@pytest.fixture
def state(composed, small) -> TrainState:
    config = checked(composed(*small, "numerics.channels_last=true"))
    return build_train_state(config, Numerics(torch.device("cpu"), config.numerics), steps_per_epoch=5)


@pytest.fixture
def record(tmp_path) -> RunRecord:
    record = RunRecord(tmp_path / "sweep" / "run")
    record.checkpoints.mkdir(parents=True)
    return record


@pytest.fixture
def slow_disk(monkeypatch):
    """An event without which no checkpoint is written."""
    proceed = threading.Event()

    def save_later(*arguments, **named):
        assert proceed.wait(60)
        save_checkpoint(*arguments, **named)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save_later)
    return proceed


def fill(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(state, record, slow_disk):
    with CheckpointWriter(state, record, 60) as writer:
        fill(state.network.model, 1.0)
        state.keep_as_best(0.5, 0.5)
        state.history.append({"epoch": 1})
        fill(state.network.model, 2.0)
        writer.save()
        fill(state.network.model, 3.0)  # training continues while the disk is slow
        state.keep_as_best(0.6, 0.6)
        state.history[0]["epoch"] = 7
        slow_disk.set()
    last, best = (load_checkpoint(record.checkpoints / name) for name in ("last.pt", "best.pt"))
    assert set(last["model"]["head.weight"].unique().tolist()) == {2.0} and last["history"] == [{"epoch": 1}]
    assert set(best["model"]["head.weight"].unique().tolist()) == {1.0} and (best["epoch"], best["valid_dice"]) == (
        1,
        0.5,
    )
    assert sorted(file.name for file in record.checkpoints.iterdir()) == ["best.pt", "last.pt"]


def test_a_checkpoint_takes_the_memory_that_was_prepared(state, record):
    with CheckpointWriter(state, record, 60) as writer:
        writer.prepare()
        writer.prepare()  # after each step
        writer.wait()
        prepared = dict(writer._buffers)
        fill(state.network.model, 2.0)
        state.keep_as_best(0.5, 0.5)
        writer.save()
        assert prepared and all(writer._buffers[place] is buffer for place, buffer in prepared.items())
    for name in ("last.pt", "best.pt"):
        assert load_checkpoint(record.checkpoints / name)["model"]["head.weight"].unique().tolist() == [2.0]


def test_what_goes_wrong_with_its_memory_is_said_by_the_checkpoint(state, record, monkeypatch, capfd):
    monkeypatch.setattr(CheckpointWriter, "_on_host", lambda *_: 1 / 0)
    with CheckpointWriter(state, record, 60) as writer:
        writer.prepare()
        writer.wait()
        with pytest.raises(ZeroDivisionError):
            writer.save()
    assert capfd.readouterr() == ("", "")


def test_copies_keep_layout_and_types(state, record):
    with CheckpointWriter(state, record, 60) as writer:
        writer.save()
    last, now = load_checkpoint(record.checkpoints / "last.pt"), state.state_dict()
    for key, value in now["model"].items():
        assert torch.equal(last["model"][key], value) and last["model"][key].stride() == value.stride()
    assert last["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_a_checkpoint_is_due_after_its_time_and_not_while_one_is_written(state, record, slow_disk, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(checkpoint_writer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with CheckpointWriter(state, record, 60) as writer:
        now[0] += 59
        assert not writer.is_due()
        now[0] += 1
        assert writer.is_due()
        writer.save()
        now[0] += 3600
        assert not writer.is_due()  # nor does a step wait for the disk
        slow_disk.set()
        writer.wait()
        assert writer.is_due()


def test_the_same_moment_is_written_once(state, record):
    with CheckpointWriter(state, record, 0) as writer:
        writer.save()
        writer.wait()
        first = (record.checkpoints / "last.pt").stat()
        writer.save()
        writer.save(weights_as="epoch_0000.pt")  # of the epoch before the one in progress
    assert (record.checkpoints / "previous.pt").stat().st_ino == first.st_ino
    weights = load_checkpoint(record.checkpoints / "epoch_0000.pt")
    assert torch.equal(weights["model"]["head.weight"], state.network.model.head.weight)


def test_a_full_disk_surfaces_at_the_next_step_and_once(state, record, monkeypatch):
    def refuse(path, *_, **__):
        raise CannotWrite(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", refuse)
    with CheckpointWriter(state, record, 60) as writer:
        writer.save()
        writer._thread.join()
        with pytest.raises(CannotWrite, match=r"last\.pt cannot be written: No space left on device; make room"):
            writer.check()
        writer.check()


def test_an_error_of_the_last_checkpoint_is_not_lost_and_hides_no_other(state, record, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError), CheckpointWriter(state, record, 60) as writer:
        writer.save()
    with pytest.raises(KeyError), CheckpointWriter(state, record, 60) as writer:
        writer.save()
        raise KeyError


def test_no_process_is_forked_while_a_checkpoint_is_written(start, monkeypatch):
    begin, began = loaders._Loader._get_iterator, []

    def look_and_begin(loader):
        began.append("checkpoint" in {thread.name for thread in threading.enumerate()})
        return begin(loader)

    monkeypatch.setattr(loaders._Loader, "_get_iterator", look_and_begin)
    assert start("data.workers=1", "trainer.checkpoint_seconds=0").status == "finished"
    assert began == [False, False]  # training; validation and test, which share their processes


def test_a_resume_takes_back_the_epochs_that_it_repeats(start, stop_after_epoch, monkeypatch):
    # as after a power cut: three epochs are in the record, of which the last checkpoint knows one
    disarm = stop_after_epoch(1)
    record = RunRecord(start("trainer.epochs=4").folder)
    disarm()
    append, seen = RunRecord.append_epoch, []
    for epoch in (2, 3):
        record.append_epoch({"epoch": epoch, "valid_dice": 0.5})

    def look_and_append(own, row):
        seen.append([before["epoch"] for before in own.read_epochs()])
        append(own, row)

    monkeypatch.setattr(RunRecord, "append_epoch", look_and_append)
    assert start("trainer.epochs=4").status == "finished"
    assert seen == [[1], [1, 2], [1, 2, 3]]
    assert [row["epoch"] for row in record.read_epochs()] == [1, 2, 3, 4]
