"""The files of a run: one folder that explains itself, written whole or not at all, read without torch."""

import csv
import io
import json
import logging
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field

from src.base.config import Section, parse_section
from src.base.errors import ConfigError, one_line, quoted, unquoted
from src.base.files import naming, open_regular, parse_json, read_json, read_regular, replacing, write_json, write_text
from src.base.locks import HostAwareLock, LockHeld, LockLost

HEADLINE = "headline"  # the protocol whose numbers are compared unless another is named; see docs/record.md
SCHEMA = 2  # of what is written; ids of schema 1 were computed in another way, so its runs are only read
TEST_IMAGE_COLUMNS = ("protocol", "stem", "dice", "iou", "tp", "fp", "fn")
# The most that is read of a folder, which may come from others, in bytes and lines: many times what a run writes.
LARGEST_RUN, LARGEST_EPOCHS, LARGEST_IMAGES = 1_000_000, 30_000_000, 60_000_000
MOST_EPOCHS, MOST_IMAGES = 100_000, 1_000_000
EXAMPLES = "examples.jpg"  # test images that a run draws at its end
EVALUATION, CONTACT_SHEET = "evaluation", "contact_sheet.png"  # a run's evaluations, and the pictures of one of them
STORY = "src.story"  # the name of a logger for train.log only


def breed_of(stem: str) -> str | None:
    """The breed in the name of an Oxford-IIIT Pet image: all before its number; None without one."""
    return stem.rpartition("_")[0] or None


def species_of(stem: str) -> str:
    """The species of an image of Oxford-IIIT Pet: its list of images says that names of cats begin with a capital."""
    return "cat" if stem[:1].isupper() else "dog"


class _Data(Section):
    model_config = ConfigDict(extra="ignore")

    fingerprint: str | None = None


LOST = (  # in the reason of a failure for which neither the network nor its training is to blame
    *("out of memory", "Errno", "cannot be written", "killed by", "exited unexpectedly", "stopped by"),
    *("MemoryError", "bad_alloc", "No space left", "allocate memory", "ALLOC_FAILED", "NOT_INITIALIZED", "ECC error"),
    *("OUT_OF_MEMORY", "without an answer", "no CUDA-capable device", "ended with exit code"),
)
MOST_ATTEMPTS = 100  # failed ones, kept in run.json: the last ones


class _Removed(Section):
    """What a clean-up took from a run; `files`: bytes by name."""

    model_config = ConfigDict(extra="ignore")

    at: str
    keep: str
    files: dict[str, int]


class _Run(Section):
    """The keys of run.json that decide what becomes of a run; docs/record.md has all of them."""

    model_config = ConfigDict(extra="ignore")

    schema_number: Literal[1, 2] = Field(alias="schema")
    status: Literal["running", "finished", "failed", "interrupted", "pruned"]
    started: str | None = None
    seconds: float = Field(0.0, ge=0)
    best_epoch: int | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    error: str | None = None
    data: _Data = Field(default_factory=_Data)
    attempts: list[dict[str, Any]] = Field(default_factory=list)
    removed: list[_Removed] = Field(default_factory=list)


class RunBusy(RuntimeError):
    """Another process holds this run."""


class RunLost(RunBusy):
    """Another process took over the run that this one held, because this one was stopped for too long."""


