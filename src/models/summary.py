"""What a network consists of: parameters, multiply-adds and memory, block by block."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class BlockSummary:
    """What a network or a part of it takes, for one float32 image; `output`: the shape (C, H, W) of its last one.

    `multiply_adds`: of convolutions and matrix products, as torch counts their operations. `torchinfo_multiply_adds`:
    as report D's summary counts them, transposed convolutions at the size of their outputs, biases and normalization
    included. `memory`: bytes of the outputs of layers with parameters, twice, since each has a gradient.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    torchinfo_multiply_adds: int
    memory: int


@dataclass(frozen=True)
class ModelSummary:
    """A whole network, its blocks in their order, and the bytes of its float32 `input` image."""

    whole: BlockSummary
    blocks: list[BlockSummary]
    input: int

    @property
    def memory(self) -> int:
        """Bytes of parameters, input and outputs with their gradients, in float32, for one image."""
        return FLOAT * self.whole.parameters + self.input + self.whole.memory


def summarize(model: nn.Module, image_size: int) -> ModelSummary:
    """The summary of `model` for one image of `image_size` x `image_size`; on the device `meta` nothing is computed."""
    parts = {"": model, **dict(_blocks(model))}
    layers = {name: _Layer() for name, module in model.named_modules() if _has_parameters(module, recurse=False)}
    outputs: dict[str, tuple[int, ...]] = {}
    hooks = [part.register_forward_hook(_note_output(outputs, name)) for name, part in parts.items()]
    hooks += [model.get_submodule(name).register_forward_hook(layer.add) for name, layer in layers.items()]
    image = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
    flops = {name.partition(".")[2]: sum(own.values()) for name, own in counter.get_flop_counts().items()}
    whole, *blocks = (
        BlockSummary(
            name,
            type(part).__name__,
            outputs.get(name, ()),
            sum(parameter.numel() for parameter in part.parameters()),
            flops.get(name, 0) // 2,
            sum(layer.multiply_adds for own, layer in layers.items() if _lies_in(own, name)),
            sum(layer.memory for own, layer in layers.items() if _lies_in(own, name)),
        )
        for name, part in parts.items()
    )
    return ModelSummary(whole, blocks, FLOAT * image.numel())


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The direct parts of `model` that have parameters, those of a list one by one."""
    for name, child in model.named_children():
        parts = child.named_children() if isinstance(child, nn.ModuleList) else [("", child)]
        for number, part in parts:
            if _has_parameters(part):
                yield f"{name}.{number}".rstrip("."), part


class _Layer:
    """What the calls of a layer that itself has parameters cost."""

    def __init__(self) -> None:
        self.multiply_adds = self.memory = 0

    def add(self, layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        """Counts a call of `layer`, as torchinfo does."""
        pixels = math.prod(output.shape[2:]) if "Conv" in type(layer).__name__ else 1
        self.multiply_adds += pixels * sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        self.memory += 2 * FLOAT * output.numel()


def _note_output(outputs: dict[str, tuple[int, ...]], name: str) -> Any:
    def note(part: nn.Module, inputs: Any, output: Any) -> None:
        last = output[-1] if isinstance(output, tuple) else output
        outputs[name] = tuple(last.shape[1:])

    return note


def _has_parameters(module: nn.Module, recurse: bool = True) -> bool:
    return next(module.parameters(recurse), None) is not None


def _lies_in(layer: str, part: str) -> bool:
    return part in ("", layer) or layer.startswith(f"{part}.")
