"""The same test images as two runs predict them, one below the other, in one picture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.display.gallery import contact_sheet, save_picture
from src.evaluation.evaluation import EvaluateOptions, predicted_images


def draw_side_by_side(runs: Mapping[str, str], dice: Mapping[str, Sequence[float]], path: Path, **options: Any) -> None:
    """Writes a picture with a group for each image of `dice`, and in it a row for each of `runs`.

    `runs`: the folder by the name to show; `dice`: by image, the recorded score under each of `runs`; `options`: root,
    cache, device and allow_targets as for an evaluation. Raises ValueError if a run has no weights or its data are not
    there.
    """
    headline = {"split": "test", "tta": "none", "threshold": 0.5, "output": None, "workers": 0}
    rows = []
    for number, (name, folder) in enumerate(runs.items()):
        own = EvaluateOptions(run=folder, images=0, examples="extremes", styles=[], **headline, **options)
        found = predicted_images(own, {stem: scores[number] for stem, scores in dice.items()})
        rows.append([replace(example, stem=name) for example in found])
    groups = {f"image {stem}": both for stem, both in zip(dice, zip(*rows, strict=True), strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(contact_sheet(" and ".join(runs), groups), path)
