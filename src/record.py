"""The files of a run: one folder that explains itself, written whole or not at all, read without torch."""

import csv
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from src.files import naming, read_json, replacing, write_json, write_text
from src.locks import Held, SharedLock

SCHEMA = 1
STATUSES = ("running", "finished", "failed", "interrupted")
TEST_IMAGE_COLUMNS = ("protocol", "stem", "dice", "iou", "tp", "fp", "fn")


class RunBusy(RuntimeError):
    """Another process is working on this run at this moment."""


class RunRecord:
    """The record of one run in `folder`; architecture of the files in docs/record.md.

    Reading needs no lock. Everything that writes is to be called inside `with record.locked():`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_file = folder / "run.json"
        self.epochs_file = folder / "epochs.jsonl"
        self.checkpoints = folder / "checkpoints"
        self._begun: float | None = None  # when this process began its attempt, if it has
        self._seconds_before = 0.0  # taken by earlier attempts at this run
        # beside the folder, so that asking for the lock of a finished run changes nothing in it
        self._lock = SharedLock(folder.parent / ".locks" / f"{folder.name}.lock")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process; raises RunBusy when another one has it, on this machine or another.

        The run of a process that died, however it died, is free: at once on its own machine, after at most half a
        minute on another.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock.held(wait=False))
            except Held as error:
                raise RunBusy(f"another process is working on {self.folder} ({error})") from error
            yield

    def read(self) -> dict[str, Any] | None:
        """The content of run.json; None where no run has begun."""
        return read_json(self.run_file) if self.run_file.exists() else None

    def read_now(self) -> dict[str, Any] | None:
        """The content of run.json with the status it has now: a `running` run that nobody holds was interrupted."""
        run = self.read()
        if run is None or run["status"] != "running" or self.is_held():
            return run
        run = self.read() or run  # its process may have ended well between the two looks
        return {**run, "status": "interrupted"} if run["status"] == "running" else run

    def status(self) -> str | None:
        """One of STATUSES as of now, or None where no run has begun."""
        run = self.read_now()
        return None if run is None else str(run["status"])

    def begin(self, facts: Mapping[str, Any], config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Makes the folder, or goes on in it, with status `running`.

        `facts`: the keys of run.json that are known at the start. Of an earlier attempt its start and the seconds
        it took are kept. `config`: fully resolved; `overrides`: what was typed.
        """
        earlier = self.read() or {}
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for half_written in [*self.folder.glob(".*.tmp"), *self.checkpoints.glob(".*.tmp")]:
            half_written.unlink()  # of an attempt that was killed while it wrote
        write_text(self.folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        write_text(self.folder / "overrides.yaml", yaml.safe_dump(list(overrides), allow_unicode=True))
        self._begun, self._seconds_before = time.monotonic(), float(earlier.get("seconds", 0.0))
        fresh = {"schema": SCHEMA, **facts, "status": "running", "started": earlier.get("started", _now())}
        unknown_yet: dict[str, Any] = {
            "finished": None,
            "seconds": self._seconds_before,
            "best_epoch": None,
            "scores": {},
            "error": None,
        }
        write_json(self.run_file, fresh | unknown_yet)

    def update(self, **facts: Any) -> None:
        """Changes or adds keys of run.json; the process that began the run also brings its seconds up to now."""
        seconds = {}
        if self._begun is not None:
            seconds["seconds"] = round(self._seconds_before + time.monotonic() - self._begun, 3)
        write_json(self.run_file, {**(self.read() or {}), **seconds, **facts})

    def end(self, status: str, **facts: Any) -> None:
        """Sets the status that stays: finished, failed or interrupted."""
        assert status in STATUSES[1:], status
        self.update(status=status, finished=_now(), **facts)

    def write_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Makes epochs.jsonl hold just `rows`, one a line: after a resume, the epochs the checkpoint knows."""
        write_text(self.epochs_file, "".join(_line(row) for row in rows))

    def append_epoch(self, row: Mapping[str, Any]) -> None:
        """Adds one epoch to epochs.jsonl, as one whole line."""
        with naming(self.epochs_file), self.epochs_file.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def write_test(self, protocol: str, scores: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> None:
        """Puts the scores of one protocol into test.json and its rows into test_images.csv; other protocols stay.

        `images`: a row for each test image with the keys of TEST_IMAGE_COLUMNS except `protocol`.
        """
        entries = {**self.read_scores("test"), protocol: dict(scores)}
        rows = [row for row in self.read_test_images() if row["protocol"] != protocol]
        self._write_scores("test", entries, [*rows, *_rows(protocol, images)])

    def add_scores(
        self, split: str, added: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    ) -> None:
        """Adds protocols, each with its scores and images as in `write_test`, to `<split>.json` and `_images.csv`.

        What stands there already stays: of a protocol that is there, only keys that it lacks are added.
        """
        there, rows = self.read_scores(split), self.read_test_images(split)
        entries = there | {name: {**scores, **there.get(name, {})} for name, (scores, _) in added.items()}
        new = [row for name, (_, images) in added.items() if name not in there for row in _rows(name, images)]
        self._write_scores(split, entries, [*rows, *new])

    def _write_scores(self, split: str, entries: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        write_json(self.folder / f"{split}.json", {"schema": SCHEMA, "protocols": entries})
        with replacing(self.folder / f"{split}_images.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, TEST_IMAGE_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def read_scores(self, split: str) -> dict[str, Any]:
        """The scores of each protocol in `<split>.json`; none where there is no file yet."""
        path = self.folder / f"{split}.json"
        return dict(read_json(path)["protocols"]) if path.exists() else {}

    def read_test_images(self, split: str = "test") -> list[dict[str, Any]]:
        """The rows of `<split>_images.csv` as text; none where there is no file yet."""
        path = self.folder / f"{split}_images.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def read_epochs(self) -> list[dict[str, Any]]:
        """The rows of epochs.jsonl; a last line that was cut off is left out."""
        if not self.epochs_file.exists():
            return []
        lines = self.epochs_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Copies what is logged meanwhile to train.log, with the time; of our own modules from INFO on."""
        handler = _LogFile(self.folder / "train.log", encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root, own = logging.getLogger(), logging.getLogger("src")
        level = own.level
        own.setLevel(logging.INFO)  # whatever the program around shows, the log of the run is complete
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            own.setLevel(level)
            handler.close()

    def is_held(self) -> bool:
        """Whether a process is at work on this run; asking changes nothing and needs no right to write."""
        return self._lock.is_held()


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short, where the plain handler would print a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _rows(protocol: str, images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"protocol": protocol, **image} for image in images]


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
