"""Decoded images, kept: every pair is read and resized once, into two memory-mapped arrays that all runs share."""

import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
from tqdm import tqdm

from src.base.environment import usable_cores
from src.base.files import flush_to_disk, making, read_json, write_json
from src.base.locks import SharedLock
from src.data.loaders import PairFiles, ReadPair
from src.data.pairs import Pair, Splits
from src.data.reading import PairReader

log = logging.getLogger(__name__)
SCHEMA = 3  # raise it when the same files give other pixels, or what is kept may not be trusted
IMAGES, TRIMAPS, INDEX = "images.npy", "trimaps.npy", "index.json"
SPARE = 1 << 30  # bytes that must stay free on the disk
AT_ONCE = 64  # images that are checked by one task


class CachedPairs:
    """A `ReadPair` that copies from arrays: `folders` has those of each size, `rows` the row of each stem.

    Where they are removed before a process has mapped them, it reads the files, with the same result.
    """

    def __init__(self, folders: Mapping[int, Path], rows: Mapping[str, int], files: PairFiles) -> None:
        self.folders = dict(folders)
        self.rows = dict(rows)
        self.files = files
        self._mapped: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (size, size, 3) and trimap uint8 (size, size), which may be written to."""
        assert size in self.folders, f"made for {sorted(self.folders)} pixels, asked for {size}"
        if size not in self._mapped:
            try:
                self._mapped[size] = _arrays(self.folders[size])
            except (OSError, ValueError, EOFError) as error:
                _warn_once(f"{self.folders[size]} is gone, so this run decodes its images again and again: {error}")
                return self.files(pair, size)
        images, trimaps = self._mapped[size]
        row = self.rows[pair.stem]
        return np.array(images[row]), np.array(trimaps[row])

    def __getstate__(self) -> dict[str, Any]:
        # each process maps the files for itself: sent to a worker as arrays, all images would be copied
        return {**self.__dict__, "_mapped": {}}


def open_cache(splits: Splits, fingerprint: str, sizes: Iterable[int], folder: Path, progress: bool = True) -> ReadPair:
    """The pairs of all splits at each of `sizes` (pixels), from `folder`/images; what is not there or damaged is made.

    Which arrays belong to which data is decided by the data's `fingerprint`, the size and the versions of what decodes
    and resizes. Of processes that ask at once one builds and the others wait. All bytes are checked on opening (about a
    second for each gigabyte and core). Where the disk has no room or may not be written, a warning says so and the
    files themselves are read, with the same result.

    Every file that is decoded has the digest that the audit recorded. Raises ValueError, naming the file, for an image
    or mask that cannot be read, and DataChanged for one that is not what was audited.
    """
    places = {size: folder / "images" / _key(splits, fingerprint, size) for size in sizes}
    pairs = [*splits.train, *splits.valid, *splits.test]
    try:
        for size, place in places.items():
            _have(place, pairs, splits.reader, size, progress)
    except OSError as error:
        log.warning("decoded images cannot be kept in %s, so every epoch decodes them again: %s", folder, error)
        return PairFiles(splits.reader)
    return CachedPairs(places, _rows(pairs), PairFiles(splits.reader))


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _have(place: Path, pairs: Sequence[Pair], reader: PairReader, size: int, progress: bool) -> None:
    """Returns when the arrays are in `place` and sound, whoever made them."""
    if _is_sound(place, len(pairs), size):
        return
    lock = SharedLock(place.with_name(f".{place.name}.lock"))
    if lock.is_held():
        log.info("waiting for another process, which decodes the images")
    with lock.held(wait=True):
        if not _is_sound(place, len(pairs), size):  # another process may have made it meanwhile
            _require_room(place.parent, len(pairs), size)
            _make(place, pairs, reader, size, progress, lock.check)


def _key(splits: Splits, fingerprint: str, size: int) -> str:
    facts = (SCHEMA, fingerprint, size, splits.reader, cv2.__version__, PIL.__version__)
    return f"{size}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"


def _rows(pairs: Sequence[Pair]) -> dict[str, int]:
    """Sorted by stem, so that the folds of a data set share one cache."""
    return {stem: row for row, stem in enumerate(sorted(pair.stem for pair in pairs))}


def _is_sound(place: Path, images: int, size: int) -> bool:
    """Whether the arrays in `place` are there and every byte of them is as it was written."""
    if not (place / INDEX).exists():
        return False
    try:
        sums, arrays = read_json(place / INDEX)["checksums"], _arrays(place)
        shapes = ((images, size, size, 3), (images, size, size))
        if tuple(array.shape for array in arrays) == shapes and sums == _checksums(arrays):
            return True
        log.warning("%s is damaged and will be made again", place)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged and will be made again (%s)", place, error)
    return False


def _arrays(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images and the trimaps in `place`, mapped and not to be written to."""
    return np.load(place / IMAGES, mmap_mode="r"), np.load(place / TRIMAPS, mmap_mode="r")


