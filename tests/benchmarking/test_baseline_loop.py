import albumentations
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from src.benchmarking.baseline_loop import baseline_epoch, baseline_loader
from src.data.open_data import open_data
from src.training.checks import checked


@pytest.fixture
def config(composed, small):
    return checked(composed(*small, "augmentation=none"))


def test_an_image_is_decoded_resized_and_normalised_as_pil_and_albumentations_do(config):
    splits = open_data(config.data)
    image, mask = baseline_loader(splits.train, splits.decoder, config).dataset[3]
    pair = splits.train[3]
    by_hand = np.array(Image.open(pair.image).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    by_hand = albumentations.Normalize()(image=by_hand)["image"].transpose(2, 0, 1)
    assert np.allclose(image.numpy(), by_hand, atol=1e-6) and image.dtype == torch.float32
    trimap = np.array(Image.open(pair.mask).resize((32, 32), Image.Resampling.NEAREST))
    assert np.array_equal(mask.numpy()[0], (trimap != 2).astype(np.float32))


def test_its_epoch_takes_the_steps_and_trains(config):
    splits = open_data(config.data)
    loader = baseline_loader(splits.train, splits.decoder, config)
    torch.manual_seed(0)
    model = nn.Conv2d(3, 1, 1)
    before = model.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    assert baseline_epoch(model, optimizer, loader, torch.device("cpu"), steps=2) == 2
    assert not torch.equal(model.weight, before)
    assert baseline_epoch(model, optimizer, loader, torch.device("cpu"), steps=100) == 5  # 18 images in batches of 4
