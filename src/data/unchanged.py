"""Reading files whose digest is known, so that no change meanwhile goes unseen."""

import hashlib
from pathlib import Path

from src.data.images import read_file

# absolute path, size in bytes (-1: missing), times of the last change of content and of anything in ns, and inode: two
# versions that are unpacked over each other may share size and date, but no program sets the second time
State = tuple[str, int, int, int, int]


class DataChanged(ValueError):
    """A file of the data set is not what it was when the data set was checked; the message names it in one line."""


def state_of(path: Path) -> State:
    """What tells, without opening a file, whether it may have changed."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return str(path.absolute()), -1, 0, 0, 0
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_expected(path: Path, digest: str | None) -> bytes:
    """The bytes of an image file, whose SHA-256 must be `digest`, if that is known. Raises DataChanged, naming it."""
    content = read_file(path)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DataChanged(
            f"{path}: has changed since the data set was checked; bring it back, or start again with what is there"
        )
    return content
