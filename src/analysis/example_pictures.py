"""The pictures that `python -m src.evaluate` made of a typical run of the best setting, small enough for a page."""

import base64
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from src.analysis.loading import Records
from src.analysis.matching import Setting
from src.analysis.words import one_line
from src.files import open_regular

CONTACT_SHEET = Path("evaluation") / "test" / "contact_sheet.png"  # in the folder of a run
MOST_PIXELS = 64_000_000  # a small file may claim to hold gigabytes of them
MOST_BYTES = 1_100_000  # a third more in a page, as base64
SIZES = ((1200, 85), (1200, 70), (1000, 65), (800, 60), (600, 50))  # width in pixels and JPEG quality, best first


@dataclass(frozen=True)
class ExamplePictures:
    """A contact sheet as the source of an `<img>` with its `caption`; `missing`: why there is none, or another is not.

    Where there is none, `source` and `caption` are empty, and `command` makes one.
    """

    source: str
    caption: str
    missing: str
    command: str


def example_pictures(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> ExamplePictures | None:
    """Of the best setting's runs that have a contact sheet the one whose test Dice is nearest to their median.

    `scores`: as of settings_scores, the best setting first. A sheet that cannot be read is left out with a word. None
    where no run counts.
    """
    best = _best(settings, scores)
    if best is None:
        return None
    dice = records.per_image(best.folders, "dice").mean(axis=1)
    order = np.argsort(np.abs(dice - np.median(dice)), kind="stable")
    unreadable = []
    for number in order:
        folder = Path(best.folders[number])
        if (folder / CONTACT_SHEET).exists():
            try:
                source = _source(folder / CONTACT_SHEET)
            except ValueError as error:
                unreadable.append(f"The pictures of {folder.name} are left out: {error}.")
                continue
            return ExamplePictures(source, _caption(folder.name, dice[number], best.label), " ".join(unreadable), "")
    command = shlex.join(["python", "-m", "src.evaluate", f"run={best.folders[order[0]]}"])
    return ExamplePictures("", "", " ".join(unreadable), command)


def _best(settings: Sequence[Setting], scores: pd.DataFrame) -> Setting | None:
    """The setting of the first row of `scores`; None where none of its runs counts."""
    first = scores.head(1).to_dict("records")
    own = [
        setting
        for setting in settings
        for row in first
        if setting.folders and (setting.config_id, setting.label) == (row["config_id"], row["setting"])
    ]
    return own[0] if own else None


def _caption(run: str, dice: float, label: str) -> str:
    return (
        f"The worst, median and best test images of {run} (test Dice {dice:.4f}), of the runs of {label} that have "
        "pictures the one nearest to its median test Dice: image, truth, prediction, probability, and errors, blue "
        "where something was missed and orange where something was invented."
    )


def _source(path: Path) -> str:
    """A PNG as the source of an `<img>`, of at most MOST_BYTES before base64. Raises ValueError otherwise."""
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels, at most {MOST_PIXELS:,} are read")
            sheet = image.convert("RGB")
        jpeg = next((data for size in SIZES if len(data := _jpeg(sheet, *size)) <= MOST_BYTES), None)
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error too
        reason = one_line(str(error).replace(str(path), path.name))
        raise ValueError(f"{path.name} cannot be read ({reason})") from error
    if jpeg is None:
        raise ValueError(f"{path.name} is too large for a page, {sheet.width} × {sheet.height} pixels")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _jpeg(sheet: Image.Image, width: int, quality: int) -> bytes:
    """`sheet` at most `width` pixels wide, as a JPEG whose letters keep their colour's edges (no subsampling)."""
    height = max(1, round(sheet.height * width / sheet.width))
    smaller = sheet if sheet.width <= width else sheet.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
