"""Small real runs, as the command would do them, and signals that come at a known moment."""

import os
import signal

import pytest

from src.base.record import RunRecord
from src.training.checks import checked
from src.training.run import run


@pytest.fixture
def start(composed, small):
    """`start("seed=1")`: one small run, as the command would do it."""
    return lambda *overrides, sweep="single": run(checked(composed(*small, *overrides)), sweep, list(overrides))


@pytest.fixture
def apart(tmp_path):
    """`apart("a")`: an override that keeps runs from finding, and reusing, those of another place."""
    return lambda place: f"output={tmp_path}/{place}"


@pytest.fixture
def stop_after_epoch(monkeypatch):
    """Makes this process get a real signal at the end of the epoch given, until the returned function is called."""

    def arm(epoch: int, number: int = signal.SIGTERM):
        append = RunRecord.append_epoch

        def append_and_signal(self, row):
            append(self, row)
            if row["epoch"] == epoch:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(RunRecord, "append_epoch", append_and_signal)
        return lambda: monkeypatch.setattr(RunRecord, "append_epoch", append)

    return arm


@pytest.fixture
def begun(start, stop_after_epoch):
    """`begun("seed=1")`: the checkpoints, one after each step, of a run that was stopped in its third epoch of four."""

    def begin(*overrides):
        disarm = stop_after_epoch(2)
        outcome = start("trainer.epochs=4", "trainer.checkpoint_seconds=0", *overrides)
        disarm()
        assert outcome.status == "interrupted"
        return RunRecord(outcome.folder).checkpoints

    return begin
