"""Whether an exported file says the same as the network it was made from, on real images."""

from dataclasses import dataclass

import torch

from src.exporting.formats import Program
from src.prediction.trained import TrainedNetwork
from src.training.metrics import foreground_logit

# Images are run in batches of these sizes, one after another.
BATCHES = (1, 2, 3)
# The largest difference of a probability that counts as the same; docs/export.md has what was measured.
BOUND = 1e-4


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences of logits and of probabilities, and the pixels whose mask differs, of all pixels."""

    logit: float
    probability: float
    changed_pixels: int
    pixels: int

    @property
    def holds(self) -> bool:
        """Whether the probabilities agree within BOUND; not when one is no number."""
        return self.probability <= BOUND

    def __str__(self) -> str:
        share = 100 * self.changed_pixels / self.pixels
        return (
            f"largest difference {self.logit:.1e} of a logit, {self.probability:.1e} of a probability (allowed: "
            f"{BOUND:.0e}); {self.changed_pixels} of {self.pixels} mask pixels differ ({share:.4f} %)"
        )


@torch.inference_mode()
def compare(program: Program, trained: TrainedNetwork, images: torch.Tensor) -> Agreement:
    """`program`, fed as its description says, against the network as segsweep feeds it.

    Args:
        images: RGB uint8 (N, 3, S, S) with N the sum of BATCHES, S the size the network was trained at.
    """
    assert len(images) == sum(BATCHES), f"{len(images)} images do not fill batches of {BATCHES}"
    batches = images.split(list(BATCHES))
    expected = torch.cat([foreground_logit(trained.network.logits(batch)).cpu() for batch in batches])  # (N, S, S)
    got = torch.cat([program(_normalised(batch, trained)) for batch in batches])  # (N, S, S)
    assert got.shape == expected.shape and got.dtype == expected.dtype == torch.float32
    return Agreement(
        logit=float((got - expected).abs().max()),
        probability=float((torch.sigmoid(got) - torch.sigmoid(expected)).abs().max()),
        changed_pixels=int(((got > 0) != (expected > 0)).sum()),
        pixels=got.numel(),
    )


def _normalised(images: torch.Tensor, trained: TrainedNetwork) -> torch.Tensor:
    """(pixels / 255 - mean) / std as in the description, computed apart from `Network`."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (trained.config.data.mean, trained.config.data.std)
    )
    return (images / 255 - mean) / std  # (B, 3, S, S)
