"""Mixing the images of a batch with one another: mixup and cutmix for masks, drawn from given seeds."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from src.data.augment import RngStream, stream_seed
from src.data.images import IGNORED


@dataclass(frozen=True)
class Mix:
    """Mixes each image of a batch, and its target alike, with another one of the batch.

    mixup (Zhang et al. 2018): a weighted mean, the weight drawn from Beta(alpha, alpha); targets become probabilities.
    cutmix (Yun et al. 2019): a rectangle comes from the other image; its share of the area is drawn from the same Beta.
    The pixels that either image ignores stay ignored in mixup. Seed, epoch and batch alone decide what is drawn.
    """

    method: Literal["mixup", "cutmix"]
    alpha: float
    seed: int

    def __call__(
        self, images: torch.Tensor, targets: torch.Tensor, epoch: int, batch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """New images uint8 (B, 3, H, W) and targets uint8 (B, H, W), on the device of those given; these stay.

        Args:
            images: uint8 (B, 3, H, W).
            targets: uint8 (B, H, W): 255 times the probability of the foreground, or IGNORED.
            epoch: from 1.
            batch: of the epoch, from 0.
        """
        draw = np.random.default_rng(stream_seed(self.seed, RngStream.MIX, epoch, batch))
        kept = float(draw.beta(self.alpha, self.alpha))
        # a circle through all images in random order: none is mixed with itself, unless it is alone
        order = draw.permutation(len(images))
        others = np.empty_like(order)
        others[order] = np.roll(order, 1)
        partners = torch.from_numpy(others).to(images.device, non_blocking=True)
        if self.method == "mixup":
            return _mean(images, images[partners], kept), _mean_target(targets, targets[partners], kept)
        rows, columns = _rectangle(draw, (images.shape[-2], images.shape[-1]), 1 - kept)
        mixed_images, mixed_targets = images.clone(), targets.clone()
        mixed_images[..., rows, columns] = images[partners][..., rows, columns]
        mixed_targets[..., rows, columns] = targets[partners][..., rows, columns]
        return mixed_images, mixed_targets


def _mean(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    return (first * weight + second * (1 - weight)).round().to(torch.uint8)


def _mean_target(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    mean = _mean(first, second, weight)
    # a mean that happens to be 127 is still a label: as IGNORED its pixel would leave the loss
    mean = torch.where(mean == IGNORED, IGNORED + 1, mean)
    return torch.where((first == IGNORED) | (second == IGNORED), IGNORED, mean)


def _rectangle(draw: np.random.Generator, size: tuple[int, int], share: float) -> tuple[slice, slice]:
    """A rectangle of about `share` of the area, in the image's proportions, its center anywhere, cut at the edges."""
    sides = []
    for length in size:
        side, center = length * share**0.5, int(draw.integers(length))
        sides.append(slice(max(0, round(center - side / 2)), min(length, round(center + side / 2))))
    return sides[0], sides[1]
