"""The state of training: everything that changes meanwhile, and so everything that a checkpoint holds."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.base.runtime import Numerics, random_state, set_random_state
from src.data.images import FOREGROUND, IGNORED
from src.data.mix import Mix
from src.training.metrics import MetricAccumulator, confusion, foreground_logit
from src.training.schedules import Schedule


@dataclass
class ModelRunner:
    """A model, the arithmetic it is computed with, and the normalization of its images (mean, std of RGB in [0, 1]).

    `flip_tta`: in evaluation mode, the mean of the images' logits and of the mirrored images' logits, mirrored back.
    """

    model: nn.Module
    numerics: Numerics
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip_tta: bool = False

    def __post_init__(self) -> None:
        device = self.numerics.device
        self.model.to(device, memory_format=self.numerics.memory_format)  # type: ignore[call-overload]
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (B, C, H, W) on the device, with a gradient, for RGB images uint8 (B, 3, H, W) from anywhere."""
        with self.numerics.autocast():
            return self.forward(images.to(self.numerics.device, non_blocking=True))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """`logits` of images on the device, inside the caller's autocast."""
        images = (images.float() / 255 - self._mean) / self._std  # (B, 3, H, W)
        images = images.contiguous(memory_format=self.numerics.memory_format)
        averages = self.flip_tta and not self.model.training
        return (mean_over_mirrored(self._logits_of, images) if averages else self._logits_of(images)).float()

    def _logits_of(self, images: torch.Tensor) -> torch.Tensor:
        """Raises ValueError where the network, which may be a user's, returns anything else than logits."""
        logits = self.model(images)
        is_tensor, batch, size = isinstance(logits, torch.Tensor), len(images), tuple(images.shape[-2:])
        if not is_tensor or tuple(logits.shape) not in ((batch, 1, *size), (batch, 2, *size)):
            got = f"a tensor of shape {tuple(logits.shape)}" if is_tensor else f"a {type(logits).__name__}"
            raise ValueError(
                f"the network returned {got} for images of shape {tuple(images.shape)}; logits are a tensor of shape "
                f"{(batch, 1, *size)} or {(batch, 2, *size)}"
            )
        return logits


