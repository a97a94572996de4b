"""One process at a time: a file lock, and a heartbeat beside it for hosts that do not see each other's locks."""

import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.base.files import naming, open_regular, read_regular

PERIOD = 5.0  # seconds between two beats
SILENCE = 30.0  # seconds without a beat after which a host counts as dead; a long step may delay a beat or two
SETTLED = 1.0  # seconds after which two hosts that took over from the same dead one see which was last
LONGEST_BEAT = 10_000  # bytes of a heartbeat


def _this_host() -> str:
    """An id of this machine, also if several have the same name; containers on one kernel share it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else platform.node()


HOST = _this_host()


class LockHeld(RuntimeError):
    """Another process holds the lock; the message names it if it is known."""


class LockLost(OSError):
    """This process lost the lock while it was stopped; the message names the process that holds it now."""


class HostAwareLock:
    """The lock `file` among all processes that see it, on this machine and on others.

    The operating system frees the lock of a process that dies, however it dies. But some file systems do not share
    locks between machines. So the holder also renews `<file>.heartbeat` every PERIOD, and a process that gets the lock
    waits as long as the heartbeat of another host still changes. After SILENCE without a change that holder counts as
    dead; no two clocks are compared. A heartbeat of this machine is ignored: here the lock itself is reliable.

    A dead holder looks like a stopped one (SIGSTOP, a paused machine, a sleeping laptop, an unreachable file server).
    So a holder may have lost the lock while it was stopped, and calls `check` before each write.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._heartbeat = file.with_name(f"{file.name}.heartbeat")
        self._token: str | None = None  # names our claim in the heartbeat, while we have the lock

    @contextmanager
    def held(self, wait: bool) -> Iterator[None]:
        """Holds the lock for the block. If another process holds it: waits for it, or without `wait` raises LockHeld.

        Raises OSError if the lock's folder cannot be written.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._file)
        try:
            lock.acquire(timeout=-1 if wait else 1)  # a second, since `is_held` takes it for an instant
        except Timeout as error:
            raise LockHeld(self.holder()) from error
        try:
            with self._beating(wait):
                yield
        finally:
            lock.release()

    def check(self) -> None:
        """Raises LockLost if this process held the lock and lost it; does nothing outside `held`."""
        if self._token is not None and not self._is_ours():
            raise LockLost(f"another process took {self._file} over while this one was stopped ({self.holder()})")

    def is_held(self) -> bool:
        """Whether a process holds the lock. Changes nothing, does not wait, and needs no right to write.

        A lock file that is missing or cannot be opened, as in a copied folder, is not held on this machine. A heartbeat
        of another host counts for SILENCE by this machine's clock, on which `held` does not rely.
        """
        try:
            with open_regular(self._file) as file:
                # shared, so that two processes that ask at once do not see each other as the holder
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        try:
            beat, last = self._read(), self._heartbeat.stat().st_mtime
        except OSError:
            return False
        return _is_foreign(beat) and time.time() - last < SILENCE

    @contextmanager
    def _beating(self, wait: bool) -> Iterator[None]:
        with naming(self._heartbeat):
            file, stop = self._claim(wait), threading.Event()
        # a daemon, so that it never keeps a process alive
        thread = threading.Thread(target=_beat, args=(file, self._token, stop), daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            if self._is_ours():
                self._heartbeat.unlink(missing_ok=True)
            self._token = None
            os.close(file)

    def _claim(self, wait: bool) -> int:
        """Starts our heartbeat once no other host has one; returns its file descriptor."""
        self._token = secrets.token_hex(8)
        while True:
            left = self._outlived(wait)
            if left is not None:
                self._heartbeat.unlink(missing_ok=True)
            try:
                file = os.open(self._heartbeat, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                continue  # another host was faster
            try:
                _write(file, self._token, 0)
                if _is_foreign(left):
                    time.sleep(SETTLED)  # a third host may have taken it over too
                if self._is_ours():
                    return file
            except OSError:
                os.close(file)
                self._heartbeat.unlink(missing_ok=True)
                raise
            os.close(file)

    def _outlived(self, wait: bool) -> bytes | None:
        """The heartbeat that a dead process left, or None. Waits for a live one, or without `wait` raises LockHeld."""
        seen, since = self._read(), time.monotonic()
        while _is_foreign(seen) and time.monotonic() - since < SILENCE:
            time.sleep(PERIOD / 10)
            now = self._read()
            if now is not None and now != seen and not wait:
                raise LockHeld(self.holder())
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def _read(self) -> bytes | None:
        # opened each time, since a network file system updates a file when it is opened
        try:
            return read_regular(self._heartbeat, LONGEST_BEAT)
        except FileNotFoundError:
            return None
        except ValueError:  # a pipe, or too long: not written by this program
            return b""

    def _is_ours(self) -> bool:
        return _facts(self._read()).get("token") == self._token

    def holder(self) -> str:
        """The process whose heartbeat is there, in words."""
        beat = _facts(self._read())
        return f"process {beat['pid']} on {beat['name']}" if beat else "which one is not known"


def _beat(file: int, token: str | None, stop: threading.Event) -> None:
    # into the open file, which has no name any more once another process has taken the lock over
    count = 0
    while not stop.wait(PERIOD):
        count += 1
        try:
            _write(file, token, count)
        except OSError:
            continue  # a file server may be unreachable for a while; a missed beat or two do no harm


def _write(file: int, token: str | None, count: int) -> None:
    """Overwrites the last beat with one of the same length, so that a full disk does not matter."""
    facts = {"host": HOST, "name": platform.node(), "pid": os.getpid(), "token": token, "beat": f"{count:012}"}
    beat, done = json.dumps(facts).encode(), 0
    while done < len(beat):  # if only a part fits, the next write raises the reason
        done += os.pwrite(file, beat[done:], done)
    os.fsync(file)  # else a network file system may not show it to other machines for a while


def _is_foreign(beat: bytes | None) -> bool:
    """Whether a heartbeat is of another host; one that cannot be parsed counts as one."""
    return beat is not None and _facts(beat).get("host") != HOST


def _facts(beat: bytes | None) -> dict[str, object]:
    try:
        facts = json.loads(beat or b"{}")
        return facts if isinstance(facts, dict) and {"host", "name", "pid"} <= facts.keys() else {}
    except (ValueError, RecursionError):
        return {}
