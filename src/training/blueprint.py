"""The network of a config without weights: built without memory, in bounded time."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn

from src.base.config import RunConfig, build

MOST_CALLS = 5_000_000  # of functions; the largest of our networks takes 73,000, and a billion layers would never end


def blueprint(config: RunConfig, allow_targets: Sequence[str]) -> nn.Module:
    """The network of `config` on the device `meta`, where it takes no memory however wide it is said to be.

    Raises what its constructor raises, and ValueError if that would take too long.
    """
    with torch.device("meta"), _bounded():
        model: nn.Module = build(config.model, nn.Module, allow_targets)
    return model


def size_problems(config: RunConfig, model: nn.Module) -> list[str]:
    """Why `model` cannot take the images of `config`: one line, or none."""
    smallest = getattr(model, "minimum_size", None)
    if not isinstance(smallest, int):
        return [f"model._target_: {type(model).__name__} has no minimum_size, the smallest image side it works on"]
    if config.data.image_size < smallest:
        return [
            f"data.image_size: got {config.data.image_size}; {config.model['name']} works from {smallest} pixels on"
        ]
    return []


def channels_of(config: RunConfig, model: nn.Module) -> int:
    """How many output channels the network of `config` has."""
    parameter = inspect.signature(type(model)).parameters.get("out_channels")
    return int(config.model.get("out_channels") or (1 if parameter is None else parameter.default))


@contextmanager
def _bounded() -> Iterator[None]:
    """Raises ValueError in the middle of a block that makes more than MOST_CALLS."""
    calls, before = 0, sys.getprofile()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > MOST_CALLS:
            raise ValueError("it has too many parts: it is not built in any reasonable time")

    sys.setprofile(count)  # in this thread, and unlike an alarm also in one that may have no signals
    try:
        yield
    finally:
        sys.setprofile(before)
