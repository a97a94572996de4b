"""Bad files in a data set: each loads, is refused by name before any work, or is left out with data.on_error=skip."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.pairs import Splits
from src.data.sources.folder import open_folder
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.verify import skipped_text, verify
from src.evaluate import evaluate
from src.prepare import prepare

STEMS = [f"leaf_{number:02}" for number in range(20)]
BAD = "leaf_04"  # a training image


def write_pair(root: Path, stem: str, number: int = 0) -> None:
    """A photo and its mask of 0 and 255, 40 x 36 pixels, as `images/<stem>.jpg` and `masks/<stem>.png`."""
    generator = np.random.default_rng(number)
    mask = np.zeros((36, 40), dtype=np.uint8)
    mask[8:28, 5 + number % 10 : 30] = 255
    photo = np.where(mask[..., None] > 0, 170, 60).astype(np.uint8) + generator.integers(0, 50, (36, 40, 3), np.uint8)
    Image.fromarray(photo).save(root / "images" / f"{stem}.jpg", quality=95)
    Image.fromarray(mask).save(root / "masks" / f"{stem}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound data set of 20 pairs, split by position."""
    root = tmp_path / "leaves"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, stem in enumerate(STEMS):
        write_pair(root, stem, number)
    return root


def opened(root: Path, on_error: str) -> Splits:
    """The data set as a run gets it."""
    return verify(open_folder(root), root.parent / "cache", on_error)[0]


def stems(splits: Splits) -> list[list[str]]:
    return [[pair.stem for pair in split] for split in (splits.train, splits.valid, splits.test)]


# --- each fault by itself

Damage = Callable[[Path, Path], object]


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def repipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def refolder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def save_mask(path: Path, values: list[int], size: tuple[int, int] = (36, 40)) -> None:
    Image.fromarray(np.resize(np.array(values, dtype=np.uint8), size)).save(path)


def rename(path: Path) -> None:
    path.rename(path.with_stem(os.fsdecode(BAD.encode() + b"\xe9")))


