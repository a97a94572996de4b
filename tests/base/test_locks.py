"""One holder at a time: on one machine by the system's lock, between machines by a heartbeat."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.base import locks
from src.base.locks import HostAwareLock, LockHeld
from tests.analysis.sweeps import is_stopped
from tests.sweep.test_launch import wait_for

# A process on a machine whose file locks nobody else sees. Arguments: the lock, the machine, what it does meanwhile.
ELSEWHERE = """
    import sys, time
    from ctypes import PyDLL
    from pathlib import Path
    from src.base import locks
    file, locks.HOST, meanwhile = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    locks.PERIOD, locks.SILENCE, everywhere = 0.2, {silence}, locks.FileLock
    locks.FileLock = lambda file: everywhere(f"{{file}} of {{locks.HOST}}")
    lock = locks.HostAwareLock(file)
    try:
        with lock.held(wait=False):
            print("holding", flush=True)
            exec(meanwhile)
    except locks.LockHeld:
        print("held by another", flush=True)
"""
SILENCE = 2.0
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostAwareLock:
    """A lock whose heartbeats are quick, here and elsewhere."""
    monkeypatch.setattr(locks, "PERIOD", 0.2)
    monkeypatch.setattr(locks, "SILENCE", SILENCE)
    return HostAwareLock(tmp_path / "run.lock")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Start]:
    """Starts a process of another machine that takes the lock; `meanwhile` is what it does then."""
    started = []

    def start(machine: str = "another", meanwhile: str = "time.sleep(60)", silence: float = SILENCE):
        code = textwrap.dedent(ELSEWHERE.format(silence=silence))
        arguments = [sys.executable, "-c", code, str(tmp_path / "run.lock"), machine, meanwhile]
        started.append(
            subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heartbeat(tmp_path: Path) -> Path:
    return tmp_path / "run.lock.heartbeat"


def test_a_live_holder_on_another_machine_is_named_and_left_alone(lock, elsewhere):
    other = elsewhere()
    assert other.stdout.readline() == "holding\n"
    assert lock.is_held()
    for _ in range(2):
        with pytest.raises(LockHeld, match=f"process {other.pid} on "), lock.held(wait=False):
            pass
    assert other.poll() is None and lock.is_held()


def test_a_dead_holder_on_another_machine_is_taken_over_once_it_has_been_silent(lock, elsewhere):
    other = elsewhere()
    assert other.stdout.readline() == "holding\n"
    other.kill()
    other.wait()
    began = time.monotonic()
    with lock.held(wait=False):
        waited = time.monotonic() - began
        assert lock.is_held()
    assert SILENCE / 2 < waited < SILENCE + locks.SETTLED + 5
    assert not lock.is_held()


def test_a_holder_that_has_no_time_for_its_heartbeat_is_not_dead(lock, elsewhere, monkeypatch):
    """It calls C code that keeps Python's lock for longer than a few beats, as a long step may."""
    monkeypatch.setattr(locks, "SILENCE", 30.0)
    other = elsewhere(meanwhile="PyDLL(None).usleep(1_500_000); time.sleep(60)", silence=30.0)
    assert other.stdout.readline() == "holding\n"
    with pytest.raises(LockHeld), lock.held(wait=False):
        pass


def test_who_waits_gets_the_lock_when_the_other_machine_is_done(lock, elsewhere, tmp_path):
    other = elsewhere(meanwhile="time.sleep(1)")
    assert other.stdout.readline() == "holding\n"
    with lock.held(wait=True):
        assert json.loads(heartbeat(tmp_path).read_text())["pid"] == os.getpid()
    assert other.wait(timeout=10) == 0
    assert not heartbeat(tmp_path).exists()


@pytest.mark.parametrize("begun", ["anew", pytest.param("after a dead one", marks=pytest.mark.long)])
def test_of_machines_that_come_at_the_same_moment_one_gets_the_lock(elsewhere, tmp_path, begun):
    if begun == "after a dead one":
        heartbeat(tmp_path).write_text('{"host": "gone", "name": "gone", "pid": 1, "beat": "1"}')
    others = [elsewhere(f"machine {number}") for number in range(4)]
    said = sorted(other.stdout.readline() for other in others)
    assert said == ["held by another\n"] * 3 + ["holding\n"]


def test_on_this_machine_the_lock_is_believed_and_no_heartbeat(lock, tmp_path):
    facts = {"host": locks.HOST, "name": "this one", "pid": os.getpid() + 1, "beat": "1"}
    heartbeat(tmp_path).write_text(json.dumps(facts))
    assert not lock.is_held()
    began = time.monotonic()
    with lock.held(wait=False):
        assert time.monotonic() - began < SILENCE / 2
        with (
            pytest.raises(LockHeld, match=f"process {os.getpid()} on "),
            HostAwareLock(tmp_path / "run.lock").held(wait=False),
        ):
            pass


@pytest.mark.long
@pytest.mark.parametrize("rubbish", [b"", b'{"host": 3'])
def test_a_heartbeat_that_cannot_be_read_is_outlived_like_any_other(lock, tmp_path, rubbish):
    heartbeat(tmp_path).write_bytes(rubbish)
    assert lock.is_held()  # perhaps by another machine, for SILENCE
    with lock.held(wait=False):
        assert lock.is_held()


def test_a_heartbeat_keeps_no_process_alive(tmp_path):
    code = f"""
        from pathlib import Path
        from src.base.locks import HostAwareLock
        having = HostAwareLock(Path({str(tmp_path / "run.lock")!r})).held(wait=False)
        having.__enter__()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=20, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_looking_changes_nothing_and_needs_nothing_there(lock, tmp_path):
    assert not lock.is_held()
    assert list(tmp_path.iterdir()) == []


def test_who_was_stopped_and_lost_the_lock_is_told_so_and_takes_nothing_away(lock, elsewhere, tmp_path):
    stopped = elsewhere("stopped", meanwhile="input(); lock.check()", silence=SILENCE)
    assert stopped.stdout.readline() == "holding\n"
    stopped.send_signal(signal.SIGSTOP)
    wait_for(lambda: is_stopped(stopped.pid))
    with lock.held(wait=False):
        lock.check()
        token = json.loads(heartbeat(tmp_path).read_text())["token"]
        stopped.send_signal(signal.SIGCONT)
        said, _ = stopped.communicate("\n", timeout=20)
        assert stopped.returncode == 1 and "LockLost" in said
        assert json.loads(heartbeat(tmp_path).read_text())["token"] == token
        lock.check()
    assert not heartbeat(tmp_path).exists()
    lock.check()  # outside of `held` there is nothing to lose


def test_a_pipe_in_the_place_of_a_lock_or_heartbeat_is_not_waited_for(tmp_path):
    lock = HostAwareLock(tmp_path / "run.lock")
    os.mkfifo(tmp_path / "run.lock")
    assert not lock.is_held()
    os.mkfifo(heartbeat(tmp_path))
    assert lock.is_held()  # perhaps by another machine, for SILENCE
