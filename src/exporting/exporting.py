"""A run's network as one file that runs elsewhere, written only if it computes what the network computes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from src.base.config import AnyData, PackageName, Section
from src.base.errors import ConfigError, attempt
from src.base.files import replacing
from src.data.images import ImageReader
from src.data.open_data import open_data
from src.exporting.formats import BATCHES, SUFFIXES, Agreement, Format, compare, read, require_packages, trace, write
from src.exporting.metadata import RunFacts, describe, read_facts
from src.prediction.inputs import find_inputs
from src.prediction.load_model import Predictor, load_model


class ExportOptions(Section):
    """See conf/export.yaml."""

    run: str = Field(min_length=1)
    allow_targets: tuple[PackageName, ...] = ()
    format: Format
    output: str | None = Field(min_length=1)
    inputs: str | None = Field(min_length=1)
    overwrite: bool


@dataclass(frozen=True)
class CheckImages:
    """RGB images, uint8 (N, 3, S, S), some of them twice if there are few: `distinct` files, found in `source`."""

    pixels: torch.Tensor
    distinct: int
    source: Path


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the file, its size in bytes, and how it compares with the network on these images."""

    file: Path
    size: int
    agreement: Agreement
    images: CheckImages

    def __str__(self) -> str:
        batches = ", ".join(map(str, BATCHES))
        return (
            f"exported: {self.file} ({self.size / 1e6:.1f} MB)\n"
            f"checked: {self.images.distinct} images of {self.images.source}, in batches of {batches}\n"
            f"{self.agreement}"
        )


def export_run(options: ExportOptions) -> Exported:
    """Writes the file that `options` describe, whole or not at all.

    Raises ConfigError with every problem, before any work; ValueError as `export_network` does; OSError as the disk
    does.
    """
    folder, problems = Path(options.run), list[str]()
    attempt(problems, lambda: require_packages(options.format))
    predictor = attempt(problems, lambda: load_model(folder, "cpu", options.allow_targets))
    facts = None if predictor is None else attempt(problems, lambda: read_facts(folder))
    output = attempt(problems, lambda: _output(options, facts))
    images = attempt(problems, lambda: _check_images(options.inputs, predictor))
    if problems or predictor is None or facts is None or output is None or images is None:
        raise ConfigError(problems)
    description = describe(facts, predictor.config, predictor.reader)
    content, agreement = export_network(predictor, options.format, description, images.pixels)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary:
        temporary.write_bytes(content)
    return Exported(output, len(content), agreement, images)


def export_network(
    predictor: Predictor, name: Format, description: dict[str, Any], images: torch.Tensor
) -> tuple[bytes, Agreement]:
    """The file of `predictor`, on the CPU, in the format `name`, and how it compares with the network on `images`.

    Args:
        description: see `describe`; goes into the file.
        images: RGB uint8 (6, 3, S, S) of the size the network was trained at.

    Raises ValueError when the network cannot be exported, or when the file computes something else.
    """
    try:
        program = trace(predictor.runner.model, predictor.image_size, predictor.runner.flip_tta)
        content = write(name, program, json.dumps(description))
        agreement = compare(read(name, content), predictor, images)
    except Exception as error:  # tracing a custom network raises a type for each thing that it cannot follow
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{predictor.folder}: this network cannot be exported as {name} ({type(error).__name__}: {reason})"
        ) from error
    if not agreement.holds:
        raise ValueError(
            f"{predictor.folder}: nothing was written, since the {name} file differs from the network: {agreement}"
        )
    return content, agreement


def read_photos(source: Path, paths: Sequence[Path], reader: ImageReader, size: int, count: int) -> CheckImages:
    """`count` images evenly spread over `paths`, some of them several times if there are fewer, resized to `size`.

    Raises ValueError, naming the file, for one that cannot be read.
    """
    spread = np.linspace(0, len(paths) - 1, count).round().astype(int)
    chosen = [paths[index] for index in spread]
    images = [reader.resized(reader(path), size) for path in chosen]  # each (S, S, 3)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # (N, 3, S, S)
    return CheckImages(pixels, len(set(chosen)), source)


def _output(options: ExportOptions, facts: RunFacts | None) -> Path | None:
    """The file to write; None for a default that is not known yet. Raises ConfigError where it may not be written."""
    suffix = SUFFIXES[options.format]
    if options.output is not None:
        output = Path(options.output)
    elif facts is not None:
        output = Path(options.run) / "export" / f"{facts.run_id}{suffix}"
    else:
        return None
    if output.suffix != suffix:
        raise ConfigError([f"output: got {output}; the file of format={options.format} ends in {suffix}"])
    if output.is_dir():
        raise ConfigError([f"output: {output} is a folder; give a file"])
    if output.exists() and not options.overwrite:
        raise ConfigError([f"output: {output} exists; overwrite=true replaces it, output=<file> keeps it"])
    return output


def _check_images(inputs: str | None, predictor: Predictor | None) -> CheckImages | None:
    """The images to check the file on: `inputs`, otherwise validation images of the run's own data."""
    photos = None if inputs is None else find_inputs(inputs, key="inputs").photos
    if predictor is None:
        return None
    count = sum(BATCHES)
    if inputs is not None and photos is not None:
        return read_photos(Path(inputs), photos, predictor.reader, predictor.image_size, count)
    return _own_images(predictor.config.data, predictor.reader, count)


def _own_images(data: AnyData, reader: ImageReader, count: int) -> CheckImages:
    """`count` validation images of the run's data, read where its config says; nothing is fetched."""
    try:
        paths = [pair.image for pair in open_data(data, make=False).valid]
        if not paths:
            raise ValueError(f"no validation images in {data.root}")
        return read_photos(Path(data.root), paths, reader, data.image_size, count)
    except ValueError as error:
        raise ValueError(
            "inputs: the images of the run's own data, which the file is to be checked on, cannot be read here "
            f"({str(error).splitlines()[0]}); give a photo or a folder of photos: inputs=<path>"
        ) from error
