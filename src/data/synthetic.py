"""A data set of drawn pets in the official layout: for trying everything out where the real one is not at hand."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from src.data.animals import BREEDS
from src.data.oxford_pet import IMAGES, TEST_LIST, TRAINVAL_LIST, TRIMAPS
from src.data.scenes import draw_scene
from src.files import making
from src.locks import SharedLock

OVERVIEW_LIST = "annotations/list.txt"


def make_synthetic(root: Path, trainval: int, test: int, size: int, seed: int) -> Path:
    """Draw `trainval` + `test` pets under `root`, unless that has been done, and return the data set's folder.

    The folder is `root/<trainval>-<test>-<size>-<seed>`, so that other settings never meet. It has the official
    layout, and opens with `open_oxford_pet`; the longer side of an image has `size` pixels. Image i is the same
    for every `trainval` and `test`, and all files have the same bytes each time they are made with the same
    versions of numpy and OpenCV. The folder appears when everything is in it; several processes may ask at once.

    Raises ValueError for numbers that make no data set, and when the folder cannot be written.
    """
    _check(trainval, test, size, seed)
    folder = _folder(root, trainval, test, size, seed)
    if folder.is_dir():
        return folder
    lock = SharedLock(root / f".drawing-{folder.name}.lock")
    try:
        with lock.held(wait=True):
            if not folder.is_dir():
                with making(folder, lock.check) as workplace:
                    _draw_all(workplace, trainval, test, size, seed)
    except OSError as error:
        raise ValueError(f"cannot write the synthetic data to {folder.absolute()}: {error}") from error
    return folder


def drawn_before(root: Path, trainval: int, test: int, size: int, seed: int) -> Path:
    """The folder that `make_synthetic` made of the same numbers. Raises ValueError, saying how, where it has not."""
    folder = _folder(root, trainval, test, size, seed)
    if not folder.is_dir():
        raise ValueError(
            f"no synthetic data in {folder.absolute()}; draw them: python -m src.prepare data=synthetic "
            f"data.root={root} data.trainval={trainval} data.test={test} data.size={size} data.seed={seed}"
        )
    return folder


def _folder(root: Path, trainval: int, test: int, size: int, seed: int) -> Path:
    return root / f"{trainval}-{test}-{size}-{seed}"


def _check(trainval: int, test: int, size: int, seed: int) -> None:
    problems = [
        f"data.{name} is {value}, allowed is {lowest} or more"
        for name, value, lowest in (
            ("trainval", trainval, 2),
            ("test", test, 1),
            ("size", size, 16),
            ("seed", seed, 0),
        )
        if value < lowest
    ]
    if problems:
        raise ValueError("\n".join(problems))


def _draw_all(folder: Path, trainval: int, test: int, size: int, seed: int) -> None:
    """Draw all pets in threads, and write the lists, sorted by breed as the official ones are."""
    (folder / IMAGES).mkdir(parents=True)
    (folder / TRIMAPS).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(lambda index: _draw_one(folder, index, size, seed), range(trainval + test)))
    for path, listed in (
        (TRAINVAL_LIST, lines[:trainval]),
        (TEST_LIST, lines[trainval:]),
        (OVERVIEW_LIST, lines),
    ):
        (folder / path).write_text("\n".join(sorted(listed)) + "\n")


def _draw_one(folder: Path, index: int, size: int, seed: int) -> str:
    """Draw pet number `index`, and return its line for the lists: `<stem> <class> <species> <breed>`."""
    kind = index % len(BREEDS)
    breed = BREEDS[kind]
    image, trimap = draw_scene(np.random.default_rng([seed, index]), breed, size)
    stem = f"{breed.name}_{index // len(BREEDS) + 1}"
    jpeg = (cv2.IMWRITE_JPEG_QUALITY, 95)
    _write(folder / IMAGES / f"{stem}.jpg", cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), jpeg)[1])
    _write(folder / TRIMAPS / f"{stem}.png", cv2.imencode(".png", trimap)[1])
    of_species = [other.name for other in BREEDS if other.species == breed.species]
    species = 1 if breed.species == "cat" else 2
    return f"{stem} {kind + 1} {species} {of_species.index(breed.name) + 1}"


def _write(path: Path, encoded: np.ndarray) -> None:
    path.write_bytes(encoded.tobytes())