def _checksums(arrays: Sequence[np.ndarray]) -> list[int]:
    """One for each stretch of AT_ONCE images of each array."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(zlib.crc32, (stretch for array in arrays for stretch in _stretches(array))))


def _stretches(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[start : start + AT_ONCE].reshape(-1) for start in range(0, len(array), AT_ONCE))


def _require_room(folder: Path, images: int, size: int) -> None:
    needed, free = images * size * size * 4, shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise OSError(f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free (1 GB is to stay so)")


def _make(
    place: Path, pairs: Sequence[Pair], reader: PairReader, size: int, progress: bool, check: Callable[[], None]
) -> None:
    """Writes both arrays into a folder beside `place`, which becomes `place` when all is on the disk."""
    with making(place, check) as workplace:
        _fill(workplace, pairs, PairFiles(reader), size, progress)
        write_json(workplace / INDEX, {"schema": SCHEMA, "checksums": _checksums(_arrays(workplace))})
        check()
        shutil.rmtree(place, ignore_errors=True)  # what was damaged; who has it open keeps it


def _fill(workplace: Path, pairs: Sequence[Pair], read: PairFiles, size: int, progress: bool) -> None:
    rows = _rows(pairs)
    shapes = {IMAGES: (len(rows), size, size, 3), TRIMAPS: (len(rows), size, size)}
    starts = {name: _begin_array(workplace / name, shape) for name, shape in shapes.items()}
    with (
        (workplace / IMAGES).open("r+b") as images,
        (workplace / TRIMAPS).open("r+b") as trimaps,
        ThreadPoolExecutor(usable_cores()) as pool,
    ):
        write = partial(
            _write, read, rows, size, ((images.fileno(), starts[IMAGES]), (trimaps.fileno(), starts[TRIMAPS]))
        )
        bar = tqdm(total=len(pairs), desc=f"decoding images to {size} pixels", unit=" images", disable=_quiet(progress))
        with bar:
            for _ in pool.map(write, pairs):
                bar.update()
    for name in shapes:
        flush_to_disk(workplace / name)


def _write(
    read: PairFiles, rows: dict[str, int], size: int, targets: tuple[tuple[int, int], tuple[int, int]], pair: Pair
) -> None:
    for array, (file, start) in zip(read(pair, size), targets, strict=True):
        content = np.ascontiguousarray(array).tobytes()
        # not through a memory map: on a full disk that would kill the process instead of raising
        if os.pwrite(file, content, start + rows[pair.stem] * len(content)) != len(content):
            raise OSError(f"{pair.stem} was only written in part")


def _begin_array(path: Path, shape: tuple[int, ...]) -> int:
    """Writes the head of a .npy file for uint8 of `shape`, claims the room for it, and returns where the data begin."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start = file.tell()
        file.truncate(start + int(np.prod(shape)))
    return start


def _quiet(progress: bool) -> bool | None:
    """For tqdm: None shows the bar only where stderr is a terminal."""
    return None if progress else True
