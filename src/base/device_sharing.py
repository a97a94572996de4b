"""How many runs share one device of this machine: each holds a locked file that the others can see."""

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)
SUFFIX = ".run"  # of the file of a run
_own: list[Path] = []  # the announcements of this process
_warned: set[str] = set()  # the devices of which the log of the present run has a reason


@contextmanager
def announced(device: str) -> Iterator[None]:
    """Lets the other runs of this user see that this one uses `device`, as long as the block lasts.

    `device`: a key that is the same for every process, see `device_key` in src/base/runtime.py. A run is a locked file
    in `<temporary folder>/segsweep-<user id>/<key>/`, so runs with another temporary folder are not seen. The operating
    system frees the lock of a process that dies, however it dies. Trouble with these files is logged once, and then
    the count is unknown; the run continues.
    """
    _warned.discard(device)
    with ExitStack() as held:
        try:
            base = _own_folder(Path(tempfile.gettempdir()) / f"segsweep-{os.getuid()}")
            file = held.enter_context(_held_file(_own_folder(base / device)))
            _own.append(file)
            held.callback(_own.remove, file)
        except OSError as error:
            _warn(device, error)
        yield


def count_runs(device: str) -> int | None:
    """The runs that use `device` now, at least 1; None if that is not known, or if this process announced none.

    Removes the files of processes that are gone.
    """
    own = {file for file in _own if file.parent.name == device}
    if not own:
        return None
    try:
        files = {file for file in next(iter(own)).parent.iterdir() if file.suffix == SUFFIX}
        if not own <= files:
            raise FileNotFoundError(f"{', '.join(map(str, own - files))} was removed")
        return sum(_is_held(file) for file in files)
    except OSError as error:
        _warn(device, error)
        return None


def _warn(device: str, error: OSError) -> None:
    if device not in _warned:
        log.warning("how many runs share %s is not known (device_jobs is null): %s", device, error)
    _warned.add(device)


def _own_folder(folder: Path) -> Path:
    """Makes `folder` for this user alone, mode 0700. Raises OSError if something else is there.

    All users share the temporary folder: in a folder or link that another user made, we would remove foreign files.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone (mode 0700); move it away")
    return folder


@contextmanager
def _held_file(folder: Path) -> Iterator[Path]:
    """A file of this process in `folder`, locked during the block and removed after it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{os.getpid()}-", dir=folder)
    file = Path(name)
    with os.fdopen(descriptor):
        try:
            # locked before it gets its final name: an unlocked file counts as one of a dead process
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = file.rename(folder / f"{file.name[1:]}{SUFFIX}")
            yield file
        finally:
            with suppress(OSError):  # the folder may have become read-only; no reason to fail a finished run
                file.unlink(missing_ok=True)
            # not only closed: a DataLoader's worker, forked meanwhile, would keep it open and so locked
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_held(file: Path) -> bool:
    """Whether the process of `file` is alive; if not, the file is removed (no name is used twice)."""
    try:
        with file.open("rb") as looked_at:
            # shared, so that two processes that look at once do not see each other as the owner
            fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it ended while we looked
        return False
    file.unlink(missing_ok=True)
    return False
