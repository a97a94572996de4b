"""Many photos: the same bytes whatever the batches, the threads and the order, and never more than a few in memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.display.panels import outlined
from src.prediction.inference import Inference, InferenceOptions, in_order
from src.prediction.inputs import find_inputs
from src.prediction.load_model import load_model
from src.prediction.outputs import Outputs
from src.prediction.predict import predict_photo
from tests.prediction.pictures import blocks, grey, save


@pytest.fixture(scope="module")
def predictor(trained_run):
    return load_model(trained_run, "cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eleven photos of other sizes, of which the fourth is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(11):
        save(folder / f"{seed:02}.png", blocks(seed, 20 + 7 * seed, 90 - 8 * seed))
    (folder / "03.png").write_bytes(b"broken")
    return folder


def infer(predictor, photos: Path, folder: Path, batch_size=4, workers=2, overlay=True):
    options = InferenceOptions(
        run=str(predictor.folder),
        input=str(photos),
        split=None,
        root=None,
        output=str(folder),
        device="cpu",
        batch_size=batch_size,
        tta="hflip",
        threshold=0.45,
        overlay=overlay,
        probability=True,
        styles=[],
        overwrite=False,
        cache=str(folder / "cache"),
        workers=workers,
    )
    outputs = Outputs(folder, ("mask", *(["overlay"] if overlay else []), "probability"))
    inference = Inference(options, predictor, find_inputs(str(photos), folder), outputs)
    return [outcome for batch in inference.batches() for outcome in batch]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.png")}


def test_masks_are_those_of_one_photo_at_a_time(predictor, photos, tmp_path):
    outcomes = infer(predictor, photos, tmp_path)
    assert [outcome.input.name for outcome in outcomes] == [f"{seed:02}.png" for seed in range(11)]
    for seed, outcome in enumerate(outcomes):
        if seed == 3:
            assert (outcome.status, outcome.mask) == ("failed", None)
            assert outcome.reason.startswith("cannot be read as an image")
            continue
        expected = predict_photo(predictor, photos / f"{seed:02}.png", "hflip", 0.45)
        mask = grey(tmp_path / outcome.mask)
        assert mask.shape == outcome.size == (20 + 7 * seed, 90 - 8 * seed)
        np.testing.assert_array_equal(mask, expected.mask * np.uint8(255))
        assert outcome.foreground == expected.mask.mean()
        stored = grey(tmp_path / f"{seed:02}.png.probability.png") / 65535
        assert np.abs(stored - expected.probability).max() <= 0.5 / 65535 + 1e-7
        overlay = outlined(predictor.reader(photos / f"{seed:02}.png"), expected.mask)
        np.testing.assert_array_equal(grey(tmp_path / f"{seed:02}.png.overlay.png"), overlay)
    assert len({outcome.foreground for outcome in outcomes}) > 5


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 4), (64, 2)])
def test_batch_size_and_workers_change_no_byte(predictor, photos, tmp_path, batch_size, workers):
    infer(predictor, photos, tmp_path / "usual")
    infer(predictor, photos, tmp_path / "other", batch_size, workers)
    assert contents(tmp_path / "usual") == contents(tmp_path / "other") != {}


def test_the_order_of_photos_changes_no_byte(predictor, photos, tmp_path):
    for seed in range(11):
        (tmp_path / "reversed").mkdir(exist_ok=True)
        (tmp_path / "reversed" / f"{10 - seed:02}.png").symlink_to(photos / f"{seed:02}.png")
    infer(predictor, photos, tmp_path / "usual")
    infer(predictor, tmp_path / "reversed", tmp_path / "other")
    usual, other = contents(tmp_path / "usual"), contents(tmp_path / "other")
    assert len(usual) == 30
    for name, content in other.items():
        assert content == usual[f"{10 - int(name[:2]):02}{name[2:]}"]


def test_what_is_there_is_kept_with_the_numbers_of_the_mask(predictor, photos, tmp_path):
    first = infer(predictor, photos, tmp_path, overlay=False)
    (tmp_path / "05.png.mask.png").write_bytes((tmp_path / "06.png.mask.png").read_bytes())
    again = infer(predictor, photos, tmp_path, overlay=False)
    assert [outcome.status for outcome in again] == ["kept" if seed != 3 else "failed" for seed in range(11)]
    for seed in {*range(11)} - {3, 5}:
        assert (again[seed].size, again[seed].foreground) == (first[seed].size, first[seed].foreground)
    assert again[5].size == first[6].size


def test_what_was_left_of_an_interruption_is_made_and_the_rest_kept(predictor, photos, tmp_path):
    infer(predictor, photos, tmp_path)
    whole = contents(tmp_path)
    for name in ("00.png.mask.png", "07.png.overlay.png"):
        (tmp_path / name).unlink()
    assert [outcome.status for outcome in infer(predictor, photos, tmp_path)].count("written") == 2
    assert contents(tmp_path) == whole


def test_two_channels(two_channel_run, photos, tmp_path):
    predictor = load_model(two_channel_run, "cpu")
    infer(predictor, photos, tmp_path)
    expected = predict_photo(predictor, photos / "00.png", "hflip").probability
    assert np.abs(grey(tmp_path / "00.png.probability.png") / 65535 - expected).max() <= 0.5 / 65535 + 1e-7


def test_names_that_a_disk_does_not_take_fail_alone(predictor, tmp_path):
    save(tmp_path / "photos" / ("x" * 250 + ".png"), blocks(0))
    save(tmp_path / "photos" / "y.png", blocks(1))
    long, other = infer(predictor, tmp_path / "photos", tmp_path / "masks")
    assert long.status == "failed" and "File name too long" in long.reason and other.status == "written"


def test_work_is_done_ahead_but_only_so_far():
    drawn = []

    def items():
        for item in range(100):
            drawn.append(item)
            yield item

    with ThreadPoolExecutor(3) as pool:
        for taken, result in enumerate(in_order(pool, lambda item: item**2, items(), ahead=5)):
            assert result == taken**2
            assert len(drawn) <= taken + 5  # what was just taken is one of the five
    assert len(drawn) == 100


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF"])
def test_any_format_gets_a_mask_of_its_size(predictor, tmp_path, kind):
    path = tmp_path / "photos" / f"photo.{kind.lower().replace('jpeg', 'jpg')}"
    path.parent.mkdir()
    Image.fromarray(blocks(0, 33, 47)).save(path, kind)
    (outcome,) = infer(predictor, tmp_path / "photos", tmp_path / "masks")
    expected = predict_photo(predictor, path, "hflip", 0.45).mask
    np.testing.assert_array_equal(grey(tmp_path / "masks" / outcome.mask), expected * np.uint8(255))
    assert expected.shape == (33, 47)
