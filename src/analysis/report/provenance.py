"""Provenance: the data, machines, code and time of the runs, the commands to repeat them, and pictures."""

import base64
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image

from src.analysis.records.files import read_commands, read_plan
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.base.files import open_regular, read_json, read_yaml, replacing
from src.base.provenance import read_provenance
from src.base.record import CONTACT_SHEET, EVALUATION, EXAMPLES
from src.display.text import collapse_whitespace, human_seconds, mapping_text

RECORDED = ("data", "device", "machine", "numerics", "git", "versions")  # keys of run.json
SHEET = Path(EVALUATION) / "test" / CONTACT_SHEET  # in the folder of a run
MOST_PIXELS = 64_000_000  # a small file may claim to hold gigabytes of them
SHEET_WIDTH = 1200  # pixels on the page


def provenance_of(records: Records) -> dict[str, str]:
    """What run.json of the included runs tells, by name; empty without such runs."""
    runs = [read_json(Path(folder) / "run.json") for folder in records.included["folder"]]
    if not runs:
        return {}
    facts = {name: _each(_part_text(run.get(name)) for run in runs) for name in RECORDED}
    started = _each(str(run.get("started", ""))[:10] for run in runs)
    facts |= _made_with(runs, list(records.included["folder"]))
    facts["time"] = f"{human_seconds(records.included['seconds'].sum())} in {len(runs)} runs, {started}"
    return {name: text for name, text in facts.items() if text}


def _made_with(runs: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> dict[str, str]:
    """Code, packages and drivers as the sweeps keep them: see `Provenance.described`."""
    names = dict.fromkeys(
        (Path(folder).parent, run.get("provenance")) for run, folder in zip(runs, folders, strict=True)
    )
    found = [one.described() for sweep, name in names if (one := read_provenance(sweep, name)) is not None]
    return {name: _each(one[name] for one in found) for name in ("code", "made with")}


def commands_of(records: Records) -> list[str]:
    """Lines for a shell: what launched the sweeps; for each setting what repeats its included runs of no launch."""
    launched: dict[str, None] = {}
    planned: set[str] = set()
    for sweep in map(Path, records.runs["sweep"].unique()):
        if commands := read_commands(sweep):
            launched |= dict.fromkeys(commands)
            planned |= {str(sweep / run_id) for run_id in read_plan(sweep)}
    return [*launched, *_setting_commands(records.included[~records.included["folder"].isin(planned)])]


def _setting_commands(runs: pd.DataFrame) -> list[str]:
    seeds_of: dict[tuple[str, ...], list[int]] = {}
    for folder, seed in zip(runs["folder"], runs["seed"], strict=True):
        words = tuple(word for word in _overrides(Path(folder)) if not word.startswith("seed="))
        seeds_of.setdefault(words, []).append(int(seed))
    commands = []
    for words, seeds in seeds_of.items():
        is_single = len(seeds) == 1 or any(word.startswith("experiment=") for word in words)
        sweep, seed = [] if is_single else ["-m"], f"seed={','.join(map(str, sorted(seeds)))}"
        commands.append(shlex.join(["python", "-m", "src.train", *sweep, *words, seed]))
    return commands


class Sheet(NamedTuple):
    """Pictures of test images as a JPEG, with its width in pixels; without it, `caption` says why."""

    caption: str
    jpeg: bytes = b""
    width: int = 0

    @property
    def source(self) -> str:
        """That of an `<img>`."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.jpeg)


def sheet_name(number: int) -> str:
    """The file in figures/ of a sheet of a report."""
    return f"examples_{number}.jpg"


def contact_sheets(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> list[Sheet]:
    """Pictures of the best setting and of the next one.

    Of each setting they are those of the run with the test Dice nearest to the median that has pictures; what evaluate
    drew comes before what the run drew itself. `scores`: of settings_scores, the best first.
    """
    folders = {one.label: one.folders for one in settings if one.folders}
    labels = scores["setting"][scores["n"] > 0].head(2)
    return [_contact_sheet(label, typical_runs(records, folders[label])) for label in labels]


def typical_runs(records: Records, folders: tuple[str, ...]) -> pd.Series:
    """Test Dice of each run by its folder, those nearest to their median first."""
    dice = pd.Series(records.per_image(folders, "dice").mean(axis=1), folders)
    return dice.loc[(dice - dice.median()).abs().sort_values(kind="stable").index]


def _contact_sheet(label: str, dice: pd.Series) -> Sheet:
    """Of the setting `label`; `dice`: of typical_runs."""
    files = ((folder, Path(folder) / name) for folder in dice.index for name in (SHEET, EXAMPLES))
    folder, file = next((one for one in files if one[1].exists()), (dice.index[0], None))
    if file is None:
        command = shlex.join(["python", "-m", "src.evaluate", f"run={folder}"])
        return Sheet(f"To see test images of a typical run of {label}, run {command} and aggregate again.")
    name = Path(folder).name
    try:
        picture = read_picture(file)
    except ValueError as error:
        return Sheet(f"The pictures of {name} are left out: {error}.")
    caption = (
        f"Test images of {name} (test Dice {dice[folder]:.4f}), the run of {label} with pictures that is nearest to "
        "the median test Dice. From left to right: image, truth, prediction, probability, and errors (blue: missed; "
        "orange: falsely predicted)."
    )
    return Sheet(caption, *picture)


def read_picture(path: Path) -> tuple[bytes, int]:
    """A picture as a JPEG of at most SHEET_WIDTH, without color subsampling, which blurs letters, and its width.

    Raises ValueError, naming the file, for one that cannot be read.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has {image.width} × {image.height} pixels; at most {MOST_PIXELS:,} are read")
            sheet = image.convert("RGB")
        sheet.thumbnail((SHEET_WIDTH, sheet.height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=80, subsampling=0)
    except Exception as error:  # decoders raise nearly anything on damaged files, also SyntaxError and struct.error
        reason = collapse_whitespace(str(error).replace(str(path), path.name))
        raise ValueError(f"{path.name} cannot be read ({reason})") from error
    return buffer.getvalue(), sheet.width


def _part_text(part: Any) -> str:
    return mapping_text(part) if isinstance(part, dict) else str(part or "")


def _each(texts: Iterable[Any]) -> str:
    """The different `texts`, each once, in their order."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(word) for word in read_yaml(folder / "overrides.yaml")]
    except (OSError, TypeError, ValueError):
        return []
