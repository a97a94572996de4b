"""The audit: every file of a data set is sound before a run begins, and its content has a fingerprint."""

import functools
import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data.images import read_image
from src.data.pairs import Pair, Splits
from src.files import read_json, write_json

SCHEMA = 1  # raise it when the audit checks more, or the fingerprint is made differently
SHOWN = 50  # offenders that a message lists

State = tuple[str, int, int]  # absolute path, size in bytes, modification time in ns

log = logging.getLogger(__name__)


def fingerprint(splits: Splits, cache_folder: Path, workers: int | None = None, progress: bool = True) -> str:
    """Check every file of the three splits, and return the content's fingerprint (64 hex digits).

    An image must decode fully; its mask must too, hold only allowed values, and have the image's size.
    A mask without foreground is allowed.

    The fingerprint is sha256 over which stems are for training (train and valid together, so that folds of
    one data set share it), which are for testing, and the bytes of all files. Folders and dates do not enter.

    What passed is remembered in `cache_folder/audit/`, under the paths, sizes and modification times of all
    files, so that asking again costs one stat a file. Failures are not remembered. Several processes may ask
    at once. Where `cache_folder` cannot be written, only the memory is lost, with a warning.

    `workers` threads read (None: one for each core, at most 16); `progress` shows a bar on stderr if that is
    a terminal.

    Raises ValueError for empty splits and stems that occur twice; else for all files that do not pass, with
    the reason for each (the first 50, and how many more).
    """
    _check_membership(splits)
    memory = cache_folder / "audit" / f"{_listing_key(splits)}.json"
    remembered = _recall(memory)
    if remembered is not None:
        return remembered
    verdict = _audit(splits, workers or min(16, os.cpu_count() or 1), progress)
    _remember(memory, verdict)
    return verdict


def _check_membership(splits: Splits) -> None:
    """Raise ValueError, with all problems at once, unless every split has pairs and no stem occurs twice."""
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    found = defaultdict(list)
    for name, pairs in parts.items():
        for pair in pairs:
            found[pair.stem].append(name)
    problems = [f"{stem} is listed twice ({', '.join(names)})" for stem, names in found.items() if names[1:]]
    if not all(parts.values()):
        counts = ", ".join(f"{name} {len(pairs)}" for name, pairs in parts.items())
        problems.insert(0, f"every split needs at least one image, there are: {counts}")
    if problems:
        raise ValueError(_message("the data set cannot be used:", problems))


def _audit(splits: Splits, workers: int, progress: bool) -> str:
    pairs = [*splits.train, *splits.valid, *splits.test]
    examine = functools.partial(_examine, read_trimap=splits.read_trimap)
    with ThreadPoolExecutor(workers) as pool:
        findings = list(
            tqdm(
                pool.map(examine, pairs),
                desc="checking the data",
                total=len(pairs),
                unit=" images",
                disable=None if progress else True,  # None: only when stderr is a terminal
            )
        )
    problems = [problem for _, found in findings for problem in found]
    if problems:
        raise ValueError(_message(f"{len(problems)} problems in {len(pairs)} images and masks:", problems))
    lines = [line for line, _ in findings]
    first_test = len(splits.train) + len(splits.valid)
    content = ["trainval", *sorted(lines[:first_test]), "test", *sorted(lines[first_test:])]
    return _sha256("\n".join(content).encode())


def _examine(pair: Pair, read_trimap: Callable[[Path], np.ndarray]) -> tuple[str, list[str]]:
    """Return the line that stands for this pair in the fingerprint, and what is wrong with its files."""
    problems, sizes, digests = [], [], []
    for path, read in ((pair.image, read_image), (pair.mask, read_trimap)):
        try:
            height, width = read(path).shape[:2]
            sizes.append(f"{width} x {height}")
            digests.append(_sha256(path.read_bytes()))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if not problems and sizes[0] != sizes[1]:
        problems.append(f"{pair.mask}: the mask is {sizes[1]} pixels, its image {sizes[0]}")
    return "\t".join([pair.stem, *digests]), problems


def _listing_key(splits: Splits) -> str:
    """Hash what tells, without opening a file, whether anything may have changed since the last audit."""
    trainval = _listing([*splits.train, *splits.valid])
    reader = f"{splits.read_trimap.__module__}.{splits.read_trimap.__qualname__}"
    return _sha256(json.dumps([SCHEMA, reader, trainval, _listing(splits.test)]).encode())


def _listing(pairs: Iterable[Pair]) -> list[tuple[str, State, State]]:
    return sorted((pair.stem, _state(pair.image), _state(pair.mask)) for pair in pairs)


def _state(path: Path) -> State:
    """Look at a file from outside; a missing one has size -1."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute()), -1, 0
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _recall(memory: Path) -> str | None:
    try:
        return str(read_json(memory)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: audited anew and written anew


def _remember(memory: Path, verdict: str) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, {"schema": SCHEMA, "fingerprint": verdict})
    except OSError as error:
        _warn_once(f"cannot remember the audit of the data, so each run will repeat it: {error}")


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _message(heading: str, problems: list[str]) -> str:
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n  ".join([heading, *problems[:SHOWN], *more])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