class SweepFolder:
    """What lies in the folder of a sweep beside its runs; docs/record.md has all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan_file = folder / "plan.json"
        self.search_file = folder / "search.json"
        self.locks = folder / ".locks"
        self.jobs = folder / ".jobs"  # what launchers keep
        self.kept_reads = folder / ".kept_reads"  # of an aggregation, for the next one

    def lock(self, name: str) -> HostAwareLock:
        """The lock of a run, or of the plan: beside the runs, so that asking for one changes nothing in them."""
        return HostAwareLock(self.locks / f"{name}.lock")

    def run_files(self) -> list[Path]:
        """The run.json of each run that has begun."""
        return sorted(self.folder.glob("[!.]*/run.json"))


class RunRecord:
    """The record of one run in `folder`; docs/record.md describes the files.

    Reading needs no lock. Call everything that writes inside `with record.locked():`; it raises RunLost, and writes
    nothing, if another process took the run over meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_file = folder / "run.json"
        self.config_file = folder / "config.yaml"
        self.epochs_file = folder / "epochs.jsonl"
        self.log_file = folder / "train.log"
        self.checkpoints = folder / "checkpoints"
        self._begun: float | None = None  # when this process began its attempt, if it has
        self._seconds_before = 0.0  # taken by earlier attempts at this run
        self._lock = SweepFolder(folder.parent).lock(folder.name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process; raises RunBusy if another process holds it, on this machine or another.

        The run of a process that died is free: at once on the same machine, after at most half a minute on another.
        What that process was writing is deleted first, see `replacing`.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock.held(wait=False))
            except LockHeld as error:
                raise RunBusy(f"another process is working on {self.folder} ({error})") from error
            for half_written in [*self.folder.glob(".*.tmp"), *self.checkpoints.glob(".*.tmp")]:
                half_written.unlink(missing_ok=True)
            try:
                yield
            except Exception:
                self.check()  # if the run was lost, that explains any error: its files are deleted or replaced
                raise

    def check(self) -> None:
        """Raises RunLost if another process took the run over from this one; called before each write."""
        try:
            self._lock.check()
        except LockLost as error:
            raise RunLost(
                f"{self.folder} was taken over by another process ({self._lock.holder()}) while this one was stopped "
                "or could not reach its files; this one writes nothing more"
            ) from error

    def read(self) -> dict[str, Any] | None:
        """The content of run.json; None where no run has begun. Raises ValueError, naming it, for a broken one."""
        if not self.run_file.exists():
            return None
        content = read_json(self.run_file, LARGEST_RUN)
        if not isinstance(content, dict):
            raise _broken(self.run_file, f"it holds a {type(content).__name__}")
        try:
            parse_section(_Run, content)
        except ConfigError as error:
            raise _broken(self.run_file, one_line("; ".join(error.problems))) from error
        return content

    def read_now(self) -> dict[str, Any] | None:
        """The content of run.json with the status it has now: a `running` run without a holder was interrupted."""
        run = self.read()
        if run is None or run["status"] != "running" or self.is_held():
            return run
        run = self.read() or run  # its process may have ended well between the two looks
        return {**run, "status": "interrupted"} if run["status"] == "running" else run

    def why_missing(self, checkpoint: str) -> str | None:
        """When and how a clean-up removed `checkpoint`; None if none did, or the record does not tell."""
        with suppress(ValueError, OSError):
            for removed in reversed((self.read() or {}).get("removed", [])):
                if checkpoint in removed["files"]:
                    command = f"src.clean keep={removed['keep']}"
                    return one_line(
                        f"{checkpoint} was removed by {command} ({removed['at']}); python -m src.repeat trains it again"
                    )
        return None

    def status(self) -> str | None:
        """The status as of now, or None if no run has begun."""
        run = self.read_now()
        return None if run is None else str(run["status"])

    def begin(self, facts: Mapping[str, Any], config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Makes the folder, or continues in it, with status `running`.

        `facts`: the keys of run.json that are known at the start. Of an earlier attempt its start, the seconds it took
        and, if it failed, how are kept. `config`: fully resolved; `overrides`: of the command line.
        """
        earlier = self.read() or {}
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        used, given = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), list(overrides)
        write_text(self.config_file, used, self.check)
        write_text(self.folder / "overrides.yaml", yaml.safe_dump(given, allow_unicode=True), self.check)
        self._begun, self._seconds_before = time.monotonic(), float(earlier.get("seconds", 0.0))
        fresh = {"schema": SCHEMA, **facts, "status": "running", "started": earlier.get("started", _now())}
        unknown_yet: dict[str, Any] = {"finished": None, "best_epoch": None, "scores": {}, "error": None}
        failed = _failed_attempts(earlier)
        kept = {"attempts": failed} if failed else {}
        write_json(self.run_file, {**fresh, "seconds": self._seconds_before, **unknown_yet, **kept}, self.check)

    def update(self, **facts: Any) -> None:
        """Changes or adds keys of run.json; the process that began the run also brings its seconds up to now."""
        seconds = {}
        if self._begun is not None:
            seconds["seconds"] = round(self._seconds_before + time.monotonic() - self._begun, 3)
        write_json(self.run_file, {**(self.read() or {}), **seconds, **facts}, self.check)

    def end(self, status: str, **facts: Any) -> None:
        """Sets the status that stays: finished, failed, interrupted or pruned, of a failure with its kind."""
        if status == "failed":
            facts["failure_kind"] = failure_kind(facts.get("error"))
        self.update(status=status, finished=_now(), **facts)

    def write_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Makes epochs.jsonl hold just `rows`, one a line: after a resume, the epochs the checkpoint knows."""
        write_text(self.epochs_file, "".join(_line(row) for row in rows), self.check)

    def append_epoch(self, row: Mapping[str, Any]) -> None:
        """Adds one epoch to epochs.jsonl, as one whole line."""
        with naming(self.epochs_file), self.epochs_file.open("a", encoding="utf-8") as file:
            self.check()  # once it is open: a process that takes over makes a new file, see `write_epochs`
            file.write(_line(row))

    def write_test(self, protocol: str, scores: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> None:
        """Puts the scores of one protocol into test.json and its rows into test_images.csv; other protocols stay.

        `images`: a row for each test image with the keys of TEST_IMAGE_COLUMNS except `protocol`.
        """
        entries = {**self.read_scores("test"), protocol: dict(scores)}
        self._write_scores("test", entries, _rows(protocol, images), kept=entries.keys() - {protocol})

    def add_scores(
        self, split: str, added: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    ) -> None:
        """Adds protocols, each with its scores and images as in `write_test`, to `<split>.json` and `_images.csv`.

        Existing values stay: a protocol that is there only gets the keys that it lacks.
        """
        there = self.read_scores(split)
        entries = there | {name: {**scores, **there.get(name, {})} for name, (scores, _) in added.items()}
        new = [row for name, (_, images) in added.items() if name not in there for row in _rows(name, images)]
        self._write_scores(split, entries, new, kept=there.keys())

    def _write_scores(
        self, split: str, entries: Mapping[str, Any], rows: Sequence[Sequence[Any]], kept: Collection[str]
    ) -> None:
        """Writes `rows` to `<split>_images.csv`, after those there of the protocols `kept`, and then `<split>.json`.

        In this order, so that after a crash between the two no protocol is recorded without its rows.
        """
        path = self.folder / f"{split}_images.csv"
        there = _rows_in(path) if path.exists() else ()
        with replacing(path, check=self.check) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(TEST_IMAGE_COLUMNS)
            writer.writerows(row for row in there if row[0] in kept)
            writer.writerows(rows)
        write_json(self.folder / f"{split}.json", {"schema": SCHEMA, "protocols": entries}, self.check)

    def read_scores(self, split: str) -> dict[str, Any]:
        """The scores of each protocol in `<split>.json`; empty if the file does not exist yet."""
        path = self.folder / f"{split}.json"
        content = read_json(path) if path.exists() else {"protocols": {}}
        protocols = content.get("protocols") if isinstance(content, dict) else None
        if not isinstance(protocols, dict) or not all(isinstance(entry, dict) for entry in protocols.values()):
            raise _broken(path, 'it should be {"schema": …, "protocols": {name: {…}}}')
        return protocols

    def read_test_images(self, split: str = "test") -> list[dict[str, Any]]:
        """The rows of `<split>_images.csv` as text; empty if the file does not exist yet."""
        path = self.folder / f"{split}_images.csv"
        rows = _rows_in(path) if path.exists() else ()
        return [dict(zip(TEST_IMAGE_COLUMNS, map(unquoted, row), strict=True)) for row in rows]

    def read_epochs(self) -> list[dict[str, Any]]:
        """The rows of epochs.jsonl; a last line that was cut off is left out. Raises ValueError for another one."""
        if not self.epochs_file.exists():
            return []
        lines = read_regular(self.epochs_file, LARGEST_EPOCHS).split(b"\n")[:-1]
        rows = _parse_lines(lines[: MOST_EPOCHS + 1], self.epochs_file)
        if len(rows) > MOST_EPOCHS or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{self.epochs_file}: a line is not a mapping, or there are too many of them")
        return rows

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Copies what is logged in the block to train.log, with the time; of our modules from INFO on."""
        self.add_to_log("")
        handler = _LogFile(self)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root, own, story = logging.getLogger(), logging.getLogger("src"), logging.getLogger(STORY)
        level = own.level
        own.setLevel(min(level or logging.INFO, logging.INFO))  # the log is complete, whatever the terminal shows
        story.propagate = False
        root.addHandler(handler)
        story.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            story.removeHandler(handler)
            own.setLevel(level)

    def add_to_log(self, text: str) -> None:
        """Adds `text` to train.log, as a new file: one that another process has open, or a link, keeps the old text."""
        with replacing(self.log_file, check=self.check) as temporary, temporary.open("wb") as log:
            if self.log_file.exists():
                with open_regular(self.log_file) as before:
                    shutil.copyfileobj(before, log)
            log.write(text.encode())

    def is_held(self) -> bool:
        """Whether a process holds this run; asking changes nothing and needs no right to write."""
        return self._lock.is_held()


class _LogFile(logging.Handler):
    """Adds lines to a run's train.log; none on a full disk, or once another process holds the run."""

    def __init__(self, run: RunRecord) -> None:
        super().__init__()
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with self._run.log_file.open("a", encoding="utf-8", errors="backslashreplace") as file:
                self._run.check()  # once it is open: a process that takes over makes a new file, see `add_to_log`
                file.write(self.format(record) + "\n")
        except (OSError, RunLost):
            pass
        except Exception:  # a message that cannot be formatted must not end a run
            self.handleError(record)


def failure_kind(reason: str | None) -> Literal["own", "lost"]:
    """Whether a run failed by its own fault (a loss that is not finite, an exception of its code) or was lost.

    Lost is what the machine did: no memory, no disk, a killed process. `reason`: as recorded in `error`; a run that
    failed without one is not excused.
    """
    return "lost" if reason and any(sign in reason for sign in LOST) else "own"


def _failed_attempts(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attempts of a run that failed, with the last one that began."""
    attempts = list(run.get("attempts", []))
    if run.get("status") == "failed":
        reason = run.get("error")
        kind = run.get("failure_kind") or failure_kind(reason)
        attempts.append({"finished": run.get("finished"), "failure_kind": kind, "error": reason and reason[:500]})
    return attempts[-MOST_ATTEMPTS:]


def _rows(protocol: str, images: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [[protocol, *(quoted(image[column]) for column in TEST_IMAGE_COLUMNS[1:])] for image in images]


def _rows_in(path: Path) -> Iterator[list[str]]:
    """The lines of a file of TEST_IMAGE_COLUMNS, one at a time. Raises ValueError, naming it, for another file."""
    with io.TextIOWrapper(open_regular(path, LARGEST_IMAGES), encoding="utf-8", newline="") as file:
        try:
            for number, line in enumerate(csv.reader(file)):
                if len(line) != len(TEST_IMAGE_COLUMNS) or (number == 0 and line != [*TEST_IMAGE_COLUMNS]):
                    raise ValueError(f"line {number + 1} has other columns than {', '.join(TEST_IMAGE_COLUMNS)}")
                if number > MOST_IMAGES:
                    raise ValueError(f"more than {MOST_IMAGES:,} lines")
                if number > 0:
                    yield line
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}: is not a table of test images ({error})") from error


def _broken(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: is not what a run records ({reason}); restore a backup, or move it away")


def _parse_lines(lines: Sequence[bytes], path: Path) -> list[Any]:
    """The value of each of these lines of JSON: in one go, several times as fast, else one by one for the reason."""
    with suppress(ValueError):
        values = [value for (value,) in parse_json(b"[[%b]]" % b"],[".join(lines), path)]
        if len(values) == len(lines):
            return values
    return [parse_json(line, path) for line in lines]


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
