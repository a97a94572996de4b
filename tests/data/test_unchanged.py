"""What is read is what was hashed, whatever happens to a file meanwhile."""

import hashlib
import itertools
import os
from pathlib import Path

import pytest

from src.data import unchanged
from src.data.unchanged import TRIES, DataChanged, read_expected, read_unchanged, state_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "image.png").write_bytes(b"sound")
    return tmp_path / "image.png"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def swapped_while_read(file: Path, times: int):
    """A reader that sees other content of the same size and date the first `times`; the old one is back at once."""
    calls = []

    def read() -> bytes:
        calls.append(1)
        if len(calls) > times:
            return file.read_bytes()
        status, before = file.stat(), file.read_bytes()
        file.write_bytes(b"wrong")
        seen = file.read_bytes()
        file.write_bytes(before)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        return seen

    return read


def test_the_digest_is_of_what_was_read(file):
    assert read_unchanged([file], file.read_bytes) == (b"sound", (sha256(b"sound"),))


def test_a_file_that_changes_for_a_moment_is_read_again(file):
    assert read_unchanged([file], swapped_while_read(file, 1)) == (b"sound", (sha256(b"sound"),))


def test_a_file_that_never_rests_is_refused(file):
    with pytest.raises(DataChanged, match=r"image\.png: changes while it is read"):
        read_unchanged([file], swapped_while_read(file, TRIES))


def test_a_file_system_without_lasting_inodes_is_read(file, monkeypatch):
    inodes = itertools.count()
    monkeypatch.setattr(unchanged, "state_of", lambda path: (*state_of(path)[:-1], next(inodes)))
    assert read_unchanged([file], file.read_bytes)[0] == b"sound"


def test_other_content_than_expected_is_refused_by_name(file):
    assert read_expected([file], [sha256(b"sound")], file.read_bytes) == b"sound"
    with pytest.raises(DataChanged, match=r"image\.png: has changed since the data set was checked; bring it back"):
        read_expected([file], [sha256(b"other")], file.read_bytes)


@pytest.mark.parametrize("change", ["size", "date", "content", "inode"])
def test_the_state_tells_every_change(file, change):
    before, status = state_of(file), file.stat()
    if change == "inode":
        file.with_name("new").write_bytes(b"sound")
        file.with_name("new").replace(file)
    else:
        file.write_bytes(b"sounds" if change == "size" else b"wrong")
    if change != "date":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert state_of(file) != before


def test_a_file_that_is_not_there_has_a_state(tmp_path):
    assert state_of(tmp_path / "none") == (str(tmp_path / "none"), -1, 0, 0, 0)
