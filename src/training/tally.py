"""Losses and pixel counts of an epoch, left on the device until the epoch is over and read from it once."""

from dataclasses import dataclass, field

import numpy as np
import torch

from src.training.metrics import batch_flattened_dice, dice_per_image, iou_per_image, pooled_accuracy


@dataclass
class Tally:
    """One entry a batch: the mean loss (a scalar tensor) and tp, fp, fn, tn of each image (int64, (B, 4))."""

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
        """The tally that `state_dict` came from, on `device`. Raises ValueError for one that did not count tn yet."""
        if any(counts.shape[1] != 4 for counts in state["counts"]):
            raise ValueError(
                "the checkpoint was written in the middle of an epoch by an earlier version of segsweep, which did not "
                "count the true negatives; go on with that version, or delete the run's folder to begin it anew"
            )
        return cls([loss.to(device) for loss in state["losses"]], [counts.to(device) for counts in state["counts"]])

    def read(self) -> "Scores":
        """Waits for the device and brings everything to numpy."""
        losses = torch.stack(self.losses).cpu().numpy().astype(np.float64)
        counts = torch.cat(self.counts).cpu().numpy()
        return Scores(losses, counts, np.array([len(batch) for batch in self.counts]))


@dataclass(frozen=True)
class Scores:
    """What a pass over images gave: losses (batches,), tp, fp, fn, tn (images, 4), batch sizes (batches,)."""

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
    def accuracy(self) -> float:
        """Share of the counted pixels of all images that are classified right, in [0, 1]."""
        return pooled_accuracy(self.counts)

    @property
    def dice_batch_flattened(self) -> float:
        """Report A's Dice: mean over batches of the Dice of the flattened batch, in [0, 1]."""
        return float(batch_flattened_dice(self.counts, self.batch_sizes))
