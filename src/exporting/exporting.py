"""A run's network as one file that runs elsewhere, written only if it computes what the network computes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from src.base.config import PackageName, Section, UserPath
from src.base.environment import versions
from src.base.errors import ConfigError, attempt
from src.base.files import check_writable, replacing
from src.base.record import RunRecord
from src.data.open_data import open_data
from src.exporting.formats import (
    BATCHES,
    BOUND,
    INPUT,
    OUTPUT,
    SUFFIXES,
    Format,
    largest_difference,
    package_versions,
    read,
    require_packages,
    trace,
    write,
)
from src.prediction.inputs import find_inputs
from src.prediction.load_model import Predictor, load_model

SCHEMA = 1  # of the description; raised when a key changes its meaning, so that readers can tell
NAMED = ("run_id", "config_id", "status", "best_epoch")  # keys of run.json in a description; no name of a machine
RESIZE = {
    "pil_bilinear": "bilinear with antialiasing, aspect ratio not kept: PIL.Image.Resampling.BILINEAR on uint8",
    "cv2_linear": "bilinear without antialiasing, aspect ratio not kept: cv2.INTER_LINEAR on uint8",
}


class ExportOptions(Section):
    """See conf/export.yaml."""

    run: UserPath
    allow_targets: tuple[PackageName, ...] = ()
    format: Format
    output: UserPath | None
    inputs: str | None = Field(min_length=1)
    overwrite: bool


def export_run(options: ExportOptions) -> str:
    """Writes the file that `options` describe, whole or not at all; returns what is to be told about it.

    Raises ConfigError with every problem, before any work; ValueError as `export_network` does; OSError as the disk
    does.
    """
    folder, problems = Path(options.run), list[str]()
    attempt(problems, lambda: require_packages(options.format))
    predictor = attempt(problems, lambda: load_model(folder, "cpu", options.allow_targets))
    output = attempt(problems, lambda: _output(options))
    photos = attempt(problems, lambda: _photos(options.inputs, predictor))
    if predictor is None or output is None or not photos:
        raise ConfigError(problems)
    images = attempt(problems, lambda: read_photos(photos, predictor))
    if images is None or problems:
        raise ConfigError(problems)
    description = describe(predictor, options.format)
    content, difference = export_network(predictor, options.format, description, images)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary:
        temporary.write_bytes(content)
    source = options.inputs or predictor.config.data.root
    return (
        f"exported: {output} ({len(content) / 1e6:.1f} MB)\n"
        f"checked: {min(len(photos), len(images))} images of {source}, in batches of {', '.join(map(str, BATCHES))}\n"
        f"largest difference of a probability: {difference:.1e} (allowed: {BOUND:.0e})"
    )


def export_network(
    predictor: Predictor, name: Format, description: Mapping[str, Any], images: torch.Tensor
) -> tuple[bytes, float]:
    """The file of `predictor`, on the CPU, in the format `name`, and its largest difference of a probability.

    Args:
        description: see `describe`; goes into the file.
        images: RGB uint8 (6, 3, S, S) of the size the network was trained at, to compare file and network on.

    Raises ValueError when the network cannot be exported, or when the file computes something else.
    """
    try:
        program = trace(predictor.runner.model, predictor.image_size, predictor.runner.flip_tta)
        content = write(name, program, json.dumps(description))
        difference = largest_difference(read(name, content), predictor, images)
    except Exception as error:  # tracing a custom network raises a type for each thing that it cannot follow
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{predictor.folder}: this network cannot be exported as {name} ({type(error).__name__}: {reason})"
        ) from error
    if not difference <= BOUND:  # NaN is not
        raise ValueError(
            f"{predictor.folder}: nothing was written, since the {name} file differs from the network: by "
            f"{difference:.1e} in a probability, allowed is {BOUND:.0e}"
        )
    return content, difference


def describe(predictor: Predictor, name: Format) -> dict[str, Any]:
    """The description as plain values: all that a user of the file alone needs. docs/export.md explains it."""
    run, config, reader = RunRecord(predictor.folder).read() or {}, predictor.config, predictor.reader
    size = config.data.image_size
    return {
        "schema": SCHEMA,
        "run": {**{key: run.get(key) for key in NAMED}, "test_dice": run.get("scores", {}).get("test_dice")},
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
        "versions": {**versions(), **package_versions(name)},
    }


def read_photos(paths: Sequence[Path], predictor: Predictor) -> torch.Tensor:
    """RGB uint8 (6, 3, S, S) of images evenly spread over `paths`, some of them several times if there are fewer.

    Raises ValueError, naming the file, for one that cannot be read.
    """
    reader = predictor.reader
    spread = np.linspace(0, len(paths) - 1, sum(BATCHES)).round().astype(int)
    images = [reader.resized(reader(paths[index]), predictor.image_size) for index in spread]  # each (S, S, 3)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # (6, 3, S, S)


def _output(options: ExportOptions) -> Path:
    """The file to write. Raises ValueError where it may not be written."""
    run, suffix = Path(options.run), SUFFIXES[options.format]
    output = Path(options.output or run / "export" / f"{run.resolve().name}{suffix}")
    if output.suffix != suffix:
        raise ConfigError([f"output: got {output}; the file of format={options.format} ends in {suffix}"])
    if output.is_dir():
        raise ConfigError([f"output: {output} is a folder; give a file"])
    if output.exists() and not options.overwrite:
        raise ConfigError([f"output: {output} exists; overwrite=true replaces it, output=<file> keeps it"])
    check_writable(output.parent)
    return output


def _photos(inputs: str | None, predictor: Predictor | None) -> list[Path]:
    """What to check the file on: `inputs`, otherwise validation images where the run's config says; none is fetched."""
    if inputs is not None:
        return find_inputs(inputs, key="inputs").photos
    if predictor is None:
        return []
    data = predictor.config.data
    try:
        paths = [pair.image for pair in open_data(data, make=False).valid]
        if not paths:
            raise ValueError(f"no validation images in {data.root}")
    except ValueError as error:
        raise ValueError(
            "inputs: the images of the run's own data, which the file is to be checked on, cannot be read here "
            f"({str(error).splitlines()[0]}); give a photo or a folder of photos: inputs=<path>"
        ) from error
    return paths
