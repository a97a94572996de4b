"""What was read of the files of a sweep, kept for the next time: a shortcut that is checked, never a source.

One file for a sweep: a line with a checksum, a line of JSON that describes the rest, and numbers as they lie in memory.
If anything is wrong with it, the files of the runs are read again.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.base.files import read_regular, replacing
from src.base.record import SweepFolder

Columns = dict[str, npt.NDArray[Any]]  # by name, each of float64, int64, or texts and None
LARGEST = 500_000_000  # bytes; a sweep that needs more is read each time
NUMBERS = ("<f8", "<i8")
CHECKSUM = 65  # bytes, with the end of the line
SETTLED = 2 * 10**9  # nanoseconds without a change: the next change then has another time on any disk


class Kept(NamedTuple):
    """What was read of a file when it had this stamp."""

    stamp: list[int]
    columns: Columns


class KeptReads:
    """What was read earlier of the files of the runs in `sweeps`.

    It lies in the folder of the sweep or, if that cannot be written, in `spare`. Without `sweeps` nothing is kept.
    """

    def __init__(self, sweeps: Sequence[Path] = (), spare: Path | None = None) -> None:
        self._places = {sweep: _places(sweep, spare) for sweep in sweeps}
        self._before = {sweep: _first_sound(places) for sweep, places in self._places.items()}
        self._now: dict[Path, dict[str, Kept]] = {sweep: {} for sweep in sweeps}
        self._stamps: dict[Path, list[int]] = {}

    def find(self, file: Path) -> Columns | None:
        """What was read of `file`, <sweep>/<run>/<name>; None if it is not known, or has changed since."""
        sweep, name = _split(file)
        if sweep not in self._places:
            return None
        with suppress(OSError):
            self._stamps[file] = stamp_of(file)
            known = self._before[sweep].get(name)
            if known is not None and known.stamp == self._stamps[file]:
                self._now[sweep][name] = known
                return known.columns
        return None

    def add(self, file: Path, columns: Columns) -> None:
        """Keeps what was read of `file` after `find` did not know it, unless the file had changed just before."""
        stamp = self._stamps.get(file)
        if stamp is not None and max(stamp[1:3]) < time.time_ns() - SETTLED:
            sweep, name = _split(file)
            self._now[sweep][name] = Kept(stamp, columns)

    def save(self) -> None:
        """Writes what was found and added, for the next time; if no disk takes it, nothing is kept."""
        for sweep, now in self._now.items():
            before = self._before[sweep]
            if now.keys() == before.keys() and all(now[name] is before[name] for name in now):
                continue
            content = _encoded(now)
            if len(content) <= LARGEST:
                _write(content, self._places[sweep])


def stamp_of(file: Path) -> list[int]:
    """Its size, the times of the last change of its content and of anything, and its inode: a copy has another one."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _places(sweep: Path, spare: Path | None) -> list[Path]:
    own = SweepFolder(sweep).kept_reads
    of_sweep = hashlib.sha256(str(sweep.absolute()).encode(errors="replace")).hexdigest()[:8]
    return [own] if spare is None else [own, spare / f"{own.name}-{of_sweep}"]


def _split(file: Path) -> tuple[Path, str]:
    return file.parents[1], f"{file.parent.name}/{file.name}"


def _first_sound(places: Iterable[Path]) -> dict[str, Kept]:
    for place in places:
        with suppress(OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return _decoded(read_regular(place, LARGEST))
    return {}


def _write(content: bytes, places: Iterable[Path]) -> None:
    for place in places:
        with suppress(OSError):
            with replacing(place, flush=False) as temporary:
                temporary.write_bytes(content)
            return


def _encoded(files: Mapping[str, Kept]) -> bytes:
    texts: dict[tuple[str | None, ...], int] = {}  # each once: runs share the names of images
    described, numbers = {}, []
    for name, kept in files.items():
        columns: dict[str, Any] = {}
        for column, values in kept.columns.items():
            if values.dtype == object:
                columns[column] = texts.setdefault(tuple(values), len(texts))
            else:
                columns[column] = values.dtype.str, len(values)
                numbers.append(values.tobytes())
        described[name] = kept.stamp, columns
    header = json.dumps({"texts": list(texts), "files": described}).encode()
    rest = b"".join([header, b"\n", *numbers])
    return _checksum(rest) + rest


def _decoded(content: bytes) -> dict[str, Kept]:
    """Raises ValueError, KeyError, TypeError or IndexError for anything that `_encoded` of this code did not write."""
    if content[:CHECKSUM] != _checksum(memoryview(content)[CHECKSUM:]):
        raise ValueError("damaged, or written by other code")
    position = content.index(b"\n", CHECKSUM) + 1
    header = json.loads(content[CHECKSUM:position])
    texts = [np.array(values, dtype=object) for values in header["texts"]]
    files = {}
    for name, (stamp, described) in header["files"].items():
        columns: Columns = {}
        for column, what in described.items():
            if isinstance(what, int):
                columns[column] = texts[what]
            else:
                dtype, count = NUMBERS[NUMBERS.index(what[0])], what[1]
                columns[column] = np.frombuffer(content, dtype, count, position)
                position += columns[column].nbytes
        files[name] = Kept(stamp, columns)
    return files


def _checksum(rest: bytes | memoryview) -> bytes:
    """A line, of `rest` and of the code that reads: what other code has read is not used."""
    digest = _code().copy()
    digest.update(rest)
    return digest.hexdigest().encode() + b"\n"


@cache
def _code() -> Any:
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), *sorted((here.parents[1] / "base").glob("*.py"))]
    return hashlib.sha256(b"".join([pd.__version__.encode(), *(path.read_bytes() for path in sources)]))
