"""Mixup and cutmix of a batch: weights and rectangles by hand, the same for the same seed, epoch and batch."""

import numpy as np
import pytest
import torch

from src.data.augment import RngStream, stream_seed
from src.data.mix import Mix


def batch(*values, side=8):
    """Images of one gray level each, and targets of the same number."""
    levels = torch.tensor(values, dtype=torch.uint8)
    return levels.view(-1, 1, 1, 1).expand(-1, 3, side, side), levels.view(-1, 1, 1).expand(-1, side, side)


def weight(seed, epoch, number, alpha):
    return np.random.default_rng(stream_seed(seed, RngStream.MIX, epoch, number)).beta(alpha, alpha)


def test_mixup_is_a_weighted_mean_of_images_and_of_targets():
    images, targets = batch(0, 255)
    kept = weight(seed=1, epoch=2, number=3, alpha=0.4)
    mixed_images, mixed_targets = Mix("mixup", 0.4, seed=1)(images, targets, epoch=2, batch=3)
    assert mixed_images[:, 0, 0, 0].tolist() == [round(255 * (1 - kept)), round(255 * kept)]
    assert mixed_targets[:, 0, 0].tolist() == [round(255 * (1 - kept)), round(255 * kept)]
    assert torch.equal(mixed_images.amin((1, 2, 3)), mixed_images.amax((1, 2, 3)))
    assert images[0].max() == 0 and targets[1].min() == 255  # those given stay


def test_what_either_image_ignores_stays_ignored_in_mixup():
    targets = torch.tensor([[[127, 0, 255]], [[255, 127, 255]]], dtype=torch.uint8)
    _, mixed = Mix("mixup", 1.0, seed=0)(torch.zeros(2, 3, 1, 3, dtype=torch.uint8), targets, 1, 0)
    assert mixed[:, 0].tolist() == [[127, 127, 255], [127, 127, 255]]


def test_a_mean_that_is_the_code_for_ignored_is_none():
    # 126 and 128, half of each
    seed = next(seed for seed in range(1000) if abs(weight(seed, 1, 0, 1.0) - 0.5) < 0.2)
    _, mixed = Mix("mixup", 1.0, seed)(*batch(126, 128), 1, 0)
    assert mixed.unique().tolist() == [128]


@pytest.mark.parametrize("number", range(5))
def test_cutmix_pastes_one_rectangle_of_another_image_and_of_its_target(number):
    images, targets = batch(10, 20, 30, side=64)
    mixed_images, mixed_targets = Mix("cutmix", 1.0, seed=0)(images, targets, 1, number)
    assert torch.equal(mixed_images, mixed_targets[:, None].expand(-1, 3, -1, -1))  # the same place in both
    foreign = mixed_targets != targets
    assert torch.equal(foreign[0], foreign[1]) and torch.equal(foreign[0], foreign[2])  # the same for the whole batch
    rows, columns = foreign[0].any(1).nonzero(), foreign[0].any(0).nonzero()
    assert foreign[0].sum() == len(rows) * len(columns) > 0  # a full rectangle
    share = 1 - weight(0, 1, number, 1.0)
    assert foreign[0].float().mean() <= share + 0.05  # smaller only where it is cut at the edge
    partners = mixed_targets[:, rows[0, 0], columns[0, 0]].tolist()
    assert sorted(partners) == [10, 20, 30] and all(one != own for one, own in zip(partners, (10, 20, 30), strict=True))


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_seed_epoch_and_batch_decide_alone(method):
    images, targets = torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8), torch.zeros(5, 16, 16, dtype=torch.uint8)
    mixed = Mix(method, 1.0, seed=3)(images, targets, 4, 5)[0]
    assert torch.equal(mixed, Mix(method, 1.0, seed=3)(images, targets, 4, 5)[0])
    for other in (Mix(method, 1.0, 4)(images, targets, 4, 5), Mix(method, 1.0, 3)(images, targets, 4, 6)):
        assert not torch.equal(mixed, other[0])


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_a_single_image_stays_as_it_is(method):
    images, targets = batch(77)
    assert all(map(torch.equal, Mix(method, 1.0, seed=0)(images, targets, 1, 0), (images, targets)))
