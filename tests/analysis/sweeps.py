"""Sweeps as the training leaves them: made through RunRecord, at any stage of a run."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from src.base.files import write_json
from src.base.record import RunRecord
from tests.conftest import PROJECT

SHARED = {"loss": "bce", "data": "synthetic"}


def facts_of(model: str = "unet", seed: int = 0, lr: float = 0.001, data: str = "d1") -> dict[str, Any]:
    """What run.json says from the start; the ids stand for all that decides the result, as the real ones do."""
    setting = model if lr == 0.001 else f"{model}-{lr:g}"
    return {
        "run_id": f"{setting}-seed{seed}",
        "config_id": f"c-{setting}",
        "choices": {"model": model, **SHARED},
        "seed": seed,
        "data": {"fingerprint": data},
    }


@patch("os.fsync", lambda _: None)  # what a test records need not outlive a power cut
def begin(
    sweep: Path, *, epochs: int = 4, done: int = 0, valid: float = 0.5, lr: float = 0.001, **facts: Any
) -> RunRecord:
    """A run that has ended `done` of its `epochs`, 10 s each, and that nobody holds."""
    known = facts_of(lr=lr, **facts)
    record = RunRecord(sweep / known["run_id"])
    with record.locked():
        config = {"trainer": {"name": "small", "epochs": epochs}, "optimizer": {"name": "adamw", "lr": lr}}
        record.begin(known, config, [])
        for epoch in range(1, done + 1):
            record.append_epoch({"epoch": epoch, "valid_dice": valid})
        if done:
            record.update(best_epoch=1, scores={"valid_dice": valid}, seconds=10.0 * done)
    return record


@patch("os.fsync", lambda _: None)
def finish(sweep: Path, test: float, *, epochs: int = 4, valid: float = 0.5, **facts: Any) -> RunRecord:
    """A finished run with test Dice `test`, of 10 s an epoch."""
    record = begin(sweep, epochs=epochs, done=epochs, valid=valid, **facts)
    with record.locked():
        record.end("finished", scores={"valid_dice": valid, "test_dice": test}, best_epoch=1, seconds=10.0 * epochs)
    return record


def fail(sweep: Path, reason: str, status: str = "failed", **facts: Any) -> RunRecord:
    """A run that ended otherwise, with a reason."""
    record = begin(sweep, **facts)
    with record.locked():
        record.end(status, error=reason, seconds=record.read()["seconds"])
    return record


def plan(sweep: Path, *runs: dict[str, Any], epochs: int = 4, commands: Sequence[Sequence[str]] = ()) -> None:
    """The plan.json of a launch of `runs` (arguments of facts_of) by `commands`."""
    known = [facts_of(**run) for run in runs]
    entries = [
        {key: one[key] for key in ("run_id", "config_id", "choices", "seed")} | {"epochs": epochs} for one in known
    ]
    sweep.mkdir(parents=True, exist_ok=True)
    write_json(sweep / "plan.json", {"schema": 1, "commands": commands, "runs": entries})


@contextmanager
def another_process(code: str) -> Iterator[subprocess.Popen]:
    """Python `code` in a process of its own, from its first line of output on until the block ends."""
    command = [sys.executable, "-c", "from pathlib import Path\n" + textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, text=True) as process:
        try:
            assert process.stdout.readline(), "it ended before it said anything"
            yield process
        finally:
            process.kill()


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached all threads of a process; False where it has ended."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        return {thread.read_text().rpartition(")")[2].split()[0] for thread in threads} == {"T"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def holding(record: RunRecord) -> str:
    """Code of a process that holds the lock of `record` until it is killed."""
    return f"""
        from src.base.record import RunRecord
        with RunRecord(Path({str(record.folder)!r})).locked():
            print("holding", flush=True)
            input()
    """
