"""The moving average of a network's weights over the steps of its training, scored in place of the last weights."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.training.network import Network


class WeightAverage:
    """Exponential moving average of parameters and of BatchNorm's running statistics (Polyak and Juditsky 1992).

    Step t, from 0, leaves d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)), so that the random
    initial weights are soon forgotten (as TensorFlow's ExponentialMovingAverage with num_updates). Counters of batches
    and all other buffers are copied. Nothing waits for the device.

    Args:
        network: the one in training, on its device; `self.network` is a copy of it with the averaged weights.
        decay: strictly between 0 and 1; about 1 / (1 - decay) steps count.
    """

    def __init__(self, network: Network, decay: float) -> None:
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
        """Tensors and plain values from which `load_state_dict` goes on bit for bit."""
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
