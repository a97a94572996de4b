"""A data set of drawn pets in the official layout: for trying everything out where the real one is not at hand."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from src.base.files import making
from src.base.locks import HostAwareLock
from src.data.sources.drawing import BREEDS, draw_scene
from src.data.sources.oxford_pet import BREED_LIST, IMAGES, TEST_LIST, TRAINVAL_LIST, TRIMAPS


def make_synthetic(root: Path, trainval: int, test: int, size: int, seed: int, draw: bool = True) -> Path:
    """Draw `trainval` + `test` pets under `root`, unless that has been done, and return the data set's folder.

    The folder, `root/<trainval>-<test>-<size>-<seed>`, appears when everything is in it; several processes may ask at
    once. Image i is the same for every `trainval` and `test`, and its bytes for the same versions of numpy and OpenCV;
    its longer side has `size` pixels.
    Raises ValueError when the folder cannot be written, or does not exist and `draw` is False.
    """
    folder = root / f"{trainval}-{test}-{size}-{seed}"
    if folder.is_dir():
        return folder
    if not draw:
        raise ValueError(
            f"no synthetic data in {folder.absolute()}; draw them: python -m src.prepare data=synthetic "
            f"data.root={root} data.trainval={trainval} data.test={test} data.size={size} data.seed={seed}"
        )
    lock = HostAwareLock(root / f".drawing-{folder.name}.lock")
    try:
        with lock.held(wait=True):
            if not folder.is_dir():
                with making(folder, lock.check) as workplace:
                    _draw_all(workplace, trainval, test, size, seed)
    except OSError as error:
        raise ValueError(f"cannot write the synthetic data to {folder.absolute()}: {error}") from error
    return folder


def _draw_all(folder: Path, trainval: int, test: int, size: int, seed: int) -> None:
    """Draw all pets in threads, and write the lists, sorted by breed as the official ones are."""
    (folder / IMAGES).mkdir(parents=True)
    (folder / TRIMAPS).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(lambda index: _draw_one(folder, index, size, seed), range(trainval + test)))
    for path, listed in ((TRAINVAL_LIST, lines[:trainval]), (TEST_LIST, lines[trainval:]), (BREED_LIST, lines)):
        (folder / path).write_text("\n".join(sorted(listed)) + "\n")


def _draw_one(folder: Path, index: int, size: int, seed: int) -> str:
    """Draw pet number `index`, and return its line for the lists: `<stem> <class> <species> <breed>`."""
    kind = index % len(BREEDS)
    image, trimap = draw_scene(np.random.default_rng([seed, index]), BREEDS[kind], size)
    stem = f"{BREEDS[kind].name}_{index // len(BREEDS) + 1}"
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 95))[1]
    (folder / IMAGES / f"{stem}.jpg").write_bytes(jpeg.tobytes())
    (folder / TRIMAPS / f"{stem}.png").write_bytes(cv2.imencode(".png", trimap)[1].tobytes())
    return f"{stem} {kind + 1} {kind // 4 + 1} {kind % 4 + 1}"
