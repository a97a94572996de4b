"""Checkpoints that finished runs can do without: found and counted, then removed, with a note in each run's record."""

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from src.base.config import Section, UserPath
from src.base.errors import Ended, one_line
from src.base.record import RunBusy, RunRecord, SweepFolder
from src.display.text import count_text

RESUMED_FROM = r"last|previous|best\.next"
REMOVED = {  # of the names of checkpoints, without .pt: files of others stay
    "best": rf"{RESUMED_FROM}|epoch_\d+",
    "weights": RESUMED_FROM,
    "records": rf"{RESUMED_FROM}|epoch_\d+|best",
}


class CleanOptions(Section):
    """See conf/clean.yaml."""

    sweep: UserPath
    keep: Literal["best", "weights", "records"]
    older_than: str | None = Field(pattern=r"^\d{1,4}d$")
    go: bool


class _Stays(Exception):
    """Why a run keeps all its checkpoints."""


def clean(options: CleanOptions) -> Iterator[str]:
    """Lines that say what goes, how much space that frees, and what stays and why; with `go` it is removed.

    Raises ValueError for a folder that is not a sweep; Ended after the last line, naming them, if records are broken.
    """
    sweep = Path(options.sweep).resolve()
    records = [RunRecord(file.parent) for file in SweepFolder(sweep).run_files()]
    if not records:
        raise ValueError(f"{options.sweep}: does not hold runs; give a sweep, for example sweep=multirun_outputs/demo")
    others = _other_sweeps(sweep, beside={sweep.parent, Path(options.sweep).absolute().parent})
    found: dict[Path, os.stat_result] = {}
    broken: list[str] = []
    stays = Counter[str]()
    for record in records:
        try:
            if record.is_held():
                raise RunBusy("another process holds the run")
            files, linked = _removable(record, options, others)
            if options.go and files:
                with record.locked():
                    # as it is now, and no other process can change it
                    files, linked = _removable(record, options, others)
                    sizes = {file: file.lstat() for file in files}
                    _remove(record, options.keep, files)
            else:
                sizes = {file: file.lstat() for file in files}
        except (RunBusy, _Stays) as error:
            stays[one_line(str(error))] += 1
            continue
        except ValueError as error:
            broken.append(one_line(f"broken: {error}"))
            continue
        stays.update("checkpoint, linked from another sweep" for _ in linked)
        found |= sizes
        if sizes:
            names = ", ".join(file.name for file in sizes)
            yield f"{record.folder.name}: {names} ({_megabytes(list(sizes.values()))})"
    yield from (f"stays: {count} × {reason}" for reason, count in stays.items())
    yield _total(found, options.go)
    if broken:
        raise Ended("\n".join(broken))


def _other_sweeps(sweep: Path, beside: Collection[Path]) -> set[Path]:
    """The folders of runs in the folders `beside`, or one folder deeper, but `sweep`."""
    checkpoints = [
        found for folder in beside for depth in ("*/*", "*/*/*") for found in folder.glob(f"{depth}/checkpoints")
    ]
    return {found.parent.parent.resolve() for found in checkpoints} - {sweep}


def _removable(record: RunRecord, options: CleanOptions, others: Collection[Path]) -> tuple[list[Path], list[Path]]:
    """The checkpoints of a run that may go, and those that stay since a symbolic link of `others` leads to them.

    Raises _Stays with the reason why the run keeps all of them; ValueError for a broken record.
    """
    if os.path.realpath(record.checkpoints) != str(record.checkpoints):  # resolve() fails for a link to itself
        raise _Stays("a link leads out of the sweep, nothing is deleted through it")
    run = record.read_now() or {}
    if run.get("status") != "finished":
        raise _Stays(f"{run.get('status')}, resumes from its checkpoints")
    if options.older_than is not None and not _is_older(run.get("finished"), options.older_than):
        raise _Stays(f"did not finish {options.older_than} ago or earlier")
    present = sorted(record.checkpoints.glob("*.pt"))
    regular = [file for file in present if stat.S_ISREG(file.lstat().st_mode)]
    unwanted = [file for file in regular if re.fullmatch(REMOVED[options.keep], file.stem)]
    if unwanted and options.keep != "records" and not (record.checkpoints / "best.pt").exists():
        raise _Stays("has no best.pt, so its other checkpoints stay")
    linked = [file for file in unwanted if _is_linked_to(file, others)]
    return [file for file in unwanted if file not in linked], linked


def _is_linked_to(file: Path, others: Collection[Path]) -> bool:
    """Whether the path of the same run's file in one of the sweeps `others` leads to `file` itself.

    A hard link, as a run that is reused has, is another name of the same content, which outlives this one.
    """
    return any(os.path.realpath(sweep / Path(*file.parts[-3:])) == str(file) for sweep in others)


def _is_older(finished: object, age: str) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(finished)) >= timedelta(days=int(age[:-1]))
    except (ValueError, TypeError):  # unknown, or without a time zone
        return False


def _remove(record: RunRecord, keep: str, files: Sequence[Path]) -> None:
    """Notes in run.json what goes, and then deletes it: nothing is ever missing without a note."""
    sizes = {file.name: file.lstat().st_size for file in files}
    note = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "keep": keep, "files": sizes}
    record.update(removed=[*(record.read() or {}).get("removed", []), note])
    for file in files:
        record.check()
        file.unlink()


def _total(found: dict[Path, os.stat_result], gone: bool) -> str:
    names = Counter(size.st_ino for size in found.values())
    freed = {size.st_ino: size for size in found.values() if names[size.st_ino] == size.st_nlink}
    elsewhere = len(names) - len(freed)
    also = f"; {elsewhere} of them are linked elsewhere, where they stay" if elsewhere else ""
    what = f"{count_text(len(found), 'checkpoint')}, {_megabytes(list(freed.values()))} of space{also}"
    return f"removed: {what}" if gone else f"would be removed: {what}; go=true removes them"


def _megabytes(sizes: Sequence[os.stat_result]) -> str:
    return f"{sum(size.st_size for size in sizes) / 1e6:,.1f} MB"
