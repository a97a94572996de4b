"""Runs on one device see each other: real processes that come, end and die, and folders that cannot be used."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
import torch

from src.base.device_sharing import announced, count_runs
from src.base.runtime import device_key
from tests.analysis.sweeps import another_process
from tests.conftest import PROJECT

AT_WORK = """
    from src.base.device_sharing import announced, count_runs
    with announced("cpu"):
        print("at work", flush=True)
        input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder for this test and its processes alone: else they would see the runs of tests beside it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # what Python remembers
    return tmp_path


@pytest.fixture
def base(temporary):
    """Where the announcements of this user lie, whether the folder is there yet or not."""
    return temporary / f"segsweep-{os.getuid()}"


def test_processes_at_work_are_counted_and_a_killed_one_no_more(base):
    with another_process(AT_WORK), another_process(AT_WORK) as second, announced("cpu"):
        assert count_runs("cpu") == 3
        before = set((base / "cpu").iterdir())
        second.send_signal(signal.SIGKILL)
        second.wait()
        assert set((base / "cpu").iterdir()) == before  # a dead one cleans nothing up
        assert count_runs("cpu") == 2
        (gone,) = before - set((base / "cpu").iterdir())
        assert gone.name.startswith(f"{second.pid}-")


def test_runs_one_after_the_other_have_the_device_to_themselves(base):
    for _ in range(2):
        with announced("cpu"):
            assert count_runs("cpu") == 1
        assert count_runs("cpu") is None  # it is no neighbour any more
        assert list((base / "cpu").iterdir()) == []


def test_two_runs_of_one_process_are_two():
    with announced("cpu"):
        with announced("cpu"):
            assert count_runs("cpu") == 2
        assert count_runs("cpu") == 1


def test_runs_on_another_device_are_no_neighbours():
    with another_process(AT_WORK), announced("mps"):
        assert count_runs("mps") == 1


def test_a_worker_that_outlives_its_run_does_not_keep_it_counted():
    code = """
        import os
        from src.base.device_sharing import announced, count_runs
        end_of_parent, kept_open = os.pipe()
        with announced("cpu"):
            if os.fork() == 0:  # as a DataLoader starts its workers: with all files open
                os.close(kept_open)
                os.read(end_of_parent, 1)
                os._exit(0)
        print("over", flush=True)
        input()
    """
    with another_process(code), announced("cpu"):
        assert count_runs("cpu") == 1


def test_whoever_is_just_coming_is_not_taken_for_dead(monkeypatch):
    seen, flock = [], fcntl.flock

    def look_before_it_locks(file, operation):
        if operation & fcntl.LOCK_EX:
            seen.append(count_runs("cpu"))
        flock(file, operation)

    with announced("cpu"):
        monkeypatch.setattr(fcntl, "flock", look_before_it_locks)
        with announced("cpu"):
            assert seen == [1] and count_runs("cpu") == 2


def test_two_who_look_at_a_dead_one_at_once_do_not_take_each_other_for_alive(base):
    with announced("cpu"):
        left_behind = base / "cpu" / "1-left.run"
        left_behind.write_text("")
        with left_behind.open() as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH)
            assert count_runs("cpu") == 1 and not left_behind.exists()


def test_coming_and_going_is_never_in_the_way_of_looking():
    code = """
        from src.base.device_sharing import announced, count_runs
        for _ in range(300):
            with announced("cpu"):
                assert count_runs("cpu") in (1, 2)
    """
    both = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=PROJECT) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]


def test_the_folders_are_for_this_user_alone(base):
    with announced("cpu"):
        assert [folder.stat().st_mode & 0o777 for folder in (base, base / "cpu")] == [0o700, 0o700]


def nothing_can_be_made(base, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # read-only even for root


def a_file_is_in_the_way(base, monkeypatch):
    base.write_text("")


def others_may_write(base, monkeypatch):
    base.mkdir()
    base.chmod(0o777)


@pytest.mark.parametrize("trouble", [nothing_can_be_made, a_file_is_in_the_way, others_may_write])
def test_a_folder_that_cannot_be_used_leaves_the_count_unknown_and_says_so_once(base, monkeypatch, caplog, trouble):
    trouble(base, monkeypatch)
    with announced("cpu"):
        assert (count_runs("cpu"), count_runs("cpu")) == (None, None)
    (said,) = caplog.messages
    assert said.startswith("how many runs share cpu is not known (device_jobs is null): ")


def test_files_behind_a_link_are_not_touched(base, tmp_path, caplog):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    precious = tmp_path / "elsewhere" / "precious.run"
    precious.write_text("")
    base.mkdir(mode=0o700)
    (base / "cpu").symlink_to(tmp_path / "elsewhere")
    with announced("cpu"):
        assert count_runs("cpu") is None
    assert precious.exists() and "not a folder of this user alone (mode 0700)" in caplog.text


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_that_is_cleared_meanwhile_leaves_the_count_unknown_and_the_log_has_the_reason_once(
    base, caplog, whole
):
    for run in (1, 2):  # each has a log
        with announced("cpu"):
            assert count_runs("cpu") == 1
            for file in (base / "cpu").iterdir():
                file.unlink()
            if whole:
                (base / "cpu").rmdir()
            assert (count_runs("cpu"), count_runs("cpu")) == (None, None)
        assert len(caplog.messages) == run
        assert caplog.messages[-1].startswith("how many runs share cpu is not known (device_jobs is null): ")


def test_a_folder_that_becomes_read_only_does_not_fail_a_run_at_its_end(monkeypatch):
    def refuse(file, missing_ok=False):
        raise OSError(errno.EROFS, "Read-only file system", str(file))

    with monkeypatch.context() as patch, announced("cpu"):
        patch.setattr(Path, "unlink", refuse)
    with announced("cpu"):
        assert count_runs("cpu") == 1  # what the first left is not counted


def test_devices_without_a_uuid_are_called_by_their_kind():
    assert [device_key(torch.device(kind)) for kind in ("cpu", "mps")] == ["cpu", "mps"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_one_key_whatever_a_process_calls_it():
    keys = {device_key(torch.device(name)) for name in ("cuda", f"cuda:{torch.cuda.current_device()}")}
    assert keys == {f"cuda-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"}
