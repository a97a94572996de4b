"""Which files of a report are not written again, being untouched and showing the same, and which are deleted."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from src.analysis.records.kept_reads import stamp_of
from src.base.files import read_json, write_json

WRITTEN = ".written.json"
SOURCE = Path(__file__).resolve().parents[2]
WRITERS = ("analysis/report/plots.py", "display/*.py", "base/errors.py")  # the code that tables and figures depend on
FileSet = tuple[Sequence[str], str, Callable[[], Any]]


def write_changed(folder: Path, files: Iterable[FileSet]) -> None:
    """Writes `files` into `folder`: names that belong together, the checksum of what they show, what writes them.

    Those that are untouched since they showed the same are not written. Those of an earlier call that are not among
    `files` any more are deleted. `.written.json` in `folder` knows them; without it all are written, none deleted.
    """
    before, now = _written_before(folder), dict[str, Any]()
    for names, shown, write in files:
        paths = [folder / name for name in names]
        if not all(path.is_file() and before.get(path.name) == [shown, stamp_of(path)] for path in paths):
            write()
        now |= {path.name: [shown, stamp_of(path)] for path in paths}
    for name in before.keys() - now.keys():
        if Path(name).name == name and (folder / name).is_file():  # nothing outside, whatever the file names
            (folder / name).unlink(missing_ok=True)
    if now != before:
        write_json(folder / WRITTEN, now)


def checksum(*parts: bytes) -> str:
    """Of `parts`, and of the code that shows them."""
    digest = hashlib.sha256(_code())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


@cache
def _code() -> bytes:
    sources = [path.read_bytes() for pattern in WRITERS for path in sorted(SOURCE.glob(pattern))]
    return b"".join([*sources, *(version(package).encode() for package in ("matplotlib", "pandas"))])


def _written_before(folder: Path) -> dict[str, Any]:
    """The checksum and the stamp of each file, by its name; empty if not known."""
    try:
        found = read_json(folder / WRITTEN)
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
