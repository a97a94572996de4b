"""The learner: everything that changes while training, and so everything that a checkpoint holds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.config import RunConfig, build
from src.runtime import Numerics, random_state, set_random_state
from src.training.averaging import WeightAverage
from src.training.checkpoint import fitting_weights
from src.training.checks import build_optimizer, build_schedule
from src.training.losses import Loss
from src.training.network import Network
from src.training.schedules import Schedule
from src.training.tally import Tally

# What of a Learner is plain values; the rest has states of its own.
PLAIN_STATE = ("epoch", "batch", "seconds", "lr", "momentum", "best_epoch", "best_dice", "history")


@dataclass
class Learner:
    """A run in the making; its state is what a checkpoint holds."""

    network: Network
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    average: WeightAverage | None = None
    epoch: int = 1  # the epoch at work, from 1
    batch: int = 0  # the next batch of that epoch, from 0
    best_epoch: int = 0
    best_dice: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)  # a row for each finished epoch
    tally: Tally = field(default_factory=Tally)  # of the epoch at work
    seconds: float = 0.0  # spent training in the epoch at work
    lr: float = 0.0  # of the last step taken
    momentum: float = 0.0  # of the last step taken; beta1 of Adam and AdamW

    @property
    def scored(self) -> Network:
        """The network that is validated, kept as the best and tested: with averaged weights, where there are any."""
        return self.network if self.average is None else self.average.network

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state_dict` goes on bit for bit."""
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return {
            **average,
            "model": self.network.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
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
        set_random_state(state["random"], device)
        self.tally = Tally.from_state_dict(state["tally"], device)
        for key in PLAIN_STATE:
            setattr(self, key, state[key])


def make_learner(config: RunConfig, numerics: Numerics, steps_per_epoch: int) -> Learner:
    """The learner of `config` before its first step, on the device; its weights are random, or those of `init_from`."""
    model = build(config.model, nn.Module, config.allow_targets)
    if config.init_from is not None:
        model.load_state_dict(fitting_weights(Path(config.init_from), model.state_dict()))
    network = Network(model, numerics, config.data.mean, config.data.std, config.trainer.batch_size)
    loss = build(config.loss, Loss, config.allow_targets)
    optimizer = build_optimizer(config, network.model.parameters())
    schedule = build_schedule(config, optimizer, steps_per_epoch)
    decay = config.trainer.ema_decay
    return Learner(network, loss, optimizer, schedule, None if decay is None else WeightAverage(network, decay))
