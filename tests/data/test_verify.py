"""Verification: what stops a run before it begins, what the fingerprint depends on, and what is remembered."""

import importlib
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.decoding import PairDecoder
from src.data.pairs import Pair, Splits
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.verify import PairCheck, file_state, verify

PROJECT = Path(__file__).parents[2]
TRAINVAL = [f"Cat_{number}" for number in range(12)]
TEST = ["Cat_100", "dog_1"]


@pytest.fixture
def root(tmp_path: Path, write_oxford_pet) -> Path:
    return write_oxford_pet(tmp_path / "pets", TRAINVAL, TEST)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def content_of(root: Path, fold: int = 0) -> str:
    """The fingerprint as it is without any memory."""
    return verify(open_oxford_pet(root, fold), root / "no file" / "in here")[1]


def refusal_of(splits: Splits, cache: Path) -> str:
    with pytest.raises(ValueError) as refusal:
        verify(splits, cache)[1]
    return str(refusal.value)


# --- the fingerprint


def test_fingerprint_is_the_sha256_of_what_the_docstring_says(root: Path, cache: Path) -> None:
    """Recomputed with the sha256sum program: sorted `stem, image, mask` lines under trainval and test."""

    def sha256sum(content: bytes) -> str:
        return subprocess.run(["sha256sum"], input=content, capture_output=True, check=True).stdout.decode()[:64]

    def lines(stems: list[str]) -> list[str]:
        files = [(root / f"images/{stem}.jpg", root / f"annotations/trimaps/{stem}.png") for stem in stems]
        digests = [[sha256sum(file.read_bytes()) for file in pair] for pair in files]
        return sorted("\t".join([stem, *pair]) for stem, pair in zip(stems, digests, strict=True))

    content = "\n".join(["trainval", *lines(TRAINVAL), "test", *lines(TEST)])
    assert verify(open_oxford_pet(root), cache)[1] == sha256sum(content.encode())


