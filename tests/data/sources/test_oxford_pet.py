"""The official layout: the split rule, the lists, and what is said when the data are not there."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.masks import MaskReader
from src.data.sources.oxford_pet import missing_files, open_oxford_pet
from src.data.verify import verify

TRAINVAL = [f"Cat_{number}" for number in range(23)]
TEST = ["Cat_100", "dog_1"]


@pytest.fixture
def root(tmp_path: Path, write_oxford_pet) -> Path:
    return write_oxford_pet(tmp_path / "pets", TRAINVAL, TEST)


def stems(pairs) -> list[str]:
    return [pair.stem for pair in pairs]


def test_every_tenth_line_is_valid(root: Path) -> None:
    """Report A: line i is valid when i % 10 == 0, so lines 0, 10 and 20 of 23; the rest keep their order."""
    splits = open_oxford_pet(root)
    assert stems(splits.valid) == ["Cat_0", "Cat_10", "Cat_20"]
    assert stems(splits.train) == [stem for stem in TRAINVAL if stem not in ("Cat_0", "Cat_10", "Cat_20")]
    assert stems(splits.test) == TEST


def test_fold_moves_the_valid_lines_only(root: Path) -> None:
    splits = open_oxford_pet(root, fold=3)
    assert stems(splits.valid) == ["Cat_3", "Cat_13"]
    assert len(splits.train) == 21
    assert stems(splits.test) == TEST


@pytest.mark.long
def test_ten_folds_validate_on_every_stem_once(root: Path) -> None:
    valid = [stem for fold in range(10) for stem in stems(open_oxford_pet(root, fold).valid)]
    assert sorted(valid) == sorted(TRAINVAL)


def test_pair_names_image_and_trimap(root: Path) -> None:
    pair = open_oxford_pet(root).test[1]
    assert pair.stem == "dog_1"
    assert pair.image == root / "images" / "dog_1.jpg"
    assert pair.mask == root / "annotations" / "trimaps" / "dog_1.png"
    assert pair.image.is_file() and pair.mask.is_file()


def test_only_lines_with_a_stem_are_counted(root: Path) -> None:
    """Blank lines and comments do not shift which line is the tenth."""
    lines = [f"{stem} 1 1 1" for stem in TRAINVAL]
    lines[5:5] = ["", "# Cat_5 is next", "   "]
    (root / "annotations" / "trainval.txt").write_text("\n".join(lines))
    assert stems(open_oxford_pet(root).valid) == ["Cat_0", "Cat_10", "Cat_20"]


def test_mac_files_and_strays_do_not_matter(root: Path) -> None:
    """The official archive holds `._` files beside the trimaps, and matlab files beside the images."""
    (root / "annotations" / "trimaps" / "._Cat_1.png").write_bytes(b"Mac OS X")
    (root / "images" / "Cat_1.mat").write_bytes(b"MATLAB")
    (root / "images" / "unlisted.jpg").write_bytes(b"")
    splits = open_oxford_pet(root)
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 25


def test_list_that_climbs_out_of_the_folder_is_refused(root: Path) -> None:
    (root / "annotations" / "test.txt").write_text("Cat_100 1 1 1\n../../secret 1 1 1\n")
    with pytest.raises(ValueError, match=r"test\.txt: .*got \.\./\.\./secret"):
        open_oxford_pet(root)


def test_absent_data_are_explained_with_the_ways_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        open_oxford_pet(tmp_path / "nowhere")
    message = str(refusal.value)
    assert str(tmp_path / "nowhere") in message
    for way in (
        "data.download=true",
        "python -m src.prepare data=oxford_pet",
        "data.root=",
        "OXFORD_PET_ROOT",
        "data=synthetic",
    ):
        assert way in message


def test_only_the_absent_parts_are_named(root: Path) -> None:
    (root / "annotations" / "test.txt").unlink()
    with pytest.raises(ValueError, match=r": annotations/test\.txt not found"):
        open_oxford_pet(root)


def test_missing_files_are_the_listed_ones(root: Path) -> None:
    assert missing_files(root) == []
    (root / "images" / "dog_1.jpg").unlink()
    (root / "annotations" / "trimaps" / "Cat_7.png").unlink()
    assert missing_files(root) == ["annotations/trimaps/Cat_7.png", "images/dog_1.jpg"]


def test_trimap_is_read_as_its_codes(tmp_path: Path) -> None:
    path = tmp_path / "trimap.png"
    Image.fromarray(np.array([[1, 2, 3]], dtype=np.uint8)).save(path)
    trimap = MaskReader()(path)
    assert trimap.dtype == np.uint8
    np.testing.assert_array_equal(trimap, [[1, 2, 3]])


def test_trimap_with_other_codes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trimap.png"
    Image.fromarray(np.array([[0, 1, 2, 4]], dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"trimap\.png: trimap values 0, 1, 2, 4, allowed are 1 pet"):
        MaskReader()(path)


@pytest.mark.parametrize("orientation", [3, 6])
def test_official_files_keep_their_stored_pixels(root: Path, tmp_path: Path, orientation: int) -> None:
    """The official trimaps are drawn on them, whatever the EXIF data say."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pair = open_oxford_pet(root).train[0]
    stored = Image.open(pair.image).convert("RGB")
    stored.save(pair.image, "PNG", exif=exif)
    splits = verify(open_oxford_pet(root), tmp_path / "cache")[0]
    image, trimap = splits.decoder(pair.image, pair.mask)
    np.testing.assert_array_equal(image, np.array(stored))
    np.testing.assert_array_equal(trimap, np.array(Image.open(pair.mask)))


def test_splits_can_be_sent_to_another_process(root: Path) -> None:
    splits = open_oxford_pet(root)
    assert pickle.loads(pickle.dumps(splits)) == splits


@pytest.mark.skipif("OXFORD_PET_ROOT" not in os.environ, reason="needs the real data: set OXFORD_PET_ROOT")
def test_real_data_are_sound_and_split_as_in_report_a(tmp_path: Path) -> None:
    root = Path(os.environ["OXFORD_PET_ROOT"])
    lines = (root / "annotations" / "trainval.txt").read_text().splitlines()
    listed = [line.split(" ")[0] for line in lines]
    splits = open_oxford_pet(root)
    assert stems(splits.valid) == listed[::10]
    assert len(splits.train) == len(listed) - len(splits.valid)
    for pair in (*splits.train[:20], *splits.test[:20]):
        with Image.open(pair.image) as image, Image.open(pair.mask) as trimap:
            pixels, codes = splits.decoder(pair.image, pair.mask)
            np.testing.assert_array_equal(pixels, np.array(image.convert("RGB")))
            np.testing.assert_array_equal(codes, np.array(trimap))
    assert set(stems(splits.train)).isdisjoint(stems(splits.valid))
    if len(listed) == 3680:  # the whole data set, not a part of it
        assert (len(splits.train), len(splits.valid), len(splits.test)) == (3312, 368, 3669)
    content = verify(splits, tmp_path)[1]
    assert content == verify(open_oxford_pet(root, fold=7), tmp_path / "other")[1]
