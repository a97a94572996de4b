"""What an exported file says of itself: which run it is of, how its input is made, what its output means."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from src.base.config import RunConfig, Section, parse_section
from src.base.environment import versions
from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.data.images import ImageReader
from src.prediction.load_model import read_config

# Raised when a key changes its meaning, so that readers can tell.
SCHEMA = 1
INPUT = "images"
OUTPUT = "logits"


class RunFacts(Section):
    """What of run.json goes with an exported file; other keys stay behind, the name of the machine among them."""

    model_config = ConfigDict(extra="ignore")

    run_id: str = Field(pattern=r"^[^./\\][^/\\]*$")  # it becomes the name of a file
    config_id: str
    status: str
    best_epoch: int | None
    scores: dict[str, float]


@dataclass(frozen=True)
class RecordedRun:
    """What the record of a run says: its config and, of its run.json, the facts."""

    config: RunConfig
    facts: RunFacts


def read_run(folder: Path) -> RecordedRun:
    """The record in `folder`. Raises ValueError when it is no run's, or when its files are not what they should be."""
    config = read_config(folder)
    file = folder / "run.json"
    plain = RunRecord(folder).read()
    if plain is None:
        raise ValueError(f"{folder}: has no run.json; a run has one from its start on")
    try:
        return RecordedRun(config, parse_section(RunFacts, plain))
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from error


def describe(run: RecordedRun, reader: ImageReader) -> dict[str, Any]:
    """The description as plain values: all that somebody needs who has only the file. docs/export.md explains it."""
    size = run.config.data.image_size
    return {
        "schema": SCHEMA,
        "run": _told_of(run.facts),
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "layout": "NCHW",
            "shape": ["batch", 3, size, size],
            "colour_order": "RGB",
        },
        "preprocessing": {
            "exif_orientation": reader.exif,
            "transparent": "laid on white",
            "bits_of_16_bit_images": reader.bits,
            "height": size,
            "width": size,
            "resize": "bilinear without antialiasing, aspect ratio not kept: cv2.INTER_LINEAR on uint8",
            "divide_by": 255,
            "mean": list(run.config.data.mean),
            "std": list(run.config.data.std),
            "formula": "(pixels / divide_by - mean) / std",
        },
        "output": {
            "name": OUTPUT,
            "dtype": "float32",
            "layout": "NHW",
            "shape": ["batch", size, size],
            "meaning": "logit of the probability that a pixel is foreground",
            "probability": "1 / (1 + exp(-logits))",
            "mask": "logits > 0",
            "threshold": 0.5,
        },
        "versions": {**versions(), **_exporters()},
    }


def _told_of(facts: RunFacts) -> dict[str, Any]:
    told = facts.model_dump(exclude={"scores"})
    return {**told, "test_dice": facts.scores.get("test_dice")}


def _exporters() -> dict[str, str]:
    """Versions of the packages that only an export needs; what is absent is left out."""
    found = {}
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # for example onnxruntime-gpu in its place
    return found
