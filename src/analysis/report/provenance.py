"""Where answers come from: machines, versions, code and time of the runs that count, and how to repeat them."""

import base64
import io
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.base.files import open_regular, read_json, read_yaml
from src.base.record import CONTACT_SHEET, EVALUATION
from src.display.text import human_seconds, one_line


@dataclass(frozen=True)
class Provenance:
    """`facts`: name and text of what is known of the runs that count; `commands`: lines for a shell, one a setting."""

    facts: dict[str, str]
    commands: list[str]


def provenance_of(records: Records) -> Provenance:
    """Read from run.json and overrides.yaml of the runs that count."""
    runs = [read_json(Path(folder) / "run.json") for folder in records.counted["folder"]]
    if not runs:
        return Provenance({}, [])
    versions = [_part(run, "versions") for run in runs]
    packages = sorted({name for own in versions for name in own})
    facts = {
        "data": _each(_data(_part(run, "data")) for run in runs),
        "device": _each(run.get("device") for run in runs),
        "machine": _each(_machine(_part(run, "machine")) for run in runs),
        "arithmetic": _each(_part(run, "numerics").get("name") for run in runs),
        "code": _each(_code(_part(run, "git")) for run in runs),
        "versions": ", ".join(f"{name} {_each(own.get(name) for own in versions)}" for name in packages),
        "worked": f"{human_seconds(records.counted['seconds'].sum())} over {len(runs)} runs, "
        f"{_each(str(run.get('started', ''))[:10] for run in runs)}",
    }
    return Provenance({name: text for name, text in facts.items() if text}, _commands(records))


def _part(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of run.json; empty where it is none, as in a record that somebody else's program wrote."""
    part = run.get(name)
    return part if isinstance(part, dict) else {}


def _data(data: dict[str, Any]) -> str:
    images = ", ".join(f"{number} {split}" for split, number in _part(data, "images").items())
    return f"{images} (fingerprint {str(data.get('fingerprint'))[:12]})"


def _commands(records: Records) -> list[str]:
    """For each setting what was typed for it, with all its seeds."""
    typed: dict[tuple[str, ...], list[int]] = {}
    for folder, seed in zip(records.counted["folder"], records.counted["seed"], strict=True):
        words = tuple(word for word in _overrides(Path(folder)) if not word.startswith("seed="))
        typed.setdefault(words, []).append(int(seed))
    return [_command(words, seeds) for words, seeds in typed.items()]


def _command(words: Sequence[str], seeds: Sequence[int]) -> str:
    sweep = [] if any(word.startswith("experiment=") for word in words) or len(seeds) == 1 else ["-m"]
    return shlex.join(["python", "-m", "src.train", *sweep, *words, f"seed={','.join(map(str, sorted(seeds)))}"])


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(word) for word in read_yaml(folder / "overrides.yaml")]
    except (OSError, TypeError, ValueError):
        return []


def _machine(machine: dict[str, Any]) -> str:
    return ", ".join(str(part) for part in (machine.get("system"), _cores(machine.get("cores"))) if part)


def _cores(cores: Any) -> str:
    return f"{cores} core{'' if cores == 1 else 's'} a run" if cores else ""


def _code(git: dict[str, Any]) -> str:
    if "commit" not in git:
        return "not from a git checkout"
    return f"commit {str(git['commit'])[:10]}{' with changes' if git.get('changed') else ''}"


def _each(texts: Iterable[Any]) -> str:
    """The different ones among `texts`, each once, in their order."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


PICTURES = Path(EVALUATION) / "test" / CONTACT_SHEET  # in the folder of a run
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
        if (folder / PICTURES).exists():
            try:
                source = _source(folder / PICTURES)
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
