"""Exact counts of right and wrong pixels, and the Dice, IoU and accuracy scores made from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from src.data.images import FOREGROUND, IGNORED

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def foreground_logit(logits: Tensor) -> Tensor:
    """The logit of the foreground's probability; the predicted mask is where it is above 0.

    Above 0 is a probability above 0.5. For two channels it is z1 - z0, because softmax over two channels is
    the sigmoid of their difference; above 0 is then the argmax, with a tie going to the background.

    Args:
        logits: float (B, C, H, W) with C = 1 (foreground) or 2 (background, foreground).

    Returns:
        float32 (B, H, W), whatever the precision of the logits.
    """
    channels = logits.shape[1]
    assert channels in (1, 2), f"logits have {channels} channels; only 1 and 2 have a foreground logit"
    logits = logits.float()  # (B, C, H, W)
    return logits[:, 0] if channels == 1 else logits[:, 1] - logits[:, 0]  # (B, H, W)


def confusion(predicted: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Count true and false positives and negatives of each image over its counted pixels.

    Args:
        predicted: bool (B, H, W), True where the network says foreground.
        truth: bool (B, H, W), True where the mask says foreground.
        counted: bool (B, H, W), False where a pixel is ignored.

    Returns:
        int64 (B, 4): tp, fp, fn, tn in pixels, which add up to the counted ones, on the device of the masks and
        without waiting for it.
    """
    assert predicted.dtype == truth.dtype == counted.dtype == torch.bool
    assert predicted.shape == truth.shape == counted.shape
    outcomes = (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    return torch.stack([(outcome & counted).sum(dim=(1, 2)) for outcome in outcomes], dim=1)  # (B, 4)


def count_pixels(predicted: npt.NDArray[np.bool_], target: npt.NDArray[np.uint8]) -> Counts:
    """tp, fp, fn, tn, int64 (4,), of one mask (H, W) against a target (H, W) of FOREGROUND, 0 and IGNORED."""
    parts = (torch.from_numpy(part)[None] for part in (predicted, target == FOREGROUND, target != IGNORED))
    return confusion(*parts)[0].numpy()


def dice_per_image(counts: Counts) -> Scores:
    """Dice of each image, 2 tp / (2 tp + fp + fn) = 2 |P∩G| / (|P| + |G|) (report C).

    An image with neither predicted nor true foreground is perfect: 1.

    Args:
        counts: int64 (N, 4): tp, fp, fn, tn in pixels.

    Returns:
        float64 (N,) in [0, 1].
    """
    true_positive, false_positive, false_negative, _ = _columns(counts)
    return _ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def iou_per_image(counts: Counts) -> Scores:
    """Intersection over union of each image, tp / (tp + fp + fn); 1 where both masks are empty.

    Takes and returns the same as `dice_per_image`.
    """
    true_positive, false_positive, false_negative, _ = _columns(counts)
    return _ratio(true_positive, true_positive + false_positive + false_negative)


def precision_per_image(counts: Counts) -> Scores:
    """Share of each image's predicted foreground that is true, tp / (tp + fp); 1 where there is none of both kinds.

    Where nothing is predicted but something is true, 0: a network earns nothing by staying silent. Takes and returns
    the same as `dice_per_image`.
    """
    true_positive, false_positive, false_negative, _ = _columns(counts)
    return _ratio(true_positive, true_positive + false_positive, np.where(false_negative > 0, 0.0, 1.0))


def recall_per_image(counts: Counts) -> Scores:
    """Share of each image's true foreground that is found, tp / (tp + fn); 1 where there is none of both kinds.

    Where nothing is true but something is predicted, 0, as for precision. Takes and returns the same as
    `dice_per_image`.
    """
    true_positive, false_positive, false_negative, _ = _columns(counts)
    return _ratio(true_positive, true_positive + false_negative, np.where(false_positive > 0, 0.0, 1.0))


def pooled(counts: Counts) -> Counts:
    """The pixels of all images, int64 (N, 4), taken as one image: int64 (1, 4)."""
    return counts.sum(axis=0, keepdims=True)


def pooled_accuracy(counts: Counts) -> float:
    """Share of the counted pixels of all images that are classified right, (tp + tn) / (tp + fp + fn + tn) (report E).

    1 when every pixel is ignored, since none is wrong. Takes the same as `dice_per_image`.
    """
    sums = pooled(counts)
    true_positive, _, _, true_negative = _columns(sums)
    return float(_ratio(true_positive + true_negative, sums.sum(axis=1))[0])


def batch_flattened_dice(counts: Counts, batch_sizes: Sequence[int] | Counts) -> float:
    """Report A's Dice: each batch flattened into one image, scored, and the scores averaged over batches.

    The score of a batch is 2 |P∩G| / (|P| + |G| + 1e-8), so both-empty is 0 here, and a smaller last batch
    weighs as much as a full one: the number depends on the batch size and on the order of the images.

    Args:
        counts: int64 (N, 4): tp, fp, fn, tn in pixels, in the order in which the batches came.
        batch_sizes: images in each batch, all at least 1, N in sum.

    Returns:
        The mean over batches, in [0, 1].
    """
    images = np.asarray(batch_sizes)
    assert images.size > 0 and images.min() >= 1 and images.sum() == len(counts), (
        f"batch sizes {images} do not split {len(counts)} images"
    )
    first_rows = np.cumsum(images) - images
    true_positive, false_positive, false_negative, _ = _columns(np.add.reduceat(counts, first_rows, axis=0))
    sizes = 2 * true_positive + false_positive + false_negative  # |P| + |G|, in pixels
    return float(np.mean(2 * true_positive / (sizes + 1e-8)))


def summary(values: npt.ArrayLike) -> dict[str, float]:
    """Describe scores, float (N,) with N at least 1, by their mean, median, std, min and max.

    The standard deviation divides by N (ddof 0): it describes these images and is 0, not undefined, for one.
    """
    scores = np.asarray(values, dtype=np.float64)
    assert scores.ndim == 1 and scores.size > 0, f"no values to sum up, shape {scores.shape}"
    return {
        "mean": float(scores.mean()),
        "median": float(np.median(scores)),
        "std": float(scores.std(ddof=0)),
        "min": float(scores.min()),
        "max": float(scores.max()),
    }


def _columns(counts: Counts) -> tuple[Counts, Counts, Counts, Counts]:
    assert counts.ndim == 2 and counts.shape[1] == 4, f"counts must be (N, 4), got {counts.shape}"
    return counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3]


def _ratio(numerator: Counts, denominator: Counts, otherwise: Scores | float = 1.0) -> Scores:
    """`otherwise` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(len(denominator)) + otherwise, where=denominator > 0)


@dataclass
class MetricAccumulator:
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
    def from_state_dict(cls, state: dict[str, list[torch.Tensor]], device: torch.device) -> "MetricAccumulator":
        """The tally that `state_dict` came from, on `device`."""
        return cls([loss.to(device) for loss in state["losses"]], [counts.to(device) for counts in state["counts"]])

    def read(self) -> "EpochMetrics":
        """Waits for the device and brings everything to numpy."""
        losses = torch.stack(self.losses).cpu().numpy().astype(np.float64)
        counts = torch.cat(self.counts).cpu().numpy()
        return EpochMetrics(losses, counts, np.array([len(batch) for batch in self.counts]))


@dataclass(frozen=True)
class EpochMetrics:
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
        return batch_flattened_dice(self.counts, self.batch_sizes)
