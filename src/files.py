"""Files that are either whole or absent: write to a temporary name, flush to disk, rename."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    A crash at any moment leaves either the old file or the new one. Raises OSError as the disk does. Without `flush`
    that holds for a crash of the program, not of the machine: for thousands of files that can be made again.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
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
