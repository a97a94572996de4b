"""A data set of one's own: pairing, mask values, splits by position or by lists, and everything that is refused."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.base.config import parse_data
from src.data.open_data import open_data
from src.data.pairs import Pair
from src.data.sources.folder import _position_notes, find_lists, open_folder, read_names
from src.data.verify import verify


def write_pair(root: Path, stem: str, foreground: int = 255, mask: np.ndarray | None = None) -> None:
    """A grey photo of 4 x 3 pixels, and a mask whose left half is foreground."""
    for folder in ("images", "masks"):
        (root / folder / stem).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (90, 90, 90)).save(root / "images" / f"{stem}.jpg")
    if mask is None:
        mask = np.zeros((3, 4), dtype=np.uint8)
        mask[:, :2] = foreground
    Image.fromarray(mask).save(root / "masks" / f"{stem}.png")


def write_pairs(root: Path, count: int, foreground: int = 255) -> list[str]:
    stems = [f"leaf_{number:02}" for number in range(count)]
    for stem in stems:
        write_pair(root, stem, foreground)
    return stems


def refusal(root: Path, **settings) -> str:
    with pytest.raises(ValueError) as refused:
        verify(open_folder(root, **settings), root / "cache")
    return str(refused.value)


def stems(pairs: list[Pair]) -> list[str]:
    return [pair.stem for pair in pairs]


# --- splits


def test_split_by_position_of_the_sorted_stems(tmp_path: Path) -> None:
    """Of 23: valid at 0, 10, 20, test at 5, 15, the other 18 train."""
    write_pairs(tmp_path, 23)
    splits = open_folder(tmp_path)
    assert stems(splits.valid) == ["leaf_00", "leaf_10", "leaf_20"]
    assert stems(splits.test) == ["leaf_05", "leaf_15"]
    assert len(splits.train) == 18


def test_fold_moves_valid_and_test(tmp_path: Path) -> None:
    write_pairs(tmp_path, 20)
    splits = open_folder(tmp_path, fold=7)
    assert stems(splits.valid) == ["leaf_07", "leaf_17"]
    assert stems(splits.test) == ["leaf_02", "leaf_12"]  # (7 + 5) % 10


def test_lists_decide_where_there_are_three(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    (tmp_path / "train.txt").write_text("# mine\nleaf_03\nleaf_01\n")
    (tmp_path / "valid.txt").write_text("leaf_00\n\n")
    (tmp_path / "test.txt").write_text("leaf_04")
    splits = open_folder(tmp_path)
    assert stems(splits.train) == ["leaf_03", "leaf_01"]
    assert stems(splits.valid) == ["leaf_00"]
    assert stems(splits.test) == ["leaf_04"]
    assert splits.notes == ("pairs that no list names, left out (1): leaf_02",)


def test_names_may_hold_spaces_and_points(tmp_path: Path) -> None:
    for stem in ("my leaf", "leaf.v2", "ü"):
        write_pair(tmp_path, stem)
    (tmp_path / "train.txt").write_text("my leaf\n")
    (tmp_path / "valid.txt").write_text("leaf.v2\n")
    (tmp_path / "test.txt").write_text("ü\n", encoding="utf-8")
    splits = open_folder(tmp_path)
    assert stems(splits.train + splits.valid + splits.test) == ["my leaf", "leaf.v2", "ü"]


def test_lists_that_name_files_are_read(tmp_path: Path) -> None:
    write_suffixed(tmp_path, 5, "_mask")
    (tmp_path / "training.txt").write_text("leaf_03.jpg\nimages/leaf_01.jpg masks/leaf_01_mask.png\r\n")
    (tmp_path / "val.txt").write_text("leaf_00_mask.png\n")
    (tmp_path / "testing.txt").write_text("leaf_04 1")
    splits = open_folder(tmp_path, mask_suffix="_mask")
    assert [stems(split) for split in (splits.train, splits.valid, splits.test)] == [
        ["leaf_03", "leaf_01"],
        ["leaf_00"],
        ["leaf_04"],
    ]


def test_what_only_looks_as_if_it_decided_the_splits_is_named(tmp_path: Path) -> None:
    for number in range(12):
        write_pair(tmp_path, f"{'train' if number < 9 else 'val'}/leaf_{number:02}")
    (tmp_path / "train_list.txt").touch()
    assert open_folder(tmp_path).notes == (
        "the splits are by position (train.txt, valid.txt, test.txt in data.root would decide them), not by files or "
        "folders (3): train_list.txt, images/train/, images/val/",
    )


def test_unknown_and_repeated_stems_are_all_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    (tmp_path / "train.txt").write_text("leaf_00\nleaf_00\nleef_01\n")
    (tmp_path / "valid.txt").write_text("images/leaf_02.jpg\n")
    (tmp_path / "test.txt").write_text("leaf_02\nleaf_9\n")
    message = refusal(tmp_path)
    assert (
        "leaf_00 is listed twice (train, train)\n" in message and "leaf_02 is listed twice (valid, test)\n" in message
    )
    assert "listed in train.txt without image and mask: leef_01\n" in message
    assert "listed in test.txt without image and mask: leaf_9" in message


# --- pairing


def test_everything_that_does_not_pair_up_is_in_one_message(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    Image.new("RGB", (4, 3)).save(tmp_path / "images" / "only.png")
    Image.new("L", (4, 3)).save(tmp_path / "masks" / "alone.png")
    Image.new("RGB", (4, 3)).save(tmp_path / "images" / "leaf_00.bmp")
    (tmp_path / "masks" / "leaf_01.png").write_bytes(b"no image")
    message = refusal(tmp_path)
    images, masks = tmp_path / "images", tmp_path / "masks"
    assert "5 problems in 1 images and their masks:" in message
    assert f"image without mask: {images / 'only.png'}\n" in message
    assert f"mask without image: {masks / 'alone.png'}\n" in message
    assert f"several files of one stem: {images / 'leaf_00.bmp'}, {images / 'leaf_00.jpg'}, " in message
    assert f"{masks / 'leaf_01.png'}: cannot be read as an image" in message


def test_subfolders_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    write_pairs(tmp_path, 9)
    write_pair(tmp_path, "more/leaf_00")
    write_pair(tmp_path, "more/and more/leaf.v2")
    for name in (
        "images/.DS_Store",
        "masks/._leaf_01.png",
        "images/__MACOSX/._leaf.jpg",
        "masks/@eaDir/leaf_01.png/thumb.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "images" / "around").symlink_to(tmp_path / "images")
    splits = open_folder(tmp_path)
    assert stems(splits.test) == ["leaf_05"] and stems(splits.valid) == ["leaf_00", "more/leaf_00"]
    assert "more/and more/leaf.v2" in stems(splits.train)  # the order of the splits is that of whole stems
    assert splits.notes == ()


def test_a_linked_subfolder_is_read(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", 9)
    write_pairs(tmp_path / "other", 3)
    for name in ("images", "masks"):
        (tmp_path / "set" / name / "linked").symlink_to(tmp_path / "other" / name)
    splits = open_folder(tmp_path / "set")
    assert sum(map(len, (splits.train, splits.valid, splits.test))) == 12


@pytest.mark.parametrize(
    "name", ["images/desktop.ini", "masks/Thumbs.db", "masks/classes.txt", "images/labels.json", "images/a/b"]
)
def test_files_that_are_not_images_are_left_out_counted_and_hold_no_place(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path, 12)
    before = open_folder(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\x00\x01 no picture")
    (tmp_path / "masks" / "empty").touch()
    splits = open_folder(tmp_path)
    assert (splits.train, splits.valid, splits.test) == (before.train, before.valid, before.test)
    assert splits.skipped == ()
    assert splits.notes == (f"files that are not images, left out (2): {', '.join([name, 'masks/empty'])}",)


@pytest.mark.parametrize("name", ["pipe", "pipe.png"])
def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path, 10)
    os.mkfifo(tmp_path / "images" / name)
    if name == "pipe":
        assert open_folder(tmp_path).notes == ("files that are not images, left out (1): images/pipe",)
    else:
        assert f"image without mask: {tmp_path / 'images' / 'pipe.png'}" in refusal(tmp_path)


def test_names_pair_up_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed = [unicodedata.normalize("NFC", f"Füße_{number}") for number in range(10)]
    for stem in composed:
        write_pair(tmp_path, stem)
        image = tmp_path / "images" / f"{stem}.jpg"
        image.rename(image.with_stem(unicodedata.normalize("NFD", stem)))
    splits = open_folder(tmp_path)
    assert sorted(stems(splits.train + splits.valid + splits.test)) == composed
    assert verify(splits, tmp_path / "cache")[1]


def test_one_name_in_both_forms_is_two_files_of_one_stem(tmp_path: Path) -> None:
    write_pair(tmp_path, unicodedata.normalize("NFC", "ü"))
    write_pair(tmp_path, unicodedata.normalize("NFD", "ü"))
    assert "several files of one stem" in refusal(tmp_path)


def write_suffixed(root: Path, count: int, suffix: str) -> None:
    for stem in write_pairs(root, count):
        (root / "masks" / f"{stem}.png").rename(root / "masks" / f"{stem}{suffix}.png")


def test_a_suffix_pairs_masks_and_others_are_left_out(tmp_path: Path) -> None:
    write_suffixed(tmp_path, 10, "_mask")
    Image.new("L", (4, 3)).save(tmp_path / "masks" / "leaf_03_edge.png")
    splits = open_folder(tmp_path, mask_suffix="_mask")
    assert splits.train[2] == Pair("leaf_03", tmp_path / "images/leaf_03.jpg", tmp_path / "masks/leaf_03_mask.png")
    assert splits.notes == (
        "masks whose names do not end with data.mask_suffix=_mask, left out (1): masks/leaf_03_edge.png",
    )
    assert "suffix pair up with data.mask_suffix=<suffix>, for example _mask" in refusal(tmp_path)
    assert "left out (11): masks/leaf_00_mask.png" in refusal(tmp_path, mask_suffix="_maks")


def test_masks_that_inference_wrote_pair_by_their_suffix(tmp_path: Path) -> None:
    write_suffixed(tmp_path, 10, ".jpg.mask")
    Image.new("L", (4, 3)).save(tmp_path / "masks" / "leaf_00.jpg.overlay.png")
    assert [pair.mask.name for pair in open_folder(tmp_path, mask_suffix=".jpg.mask").valid] == ["leaf_00.jpg.mask.png"]


def test_the_key_reaches_the_folder(tmp_path: Path, composed) -> None:
    write_suffixed(tmp_path, 10, "-label")
    given = ("data=folder", f"data.root={tmp_path}", "data.mask_suffix=-label")
    assert len(open_data(parse_data(composed(*given)["data"])).train) == 8


@pytest.mark.parametrize("absent", ["images", "masks"])
def test_absent_folder_is_named(tmp_path: Path, absent: str) -> None:
    write_pairs(tmp_path, 1)
    (tmp_path / absent).rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"no folder {absent} in "):
        open_folder(tmp_path)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="no images and masks in "):
        open_folder(tmp_path)


# --- Lists of splits as other programs write them: what they are called, how a line names a pair, what is refused

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
