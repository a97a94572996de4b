"""A process that is stopped, loses its run to another machine and wakes up: it writes nothing more into the run."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from src.analysis.records.loading import load_records
from src.base.record import RunRecord
from src.sweep.worker import BUSY
from src.training.checks import checked
from tests.analysis.sweeps import is_stopped
from tests.sweep.test_launch import wait_for
from tests.training.attempts import Death, attempt, differences, end_of, exit_code

PAUSES = int(os.environ.get("SEGSWEEP_PAUSES", "24"))


def send(process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


@pytest.fixture
def config(composed, small, tmp_path):
    """`config("a", "notes=b")`: a small run on its own under tmp_path/a."""
    return lambda place, *overrides: checked(
        composed(*small, "trainer.epochs=6", *overrides, f"output={tmp_path}/{place}")
    )


def pause(config, place: str, draw: random.Random, seconds: float) -> tuple[int, int]:
    """The exit codes of a process that is stopped at a drawn moment, and of the one that wants its run meanwhile.

    The moment is any one of `seconds`, or before a file operation: there the dangerous ones are close together.
    """
    operation = draw.randint(20, 260) if draw.random() < 0.6 else None
    death = None if operation is None else Death(operation, number=signal.SIGSTOP)
    first = attempt(config(place, "notes=first"), death, machine="first")
    if operation is None:
        time.sleep(draw.uniform(0, seconds))
        send(first, signal.SIGSTOP)
    wait_for(lambda: not first.is_alive() or is_stopped(first.pid))
    second = attempt(config(place, "notes=second"), machine="second")
    time.sleep(draw.uniform(1.0, 2.5 + seconds))
    send(first, signal.SIGCONT)
    return exit_code(first), exit_code(second)


def certify(config, pauses: int, draw: random.Random) -> int:
    """Pauses as many runs, looks at what is left of each, and returns how many were taken over."""
    assert exit_code(attempt(config("warm"))) == 0
    started = time.monotonic()
    assert exit_code(attempt(config("whole"))) == 0
    seconds, taken_over = time.monotonic() - started, 0
    whole = end_of(Path(config("whole").output))
    for number in range(pauses):
        codes = pause(config, f"run{number}", draw, seconds)
        output = Path(config(f"run{number}").output)
        assert sorted(codes) in ([0, 0], [0, BUSY]), codes
        assert differences(whole, end_of(output)) == []
        (run_file,) = output.glob("single/*/run.json")
        record = RunRecord(run_file.parent)
        assert [row["epoch"] for row in record.read_epochs()] == [1, 2, 3, 4, 5, 6]
        records = load_records([output / "single"])
        assert len(records.included) == 1 and records.runs.loc[0, "epoch"] == 6
        assert not [*output.rglob(".*.tmp"), *output.rglob("*.heartbeat")]
        for machine in ("first", "second"):  # the one write that was under way may land
            notes = output / machine
            assert not notes.exists() or len(notes.read_text().splitlines()) == 1, notes.read_text()
        if codes == (BUSY, 0):
            assert "notes: second" in (record.folder / "config.yaml").read_text()
            assert record.read()["notes"] == "second"
            taken_over += record.log_file.read_text().count(" parameters on ") == 2  # both had begun
    return taken_over


@pytest.mark.long
def test_no_pause_gives_a_run_two_writers(config):
    assert certify(config, PAUSES, random.Random(0)) >= PAUSES / 3
