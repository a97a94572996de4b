"""The way the five reports did it, made again to be compared with: every JPEG decoded in every epoch, in float32.

Their code is not public; this is what their texts say, in the usual form of a PyTorch script.
"""

from collections.abc import Sequence

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from src.config import RunConfig
from src.data.augment import build_transform
from src.data.pairs import Pair
from src.data.reading import PairReader


class ReportsSet(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Opens, resizes (PIL), augments and normalises a pair at every call: image float32 (3, S, S), mask (1, S, S)."""

    def __init__(self, pairs: Sequence[Pair], reader: PairReader, config: RunConfig) -> None:
        self.pairs = pairs
        self.reader = reader
        self.size = config.data.image_size
        self.augment = build_transform(config.augmentation.transforms, allow_targets=config.allow_targets)
        self.finish = albumentations.Compose(
            [albumentations.Normalize(config.data.mean, config.data.std), albumentations.ToTensorV2()]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self.pairs[index]
        photo, trimap = map(Image.fromarray, self.reader(pair.image, pair.mask))
        image = np.array(photo.resize((self.size, self.size), Image.Resampling.BILINEAR))
        mask = np.array(trimap.resize((self.size, self.size), Image.Resampling.NEAREST))
        mask = np.where(mask == 2, 0, 255).astype(np.uint8)  # the border counts as foreground
        changed = self.augment(image=image, mask=mask)
        done = self.finish(image=changed["image"], mask=changed["mask"])
        return done["image"], done["mask"][None].float() / 255


def reports_loader(
    pairs: Sequence[Pair], reader: PairReader, config: RunConfig, workers: int
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled float32 batches as the usual script makes them: new workers in each epoch, memory that is not pinned."""
    return DataLoader(
        ReportsSet(pairs, reader, config),
        batch_size=config.trainer.batch_size,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=_one_thread,
    )


def reports_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: DataLoader, device: torch.device, steps: int
) -> int:
    """Trains `steps` batches in float32, channels first, waiting for loss and Dice at each; returns the steps."""
    model.train()
    loss_of = nn.BCEWithLogitsLoss()
    losses, scores = [], []
    for number, (images, masks) in enumerate(batches, start=1):
        images, masks = images.to(device), masks.to(device)
        optimizer.zero_grad()
        logits = model(images)[:, -1:]
        loss = loss_of(logits, masks)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        predicted = (torch.sigmoid(logits) > 0.5).float()
        scores.append((2 * (predicted * masks).sum() / (predicted.sum() + masks.sum() + 1e-8)).item())
        if number == steps:
            break
    assert len(losses) == len(scores)
    return len(losses)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
