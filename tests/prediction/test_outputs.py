"""Which pictures are written, where, and what is in them."""

from pathlib import Path

import numpy as np
import pytest

from src.data.images import ImageReader
from src.prediction.outputs import Outputs, as_16_bit, as_png
from src.prediction.panels import outlined
from src.prediction.predict import Prediction
from tests.prediction.pictures import grey, save

PROBABILITY = np.array([[0, 0.25], [0.5, 1]], dtype=np.float32)
PREDICTION = Prediction(PROBABILITY > 0.4, PROBABILITY)
PHOTO = Path("cats/IMG (1).jpg")


@pytest.fixture
def source(tmp_path):
    return save(tmp_path / "photos" / PHOTO, np.full((2, 2, 3), 100, dtype=np.uint8))


def outputs(tmp_path, **choices) -> Outputs:
    return Outputs(tmp_path / "masks", **choices)


def test_names_keep_the_folders_and_the_whole_name(tmp_path):
    names = [outputs(tmp_path).path(PHOTO, kind).relative_to(tmp_path) for kind in ("mask", "overlay", "probability")]
    assert [name.as_posix() for name in names] == [
        "masks/cats/IMG (1).jpg.mask.png",
        "masks/cats/IMG (1).jpg.overlay.png",
        "masks/cats/IMG (1).jpg.probability.png",
    ]


def test_pictures_hold_what_was_predicted(tmp_path, source):
    wanted = outputs(tmp_path, overlay=True, probability=True)
    wanted.write(source, PHOTO, PREDICTION, wanted.to_write(PHOTO), ImageReader())
    mask, probability = (grey(wanted.path(PHOTO, kind)) for kind in ("mask", "probability"))
    np.testing.assert_array_equal(mask, [[0, 0], [255, 255]])
    np.testing.assert_array_equal(probability, [[0, 16384], [32768, 65535]])  # of 65535, rounded (half to even)
    assert (mask.dtype, probability.dtype) == (np.uint8, np.uint16)
    np.testing.assert_array_equal(
        grey(wanted.path(PHOTO, "overlay")), outlined(np.full((2, 2, 3), 100, np.uint8), PREDICTION.mask)
    )
    assert len(list((tmp_path / "masks").rglob("*"))) == 4  # the folder cats, three pictures, nothing left behind


def test_a_photo_that_has_vanished_has_no_overlay(tmp_path):
    wanted = outputs(tmp_path, overlay=True)
    with pytest.raises(ValueError, match=r"gone\.jpg: no such file"):
        wanted.write(
            tmp_path / "gone.jpg", Path("gone.jpg"), PREDICTION, wanted.to_write(Path("gone.jpg")), ImageReader()
        )
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["gone.jpg.mask.png"]


def test_a_png_may_be_longer_than_a_million_pixels(tmp_path):
    """Where libpng gives up."""
    (tmp_path / "long.png").write_bytes(as_png(np.full((1, 1_000_001), 7, dtype=np.uint8)))
    assert grey(tmp_path / "long.png").shape == (1, 1_000_001)


def test_16_bits_reach_from_0_to_1():
    np.testing.assert_array_equal(as_16_bit(np.array([0, 1 / 65535, 1], dtype=np.float32)), [0, 1, 65535])


def test_only_what_is_missing_is_written_unless_all_is_to_be_overwritten(tmp_path, source):
    outputs(tmp_path).write(source, PHOTO, PREDICTION, ["mask"], ImageReader())
    assert outputs(tmp_path).to_write(PHOTO) == []
    assert outputs(tmp_path, probability=True).to_write(PHOTO) == ["probability"]
    assert outputs(tmp_path, overlay=True, overwrite=True).to_write(PHOTO) == ["mask", "overlay"]
    np.testing.assert_array_equal(outputs(tmp_path).kept_mask(PHOTO), PREDICTION.mask)


def test_a_damaged_mask_is_not_kept(tmp_path):
    wanted = outputs(tmp_path)
    path = wanted.path(PHOTO, "mask")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a ma")
    with pytest.raises(ValueError, match=r"mask\.png: cannot be read .*; overwrite=true makes it again"):
        wanted.kept_mask(PHOTO)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="is in the way and no file"):
        wanted.kept_mask(PHOTO)


def test_a_link_that_leads_out_is_not_written_through(tmp_path, source):
    (tmp_path / "masks").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "masks" / "cats").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"cats leads out of .*masks"):
        outputs(tmp_path, overwrite=True).to_write(PHOTO)


def test_a_link_in_the_place_of_a_mask_is_replaced_and_not_followed(tmp_path, source):
    wanted = outputs(tmp_path, overwrite=True)
    path = wanted.path(PHOTO, "mask")
    path.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    assert outputs(tmp_path).to_write(PHOTO) == []  # it is there: without overwrite it stays
    wanted.write(source, PHOTO, PREDICTION, wanted.to_write(PHOTO), ImageReader())
    assert (tmp_path / "precious").read_text() == "precious" and not path.is_symlink()


def test_an_output_folder_that_is_a_link_itself_is_used(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "masks").symlink_to(tmp_path / "disk")
    assert outputs(tmp_path).to_write(PHOTO) == ["mask"]


def test_the_summarys_place_stays_free(tmp_path):
    with pytest.raises(ValueError, match=r"a folder summary\.csv would take the place of the summary"):
        outputs(tmp_path).to_write(Path("summary.csv/a.jpg"))
    assert outputs(tmp_path).to_write(Path("summary.csv")) == ["mask"]  # a photo called so gets summary.csv.mask.png
