"""One pass over a split: the network predicts each image once, and every protocol scores that prediction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np

from src.base.progress import ProgressBar
from src.data.images import FOREGROUND, IGNORED, BorderPolicy, resize_mask, trimap_to_target
from src.data.loaders import NativeBatch
from src.data.pairs import Pair
from src.data.sources.oxford_pet import breeds_of
from src.evaluation.measures import TOLERANCE, Calibration, boundary_f
from src.prediction.load_model import Predictor
from src.training.metrics import count_pixels, dice_per_image, summary
from src.training.protocol import Protocol, Size, Tta, image_rows

SIZES: tuple[Size, ...] = ("square", "native")
BORDERS: tuple[BorderPolicy, ...] = ("foreground", "background", "ignore")


def by_group(groups: Iterable[str | None], dice: Iterable[float]) -> dict[str, dict[str, Any]]:
    """Images and mean Dice of each group, the lowest mean first; images of no group are left out."""
    members: dict[str, list[float]] = {}
    for group, value in zip(groups, dice, strict=True):
        if group is not None:
            members.setdefault(group, []).append(value)
    means = {group: {"images": len(values), "dice": float(np.mean(values))} for group, values in members.items()}
    return dict(sorted(means.items(), key=lambda item: (item[1]["dice"], item[0])))


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image: probability float32 (S, S), and its trimap uint8 (H, W) at its own size."""

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


def every_protocol(tta: Tta, threshold: float, chosen_on: Literal["valid"] | None) -> list[Protocol]:
    """Every border at every size, the headline's way first."""
    return [Protocol(border, size, tta, threshold, chosen_on) for size in SIZES for border in BORDERS]


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
        predicted = probability > np.float32(self.protocol.threshold)
        truth, counted = target == FOREGROUND, target != IGNORED
        self.counts.append(count_pixels(predicted, target))
        self.calibration.add(probability, truth, counted)
        # where the border or something else is left out, the true outline may lie in what is ignored
        if self.protocol.border != "ignore" and counted.all():
            self.boundary.append(boundary_f(predicted, truth))


def predictions(predictor: Predictor, batches: Iterable[NativeBatch], tta: Tta, what: str) -> Iterator[Prediction]:
    """Every image of `batches` in its order; a bar named `what` shows how far it is."""
    for batch in ProgressBar(batches, desc=what, unit="batch", leave=False):
        probabilities = predictor.probabilities(batch.images, tta).cpu().numpy()  # (B, S, S)
        yield from map(Prediction, probabilities, batch.trimaps)


def score_all(found: Iterable[Prediction], protocols: Sequence[Protocol]) -> list[Scored]:
    """Each image under each protocol."""
    scored = [Scored(protocol) for protocol in protocols]
    for prediction in found:
        for one in scored:
            one.add(prediction)
    return scored


def entry_of(scored: Scored, pairs: Sequence[Pair], image_size: int, batch_size: int) -> dict[str, Any]:
    """What test.json says of one protocol: as a training run says it, and what only an evaluation measures."""
    counts = np.stack(scored.counts)
    dice = dice_per_image(counts).tolist()
    known = breeds_of(pairs)
    species, breeds = zip(*(known.get(pair.stem, (None, None)) for pair in pairs), strict=True)
    return {
        **scored.protocol.entry(counts, image_size, batch_size),
        "boundary_f": summary(scored.boundary) if scored.boundary else None,
        "boundary_tolerance": TOLERANCE,
        "calibration_error": scored.calibration.error(),
        "calibration_bins": scored.calibration.bins(),
        "by_species": by_group(species, dice),
        "by_breed": by_group(breeds, dice),
    }


def rows_of(scored: Scored, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """A row for each image, as test_images.csv has them."""
    return image_rows([pair.stem for pair in pairs], np.stack(scored.counts))
