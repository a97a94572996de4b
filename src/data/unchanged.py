"""Reading files together with the digests of what was read, so that no change meanwhile goes unseen."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

TRIES = 3

# absolute path, size in bytes (-1: missing), times of the last change of content and of anything in ns, and inode: two
# versions that are unpacked over each other may share size and date, but no program sets the second time
State = tuple[str, int, int, int, int]

Read = TypeVar("Read")


class DataChanged(ValueError):
    """A file of the data set is not what it was when the data set was checked; the message names it in one line."""


def state_of(path: Path) -> State:
    """What tells, without opening a file, whether it may have changed."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return str(path.absolute()), -1, 0, 0, 0
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_unchanged(paths: Sequence[Path], read: Callable[[], Read]) -> tuple[Read, tuple[str, ...]]:
    """What `read` makes of the files `paths`, and the SHA-256 of each, all of the same content.

    Raises DataChanged for files that change again and again while they are read, and what `read` raises.
    """
    # without the inode: some network file systems give a file another one at each look
    for _ in range(TRIES):
        before = [state_of(path)[:-1] for path in paths]
        found = read()
        digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
        if [state_of(path)[:-1] for path in paths] == before:
            return found, digests
    raise DataChanged(f"{paths[0]}: changes while it is read; start again when nothing writes to the data set any more")


def read_expected(paths: Sequence[Path], digests: Sequence[str], read: Callable[[], Read]) -> Read:
    """As `read_unchanged`, of files that must have `digests`. Raises DataChanged, naming one that has not."""
    found, now = read_unchanged(paths, read)
    for path, expected, digest in zip(paths, digests, now, strict=True):
        if digest != expected:
            raise DataChanged(
                f"{path}: has changed since the data set was checked; bring it back, or start again with what is there"
            )
    return found
