"""Real images to check an exported network on: the user's own, or a few of the run's validation split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.config import FolderData, OxfordPetData, SyntheticData
from src.data.images import ImageReader, resize_image
from src.data.splits import open_data


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
