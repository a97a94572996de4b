"""The baseline: the loop of the five reports, rebuilt to be timed beside ours.

Their code is not public; this is what their texts describe, in the usual form of a PyTorch script: every JPEG is
decoded in every epoch, in float32.
"""

from collections.abc import Sequence

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from src.base.config import RunConfig
from src.data.augment import build_transform
from src.data.decoding import PairDecoder
from src.data.pairs import Pair


class BaselineSet(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Opens, resizes (PIL), augments and normalizes a pair at every call: image float32 (3, S, S), mask (1, S, S)."""

    def __init__(self, pairs: Sequence[Pair], reader: PairDecoder, config: RunConfig) -> None:
        self.pairs = pairs
        self.reader = reader
        self.size = (config.data.image_size, config.data.image_size)
        self.augment = build_transform(config.augmentation.transforms, allow_targets=config.allow_targets)
        self.finish = albumentations.Compose(
            [albumentations.Normalize(config.data.mean, config.data.std), albumentations.ToTensorV2()]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        photo, trimap = map(Image.fromarray, self.reader(self.pairs[index].image, self.pairs[index].mask))
        image = np.array(photo.resize(self.size, Image.Resampling.BILINEAR))
        mask = np.array(trimap.resize(self.size, Image.Resampling.NEAREST))
        mask = np.where(mask == 2, 0, 255).astype(np.uint8)  # the border counts as foreground
        done = self.finish(**self.augment(image=image, mask=mask))
        return done["image"], done["mask"][None].float() / 255


def baseline_loader(pairs: Sequence[Pair], reader: PairDecoder, config: RunConfig, workers: int = 0) -> DataLoader:
    """Shuffled float32 batches as the usual script makes them: new workers in each epoch, memory that is not pinned."""
    return DataLoader(
        BaselineSet(pairs, reader, config),
        batch_size=config.trainer.batch_size,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=_one_thread,
    )


def baseline_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: DataLoader, device: torch.device, steps: int
) -> int:
    """Trains `steps` batches in float32, channels first, waiting for loss and Dice at each; returns the steps."""
    model.train()
    loss_of = nn.BCEWithLogitsLoss()
    done = []
    for _, (images, masks) in zip(range(steps), batches, strict=False):
        images, masks = images.to(device), masks.to(device)
        optimizer.zero_grad()
        logits = model(images)[:, -1:]
        loss = loss_of(logits, masks)
        loss.backward()
        optimizer.step()
        predicted = (torch.sigmoid(logits) > 0.5).float()
        dice = 2 * (predicted * masks).sum() / (predicted.sum() + masks.sum() + 1e-8)
        done.append((loss.item(), dice.item()))
    return len(done)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
