"""Files that are either whole or absent: write to a temporary name, flush to disk, rename."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WHAT_TO_DO = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "the quota is used up: make room there",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
}


class CannotWrite(OSError):
    """A file that the disk does not take; the message names the file and says what to do."""

    def __str__(self) -> str:
        advice = WHAT_TO_DO.get(self.errno or 0)
        return f"{self.filename} cannot be written: {self.strerror}" + (f"; {advice}" if advice else "")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises CannotWrite where the disk refuses something in the block without saying of which file, or is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and error.errno not in WHAT_TO_DO):
            raise
        raise CannotWrite(error.errno, error.strerror, str(path)) from error


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    A crash at any moment leaves either the old file or the new one. Raises OSError as the disk does, CannotWrite where
    the disk names no file. Without `flush` that holds for a crash of the program, not of the machine: for thousands of
    files that can be made again.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            yield temporary
            if flush:
                flush_to_disk(temporary)
            temporary.replace(path)
            if flush:
                flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Asks the system to have the file or folder `path` on the disk, not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path) -> None:
    """Raises ValueError where no file can be made in `folder` or, while it is not there, in the folders above it."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"cannot go on: {there} is in the way, it is no folder; move it, or change output=<folder>")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"cannot go on: {there} may not be written (a read-only disk, or this user's rights); "
            "have that changed, or change output=<folder>"
        )


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in the JSON file `path`. Raises ValueError, naming the file, when it holds none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: is no readable JSON ({error}); move it away, or bring it back from a copy"
        ) from error
