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
SILENCE = 30.0  # seconds without a beat after which a host is taken for dead; a long step may hold up a beat or two
SETTLED = 1.0  # seconds after which two hosts that took over the same dead one's place see who was last
LONGEST_BEAT = 10_000  # bytes of a heartbeat


def _this_host() -> str:
    """Tells machines apart, also where several bear the same name; the same for containers on one machine's kernel."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else platform.node()


HOST = _this_host()


class Held(RuntimeError):
    """Another process has the lock; the message says which, as far as that is known."""


class Lost(OSError):
    """This process had the lock until it was stopped for a while; the message says which one has it now."""


class SharedLock:
    """The lock `file` among all processes that see it, on this machine and on others.

    The operating system frees the lock of a process that dies, however it dies. But some file systems keep locks to
    one machine. So the holder also renews `<file>.heartbeat` every PERIOD, and whoever gets the lock waits until no
    heartbeat of another host is left that still changes. One that has been silent for SILENCE is of a dead process; no
    two clocks are compared for that. What processes of this machine left there counts for nothing: here the lock knows.

    Nobody can tell a dead holder from one that is stopped (SIGSTOP, a paused machine, a laptop asleep, a file server
    that hangs). So whoever wakes up may have lost the lock meanwhile, and has to `check` before each write.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._heartbeat = file.with_name(f"{file.name}.heartbeat")
        self._token: str | None = None  # names our claim in the heartbeat, while we have the lock

    @contextmanager
    def held(self, wait: bool) -> Iterator[None]:
        """Has the lock for the block: with `wait` as soon as it is free, else raises Held when another process has it.

        Raises OSError where the lock's folder cannot be written.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._file)
        try:
            lock.acquire(timeout=-1 if wait else 1)  # a second, since looking at it holds it for an instant
        except Timeout as error:
            raise Held(self.holder()) from error
        try:
            with self._beating(wait):
                yield
        finally:
            lock.release()

    def check(self) -> None:
        """Raises Lost where this process had the lock and has it no more; says nothing outside of `held`."""
        if self._token is not None and not self._is_ours():
            raise Lost(f"another process took {self._file} over while this one was stopped ({self.holder()})")

    def is_held(self) -> bool:
        """Whether a process has the lock; asking changes nothing, waits for nothing and needs no right to write.

        A lock file that is missing or may not be opened, as in a copied folder, is held by nobody of this machine. A
        heartbeat of another host is believed for SILENCE by this machine's clock, which `held` does not rely on.
        """
        try:
            with open_regular(self._file) as file:
                # shared, so that two who ask at once do not take each other for the holder
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
        """Begins our heartbeat where no other host has one; returns its file descriptor."""
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
                    time.sleep(SETTLED)  # a third one may have taken it over too
                if self._is_ours():
                    return file
            except OSError:
                os.close(file)
                self._heartbeat.unlink(missing_ok=True)
                raise
            os.close(file)

    def _outlived(self, wait: bool) -> bytes | None:
        """What lies there of a process that is gone, None where nothing does. Raises Held, or waits, for a live one."""
        seen, since = self._read(), time.monotonic()
        if _is_foreign(seen):
            since -= self._age()
        while _is_foreign(seen) and time.monotonic() - since < SILENCE:
            time.sleep(PERIOD / 10)
            now = self._read()
            if now is not None and now != seen and not wait:
                raise Held(self.holder())
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def _age(self) -> float:
        """Seconds since the last beat, both ends by the file server's clock."""
        try:
            os.utime(self._file)
            return max(0.0, self._file.stat().st_mtime - self._heartbeat.stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def _read(self) -> bytes | None:
        # opened anew each time: a network file system brings a file up to date when it is opened
        try:
            return read_regular(self._heartbeat, LONGEST_BEAT)
        except FileNotFoundError:
            return None
        except ValueError:  # a pipe, or too long: nothing that a process of ours has written
            return b""

    def _is_ours(self) -> bool:
        return _facts(self._read()).get("token") == self._token

    def holder(self) -> str:
        """The process whose heartbeat lies there, in words."""
        beat = _facts(self._read())
        return f"process {beat['pid']} on {beat['name']}" if beat else "which one is not known"


def _beat(file: int, token: str | None, stop: threading.Event) -> None:
    # into the open file, which is nobody's once another process has taken the lock over
    count = 0
    while not stop.wait(PERIOD):
        count += 1
        try:
            _write(file, token, count)
        except OSError:
            continue  # a file server may be away for a while, and a missed beat or two are forgiven


def _write(file: int, token: str | None, count: int) -> None:
    """One beat: always of the same length, over the one before, so that it needs no room on a full disk."""
    facts = {"host": HOST, "name": platform.node(), "pid": os.getpid(), "token": token, "beat": f"{count:012}"}
    beat, done = json.dumps(facts).encode(), 0
    while done < len(beat):  # where there is room for a part only, the next write says what is wrong
        done += os.pwrite(file, beat[done:], done)
    os.fsync(file)  # else a network file system keeps it to this machine for a while


def _is_foreign(beat: bytes | None) -> bool:
    """Whether a heartbeat is of another host; one that cannot be read may be."""
    return beat is not None and _facts(beat).get("host") != HOST


def _facts(beat: bytes | None) -> dict[str, object]:
    try:
        facts = json.loads(beat or b"{}")
        return facts if isinstance(facts, dict) and {"host", "name", "pid"} <= facts.keys() else {}
    except (ValueError, RecursionError):
        return {}