def mean_over_mirrored(logits_of: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Test-time augmentation: the mean of the images' logits and of the mirrored images' logits, mirrored back.

    `images` (B, C, H, W) are mirrored left to right, and the two passes follow each other: twice the time, but no more
    memory. Returns (B, out_channels, H, W).
    """
    return (logits_of(images) + logits_of(images.flip(-1)).flip(-1)) / 2


def score(
    network: ModelRunner, loss: nn.Module, images: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss (a scalar with a gradient) and tp, fp, fn, tn (int64, (B, 4)) of a batch; both stay on the device.

    Args:
        network: computes the logits.
        loss: of logits, target and the mask of pixels that count.
        images: uint8 (B, 3, H, W).
        targets: uint8 (B, H, W), as `Batch` has them.
    """
    device = network.numerics.device
    with network.numerics.autocast():
        return _score(network, loss, images.to(device, non_blocking=True), targets.to(device, non_blocking=True))


def _score(
    network: ModelRunner, loss: nn.Module, images: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = network.forward(images)  # (B, C, H, W)
    valid = targets != IGNORED
    truth = targets > FOREGROUND // 2  # soft labels count as what they are nearer to
    counts = confusion(foreground_logit(logits.detach()) > 0, truth, valid)
    return loss(logits, targets.float() / FOREGROUND, valid), counts


class WeightAverage:
    """Exponential moving average of parameters and of BatchNorm's running statistics (Polyak and Juditsky 1992).

    Step t, from 0, leaves d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)), so that the random
    initial weights are soon forgotten (as TensorFlow's ExponentialMovingAverage with num_updates). Counters of batches
    and all other buffers are copied. Nothing waits for the device.

    Args:
        network: the one in training, on its device; `self.network` is a copy of it with the averaged weights.
        decay: strictly between 0 and 1; about 1 / (1 - decay) steps count.
    """

    def __init__(self, network: ModelRunner, decay: float) -> None:
        self.network = replace(network, model=copy.deepcopy(network.model).requires_grad_(False))
        self.decay = decay
        self.steps = 0
        self._source = network.model

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights as the step just taken left them."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, copies = _averaged_and_copied(self.network.model)
        currents, sources = _averaged_and_copied(self._source)
        get_ema_multi_avg_fn(decay)(averages, currents, None)
        for copy_of, source in zip(copies, sources, strict=True):
            copy_of.copy_(source)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state_dict` resumes bit for bit."""
        return {"model": self.network.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the moment at which `state` was taken."""
        self.network.model.load_state_dict(state["model"])
        self.steps = state["steps"]


def _averaged_and_copied(model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    averaged: list[torch.Tensor] = list(model.parameters())
    copied: list[torch.Tensor] = []
    for name, buffer in model.named_buffers():
        (averaged if name.endswith(("running_mean", "running_var")) else copied).append(buffer)
    return averaged, copied


# What of a TrainState is plain values; each other part has its own state_dict.
PLAIN_STATE = (
    *("epoch", "batch", "seconds", "lr", "lr_first", "lr_max", "momentum"),
    *("best_epoch", "best_dice", "best_score", "history"),
)


@dataclass
class TrainState:
    """A run in the making; its state is what a checkpoint holds."""

    network: ModelRunner
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    average: WeightAverage | None = None
    mix: Mix | None = None  # of the images of a training batch
    batch_size: int | None = None  # of whole batches, the only ones that are compiled for
    epoch: int = 1  # the epoch in progress, from 1
    batch: int = 0  # the next batch of that epoch, from 0
    best_epoch: int = 0
    best_dice: float = -1.0  # validation Dice of that epoch
    best_score: float = -math.inf  # what it was chosen by, see `trainer.select_by`; higher is better
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)  # of `scored` in that epoch, on the device
    history: list[dict[str, Any]] = field(default_factory=list)  # a row for each finished epoch
    tally: MetricAccumulator = field(default_factory=MetricAccumulator)  # of the epoch in progress
    seconds: float = 0.0  # spent training in the epoch in progress
    lr: float = 0.0  # of the last step taken
    lr_first: float | None = None  # of the first step of the epoch in progress; unknown in checkpoints of before
    lr_max: float | None = None  # the largest of its steps
    momentum: float = 0.0  # of the last step taken; beta1 of Adam and AdamW

    def __post_init__(self) -> None:
        self._score = partial(_score, self.network, self.loss)
        # normalization, forward pass, loss and counts as one program; only for training, where it is called most
        self._compiled = torch.compile(self._score, dynamic=False) if self.network.numerics.compiles else self._score

    def score(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`score` of a training batch; of a whole one compiled, if the numerics ask for it."""
        whole = len(images) == self.batch_size
        self.network.numerics.tune(whole)
        device = self.network.numerics.device
        images, targets = images.to(device, non_blocking=True), targets.to(device, non_blocking=True)
        if self.mix is not None:
            images, targets = self.mix(images, targets, self.epoch, self.batch)
        # autocast stays outside: torch does not keep a compiled program that switches it for later runs
        with self.network.numerics.autocast():
            return (self._compiled if whole else self._score)(images, targets)

    @property
    def scored(self) -> ModelRunner:
        """The network that is validated, kept as the best and tested: with averaged weights, where there are any."""
        return self.network if self.average is None else self.average.network

    def keep_as_best(self, dice: float, score: float) -> None:
        """Makes this epoch the best one, with its validation Dice and score, and keeps a copy of its weights."""
        self.best_epoch, self.best_dice, self.best_score = self.epoch, dice, score
        for key, value in self.scored.model.state_dict().items():
            if key not in self.best_weights:
                self.best_weights[key] = torch.empty_like(value)
            self.best_weights[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state_dict` resumes bit for bit, but for `best_weights`."""
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return {
            **average,
            "model": self.network.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loss": self.loss.state_dict(),
            "random": random_state(self.network.numerics.device),
            "tally": self.tally.state_dict(),
            **{key: getattr(self, key) for key in PLAIN_STATE},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the moment at which `state` was taken."""
        device = self.network.numerics.device
        self.network.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.loss.load_state_dict(state.get("loss", {}))  # ours have no state, and checkpoints of before no such key
        set_random_state(state["random"], device)
        self.tally = MetricAccumulator.from_state_dict(state["tally"], device)
        # checkpoints of before were always chosen by Dice
        state = {"best_score": state["best_dice"], "lr_first": None, "lr_max": None, **state}
        for key in PLAIN_STATE:
            setattr(self, key, state[key])
