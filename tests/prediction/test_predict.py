"""Probabilities at a photo's own size, worked out by hand, by torch's interpolation and by the network itself."""

import numpy as np
import pytest
import torch

from src.data.images import resize_image
from src.prediction.load_model import load_model
from src.prediction.predict import predict_photo, predict_resized, upsample
from tests.prediction.pictures import blocks, save


@pytest.fixture(scope="module")
def predictor(trained_run):
    return load_model(trained_run, "cpu")


def test_probabilities_are_interpolated_and_then_thresholded():
    """Pixel centres of 4 lie at -0.25, 0.25, 0.75, 1.25 of 2: the outer ones keep the value at the edge."""
    square = np.array([[0, 1], [0, 1]], dtype=np.float32)
    prediction = upsample(square, 1, 4, threshold=0.25)
    np.testing.assert_allclose(prediction.probability, [[0, 0.25, 0.75, 1]])
    np.testing.assert_array_equal(prediction.mask, [[False, False, True, True]])  # 0.25 is not above 0.25
    assert (prediction.probability.dtype, prediction.mask.dtype) == (np.float32, np.bool_)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 91), (200, 33), (1, 1), (5, 1), (1, 1000)])
def test_the_interpolation_is_torchs_bilinear_one(height, width):
    square = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    by_torch = torch.nn.functional.interpolate(
        torch.from_numpy(square)[None, None], (height, width), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(upsample(square, height, width, 0.5).probability, by_torch[0, 0], atol=1e-5)


def test_a_photo_of_the_networks_size_gets_the_networks_probabilities(predictor):
    photo = blocks(0, 32, 32)
    pair = torch.from_numpy(np.stack([photo, blocks(1, 32, 32)])).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(predict_photo(predictor, photo).probability, predictor.probabilities(pair)[0])


@pytest.mark.parametrize("tta", ["none", "hflip", "flips"])
def test_another_photo_is_resized_as_in_training_and_back(predictor, tta):
    photo = blocks(0, 50, 70)
    square = torch.from_numpy(resize_image(photo, 32, "pil_bilinear")).permute(2, 0, 1)[None]
    expected = predictor.probabilities(square, tta).numpy()[0]
    expected = upsample(expected, 50, 70, 0.5).probability
    threshold = float(np.median(expected))
    prediction = predict_photo(predictor, photo, tta, threshold)
    np.testing.assert_allclose(prediction.probability, expected, atol=1e-6)
    assert 0.4 < prediction.mask.mean() < 0.6
    np.testing.assert_array_equal(prediction.mask, prediction.probability > np.float32(threshold))


def test_a_path_is_read_as_a_viewer_shows_it(predictor, tmp_path):
    path = save(tmp_path / "photo.png", blocks(0, 50, 70))
    for name in (path, str(path)):
        np.testing.assert_array_equal(
            predict_photo(predictor, name).probability, predict_photo(predictor, blocks(0, 50, 70)).probability
        )


@pytest.mark.parametrize("run", ["trained_run", "two_channel_run"])
def test_company_in_a_batch_changes_no_bit(run, request):
    predictor = load_model(request.getfixturevalue(run), "cpu")
    squares = [blocks(seed, 32, 32) for seed in range(9)]
    alone = np.concatenate([predict_resized(predictor, [square]) for square in squares])
    for size in (2, 3, 8, 9):
        batches = [predict_resized(predictor, squares[first : first + size]) for first in range(0, 9, size)]
        np.testing.assert_array_equal(np.concatenate(batches), alone)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (2, 3)])
def test_tiny_and_extreme_photos_have_masks(predictor, height, width):
    prediction = predict_photo(predictor, blocks(0, height, width), "flips")
    assert prediction.mask.shape == prediction.probability.shape == (height, width)
    assert prediction.probability.min() >= 0 and prediction.probability.max() <= 1


def test_an_array_that_is_a_view_is_taken(predictor):
    photo = blocks(0, 50, 70)
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    np.testing.assert_array_equal(
        predict_photo(predictor, photo[:, ::-1]).probability, predict_photo(predictor, mirrored).probability
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((3, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_another_array_is_refused_with_what_is_allowed(predictor, image):
    with pytest.raises(
        ValueError, match=r"image: got an array of .*; allowed is uint8 \(height, width, 3\)"
    ) as refused:
        predict_photo(predictor, image)
    assert f"{image.dtype} {image.shape}" in str(refused.value)


def test_wrong_choices_are_named_together(predictor):
    with pytest.raises(ValueError, match=r"(?s)tta: got 'flip'; allowed: none, hflip, flips.*threshold: got 1"):
        predict_photo(predictor, blocks(0), "flip", threshold=1)
    with pytest.raises(ValueError, match="threshold: got nan"):
        predict_photo(predictor, blocks(0), threshold=float("nan"))
