"""How predictions are scored: the choices that make one published Dice differ from another for the same network."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from src.base.record import HEADLINE
from src.data.images import BorderPolicy
from src.training.metrics import (
    Counts,
    batch_flattened_dice,
    dice_per_image,
    iou_per_image,
    pooled,
    pooled_accuracy,
    precision_per_image,
    recall_per_image,
    summary,
)

Size = Literal["square", "native"]
Tta = Literal["none", "hflip", "flips"]


@dataclass(frozen=True)
class Protocol:
    """`size`: scored at the network's square or at each image's own size; `threshold`: above it is foreground.

    `threshold_chosen_on`: the split that the threshold was chosen on, None for a number that was given.
    """

    border: BorderPolicy = "foreground"
    size: Size = "square"
    tta: Tta = "none"
    threshold: float = 0.5
    threshold_chosen_on: Literal["valid"] | None = None

    @property
    def name(self) -> str:
        """The key in test.json: `headline`, or what differs from it, such as `native_border_ignore_flips`."""
        given = f"threshold_{self.threshold:g}" if self.threshold != 0.5 else ""
        differs = [
            "native" if self.size == "native" else "",
            f"border_{self.border}" if self.border != "foreground" else "",
            self.tta if self.tta != "none" else "",
            f"threshold_{self.threshold_chosen_on}" if self.threshold_chosen_on else given,
        ]
        return "_".join(filter(None, differs)) or HEADLINE

    def entry(self, counts: Counts, image_size: int, batch_size: int) -> dict[str, Any]:
        """What test.json says of this protocol, from tp, fp, fn, tn of each image, int64 (N, 4)."""
        dice, whole = dice_per_image(counts), pooled(counts)
        batch_sizes = [min(batch_size, len(counts) - start) for start in range(0, len(counts), batch_size)]
        both_empty = counts[:, :3].sum(axis=1) == 0
        return {
            "image_size": image_size,
            "size": self.size,
            "border": self.border,
            "tta": self.tta,
            "threshold": self.threshold,
            "threshold_chosen_on": self.threshold_chosen_on,
            "both_empty": 1,
            "images": len(counts),
            "images_both_empty": int(both_empty.sum()),
            "true_foreground": float(counts[:, [0, 2]].sum() / max(counts.sum(), 1)),
            "dice": summary(dice),
            "dice_both_empty_as_0": float(np.where(both_empty, 0.0, dice).mean()),
            "iou": summary(iou_per_image(counts)),
            "precision": summary(precision_per_image(counts)),
            "recall": summary(recall_per_image(counts)),
            "pooled_dice": float(dice_per_image(whole)[0]),
            "pooled_iou": float(iou_per_image(whole)[0]),
            "pooled_precision": float(precision_per_image(whole)[0]),
            "pooled_recall": float(recall_per_image(whole)[0]),
            "accuracy": pooled_accuracy(counts),
            "dice_batch_flattened": batch_flattened_dice(counts, batch_sizes),
            "batch_size": batch_size,
        }


def image_rows(stems: Iterable[str], counts: Counts) -> list[dict[str, Any]]:
    """A row of test_images.csv for each image, from tp, fp, fn, tn of each, int64 (N, 4)."""
    dice, iou = dice_per_image(counts).tolist(), iou_per_image(counts).tolist()
    columns = zip(stems, dice, iou, counts.tolist(), strict=True)
    return [
        {"stem": stem, "dice": own_dice, "iou": own_iou, "tp": tp, "fp": fp, "fn": fn}
        for stem, own_dice, own_iou, (tp, fp, fn, _) in columns
    ]
