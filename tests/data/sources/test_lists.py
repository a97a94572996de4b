"""Lists of splits as other programs write them: what they are called, how a line names a pair, what is refused."""

from pathlib import Path

import pytest

from src.data.sources.folder import _position_notes, find_lists, read_names

STEMS = ["cat", "cat.v2", "my cat", "more/dog", "7", "8", "Füße"]


def names(root: Path, *lines: str, mask_suffix: str = "") -> list[str]:
    (root / "train.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return read_names(root / "train.txt", root, STEMS, mask_suffix)


@pytest.mark.parametrize(
    "line",
    [
        "cat",
        "cat.png",
        "cat.JPG",
        "images/cat.jpg",
        "./images/cat.jpg",
        "masks/cat.png",
        "images\\cat.png",
        "cat.jpg cat.png",
        "images/cat.jpg masks/cat.png",
        "images/cat.jpg\tmasks/cat.png",
        "images/cat.jpg,masks/cat.png",
        '"cat.jpg","cat.png"',
        "cat.jpg,",
        "cat 1 1 1",
        "0 cat.jpg",
        "cat.png;masks/cat_mask.png",
    ],
)
def test_a_line_names_a_pair_by_its_stem_or_its_files(tmp_path, line):
    assert names(tmp_path, line, mask_suffix="_mask") == ["cat"]


def test_a_whole_path_names_a_pair(tmp_path):
    assert names(tmp_path, f"{tmp_path}/images/more/dog.jpg", f"{tmp_path}/masks/cat.png") == ["more/dog", "cat"]


def test_names_with_points_spaces_folders_and_composed_letters(tmp_path):
    lines = ["cat.v2", "cat.v2.png", "my cat", "my cat.jpg", "my cat.jpg\tmy cat.png", "more/dog.jpg", "Fu\u0308ße.png"]
    assert names(tmp_path, *lines) == ["cat.v2", "cat.v2", "my cat", "my cat", "my cat", "more/dog", "Füße"]


def test_names_that_look_like_comments_or_hold_odd_line_ends(tmp_path):
    (tmp_path / "train.txt").write_text("# a comment\n#7\n#8.png\na\u2028b\n", encoding="utf-8")
    stems = ["#7", "#8", "a\u2028b"]
    assert read_names(tmp_path / "train.txt", tmp_path, stems) == stems


@pytest.mark.parametrize(
    "line",
    ["cot", "cat.doc", "other/cat.png", "cat.jpg cat.v2.png", "7 8", "cat cot", "dog", "/elsewhere/images/cat.jpg"],
)
def test_a_line_that_names_none_or_two_stays_as_it_is(tmp_path, line):
    assert names(tmp_path, line) == [line]


@pytest.mark.parametrize(
    "called",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("training.txt", "val.txt", "testing.txt"),
        ("Train.txt", "VALIDATION.TXT", "test.txt"),
    ],
)
def test_the_usual_names_are_taken(tmp_path, called):
    for name in called:
        (tmp_path / name).touch()
    assert find_lists(tmp_path) == tuple(tmp_path / name for name in called)


def test_without_any_there_are_none(tmp_path):
    (tmp_path / "readme.txt").touch()
    assert find_lists(tmp_path) is None


@pytest.mark.parametrize(
    ("called", "said"),
    [
        (["train.txt"], r"has train\.txt: give one list for each split"),
        (["val.txt", "testing.txt"], r"has val\.txt, testing\.txt: give one list"),
        (
            ["train.txt", "valid.txt", "val.txt", "test.txt"],
            r"has train\.txt, val\.txt, valid\.txt, test\.txt: give one list",
        ),
    ],
)
def test_lists_that_are_missing_or_there_twice_are_refused(tmp_path, called, said):
    for name in called:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=said):
        find_lists(tmp_path)


def test_files_that_only_look_like_lists_are_named(tmp_path):
    for folder in ("splits", "images", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    found = ["ImageSets/Segmentation/val.txt", "splits/train.txt", "test_list.txt", "train.csv", "trainval.txt"]
    for name in (*found, "images/train.txt", "notes.txt", "train.py"):
        (tmp_path / name).touch()
    (note,) = _position_notes(tmp_path, [])
    assert note.endswith(f"not by files or folders (5): {', '.join(found)}")
