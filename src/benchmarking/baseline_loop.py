"""What is timed beside our loop: that of the five reports, rebuilt, and the step of a script that the user names.

The reports' code is not public; this is what their texts describe, in the usual form of a PyTorch script: every JPEG
is decoded in every epoch, in float32.
"""

import importlib.util
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from src.base.config import RunConfig
from src.base.errors import ConfigError, one_line, reason_of
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
        import albumentations  # once build_transform has told it not to look for a newer version

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
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: DataLoader,
    device: torch.device,
    after_step: Callable[[int], None],
) -> None:
    """Trains an epoch in float32, channels first, waiting for loss and Dice at each step.

    `after_step` is given the number of steps so far.
    """
    model.train()
    loss_of = nn.BCEWithLogitsLoss()
    done = []
    for images, masks in batches:
        images, masks = images.to(device), masks.to(device)
        optimizer.zero_grad()
        logits = model(images)[:, -1:]
        loss = loss_of(logits, masks)
        loss.backward()
        optimizer.step()
        predicted = (torch.sigmoid(logits) > 0.5).float()
        dice = 2 * (predicted * masks).sum() / (predicted.sum() + masks.sum() + 1e-8)
        done.append((loss.item(), dice.item()))
        after_step(len(done))


def load_make_step(script: str) -> Callable[..., Any]:
    """The function `make_step` of the Python file `script`, which is executed. Raises ConfigError without one."""
    spec = importlib.util.spec_from_file_location("baseline", script)
    if spec is None or spec.loader is None or not Path(script).is_file():
        raise ConfigError([f"baseline: got {script!r}; it takes the path of a Python file"])
    module = importlib.util.module_from_spec(spec)
    with naming_script(script):
        spec.loader.exec_module(module)
    if not callable(make_step := getattr(module, "make_step", None)):
        raise ConfigError(
            [
                f"baseline: {script} does not define make_step(model, device, batch_size, image_size), "
                "which returns step(images, masks); docs/performance.md has an example"
            ]
        )
    return make_step


@contextmanager
def naming_script(script: str) -> Iterator[None]:
    """Raises ConfigError, with the line of `script`, for whatever its code raises in the block."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == script]
        where = f"{script}, line {lines[-1]}" if lines else script
        raise ConfigError([f"baseline: {where}: {type(error).__name__}: {one_line(reason_of(error))}"]) from error


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
