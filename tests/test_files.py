"""Files are whole or absent."""

import json

import pytest

from src.files import read_json, replacing, write_json


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.txt", "old")]


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.txt", "new")]


def test_json_comes_back_and_knows_no_nan(tmp_path):
    write_json(tmp_path / "value.json", {"name": "ü", "dice": 0.5})
    assert read_json(tmp_path / "value.json") == {"name": "ü", "dice": 0.5}
    with pytest.raises(ValueError):
        write_json(tmp_path / "value.json", {"dice": float("nan")})
    assert json.loads((tmp_path / "value.json").read_text()) == {"name": "ü", "dice": 0.5}
