"""The audit: every file of a data set is sound before a run begins, and its content has a fingerprint."""

import functools
import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data.images import read_image
from src.data.pairs import OnError, Pair, Splits
from src.errors import one_line
from src.files import read_json, write_json

SCHEMA = 2  # raise it when the audit checks more, or the fingerprint is made differently
SHOWN = 50  # offenders that a message lists
SHOWN_SKIPPED = 20  # as many of those that are left out

State = tuple[str, int, int]  # absolute path, size in bytes, modification time in ns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """Of one pair: the pair, the line that stands for it in the fingerprint, and what is wrong with its files."""

    pair: Pair
    line: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Verdict:
    """The fingerprint of the pairs that pass, and what was found of the others."""

    digest: str
    faults: tuple[Finding, ...]


def fingerprint(splits: Splits, cache_folder: Path, workers: int | None = None, progress: bool = True) -> str:
    """The fingerprint of `splits`, of which every file must be sound: as `audited`, which leaves nothing out."""
    return audited(splits, cache_folder, "raise", workers, progress)[1]


def audited(
    splits: Splits,
    cache_folder: Path,
    on_error: OnError = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Splits, str]:
    """Check every file of the three splits, and return them with the content's fingerprint (64 hex digits).

    An image must decode fully; its mask must too, hold only allowed values, and have the image's size; their name must
    be UTF-8. A mask without foreground is allowed. With `on_error` "skip", pairs that do not pass are left out of what
    is returned, which says so in `skipped`.

    The fingerprint is sha256 over which stems are for training (train and valid together, so that folds of
    one data set share it), which are for testing, and the bytes of all files, of the pairs that remain. Folders and
    dates do not enter.

    What passed is remembered in `cache_folder/audit/`, under the paths, sizes and modification times of all
    files, so that asking again costs one stat a file. What did not pass is examined each time. Several processes may
    ask at once. Where `cache_folder` cannot be written, only the memory is lost, with a warning.

    `workers` threads read (None: one for each core, at most 16); `progress` shows a bar on stderr if that is
    a terminal.

    Raises ValueError for empty splits and stems that occur twice; with `on_error` "raise" also for all files that do
    not pass, with the reason for each (the first 50, and how many more).
    """
    if misplaced := _misplaced(splits):
        faults = _audit(splits, workers, progress).faults  # so that the one message has everything
        raise ValueError(_message("the data set cannot be used:", [*misplaced, *_problems(faults)]))
    memory = cache_folder / "audit" / f"{_listing_key(splits)}.json"
    known = _recall(memory, splits)
    if known is not None and (on_error == "skip" or not known.faults):
        return _without(splits, known.faults), known.digest
    verdict = _audit(splits, workers, progress)
    if verdict.faults and on_error == "raise":
        problems = _problems(verdict.faults)
        pairs = sum(map(len, (splits.train, splits.valid, splits.test)))
        raise ValueError(_message(f"{len(problems)} problems in {pairs} images and masks:", problems))
    remaining = _without(splits, verdict.faults)
    _remember(memory, verdict)
    return remaining, verdict.digest


def skipped_text(splits: Splits) -> str:
    """What was left out of `splits` and why, the first 20 by name."""
    count = len(splits.skipped)
    heading = f"{count} {'pair was' if count == 1 else 'pairs were'} left out (data.on_error=skip):"
    return _message(heading, splits.skipped, SHOWN_SKIPPED)


def _misplaced(splits: Splits) -> list[str]:
    """What is wrong with the splits themselves: every one needs pairs, and no stem may occur twice."""
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    found = defaultdict(list)
    for name, pairs in parts.items():
        for pair in pairs:
            found[pair.stem].append(name)
    problems = [f"{one_line(stem)} is listed twice ({', '.join(names)})" for stem, names in found.items() if names[1:]]
    if not all(parts.values()):
        counts = ", ".join(f"{name} {len(pairs)}" for name, pairs in parts.items())
        problems.insert(0, f"every split needs at least one image, there are: {counts}")
        problems += [f"left out: {line}" for line in splits.skipped]
    return problems


def _problems(faults: Sequence[Finding]) -> list[str]:
    """Each problem once: a pair that is listed twice is examined twice."""
    return list(dict.fromkeys(problem for finding in faults for problem in finding.problems))


def _without(splits: Splits, faults: Sequence[Finding]) -> Splits:
    """`splits` without the pairs of `faults`. Raises ValueError when that empties one."""
    if not faults:
        return splits
    stems = {finding.pair.stem for finding in faults}
    train, valid, test = (
        [pair for pair in pairs if pair.stem not in stems] for pairs in (splits.train, splits.valid, splits.test)
    )
    said = tuple("; ".join(finding.problems) for finding in faults)
    remaining = replace(splits, train=train, valid=valid, test=test, skipped=(*splits.skipped, *said))
    if misplaced := _misplaced(remaining):
        raise ValueError(_message("the data set cannot be used:", misplaced))
    return remaining


def _audit(splits: Splits, workers: int | None, progress: bool) -> _Verdict:
    pairs = [*splits.train, *splits.valid, *splits.test]
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        findings = list(
            tqdm(
                pool.map(functools.partial(examine, read_trimap=splits.read_trimap), pairs),
                desc="checking the data",
                total=len(pairs),
                unit=" images",
                disable=None if progress else True,  # None: only when stderr is a terminal
            )
        )
    first_test = len(splits.train) + len(splits.valid)
    trainval, test = (
        sorted(finding.line for finding in part if not finding.problems)
        for part in (findings[:first_test], findings[first_test:])
    )
    content = "\n".join(["trainval", *trainval, "test", *test])
    return _Verdict(_sha256(content.encode()), tuple(finding for finding in findings if finding.problems))


def examine(pair: Pair, read_trimap: Callable[[Path], np.ndarray]) -> Finding:
    """Reads both files of `pair`, and says everything that is wrong with them."""
    problems, sizes, digests = [], [], []
    if not _is_utf8(pair.stem):
        problems.append(f"{pair.image}: the name is no UTF-8, so no table can hold it; rename the file")
    for path, read in ((pair.image, read_image), (pair.mask, read_trimap)):
        try:
            height, width = read(path).shape[:2]
            sizes.append(f"{width} x {height}")
            digests.append(_sha256(path.read_bytes()))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if len(set(sizes)) > 1:
        problems.append(f"{pair.mask}: the mask is {sizes[1]} pixels, its image {sizes[0]}")
    return Finding(pair, "\t".join([pair.stem, *digests]), tuple(map(one_line, problems)))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return str(path.absolute()), -1, 0
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _recall(memory: Path, splits: Splits) -> _Verdict | None:
    """What is remembered, if the pairs that did not pass then still do not."""
    try:
        verdict = read_json(memory)
        digest, stems = str(verdict["fingerprint"]), set(verdict["faults"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: audited anew and written anew
    suspects = [pair for pair in (*splits.train, *splits.valid, *splits.test) if pair.stem in stems]
    findings = tuple(examine(pair, splits.read_trimap) for pair in suspects)
    return _Verdict(digest, findings) if all(finding.problems for finding in findings) else None


def _remember(memory: Path, verdict: _Verdict) -> None:
    faults = [finding.pair.stem for finding in verdict.faults]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, {"schema": SCHEMA, "fingerprint": verdict.digest, "faults": faults})
    except (OSError, UnicodeEncodeError) as error:
        _warn_once(f"cannot remember the audit of the data, so each run will repeat it: {error}")


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _message(heading: str, problems: Sequence[str], shown: int = SHOWN) -> str:
    more = [f"... and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n  ".join([heading, *problems[:shown], *more])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
