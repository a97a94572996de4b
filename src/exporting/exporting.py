"""A run's network as one file that runs elsewhere, put in place only when it says what the network says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from src.base.config import FolderData, OxfordPetData, SyntheticData
from src.base.errors import ConfigError
from src.base.files import replacing
from src.data.images import ImageReader, resize_image
from src.data.open_data import open_data
from src.exporting.formats import BATCHES, FORMATS, Agreement, compare, require_packages, trace
from src.exporting.metadata import RecordedRun, describe, read_run
from src.exporting.options import ExportOptions, FormatName
from src.prediction.load_model import Predictor, load_model


@dataclass(frozen=True)
class CheckImages:
    """RGB images, uint8 (N, 3, S, S), some of them twice if there are few: `distinct` files, found in `source`."""

    pixels: torch.Tensor
    distinct: int
    source: Path


def photos(source: Path) -> list[Path]:
    """The image files that `source` names: itself, or those in this folder, sorted; hidden ones are left out.

    Raises ValueError when there are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"inputs: {source} is not there; give a photo or a folder of photos")
    known = Image.registered_extensions()
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in known and path.name[0] != ".")
    if not found:
        raise ValueError(f"inputs: {source} holds no images; give a photo or a folder of photos")
    return found


def read_photos(source: Path, paths: Sequence[Path], reader: ImageReader, size: int, count: int) -> CheckImages:
    """`count` images of `paths`, evenly spread over them or again and again, as networks for `size` pixels take them.

    Raises ValueError, naming the file, for one that cannot be read.
    """
    chosen = _spread(paths, count)
    images = [resize_image(reader(path), size) for path in chosen]  # each (S, S, 3)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # (N, 3, S, S)
    return CheckImages(pixels, len(set(chosen)), source)


def read_own_images(data: OxfordPetData | SyntheticData | FolderData, reader: ImageReader, count: int) -> CheckImages:
    """`count` images of the validation split of the run's data, read where its config says; nothing is fetched.

    Raises ValueError when they are not there, and asks for others.
    """
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


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    if len(paths) < count:
        return [paths[index % len(paths)] for index in range(count)]
    return [paths[index] for index in np.linspace(0, len(paths) - 1, count).round().astype(int)]


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the file, how many bytes it has, and how it compares with the network on these images."""

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


class ExportOrder:
    """What the options of an export stand for, each part found when it is asked for."""

    def __init__(self, options: ExportOptions) -> None:
        self.options = options
        self.folder = Path(options.run)

    @cached_property
    def format(self) -> FormatName:
        """The name of a format whose packages are there."""
        require_packages(self.options.format)
        return self.options.format

    @cached_property
    def run(self) -> RecordedRun:
        """The record of the run."""
        return read_run(self.folder)

    @cached_property
    def predictor(self) -> Predictor:
        """The network of the run."""
        return load_model(self.folder, "cpu", self.options.allow_targets)

    @cached_property
    def output(self) -> Path:
        """The file to write, which may be written."""
        chosen = self.options.output
        output = Path(chosen) if chosen is not None else self.options.default_output(self.run.facts.run_id)
        self.options.check_output(output)
        return output

    @cached_property
    def images(self) -> CheckImages:
        """The images to check the file on."""
        if self.options.inputs is None:
            return read_own_images(self.run.config.data, self.predictor.reader, sum(BATCHES))
        source = Path(self.options.inputs)
        return read_photos(source, photos(source), self.predictor.reader, self.predictor.image_size, sum(BATCHES))

    def check(self) -> None:
        """Raises ConfigError with everything that is wrong; a cause is named once, however many parts hinge on it."""
        problems: list[str] = []
        for part in ("format", "run", "predictor", "output", "images"):
            try:
                getattr(self, part)
            except ConfigError as error:
                problems += error.problems
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))


def export_run(options: ExportOptions) -> Exported:
    """Writes the file that `options` ask for, whole or not at all.

    Raises ConfigError with everything that is wrong, before any work; ValueError as `export_network` does; OSError as
    the disk does.
    """
    order = ExportOrder(options)
    order.check()
    content, agreement = export_network(
        order.predictor, order.format, describe(order.run, order.predictor.reader), order.images.pixels
    )
    order.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(order.output) as temporary:
        temporary.write_bytes(content)
    return Exported(order.output, len(content), agreement, order.images)


def export_network(
    predictor: Predictor, name: FormatName, description: dict[str, Any], images: torch.Tensor
) -> tuple[bytes, Agreement]:
    """The file of `predictor`, on the CPU, in the format `name`, and how it compares with the network on `images`.

    Args:
        description: see `describe`; goes into the file.
        images: RGB uint8 (6, 3, S, S) of the size the network was trained at.

    Raises ValueError when the network cannot be exported, or when the file does not say what the network says.
    """
    form = FORMATS[name]
    try:
        program = trace(predictor.runner.model, predictor.image_size, predictor.runner.flip_tta)
        content = form.write(program, json.dumps(description))
        agreement = compare(form.read(content), predictor, images)
    except Exception as error:  # tracing a network of one's own raises a type for each thing that it cannot follow
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{predictor.folder}: this network cannot be exported as {name} ({type(error).__name__}: {reason})"
        ) from error
    if not agreement.holds:
        raise ValueError(
            f"{predictor.folder}: nothing was written, as {name} the network says something else: {agreement}"
        )
    return content, agreement
