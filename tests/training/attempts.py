"""Runs in separate processes that can be killed: forked quickly from one that has imported everything."""

import json
import logging
import multiprocessing
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations  # noqa: F401  # this and the next take seconds, which each attempt would spend again
import torch
import torch._inductor  # what exact numerics set up

from src.base import locks
from src.base.config import RunConfig
from src.base.record import RunBusy, RunRecord
from src.sweep.worker import BUSY
from src.training.checkpoint import load_checkpoint
from src.training.run import run

WALL_CLOCK = ("images_per_second", "train_seconds", "peak_memory_bytes", "device_jobs")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Death:
    """A process's end at its own `count`-th file operation (open, rename, remove) on a path that ends with `ending`.

    With `size`, it ends in the middle of a write instead: the first one after that operation that would make a file
    larger than `size` bytes. With `signal.SIGSTOP` it is no end, only a pause.
    """

    count: int
    ending: str = ""
    size: int | None = None
    number: int = signal.SIGKILL


def attempt(
    config: RunConfig, death: Death | None = None, memory: int | None = None, machine: str | None = None
) -> Any:
    """A process, started, that does the run of `config` and ends with its exit code.

    `memory`: bytes it may take. `machine`: as if on another machine, see `_move_to`.
    """
    process = CONTEXT.Process(target=_work, args=(config, death, memory, machine))
    process.start()
    return process


def exit_code(process: Any) -> int:
    """Waits for the end of a process that `attempt` started; one that hangs is ended and fails the test."""
    process.join(300)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError("the run hangs")
    return int(process.exitcode)


def _work(config: RunConfig, death: Death | None, memory: int | None, machine: str | None) -> None:
    multiprocessing.set_start_method("fork", force=True)  # for the loader's workers, as in every other program
    os.setsid()  # so that a signal can be sent to it with its loader's workers, and to no other process
    logging.lastResort = None  # what a run warns of stands in its train.log
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    if machine is not None:
        _move_to(machine, config.output)
    if death is not None:
        _expect(death, config.output)
    try:
        outcome = run(config, "single", [])
    except RunBusy:
        sys.exit(BUSY)
    sys.exit(outcome.exit_code)


def _expect(death: Death, output: str) -> None:
    left = death.count
    # here, since only the main thread may: as for other programs, the kernel ends the writer of too large a file
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in ("open", "os.rename", "os.remove"):
            return
        path = str(arguments[0])
        if not (path.startswith(output) and path.endswith(death.ending)):
            return
        left -= 1
        if left == 0 and death.size is None:
            os.kill(os.getpid(), death.number)
        elif left == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (death.size, death.size))

    sys.addaudithook(watch)


def _move_to(machine: str, output: str) -> None:
    """As on a machine that sees no other's file locks, with quick heartbeats.

    Each file that it replaces or removes while another machine has the run is noted in `<output>/<machine>`.
    """
    locks.HOST, locks.PERIOD, locks.SILENCE, locks.SETTLED = machine, 0.1, 1.0, 0.2
    everywhere, held = locks.FileLock, False
    locks.FileLock = lambda file: everywhere(f"{file} of {machine}")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal held
        path = str(arguments[0]) if arguments else ""
        writes = event in ("os.rename", "os.remove", "os.link") or (event == "open" and arguments[2] & os.O_TRUNC)
        if not (writes and path.startswith(f"{output}/single/") and "/.locks/" not in path):
            return
        try:
            (heartbeat,) = Path(output).glob("single/.locks/*.heartbeat")
            ours = json.loads(heartbeat.read_bytes())["host"] == machine
        except (ValueError, OSError):  # none, or half a one
            ours = False
        held = held or ours
        if held and not ours and event != "os.remove":
            with Path(output, machine).open("a") as notes:
                notes.write(f"{event} {path}\n")

    sys.addaudithook(watch)


def end_of(output: Path) -> dict[str, Any]:
    """All that the one run in `output` left which must not depend on when it was interrupted."""
    (run_file,) = output.glob("single/*/run.json")
    record = RunRecord(run_file.parent)
    facts = record.read()
    assert facts is not None
    last = load_checkpoint(record.checkpoints / "last.pt")
    last["history"] = [_timeless(row) for row in last["history"]]
    return {
        "facts": {key: facts[key] for key in ("status", "best_epoch", "scores", "error", "config_id")},
        "last": last,
        "best": load_checkpoint(record.checkpoints / "best.pt"),
        "epochs": [_timeless(row) for row in record.read_epochs()],
        "checkpoints": sorted(file.name for file in record.checkpoints.iterdir()),
        "test": [(record.folder / name).read_text() for name in ("test.json", "test_images.csv")],
    }


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in WALL_CLOCK}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nested values differ, tensors by any bit of theirs."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.dtype == other.dtype and torch.equal(one, other)
        return [] if alike else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other}, key=str)
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{where}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, f"{where}/{index}")]
    return [] if one == other else [f"{where}: {one!r} and {other!r}"]