# what is done to the image and the mask of one pair, and what is said of it
FAULTS: dict[str, tuple[Damage, str]] = {
    "zero bytes": (lambda image, mask: image.write_bytes(b""), "images/leaf_04.jpg: cannot be read as an image"),
    "zero bytes as mask": (lambda image, mask: mask.write_bytes(b""), "masks/leaf_04.png: cannot be read as an image"),
    "cut short": (
        lambda image, mask: image.write_bytes(image.read_bytes()[:-200]),
        "images/leaf_04.jpg: cannot be read as an image",
    ),
    "text in its place": (
        lambda image, mask: image.write_text("<html>404</html>"),
        "images/leaf_04.jpg: cannot be read as an image",
    ),
    "mask of another size": (
        lambda image, mask: save_mask(mask, [0, 255], (18, 20)),
        "masks/leaf_04.png: the mask is 20 x 18 pixels, its image 40 x 36",
    ),
    "other mask values": (
        lambda image, mask: save_mask(mask, [0, 7, 255]),
        "masks/leaf_04.png: mask values 0, 7, 255",
    ),
    "mask of 0 and 1 among 0 and 255": (
        lambda image, mask: save_mask(mask, [0, 1]),
        "masks/leaf_04.png: mask values 0, 1; this data set's masks hold 0 (background) and 255",
    ),
    "no mask": (lambda image, mask: mask.unlink(), "images/leaf_04.jpg"),
    "no image": (lambda image, mask: image.unlink(), "masks/leaf_04.png"),
    "two images": (
        lambda image, mask: shutil.copy(image, image.with_suffix(".png")),
        "images/leaf_04.png, ",
    ),
    "link that leads nowhere": (
        lambda image, mask: relink(image, "nowhere.jpg"),
        "images/leaf_04.jpg: cannot be read as an image (No such file",
    ),
    "link to itself": (lambda image, mask: relink(mask, mask.name), "masks/leaf_04.png: cannot be read as an image"),
    "pair of links that lead nowhere": (
        lambda image, mask: (relink(image, "nowhere.jpg"), relink(mask, "nowhere.png")),
        "masks/leaf_04.png: cannot be read as an image (No such file",
    ),
    "pipe": (
        lambda image, mask: repipe(image),
        "images/leaf_04.jpg: cannot be read as an image (is a pipe, socket or device; it should be a regular file",
    ),
    "folder": (lambda image, mask: refolder(image), "masks/leaf_04.png"),
    "name that is no UTF-8": (
        lambda image, mask: (rename(image), rename(mask)),
        "the name is not UTF-8, so no table can hold it; rename both files: ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_refused_by_name_or_left_out(root: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    without = Path(shutil.copytree(root, root.parent / "without"))
    for file in without.glob(f"*/{BAD}.*"):
        file.unlink()
    damage, said = FAULTS[fault]
    damage(root / "images" / f"{BAD}.jpg", root / "masks" / f"{BAD}.png")
    with pytest.raises(ValueError) as refusal:
        opened(root, "raise")
    assert said in str(refusal.value)
    splits, digest = verify(open_folder(root), root.parent / "cache", "skip")
    clean, digest_of_clean = verify(open_folder(without), root.parent / "cache")
    assert stems(splits) == stems(clean) and digest == digest_of_clean  # as if the files had never been
    assert len(splits.skipped) == 1 and said in skipped_text(splits)
    skipped_text(splits).encode()  # a log takes it
    assert "cannot be remembered" not in caplog.text


def test_all_faults_at_once_are_in_one_list(root: Path) -> None:
    """Two stages find them, pairing up and the audit; who puts things right is told of both at once."""
    (root / "images" / "leaf_01.jpg").write_bytes(b"")
    (root / "masks" / "leaf_02.png").unlink()
    save_mask(root / "masks" / "leaf_03.png", [0, 255], (18, 20))
    save_mask(root / "masks" / "leaf_06.png", [9])
    relink(root / "images" / "leaf_07.jpg", "nowhere.jpg")
    shutil.copy(root / "images" / "leaf_08.jpg", root / "images" / "leaf_08.jpeg")
    (root / "images" / "notes.txt").write_text("taken in May")
    with pytest.raises(ValueError) as refusal:
        opened(root, "raise")
    for said in (
        "images/leaf_02.jpg",
        "files that are not images, left out (1): images/notes.txt",
        "images/leaf_08.jpeg, ",
        "images/leaf_07.jpg: cannot be read as an image (No such file",
        "leaf_01.jpg: cannot be read",
        "leaf_03.png: the mask is 20 x 18 pixels, its image 40 x 36",
        "leaf_06.png: mask values 9",
    ):
        assert said in str(refusal.value)
    assert len(opened(root, "skip").skipped) == 6


# --- what loads


def test_names_and_files_that_look_odd_and_are_sound_are_used(root: Path) -> None:
    odd = [
        "Größe 猫 🐈",
        "x" * 251,  # with its ending the longest name there is
        "猫" * 83,  # as many bytes
        "<script>alert(1)</script>".replace("/", "_"),
        "new\nline",
        "a.b.c",
        "-rf",
        "%s {0} ${oops}",
    ]
    for number, stem in enumerate(odd):
        write_pair(root, stem, number)
    Image.open(root / "masks" / "leaf_02.png").save(root / "images" / "leaf_02.jpg", "PNG")  # another ending
    save_mask(root / "masks" / "leaf_06.png", [0])  # no foreground
    shutil.move(root / "images" / "leaf_07.jpg", root.parent / "elsewhere.jpg")
    (root / "images" / "leaf_07.jpg").symlink_to(root.parent / "elsewhere.jpg")
    (root / "images" / "._leaf_08.jpg").write_bytes(b"Mac OS X")  # hidden, as on a Mac's disk
    (root / "images" / "around").symlink_to(root / "images")  # a folder, around in a circle
    splits = opened(root, "raise")
    assert sorted(stem for split in stems(splits) for stem in split) == sorted([*STEMS, *odd])
    assert splits.skipped == opened(root, "skip").skipped == ()


def test_a_data_set_without_any_foreground_loads(root: Path) -> None:
    for stem in STEMS:
        save_mask(root / "masks" / f"{stem}.png", [0])
    assert [len(split) for split in stems(opened(root, "raise"))] == [16, 2, 2]


# --- lists of splits


def write_lists(root: Path, train: str, valid: str = "leaf_18\n", test: str = "leaf_19\n") -> None:
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        (root / f"{name}.txt").write_text(text)


def test_a_list_with_blank_lines_comments_and_spaces_is_read(root: Path) -> None:
    write_lists(root, "\n# the first\n  leaf_00  \r\n\t\nleaf_04\n\n#leaf_05\n")
    assert stems(opened(root, "raise")) == [["leaf_00", "leaf_04"], ["leaf_18"], ["leaf_19"]]


def test_a_listed_name_that_is_not_there_is_refused_or_left_out(root: Path) -> None:
    write_lists(root, "leaf_00\nleef_01\n")
    with pytest.raises(ValueError) as refusal:
        opened(root, "raise")
    assert str(refusal.value).endswith(
        "\n  listed in train.txt without image and mask: leef_01"
        "\n  a line of a list is a stem, or a file of images/ or masks/"
        "\n  pairs that no list names, left out (17): leaf_01, leaf_02, leaf_03, leaf_04, leaf_05, leaf_06, leaf_07, "
        "leaf_08, leaf_09, leaf_10, leaf_11, leaf_12, leaf_13, leaf_14, leaf_15, leaf_16, leaf_17"
    )
    splits = opened(root, "skip")
    assert stems(splits) == [["leaf_00"], ["leaf_18"], ["leaf_19"]]
    assert splits.skipped == ("listed in train.txt without image and mask: leef_01",)


def test_only_what_is_listed_counts_as_left_out(root: Path) -> None:
    write_lists(root, "leaf_00\nleaf_04\n")
    for stem in ("leaf_04", "leaf_05"):
        (root / "masks" / f"{stem}.png").unlink()
    assert opened(root, "skip").skipped == (f"image without mask: {root / 'images' / 'leaf_04.jpg'}",)


def test_a_name_that_is_listed_twice_is_refused_though_faults_are_skipped(root: Path) -> None:
    """Which split it belongs to is nothing that leaving a file out could decide."""
    write_lists(root, "leaf_00\nleaf_19\n")
    with pytest.raises(ValueError, match="leaf_19 is listed twice"):
        opened(root, "skip")


@pytest.mark.parametrize("content", [b"leaf_\xe9\n", "leaf_00\n".encode("utf-16")])
def test_a_list_that_is_no_utf8_is_named(root: Path, content: bytes) -> None:
    write_lists(root, "leaf_00\n")
    (root / "train.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"leaves/train\.txt: cannot be read as a list of names in UTF-8"):
        opened(root, "skip")


def test_a_split_of_which_nothing_is_left_is_refused_with_the_reasons(root: Path) -> None:
    write_lists(root, "leaf_00\n")
    (root / "images" / "leaf_19.jpg").write_bytes(b"")
    with pytest.raises(ValueError) as refusal:
        opened(root, "skip")
    assert "got: train 1, valid 1, test 0" in str(refusal.value)
    assert "images/leaf_19.jpg: cannot be read" in str(refusal.value)


# --- the official layout


@pytest.fixture
def pets(tmp_path: Path, write_oxford_pet) -> Path:
    return write_oxford_pet(tmp_path / "pets", [f"Cat_{number}" for number in range(12)], ["dog_1", "dog_2"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda image, mask: (image.unlink(), mask.unlink()),
            "images/Cat_3.jpg: cannot be read as an image (No such file",
        ),
        (lambda image, mask: image.write_bytes(b""), "images/Cat_3.jpg: cannot be read as an image"),
        (lambda image, mask: save_mask(mask, [0, 255], (10, 12)), "trimaps/Cat_3.png: trimap values 0, 255, allowed"),
        (
            lambda image, mask: save_mask(mask, [1], (12, 10)),
            "Cat_3.png: the mask is 10 x 12 pixels, its image 12 x 10",
        ),
        (
            lambda image, mask: repipe(image),
            "images/Cat_3.jpg: cannot be read as an image (is a pipe, socket or device; it should be a regular file",
        ),
        (
            lambda image, mask: refolder(mask),
            "trimaps/Cat_3.png: cannot be read as an image (is a folder; it should be a regular file",
        ),
        (
            lambda image, mask: relink(image, "/dev/zero"),
            "images/Cat_3.jpg: cannot be read as an image (is a pipe, socket or device",
        ),
        (lambda image, mask: relink(image, image.name), "images/Cat_3.jpg: cannot be read as an image"),
    ],
)
def test_each_fault_of_a_pet_is_refused_by_name_or_left_out(pets: Path, tmp_path: Path, damage: Damage, said) -> None:
    before = stems(open_oxford_pet(pets))
    damage(pets / "images" / "Cat_3.jpg", pets / "annotations" / "trimaps" / "Cat_3.png")
    with pytest.raises(ValueError) as refusal:
        verify(open_oxford_pet(pets), tmp_path / "cache")
    assert said in str(refusal.value)
    splits, _ = verify(open_oxford_pet(pets), tmp_path / "cache", "skip")
    assert stems(splits) == [[stem for stem in split if stem != "Cat_3"] for split in before]
    assert len(splits.skipped) == 1 and said in splits.skipped[0]


@pytest.mark.parametrize("name", ["x" * 300, "Cat\0_3"])
def test_a_listed_name_that_no_file_can_have_is_refused_or_left_out(pets: Path, tmp_path: Path, name: str) -> None:
    with (pets / "annotations" / "trainval.txt").open("a") as file:
        file.write(f"{name} 1 1 1\n")
    with pytest.raises(ValueError, match="2 problems in 15 images and their masks"):
        verify(open_oxford_pet(pets), tmp_path / "cache")
    assert len(verify(open_oxford_pet(pets), tmp_path / "cache", "skip")[0].skipped) == 1


def test_a_pet_that_is_listed_twice_is_refused_together_with_broken_files(pets: Path, tmp_path: Path) -> None:
    with (pets / "annotations" / "test.txt").open("a") as file:
        file.write("Cat_3 1 1 1\n")
    (pets / "images" / "Cat_5.jpg").write_bytes(b"")
    with pytest.raises(ValueError) as refusal:
        verify(open_oxford_pet(pets), tmp_path / "cache", "skip")
    assert "Cat_3 is listed twice (train, test)" in str(refusal.value)
    assert "Cat_5.jpg: cannot be read" in str(refusal.value)


# --- what is left out, later


def test_the_fingerprint_is_that_of_the_pairs_that_remain(pets: Path, tmp_path: Path) -> None:
    (pets / "images" / "Cat_3.jpg").write_bytes(b"")
    _, digest = verify(open_oxford_pet(pets), tmp_path / "cache", "skip")
    lines = (pets / "annotations" / "trainval.txt").read_text().splitlines(keepends=True)
    (pets / "annotations" / "trainval.txt").write_text("".join(line for line in lines if "Cat_3 " not in line))
    assert verify(open_oxford_pet(pets), tmp_path / "other")[1] == digest


def test_what_was_left_out_is_looked_at_again(pets: Path, tmp_path: Path) -> None:
    (pets / "images" / "Cat_3.jpg").write_bytes(b"no image")
    first = verify(open_oxford_pet(pets), tmp_path / "cache", "skip")
    assert verify(open_oxford_pet(pets), tmp_path / "cache", "skip") == first
    shutil.copy(pets / "images" / "Cat_5.jpg", pets / "images" / "Cat_3.jpg")
    again, digest = verify(open_oxford_pet(pets), tmp_path / "cache", "skip")
    assert again.skipped == () and len(again.train) == len(first[0].train) + 1 and digest != first[1]


# --- through the commands


@pytest.fixture
def damaged(root: Path) -> Path:
    """The data set with lists and three bad pairs; beside it, as `clean`, the same without them."""
    write_lists(root, "\n".join(STEMS[:12]), "\n".join(STEMS[12:16]), "\n".join(STEMS[16:]))
    clean = Path(shutil.copytree(root, root.parent / "clean"))
    bad = {"train.txt": "leaf_04", "valid.txt": "leaf_13", "test.txt": "leaf_17"}
    for name, stem in bad.items():
        (clean / name).write_text((clean / name).read_text().replace(stem, ""))
    (root / "images" / "leaf_04.jpg").write_bytes(b"")
    save_mask(root / "masks" / "leaf_13.png", [0, 255], (18, 20))
    (root / "masks" / "leaf_17.png").unlink()
    return root


def overrides(root: Path, output: Path) -> list[str]:
    given = ["data=folder", f"data.root={root}", f"data.cache_dir={root.parent}/cache", "data.image_size=32"]
    return [
        *given,
        "data.workers=0",
        "size=small",
        "trainer.epochs=2",
        "model.width=2",
        "device=cpu",
        f"output={output}",
    ]


@pytest.mark.long
def test_a_run_with_faults_skipped_is_the_run_without_those_files(damaged, train, here, tmp_path) -> None:
    refused = here(prepare, *overrides(damaged, tmp_path)[:3])
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    for name in ("leaf_04.jpg: cannot be read", "leaf_13.png: the mask is", "images/leaf_17.jpg"):
        assert name in refused.stderr

    runs = []
    for root in (damaged, damaged.parent / "clean"):
        done = train(*overrides(root, tmp_path / root.name / "runs"), "data.on_error=skip")
        assert done.returncode == 0, done.stderr
        runs.append(next((tmp_path / root.name / "runs").glob("single/[!.]*")))
    (skipping, said), (clean, _) = ((run, json.loads((run / "run.json").read_text())) for run in runs)
    assert skipping.name == clean.name and said["data"]["skipped"] == 3
    assert json.loads((clean / "run.json").read_text())["data"] == {**said["data"], "skipped": 0}
    assert said["data"]["images"] == {"train": 11, "valid": 3, "test": 3}
    assert (skipping / "test_images.csv").read_bytes() == (clean / "test_images.csv").read_bytes()
    log = (skipping / "train.log").read_text()
    assert "3 pairs were left out (data.on_error=skip):" in log and "on_error" not in (clean / "train.log").read_text()
    for name in ("leaf_04.jpg: cannot be read", "leaf_13.png: the mask is", "images/leaf_17.jpg"):
        assert name in log

    scored = here(evaluate, f"run={skipping}", "device=cpu", "images=1", f"cache={tmp_path}/another")
    assert scored.returncode == 0, scored.stderr
    assert json.loads((skipping / "test.json").read_text())["protocols"]["headline"]["images"] == 3
    described = ("describe=true", f"output={tmp_path}/described")
    prepared = here(prepare, *overrides(damaged, tmp_path)[:3], "data.on_error=skip", *described)
    assert prepared.returncode == 0 and "3 pairs were left out" in prepared.stdout, prepared.stderr
    assert "11 training, 3 validation and 3 test images" in prepared.stdout
    assert "split test" in prepared.stdout and len((tmp_path / "described" / "images.csv").read_text().split()) == 18
    assert said["data"]["fingerprint"][:12] in prepared.stdout


@pytest.mark.long
def test_odd_names_go_through_training_and_evaluation(root, train, here, tmp_path) -> None:
    odd = ["x" * 251, "猫" * 83, "<script>alert(1)<", "new\nline", "%s {0} ${oops}", "a,b;\"c\"'d'"]
    for number, stem in enumerate(odd):
        write_pair(root, stem, number)
    lists = ("\n".join(STEMS[:16]), "\n".join(STEMS[16:]), "\n".join(stem for stem in odd if "\n" not in stem))
    write_lists(root, *lists)
    done = train(*overrides(root, tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/single/[!.]*")
    scored = here(evaluate, f"run={run}", "device=cpu", "images=2")
    assert scored.returncode == 0, scored.stderr
    table = (run / "test_images.csv").read_text()
    assert all(stem in table.replace('""', '"') for stem in odd if "\n" not in stem)
