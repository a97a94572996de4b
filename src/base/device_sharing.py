"""How many runs are at work on one device of this machine: each holds a locked file that the others can see."""

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
COUNTED = ".run"  # the ending of files that stand for a run


class Neighbours:
    """The runs of this user that are at work on one device, this one included inside `with Neighbours(key):`.

    `device`: a key that is the same for every process, see `device_key` in src/base/runtime.py. A run is a locked file
    in `<temporary folder>/segsweep-<user id>/<key>/`, so runs with another temporary folder are not seen. The operating
    system frees the lock of a process that dies, however it dies. Trouble with these files fails no run: it is said
    once in the log, and the count is unknown.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._file: Path | None = None  # while this run is announced
        self._announcement = ExitStack()
        self._said = False

    def __enter__(self) -> "Neighbours":
        try:
            base = _own_folder(Path(tempfile.gettempdir()) / f"segsweep-{os.getuid()}")
            self._file = self._announcement.enter_context(_held_file(_own_folder(base / self._device)))
        except OSError as error:
            self._say(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._file = None
        try:
            self._announcement.close()
        except OSError as error:
            self._say(error)

    def count(self) -> int | None:
        """Runs at work on the device at this moment, from 1 on; None where that cannot be known.

        Files of processes that are gone are removed on the way.
        """
        if self._file is None:
            return None
        try:
            files = [file for file in self._file.parent.iterdir() if file.suffix == COUNTED]
            if self._file not in files:
                raise FileNotFoundError(f"{self._file} was taken away")
            return sum(_is_held(file) for file in files)
        except OSError as error:
            self._say(error)
            return None

    def _say(self, error: OSError) -> None:
        if not self._said:
            log.warning("how many runs share %s is not known (device_jobs is null): %s", self._device, error)
        self._said = True


def _own_folder(folder: Path) -> Path:
    """Makes `folder` for this user alone, mode 0700. Raises OSError where something else is there.

    The temporary folder is everybody's: in a folder, or behind a link, that somebody else has put there, we would
    remove files that are none of ours.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is no folder of this user alone (mode 0700); move it away")
    return folder


@contextmanager
def _held_file(folder: Path) -> Iterator[Path]:
    """A file of this process in `folder`, locked as long as the block lasts, removed after it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{os.getpid()}-", dir=folder)
    file = Path(name)
    with os.fdopen(descriptor):
        try:
            # locked before it gets a name that counts: whoever finds it there unlocked takes it for a dead one's
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = file.rename(folder / f"{file.name[1:]}{COUNTED}")
            yield file
        finally:
            file.unlink(missing_ok=True)
            # closing alone would leave it locked as long as a worker of a DataLoader, forked meanwhile, has it open
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_held(file: Path) -> bool:
    """Whether the process of `file` is alive; the file of one that is gone is removed (no name is used twice)."""
    try:
        with file.open("rb") as looked_at:
            # shared, so that two who look at once do not take each other for the owner
            fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it ended while we looked
        return False
    file.unlink(missing_ok=True)
    return False
