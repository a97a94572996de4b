"""Decoded images, kept: every pair is read and resized once, into two memory-mapped arrays that all runs share."""

import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL

from src.base.environment import usable_cores
from src.base.files import flush_to_disk, making, read_json, write_json
from src.base.locks import HostAwareLock
from src.base.progress import ProgressBar
from src.data.datasets import FileReader, PairReader
from src.data.pairs import Pair, Splits

log = logging.getLogger(__name__)
SCHEMA = 3  # raise it when the same files give other pixels, or caches made before may not be trusted
IMAGES, TRIMAPS, INDEX = "images.npy", "trimaps.npy", "index.json"
SPARE = 1 << 30  # bytes that must stay free on the disk
AT_ONCE = 64  # images that are checked by one task


@dataclass(eq=False)
class CachedReader:
    """A `PairReader` that copies from arrays: `folders` has those of each size, `rows` the row of each stem.

    If they are removed before a process has mapped them, it reads the files, with the same result.
    """

    folders: Mapping[int, Path]
    rows: Mapping[str, int]
    files: FileReader
    _mapped: dict[int, tuple[np.ndarray, np.ndarray] | None] = field(default_factory=dict, init=False)

    def __call__(self, pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (size, size, 3) and trimap uint8 (size, size), which may be written to."""
        if size not in self._mapped:
            try:
                self._mapped[size] = _arrays(self.folders[size])
            except (OSError, ValueError, EOFError) as error:
                log.warning("%s is gone, so every epoch decodes the images again: %s", self.folders[size], error)
                self._mapped[size] = None
        if (arrays := self._mapped[size]) is None:
            return self.files(pair, size)
        row = self.rows[pair.stem]
        return np.array(arrays[0][row]), np.array(arrays[1][row])

    def __getstate__(self) -> dict[str, Any]:
        # each process maps the files for itself: sent to a worker as arrays, all images would be copied
        return {**self.__dict__, "_mapped": {}}


def open_cache(splits: Splits, fingerprint: str, sizes: Iterable[int], folder: Path) -> PairReader:
    """The pairs of all splits at each of `sizes` (pixels), from `folder`/images; missing or damaged arrays are made.

    Arrays belong to the data's `fingerprint`, the size and the versions of the libraries that decode and resize. Of
    processes that ask at once one builds and the others wait. All bytes are checked on opening (about a second per
    gigabyte and core). If the disk is full or may not be written, a warning is logged and the files themselves are
    read, with the same result.

    Every file that is decoded has the digest that the check recorded. Raises ValueError, naming the file, for an image
    or mask that cannot be read, and DataChanged for one that is not what was checked.
    """
    places = {size: folder / "images" / _key(splits, fingerprint, size) for size in sizes}
    files = FileReader(splits.decoder)
    try:
        for size, place in places.items():
            _ensure(place, splits.pairs, files, size)
    except OSError as error:
        log.warning("decoded images cannot be kept in %s, so every epoch decodes them again: %s", folder, error)
        return files
    return CachedReader(places, _rows(splits.pairs), files)


def _ensure(place: Path, pairs: Sequence[Pair], files: FileReader, size: int) -> None:
    """Returns when the arrays are in `place` and sound, whichever process made them."""
    if _is_sound(place, len(pairs), size):
        return
    lock = HostAwareLock(place.with_name(f".{place.name}.lock"))
    if lock.is_held():
        log.info("waiting for another process, which decodes the images")
    with lock.held(wait=True):
        if not _is_sound(place, len(pairs), size):  # another process may have made it meanwhile
            _require_room(place.parent, len(pairs), size)
            _make(place, pairs, files, size, lock.check)


def _key(splits: Splits, fingerprint: str, size: int) -> str:
    facts = (SCHEMA, fingerprint, size, splits.decoder, cv2.__version__, PIL.__version__)
    return f"{size}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"


def _rows(pairs: Sequence[Pair]) -> dict[str, int]:
    """Sorted by stem, so that the folds of a data set share one cache."""
    return {stem: row for row, stem in enumerate(sorted(pair.stem for pair in pairs))}


def _is_sound(place: Path, images: int, size: int) -> bool:
    """Whether the arrays in `place` exist and every byte is as it was written."""
    if not (place / INDEX).exists():
        return False
    try:
        sums, arrays = read_json(place / INDEX)["checksums"], _arrays(place)
        if [array.shape for array in arrays] != _shapes(images, size) or sums != _checksums(arrays):
            raise ValueError("the arrays are not those that were written")
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged; rebuilding (%s)", place, error)
        return False
    return True


def _shapes(images: int, size: int) -> list[tuple[int, ...]]:
    return [(images, size, size, 3), (images, size, size)]


def _arrays(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images and the trimaps in `place`, mapped and not to be written to."""
    return np.load(place / IMAGES, mmap_mode="r"), np.load(place / TRIMAPS, mmap_mode="r")


def _checksums(arrays: Sequence[np.ndarray]) -> list[int]:
    """One for each stretch of AT_ONCE images of each array."""
    starts = range(0, len(arrays[0]), AT_ONCE)
    stretches = (array[start : start + AT_ONCE].reshape(-1) for array in arrays for start in starts)
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(zlib.crc32, stretches))


def _require_room(folder: Path, images: int, size: int) -> None:
    needed, free = images * size * size * 4, shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise OSError(f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free (1 GB is to stay so)")


def _make(place: Path, pairs: Sequence[Pair], files: FileReader, size: int, check: Callable[[], None]) -> None:
    """Writes both arrays into a folder beside `place`, which is renamed to `place` when all is on the disk."""
    with making(place, check) as workplace:
        _fill(workplace, pairs, files, size)
        write_json(workplace / INDEX, {"schema": SCHEMA, "checksums": _checksums(_arrays(workplace))})
        check()
        shutil.rmtree(place, ignore_errors=True)  # the damaged one; a process that has it open keeps it


def _fill(workplace: Path, pairs: Sequence[Pair], files: FileReader, size: int) -> None:
    rows = _rows(pairs)
    paths = (workplace / IMAGES, workplace / TRIMAPS)
    starts = [
        np.lib.format.open_memmap(path, "w+", np.uint8, shape).offset  # writes the head and claims the space
        for path, shape in zip(paths, _shapes(len(rows), size), strict=True)
    ]
    with (
        paths[0].open("r+b") as images,
        paths[1].open("r+b") as trimaps,
        ThreadPoolExecutor(usable_cores()) as pool,
    ):

        def write(pair: Pair) -> None:
            for array, file, start in zip(files(pair, size), (images, trimaps), starts, strict=True):
                content = np.ascontiguousarray(array).tobytes()
                # not through a memory map: on a full disk that would kill the process instead of raising
                if os.pwrite(file.fileno(), content, start + rows[pair.stem] * len(content)) != len(content):
                    raise OSError(f"{pair.stem} was only written in part")

        description = f"decoding images to {size} pixels"
        for _ in ProgressBar(pool.map(write, pairs), total=len(pairs), desc=description, unit=" images"):
            pass
    for path in paths:
        flush_to_disk(path)
