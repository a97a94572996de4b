"""One pass over a split: the network predicts each image once, and every protocol scores that prediction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from src.data.images import FOREGROUND, IGNORED, resize_mask, trimap_to_target
from src.data.loaders import WholeBatch
from src.data.pairs import Pair
from src.evaluation.boundary import TOLERANCE, boundary_f
from src.evaluation.breeds import breeds_of, by_group
from src.evaluation.calibration import Calibration
from src.evaluation.protocol import Protocol
from src.prediction.trained import TrainedNetwork, Tta
from src.training.metrics import (
    batch_flattened_dice,
    confusion,
    dice_per_image,
    iou_per_image,
    pooled_accuracy,
    pooled_dice,
    pooled_iou,
    pooled_precision,
    pooled_recall,
    precision_per_image,
    recall_per_image,
    summary,
)


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image: probability float32 (S, S), and its trimap uint8 (H, W) at its own size."""

    position: int
    probability: np.ndarray
    trimap: np.ndarray

    def at(self, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
        """Probability float32 and target uint8 (FOREGROUND, 0, IGNORED) at the protocol's size, border as it says.

        At an image's own size the probabilities are enlarged bilinearly; at the network's the trimap is resized as in
        training.
        """
        probability, trimap = self.probability, self.trimap
        if protocol.size == "native":
            height, width = trimap.shape
            probability = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR)
        else:
            trimap = resize_mask(trimap, len(probability))
        return probability, trimap_to_target(trimap, protocol.border)


@dataclass
class Scored:
    """What one protocol counted: int64 (4,) tp, fp, fn, tn and a boundary score for each image, and calibration."""

    protocol: Protocol
    counts: list[np.ndarray] = field(default_factory=list)
    boundary: list[float] = field(default_factory=list)
    calibration: Calibration = field(default_factory=Calibration)

    def add(self, prediction: Prediction) -> None:
        """Scores one image."""
        probability, target = prediction.at(self.protocol)
        predicted, truth, counted = (
            mask_of(probability, self.protocol.threshold),
            target == FOREGROUND,
            target != IGNORED,
        )
        one = (torch.from_numpy(mask)[None] for mask in (predicted, truth, counted))
        self.counts.append(confusion(*one)[0].numpy())
        self.calibration.add(probability, truth, counted)
        # where the border or something else is left out, the true outline may lie in what is ignored
        if self.protocol.border != "ignore" and counted.all():
            self.boundary.append(boundary_f(predicted, truth))


def mask_of(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Bool, of the shape of `probability`: where it is above `threshold`."""
    return probability > np.float32(threshold)


def predictions(trained: TrainedNetwork, batches: Iterable[WholeBatch], tta: Tta, what: str) -> Iterator[Prediction]:
    """Every image of `batches` in its order; a bar named `what` shows how far it is."""
    for batch in tqdm(batches, desc=what, unit="batch", disable=None, leave=False):
        probabilities = trained.probabilities(batch.images, tta).cpu().numpy()  # (B, S, S)
        for position, probability, trimap in zip(batch.positions, probabilities, batch.trimaps, strict=True):
            yield Prediction(position, probability, trimap)


def score_all(found: Iterable[Prediction], protocols: Sequence[Protocol]) -> list[Scored]:
    """Each image under each protocol."""
    scored = [Scored(protocol) for protocol in protocols]
    for prediction in found:
        for one in scored:
            one.add(prediction)
    return scored


def entry_of(scored: Scored, pairs: Sequence[Pair], image_size: int, batch_size: int) -> dict[str, Any]:
    """What test.json says of one protocol; the keys that a training run writes too mean the same."""
    protocol, counts = scored.protocol, np.stack(scored.counts)
    dice = dice_per_image(counts)
    both_empty = counts[:, :3].sum(axis=1) == 0
    known = breeds_of(pairs)
    species, breeds = zip(*(known.get(pair.stem, (None, None)) for pair in pairs), strict=True)
    return {
        "image_size": image_size,
        "size": protocol.size,
        "border": protocol.border,
        "tta": protocol.tta,
        "threshold": protocol.threshold,
        "threshold_chosen_on": protocol.chosen,
        "both_empty": 1,
        "images": len(counts),
        "images_both_empty": int(both_empty.sum()),
        "true_foreground": float(counts[:, [0, 2]].sum() / max(counts.sum(), 1)),
        "dice": summary(dice),
        "dice_both_empty_as_0": float(np.where(both_empty, 0.0, dice).mean()),
        "iou": summary(iou_per_image(counts)),
        "precision": summary(precision_per_image(counts)),
        "recall": summary(recall_per_image(counts)),
        "pooled_dice": pooled_dice(counts),
        "pooled_iou": pooled_iou(counts),
        "pooled_precision": pooled_precision(counts),
        "pooled_recall": pooled_recall(counts),
        "accuracy": pooled_accuracy(counts),
        "dice_batch_flattened": batch_flattened_dice(counts, batch_sizes(len(counts), batch_size)),
        "batch_size": batch_size,
        "boundary_f": summary(scored.boundary) if scored.boundary else None,
        "boundary_tolerance": TOLERANCE,
        "calibration_error": scored.calibration.error(),
        "calibration_bins": scored.calibration.bins(),
        "by_species": by_group(species, dice.tolist()),
        "by_breed": by_group(breeds, dice.tolist()),
    }


def rows_of(scored: Scored, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """A row for each image, as test_images.csv has them."""
    counts = np.stack(scored.counts)
    columns = zip(pairs, dice_per_image(counts).tolist(), iou_per_image(counts).tolist(), counts.tolist(), strict=True)
    return [
        {"stem": pair.stem, "dice": dice, "iou": iou, "tp": tp, "fp": fp, "fn": fn}
        for pair, dice, iou, (tp, fp, fn, _) in columns
    ]


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """Images in each batch of an evaluation, the last one smaller where they do not come out even."""
    return [min(batch_size, images - start) for start in range(0, images, batch_size)]