def test_fingerprint_is_the_same_for_every_fold_folder_and_date(root: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    for file in moved.rglob("*.*"):
        os.utime(file, (1, 1))
    assert content_of(root) == content_of(root, fold=4) == content_of(moved)


@pytest.mark.parametrize("changed", ["images/Cat_3.jpg", "annotations/trimaps/Cat_3.png"])
def test_fingerprint_changes_with_every_byte(root: Path, changed: str) -> None:
    before = content_of(root)
    with (root / changed).open("ab") as file:
        file.write(b"\0")  # decoders ignore what follows the end
    assert content_of(root) != before


def test_fingerprint_changes_when_a_stem_moves_to_test(root: Path) -> None:
    before = content_of(root)
    lists = root / "annotations"
    (lists / "trainval.txt").write_text("\n".join(TRAINVAL[:-1]))
    (lists / "test.txt").write_text("\n".join([*TEST, TRAINVAL[-1]]))
    assert content_of(root) != before


# --- what is refused


def test_all_offenders_are_named_with_their_reasons(root: Path, cache: Path) -> None:
    images, trimaps = root / "images", root / "annotations" / "trimaps"
    (images / "Cat_1.jpg").unlink()
    (trimaps / "Cat_2.png").write_bytes(b"")
    (images / "Cat_3.jpg").write_bytes((images / "Cat_3.jpg").read_bytes()[:-40])
    Image.new("L", (12, 10), 0).save(trimaps / "Cat_4.png")
    Image.new("L", (10, 12), 1).save(trimaps / "dog_1.png")
    message = refusal_of(open_oxford_pet(root), cache)
    assert "5 problems in 14 images and their masks" in message
    assert f"{images / 'Cat_1.jpg'}: cannot be read as an image (No such file" in message
    assert f"{trimaps / 'Cat_2.png'}: cannot be read as an image" in message
    assert f"{images / 'Cat_3.jpg'}: cannot be read as an image (image file is truncated" in message
    assert f"{trimaps / 'Cat_4.png'}: trimap values 0, allowed are 1 pet, 2 background, 3 border" in message
    assert f"{trimaps / 'dog_1.png'}: the mask is 10 x 12 pixels, its image 12 x 10" in message


def test_a_pair_may_be_wrong_in_both_files(root: Path, cache: Path) -> None:
    (root / "images" / "Cat_1.jpg").unlink()
    (root / "annotations" / "trimaps" / "Cat_1.png").unlink()
    assert "2 problems" in refusal_of(open_oxford_pet(root), cache)


def test_only_fifty_offenders_are_listed(tmp_path: Path, cache: Path, write_oxford_pet) -> None:
    stems = [f"Cat_{number}" for number in range(60)]
    root = write_oxford_pet(tmp_path / "many", stems, TEST)
    for stem in stems:
        (root / "images" / f"{stem}.jpg").unlink()
    message = refusal_of(open_oxford_pet(root), cache)
    assert message.count("No such file") == 50
    assert message.endswith("... and 10 more")


def test_mask_without_foreground_is_allowed(root: Path, cache: Path) -> None:
    Image.new("L", (12, 10), 2).save(root / "annotations" / "trimaps" / "Cat_4.png")
    assert len(verify(open_oxford_pet(root), cache)[1]) == 64


def test_empty_splits_are_refused_with_the_counts(root: Path, cache: Path) -> None:
    splits = replace(open_oxford_pet(root), test=[])
    assert "every split needs at least one image, got: train 10, valid 2, test 0" in refusal_of(splits, cache)


def test_stem_in_two_splits_is_refused(root: Path, cache: Path) -> None:
    splits = open_oxford_pet(root)
    shared = replace(splits, test=[*splits.test, splits.train[0]], valid=[*splits.valid, *splits.valid[:1]])
    message = refusal_of(shared, cache)
    assert "Cat_1 is listed twice (train, test)" in message
    assert "Cat_0 is listed twice (valid, valid)" in message


# --- what is remembered


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stems of the pairs whose files are read from here on."""
    stems: list[str] = []
    plain = importlib.import_module("src.data.verify")._check

    def noting(pair: Pair, decoder: PairDecoder) -> PairCheck:
        stems.append(pair.stem)
        return plain(pair, decoder)

    monkeypatch.setattr("src.data.verify._check", noting)
    return stems


def test_second_call_opens_no_image_whatever_the_fold(root: Path, cache: Path, examined: list[str]) -> None:
    first = verify(open_oxford_pet(root), cache)
    assert sorted(examined) == sorted([*TRAINVAL, *TEST])
    examined.clear()
    again = verify(open_oxford_pet(root), cache)
    other_fold = verify(open_oxford_pet(root, fold=5), cache)
    assert examined == [] and again == first and other_fold[1] == first[1]
    assert [pair.facts for pair in again[0].train] == [pair.facts for pair in first[0].train]


@pytest.mark.parametrize("how", ["written over", "another in its place", "renamed over"])
def test_content_that_changed_under_the_same_size_and_date_is_noticed(root: Path, cache: Path, how: str) -> None:
    splits = open_oxford_pet(root)
    verify(splits, cache)[1]
    image = root / "images" / "Cat_3.jpg"
    status, rubbish = image.stat(), np.random.default_rng(0).bytes(image.stat().st_size)
    if how == "renamed over":
        image.with_name("new").write_bytes(rubbish)
        image.with_name("new").replace(image)
    else:
        if how == "another in its place":
            image.unlink()
        image.write_bytes(rubbish)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "Cat_3.jpg: cannot be read" in refusal_of(splits, cache)


@pytest.mark.parametrize("stem", ["Cat_3", "Cat_10", "dog_1"])  # train, valid, test
@pytest.mark.parametrize("change", ["date", "size"])
def test_changed_file_is_checked_again(root: Path, cache: Path, change: str, stem: str) -> None:
    splits = open_oxford_pet(root)
    verify(splits, cache)[1]
    image = root / "images" / f"{stem}.jpg"
    status = image.stat()
    image.write_bytes(bytes(status.st_size + (change == "size")))
    new_date = status.st_mtime_ns + (change == "date")
    os.utime(image, ns=(new_date, new_date))
    assert f"{stem}.jpg: cannot be read" in refusal_of(splits, cache)


def test_same_files_split_otherwise_are_checked_again(root: Path, cache: Path) -> None:
    splits = open_oxford_pet(root)
    moved = replace(splits, train=splits.train[1:], test=[*splits.test, splits.train[0]])
    assert verify(splits, cache)[1] != verify(moved, cache)[1]


def test_failure_is_not_remembered(root: Path, cache: Path) -> None:
    trimap = root / "annotations" / "trimaps" / "Cat_4.png"
    sound = trimap.read_bytes()
    trimap.unlink()
    refusal_of(open_oxford_pet(root), cache)
    trimap.write_bytes(sound)
    assert len(verify(open_oxford_pet(root), cache)[1]) == 64


def test_damaged_memory_is_written_again(root: Path, cache: Path) -> None:
    splits = open_oxford_pet(root)
    first = verify(splits, cache)[1]
    (memory,) = (cache / "verified").iterdir()
    whole = memory.read_text()
    digit = whole.index('"Cat_1":[') + 20
    for damaged in ('{"fingerp', "[]", whole[:digit] + ("0" if whole[digit] != "0" else "1") + whole[digit + 1 :]):
        memory.write_text(damaged)
        assert verify(splits, cache)[1] == first
        assert memory.read_text() == whole


def test_unwritable_cache_costs_only_the_memory_with_a_warning(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file, so no folder can be made here, not even by root")
    with caplog.at_level(logging.WARNING, "src.data.verify"):
        assert len(verify(open_oxford_pet(root), occupied)[1]) == 64
    assert len(caplog.messages) == 1
    assert all("cannot be remembered, so each run will repeat it" in message for message in caplog.messages)


@pytest.mark.parametrize("change", ["size", "date", "content", "inode"])
def test_the_state_of_a_file_shows_every_change(tmp_path: Path, change: str) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(b"sound")
    before, status = file_state(file), file.stat()
    if change == "inode":
        file.with_name("new").write_bytes(b"sound")
        file.with_name("new").replace(file)
    else:
        file.write_bytes(b"sounds" if change == "size" else b"wrong")
    if change != "date":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file_state(file) != before


def test_a_missing_file_has_a_state(tmp_path: Path) -> None:
    assert file_state(tmp_path / "none") == (str(tmp_path / "none"), -1, 0, 0, 0)


def test_two_processes_at_once_agree(root: Path, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from src.data.verify import verify;"
        "from src.data.sources.oxford_pet import open_oxford_pet;"
        "print(verify(open_oxford_pet(Path(sys.argv[1])), Path(sys.argv[2]))[1])"
    )
    command = [sys.executable, "-c", program, str(root), str(cache)]
    processes = [subprocess.Popen(command, cwd=PROJECT, stdout=-1, stderr=-1, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert {printed.strip() for printed, _ in answers} == {content_of(root)}
    assert [complaints for _, complaints in answers] == ["", "", ""]  # and no bar where there is no terminal
    assert len(list((cache / "verified").iterdir())) == 1
