"""The description inside an exported file: its run, how its input is made, what its output means."""

import importlib.metadata
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from src.base.config import RunConfig, Section, parse_section
from src.base.environment import versions
from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.data.images import ImageReader

# Raised when a key changes its meaning, so that readers can tell.
SCHEMA = 1
INPUT = "images"
RESIZE = {
    "pil_bilinear": "bilinear with antialiasing, aspect ratio not kept: PIL.Image.Resampling.BILINEAR on uint8",
    "cv2_linear": "bilinear without antialiasing, aspect ratio not kept: cv2.INTER_LINEAR on uint8",
}
OUTPUT = "logits"


class RunFacts(Section):
    """What of run.json goes with an exported file; other keys stay behind, the name of the machine among them."""

    model_config = ConfigDict(extra="ignore")

    run_id: str = Field(pattern=r"^[^./\\][^/\\]*$")  # it becomes the name of a file
    config_id: str
    status: str
    best_epoch: int | None
    scores: dict[str, float]


def read_facts(folder: Path) -> RunFacts:
    """The facts of the run in `folder`. Raises ValueError when its run.json is missing or not what a run records."""
    record = RunRecord(folder)
    plain = record.read()
    if plain is None:
        raise ValueError(f"{folder}: has no run.json; a run has one from its start on")
    try:
        return parse_section(RunFacts, plain)
    except ConfigError as error:
        raise ConfigError([f"{record.run_file}: {problem}" for problem in error.problems]) from error


def describe(facts: RunFacts, config: RunConfig, reader: ImageReader) -> dict[str, Any]:
    """The description as plain values: all that a user of the file alone needs. docs/export.md explains it."""
    size = config.data.image_size
    return {
        "schema": SCHEMA,
        "run": {**facts.model_dump(exclude={"scores"}), "test_dice": facts.scores.get("test_dice")},
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "layout": "NCHW",
            "shape": ["batch", 3, size, size],
            "color_order": "RGB",
        },
        "preprocessing": {
            "exif_orientation": reader.exif,
            "transparent": "laid on white",
            "bits_of_16_bit_images": reader.bits,
            "height": size,
            "width": size,
            "resize": RESIZE[reader.resize],
            "divide_by": 255,
            "mean": list(config.data.mean),
            "std": list(config.data.std),
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


def _exporters() -> dict[str, str]:
    """Versions of the packages that only an export needs; what is absent is left out."""
    found = {}
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # for example onnxruntime-gpu in its place
    return found
