"""Which photos a name means: files, folders, globs, links, odd names; nothing is decoded here."""

import os
from pathlib import Path

import pytest

from src.prediction.inputs import find_inputs

OUTPUT = Path("/nowhere/masks")


@pytest.fixture
def folder(tmp_path):
    """Photos in folders, and what is no photo."""
    for name in ("b.jpg", "a.PNG", "cats/b.jpg", "cats/old/c.webp", "notes.txt", ".hidden.jpg", "cats/._b.jpg"):
        touch(tmp_path / "photos" / name)
    touch(tmp_path / "photos" / ".thumbnails" / "b.jpg")
    return tmp_path / "photos"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def found(name, output=OUTPUT) -> list[str]:
    inputs = find_inputs(str(name), output)
    return [photo.relative_to(inputs.base).as_posix() for photo in inputs.photos]


def test_a_folder_means_all_photos_below_it_and_counts_the_rest(folder):
    inputs = find_inputs(str(folder), OUTPUT)
    assert found(folder) == ["a.PNG", "b.jpg", "cats/b.jpg", "cats/old/c.webp"]
    assert inputs.base == folder
    assert inputs.left_out == 1  # notes.txt; hidden files and folders are passed over


def test_a_file_may_be_called_anything(folder):
    assert found(folder / "notes.txt") == ["notes.txt"]
    assert found(folder / ".hidden.jpg") == [".hidden.jpg"]


@pytest.mark.parametrize(
    ("pattern", "photos"),
    [
        ("*.jpg", ["b.jpg"]),
        ("*", ["a.PNG", "b.jpg"]),
        ("**/*.jpg", ["b.jpg", "cats/b.jpg"]),
        ("**", ["a.PNG", "b.jpg", "cats/b.jpg", "cats/old/c.webp"]),
        ("cats/*.jpg", ["b.jpg"]),  # the folder before the first wildcard is what names begin at
        ("c*/b.jpg", ["cats/b.jpg"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        ("?at?/**/*.webp", ["cats/old/c.webp"]),
        ("cats/**/old/*", ["old/c.webp"]),
        ("**/**/*.jpg", ["b.jpg", "cats/b.jpg"]),
        ("*/**", ["cats/b.jpg", "cats/old/c.webp"]),
        ("**/cats/**", ["cats/b.jpg", "cats/old/c.webp"]),
    ],
)
def test_a_glob(folder, pattern, photos):
    assert found(folder / pattern) == photos


def test_what_is_there_literally_is_no_glob(tmp_path):
    for name in ("photos [1]/a*.jpg", "photos [1]/ab.jpg", "photos 1/ac.jpg", "[ab].jpg", "a.jpg"):
        touch(tmp_path / name)
    assert found(tmp_path / "[ab].jpg") == ["[ab].jpg"]
    assert found(tmp_path / "photos [1]" / "a*.jpg") == ["a*.jpg"]
    assert found(tmp_path / "photos [1]") == ["a*.jpg", "ab.jpg"]
    assert found(tmp_path / "photos [1]" / "a?.jpg") == ["a*.jpg", "ab.jpg"]
    assert found(tmp_path / "photos [12]" / "a?.jpg") == ["photos 1/ac.jpg"]


def test_relative_names(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert found("b.jpg") == ["b.jpg"]
    assert found("c*/*.jpg") == ["cats/b.jpg"]
    assert found("./cats") == found("cats/") == ["b.jpg", "old/c.webp"]
    monkeypatch.chdir(folder / "cats")
    assert found("../*.jpg") == ["b.jpg"]


def test_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert found("~/cats/*.jpg") == ["b.jpg"]


def test_what_lies_in_the_output_is_no_input(folder):
    touch(folder / "masks" / "b.jpg.mask.png")
    (folder / "link").symlink_to(folder / "masks")
    inputs = find_inputs(str(folder), folder / "masks")
    assert [photo.name for photo in inputs.photos] == ["a.PNG", "b.jpg", "b.jpg", "c.webp"]
    assert inputs.left_out == 1
    assert found(folder / "masks" / "*.png", folder / "nix") == ["b.jpg.mask.png"]
    with pytest.raises(ValueError, match="or matches nothing"):
        find_inputs(str(folder / "**" / "*.png"), folder / "masks")


@pytest.mark.parametrize("output", [".", "..", "../photos"])
def test_an_output_that_holds_the_inputs_is_refused(folder, output):
    with pytest.raises(ValueError, match=r"output: got .* is or holds .*; give another folder"):
        find_inputs(str(folder), folder / output)
    assert found(folder / "b.jpg", folder / output) == ["b.jpg"]  # of one file nothing can be taken by mistake


def test_links_to_folders_are_followed_once_and_loops_end(folder, tmp_path):
    touch(tmp_path / "elsewhere" / "z.jpg")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    (folder / "a-link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "cats" / "loop").symlink_to(folder)
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")  # a photo that will fail
    expected = ["a-link/z.jpg", "a.PNG", "b.jpg", "cats/b.jpg", "cats/old/c.webp", "itself.jpg"]
    assert found(folder) == found(folder / "**") == expected


def test_links_to_a_folder_itself_repeat_no_photo_of_a_glob(folder):
    for name in ("self", "same"):
        (folder / "cats" / name).symlink_to(folder / "cats")
    assert found(folder / "**" / "*.jpg") == ["b.jpg", "cats/b.jpg"]
    assert found(folder / "cats" / "s*" / "*.jpg") == ["same/b.jpg"]
    assert found(folder / "**" / "self" / "old" / "*") == ["cats/self/old/c.webp"]


def test_a_link_that_leads_nowhere_is_a_photo_that_will_fail(folder):
    (folder / "lost.jpg").symlink_to(folder / "nix.jpg")
    assert "lost.jpg" in found(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nix", "does not exist or matches nothing; it takes a photo, a folder or a glob"),
        ("*.gif", "does not exist or matches nothing"),
        ("*.txt", r"holds no photo \(other files: 1\); photos end in \.apng, \.avif"),
        ("empty", r"holds no photo \(other files: 0\)"),
    ],
)
def test_nothing_to_do_is_said_with_what_would_be(folder, name, said):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=f"^input: got .*{said}"):
        find_inputs(str(folder / name), OUTPUT)


def test_a_folder_that_cannot_be_read_is_not_passed_over(folder, monkeypatch):
    def listdir(name):
        if os.fspath(name) == str(folder / "cats"):
            raise PermissionError(13, "Permission denied", os.fspath(name))
        return listed(name)

    listed = os.listdir
    monkeypatch.setattr("os.listdir", listdir)
    for pattern in ("", "**/*.jpg", "c*/*.jpg"):
        with pytest.raises(PermissionError):
            found(folder / pattern)
    assert found(folder / "*.jpg") == found(folder / "b*") == ["b.jpg"]  # it cannot hold a match
