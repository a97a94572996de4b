"""A network with what it takes to feed it: images as they are stored go in, logits in full precision come out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from src.runtime import Numerics


@dataclass
class Network:
    """A model, the arithmetic it is computed with, and the normalisation of its images (mean, std of RGB in [0, 1]).

    Where the arithmetic asks for it, batches of `batch_size` images are computed by a compiled copy of the model's
    forward pass, which shares its weights; others, such as a smaller last one, are not worth a compilation each.
    """

    model: nn.Module
    numerics: Numerics
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    batch_size: int | None = None

    def __post_init__(self) -> None:
        device = self.numerics.device
        self.model.to(device, memory_format=self.numerics.memory_format)  # type: ignore[call-overload]
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)
        self._compiled: Callable[[torch.Tensor], torch.Tensor] | None = None
        if self.numerics.compiles and self.batch_size is not None:
            self._compiled = torch.compile(self.model)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (B, C, H, W) on the device, with a gradient, for RGB images uint8 (B, 3, H, W) from anywhere."""
        return self.forward(self.normalised(images))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, H, W) on the device, in the layout of the weights."""
        images = images.to(self.numerics.device, non_blocking=True).float() / 255  # (B, 3, H, W)
        return ((images - self._mean) / self._std).contiguous(memory_format=self.numerics.memory_format)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (B, C, H, W) for images that are `normalised`."""
        compiled = self._compiled if len(images) == self.batch_size else None
        model = self.model if compiled is None else compiled  # not `or`: a compiled module raises when asked its length
        with self.numerics.autocast():
            logits = model(images)  # (B, C, H, W)
        return logits.float()
