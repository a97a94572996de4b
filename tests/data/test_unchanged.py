"""What is read is what was hashed, whatever happens to a file meanwhile."""

import hashlib
import os
from pathlib import Path

import pytest

from src.data.unchanged import DataChanged, read_expected, state_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "image.png").write_bytes(b"sound")
    return tmp_path / "image.png"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_read_has_the_expected_digest(file):
    assert read_expected(file, sha256(b"sound")) == read_expected(file, None) == b"sound"
    with pytest.raises(DataChanged, match=r"image\.png: has changed since the data set was checked; bring it back"):
        read_expected(file, sha256(b"other"))


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
