"""Losses and pixel counts of an epoch, left on the device until the epoch is over and read from it once."""

from dataclasses import dataclass, field

import numpy as np
import torch

from src.training.metrics import batch_flattened_dice, dice_per_image, iou_per_image


@dataclass
class Tally:
    """One entry a batch: the mean loss (a scalar tensor) and the counts tp, fp, fn of each image (int64, (B, 3))."""

    losses: list[torch.Tensor] = field(default_factory=list)
    counts: list[torch.Tensor] = field(default_factory=list)

    def add(self, loss: torch.Tensor, counts: torch.Tensor) -> None:
        """Notes a batch without waiting for the device."""
        self.losses.append(loss.detach())
        self.counts.append(counts)

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """What a checkpoint in the middle of an epoch keeps."""
        return {
            "losses": [loss.cpu() for loss in self.losses],
            "counts": [counts.cpu() for counts in self.counts],
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, list[torch.Tensor]], device: torch.device) -> "Tally":
        """The tally that `state_dict` came from, on `device`."""
        return cls([loss.to(device) for loss in state["losses"]], [counts.to(device) for counts in state["counts"]])

    def read(self) -> "Scores":
        """Waits for the device and brings everything to numpy."""
        losses = torch.stack(self.losses).cpu().numpy().astype(np.float64)
        counts = torch.cat(self.counts).cpu().numpy()
        return Scores(losses, counts, np.array([len(batch) for batch in self.counts]))


@dataclass(frozen=True)
class Scores:
    """What a pass over images gave: losses (batches,), counts tp, fp, fn (images, 3), batch sizes (batches,)."""

    losses: np.ndarray
    counts: np.ndarray
    batch_sizes: np.ndarray

    @property
    def loss(self) -> float:
        """Mean over images, so that a smaller last batch weighs less."""
        return float(np.average(self.losses, weights=self.batch_sizes))

    @property
    def dice(self) -> float:
        """Mean per-image Dice, in [0, 1]."""
        return float(dice_per_image(self.counts).mean())

    @property
    def iou(self) -> float:
        """Mean per-image IoU, in [0, 1]."""
        return float(iou_per_image(self.counts).mean())

    @property
    def dice_batch_flattened(self) -> float:
        """Report A's Dice: mean over batches of the Dice of the flattened batch, in [0, 1]."""
        return float(batch_flattened_dice(self.counts, self.batch_sizes))
