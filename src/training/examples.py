"""The contact sheet of a run: its worst, median and best test images, and two that are the same in all runs."""

import logging

import torch
from PIL import Image

from src.base.record import EXAMPLES, RunLost, RunRecord
from src.data.images import FOREGROUND, IGNORED
from src.data.loaders import EvalLoader
from src.display.gallery import contact_sheet, save_picture, worst_median_best
from src.display.panels import Example
from src.training.metrics import Counts, dice_per_image, foreground_logit
from src.training.state import ModelRunner

log = logging.getLogger(__name__)
SIDE = 118  # pixels of a panel: a sheet 680 pixels wide


def draw_examples(
    network: ModelRunner, loader: EvalLoader, stems: list[str], counts: Counts, number: int, record: RunRecord
) -> None:
    """Writes the sheet of `number` worst, median and best images; `counts`: tp, fp, fn, tn, int64 (images, 4).

    The network predicts these images once more: which ones they are is known only after the last one is scored. A run
    does not fail for its pictures: why there are none is a warning.
    """
    try:
        sheet = _sheet(network, loader, stems, counts, number, record.folder.name)
        save_picture(sheet, record.folder / EXAMPLES, record.check)
    except RunLost:
        raise
    except Exception as error:
        log.warning("the test images are not drawn: %s", error)


def _sheet(
    network: ModelRunner, loader: EvalLoader, stems: list[str], counts: Counts, number: int, title: str
) -> Image.Image:
    dice, count = dice_per_image(counts).tolist(), len(stems)
    groups = worst_median_best(dice, number) | {"the same images in all runs": sorted({count // 3, 2 * count // 3})}
    examples = {}
    for name, positions in groups.items():
        if not positions:
            continue
        images, targets, _ = loader.read(positions)
        with torch.inference_mode():
            probabilities = foreground_logit(network.logits(images)).sigmoid().cpu().numpy()  # (B, S, S)
        photos, masks = images.permute(0, 2, 3, 1).numpy(), targets.numpy()
        each = zip(positions, photos, masks, probabilities, strict=True)
        examples[name] = [
            Example(stems[at], photo, mask == FOREGROUND, mask == IGNORED, probability, 0.5, dice[at])
            for at, photo, mask, probability in each
        ]
    return contact_sheet(title, examples, SIDE)
