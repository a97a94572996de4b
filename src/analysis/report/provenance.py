"""Provenance: the data, machines, code and time of the runs, the commands to repeat them, and example pictures."""

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
from src.display.text import collapse_whitespace, human_seconds


@dataclass(frozen=True)
class Provenance:
    """`facts`: by name, a text each; `commands`: a shell command per setting. Both of the included runs."""

    facts: dict[str, str]
    commands: list[str]


def provenance_of(records: Records) -> Provenance:
    """From run.json and overrides.yaml of the included runs."""
    runs = [read_json(Path(folder) / "run.json") for folder in records.included["folder"]]
    if not runs:
        return Provenance({}, [])
    versions = [_part(run, "versions") for run in runs]
    packages = sorted({name for own in versions for name in own})
    facts = {
        "data": _each(_data(_part(run, "data")) for run in runs),
        "device": _each(run.get("device") for run in runs),
        "machine": _each(_machine(_part(run, "machine")) for run in runs),
        "numerics": _each(_part(run, "numerics").get("name") for run in runs),
        "code": _each(_code(_part(run, "git")) for run in runs),
        "versions": ", ".join(f"{name} {_each(own.get(name) for own in versions)}" for name in packages),
        "time": f"{human_seconds(records.included['seconds'].sum())} in {len(runs)} runs, "
        f"{_each(str(run.get('started', ''))[:10] for run in runs)}",
    }
    return Provenance({name: text for name, text in facts.items() if text}, _commands(records))


def _part(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of run.json; empty if it is missing or not a mapping."""
    part = run.get(name)
    return part if isinstance(part, dict) else {}


def _data(data: dict[str, Any]) -> str:
    images = ", ".join(f"{number} {split}" for split, number in _part(data, "images").items())
    return f"{images} (fingerprint {str(data.get('fingerprint'))[:12]})"


def _commands(records: Records) -> list[str]:
    """For each setting its command-line overrides, with all its seeds."""
    seeds_of: dict[tuple[str, ...], list[int]] = {}
    for folder, seed in zip(records.included["folder"], records.included["seed"], strict=True):
        words = tuple(word for word in _overrides(Path(folder)) if not word.startswith("seed="))
        seeds_of.setdefault(words, []).append(int(seed))
    return [_command(words, seeds) for words, seeds in seeds_of.items()]


def _command(words: Sequence[str], seeds: Sequence[int]) -> str:
    sweep = [] if any(word.startswith("experiment=") for word in words) or len(seeds) == 1 else ["-m"]
    return shlex.join(["python", "-m", "src.train", *sweep, *words, f"seed={','.join(map(str, sorted(seeds)))}"])


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(word) for word in read_yaml(folder / "overrides.yaml")]
    except (OSError, TypeError, ValueError):
        return []


def _machine(machine: dict[str, Any]) -> str:
    cores = machine.get("cores")
    parts = (machine.get("system"), cores and f"{cores} core{'' if cores == 1 else 's'} per run")
    return ", ".join(str(part) for part in parts if part)


def _code(git: dict[str, Any]) -> str:
    if "commit" not in git:
        return "not from a git checkout"
    return f"commit {str(git['commit'])[:10]}{' with changes' if git.get('changed') else ''}"


def _each(texts: Iterable[Any]) -> str:
    """The different `texts`, each once, in their order."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


PICTURES = Path(EVALUATION) / "test" / CONTACT_SHEET  # in the folder of a run
MOST_PIXELS = 64_000_000  # a small file may claim to hold gigabytes of them
MOST_BYTES = 1_100_000  # a third more in a page, as base64
SIZES = ((1200, 80), (1000, 65), (600, 50))  # width in pixels and JPEG quality, best first


@dataclass(frozen=True)
class ExamplePictures:
    """A contact sheet as the source of an `<img>` with its `caption`; `missing`: why another could not be shown.

    Without one, `source` and `caption` are empty, and `command` makes one.
    """

    source: str
    caption: str
    missing: str
    command: str


def example_pictures(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> ExamplePictures | None:
    """The contact sheet of the best setting, of the run with the test Dice nearest to the median.

    `scores`: of settings_scores, the best setting first. Sheets that cannot be read are named and skipped. None without
    included runs.
    """
    names = list(zip(scores["config_id"], scores["setting"], strict=True))[:1]
    best = [one for one in settings if one.folders and (one.config_id, one.label) in names]
    if not best:
        return None
    dice = records.per_image(best[0].folders, "dice").mean(axis=1)
    order = np.argsort(np.abs(dice - np.median(dice)), kind="stable")
    unreadable = []
    for number in order:
        folder = Path(best[0].folders[number])
        if not (folder / PICTURES).exists():
            continue
        try:
            source = _source(folder / PICTURES)
        except ValueError as error:
            unreadable.append(f"The pictures of {folder.name} are left out: {error}.")
            continue
        return ExamplePictures(source, _caption(folder.name, dice[number], best[0].label), " ".join(unreadable), "")
    command = shlex.join(["python", "-m", "src.evaluate", f"run={best[0].folders[order[0]]}"])
    return ExamplePictures("", "", " ".join(unreadable), command)


def _caption(run: str, dice: float, label: str) -> str:
    return (
        f"The worst, median and best test images of {run} (test Dice {dice:.4f}), the run of {label} with pictures "
        "that is nearest to the median test Dice: image, truth, prediction, probability, and errors (blue: missed; "
        "orange: falsely predicted)."
    )


def _source(path: Path) -> str:
    """A PNG as the source of an `<img>`, of at most MOST_BYTES before base64. Raises ValueError otherwise."""
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has {image.width} × {image.height} pixels; at most {MOST_PIXELS:,} are read")
            sheet = image.convert("RGB")
        jpeg = next((data for size in SIZES if len(data := _jpeg(sheet, *size)) <= MOST_BYTES), None)
    except Exception as error:  # decoders raise nearly anything on damaged files, also SyntaxError and struct.error
        reason = collapse_whitespace(str(error).replace(str(path), path.name))
        raise ValueError(f"{path.name} cannot be read ({reason})") from error
    if jpeg is None:
        raise ValueError(f"{path.name} is too large for a page, {sheet.width} × {sheet.height} pixels")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _jpeg(sheet: Image.Image, width: int, quality: int) -> bytes:
    """`sheet` at most `width` pixels wide, as a JPEG without color subsampling, which would blur its letters."""
    height = max(1, round(sheet.height * width / sheet.width))
    smaller = sheet if sheet.width <= width else sheet.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
