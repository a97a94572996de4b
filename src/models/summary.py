"""What a network consists of: parameters, multiply-adds and memory, block by block."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
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
    outputs: dict[str, tuple[int, ...]] = {}
    charges, memory = Counter[str](), Counter[str]()  # of each module that itself has parameters

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        if not tensors:
            return
        last = tensors[-1]
        outputs[name] = tuple(last.shape[1:])
        if own := sum(parameter.numel() for parameter in module.parameters(recurse=False)):
            charges[name] += own * (math.prod(last.shape[2:]) if "Conv" in type(module).__name__ else 1)
            memory[name] += 2 * FLOAT * last.numel()

    hooks = [module.register_forward_hook(partial(note, name)) for name, module in model.named_modules()]
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
            _total(charges, name),
            _total(memory, name),
        )
        for name, part in (("", model), *_blocks(model))
    )
    return ModelSummary(whole, blocks, FLOAT * image.numel())


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The direct parts of `model` that have parameters, those of a list one by one."""
    for name, child in model.named_children():
        parts = child.named_children() if isinstance(child, nn.ModuleList) else [("", child)]
        for number, part in parts:
            if next(part.parameters(), None) is not None:
                yield f"{name}.{number}".rstrip("."), part


def _total(counts: Counter[str], part: str) -> int:
    return sum(count for name, count in counts.items() if part in ("", name) or name.startswith(f"{part}."))
