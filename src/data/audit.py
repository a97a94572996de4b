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
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data.images import BACKGROUND, BORDER, PET, read_image
from src.data.pairs import Facts, OnError, Pair, Splits
from src.data.unchanged import State, read_unchanged, state_of
from src.errors import one_line
from src.files import read_json, write_json

SCHEMA = 3  # raise it when the audit checks more, or the fingerprint is made differently
SHOWN = 50  # offenders that a message lists
SHOWN_SKIPPED = 20  # as many of those that are left out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """Of one pair: what its files hold, None where they are not sound, and what is wrong with them."""

    pair: Pair
    facts: Facts | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Verdict:
    """What was found in the pairs that pass, by stem, and of the others."""

    facts: dict[str, Facts]
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

    What passed is remembered in `cache_folder/audit/`, under the paths, sizes, times and inodes of all files, so that
    asking again costs one stat a file. What did not pass is examined each time. Several processes may ask at once.
    Where `cache_folder` cannot be written, only the memory is lost, with a warning. The pairs returned have `facts`.

    `workers` threads read (None: one for each core, at most 16); `progress` shows a bar on stderr if that is
    a terminal.

    Raises ValueError for empty splits and stems that occur twice; with `on_error` "raise" also for all files that do
    not pass, with the reason for each (the first 50, and how many more).
    """
    if misplaced := _misplaced(splits):
        faults = _audit(splits, workers, progress).faults  # so that the one message has everything
        raise ValueError(_message("the data set cannot be used:", [*misplaced, *_problems(faults)]))
    memory = cache_folder / "audit" / f"{_listing_key(splits)}.json"
    verdict = _recall(memory, splits)
    if verdict is None or (on_error == "raise" and verdict.faults):
        verdict = _audit(splits, workers, progress)
        if verdict.faults and on_error == "raise":
            problems = _problems(verdict.faults)
            pairs = sum(map(len, (splits.train, splits.valid, splits.test)))
            raise ValueError(_message(f"{len(problems)} problems in {pairs} images and masks:", problems))
        _remember(memory, verdict)
    remaining = _without(splits, verdict.faults)
    train, valid, test = (
        [replace(pair, facts=verdict.facts[pair.stem]) for pair in part]
        for part in (remaining.train, remaining.valid, remaining.test)
    )
    return replace(remaining, train=train, valid=valid, test=test), _fingerprint([*train, *valid], test)


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
    parts = [[pair for pair in pairs if pair.stem not in stems] for pairs in (splits.train, splits.valid, splits.test)]
    train, valid, test = splits.split(list(chain(*parts))) if splits.split else parts
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
    facts = {finding.pair.stem: finding.facts for finding in findings if finding.facts is not None}
    return _Verdict(facts, tuple(finding for finding in findings if finding.problems))


def _fingerprint(trainval: Iterable[Pair], test: Iterable[Pair]) -> str:
    lines = (
        sorted(f"{pair.stem}\t{pair.facts.image}\t{pair.facts.mask}" for pair in part if pair.facts is not None)
        for part in (trainval, test)
    )
    for_training, for_test = lines
    return _sha256("\n".join(["trainval", *for_training, "test", *for_test]).encode())


def examine(pair: Pair, read_trimap: Callable[[Path], np.ndarray]) -> Finding:
    """Reads both files of `pair`, and says everything that is wrong with them."""
    problems: list[str] = []
    arrays: list[np.ndarray] = []
    digests: list[str] = []
    if not _is_utf8(pair.stem):
        problems.append(f"{pair.image}: the name is no UTF-8, so no table can hold it; rename the file")
    for path, read in ((pair.image, read_image), (pair.mask, read_trimap)):
        try:
            array, (digest,) = read_unchanged([path], functools.partial(read, path))
            arrays.append(array)
            digests.append(digest)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    sizes = [f"{array.shape[1]} x {array.shape[0]}" for array in arrays]
    if len(set(sizes)) > 1:
        problems.append(f"{pair.mask}: the mask is {sizes[1]} pixels, its image {sizes[0]}")
    facts = None if problems else _facts(digests, *arrays)
    return Finding(pair, facts, tuple(map(one_line, problems)))


def _facts(digests: Sequence[str], image: np.ndarray, trimap: np.ndarray) -> Facts:
    height, width = trimap.shape
    background = int(np.count_nonzero(trimap == BACKGROUND))
    foreground = int(np.count_nonzero((trimap == PET) | (trimap == BORDER)))
    counted = background + foreground
    pixels = _sha256(repr(image.shape).encode() + image.tobytes())[:16]
    return Facts(digests[0], digests[1], pixels, width, height, foreground / counted if counted else None)


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
    return sorted((pair.stem, state_of(pair.image), state_of(pair.mask)) for pair in pairs)


def _recall(memory: Path, splits: Splits) -> _Verdict | None:
    """What is remembered, if the pairs that did not pass then still do not."""
    try:
        verdict = read_json(memory)
        facts = {stem: Facts(*facts) for stem, facts in verdict["facts"].items()}
        stems = set(verdict["faults"])
        if verdict["checksum"] != _checksum(facts, stems):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: audited and written again
    suspects = [pair for pair in (*splits.train, *splits.valid, *splits.test) if pair.stem in stems]
    findings = tuple(examine(pair, splits.read_trimap) for pair in suspects)
    return _Verdict(facts, findings) if all(finding.problems for finding in findings) else None


def _remember(memory: Path, verdict: _Verdict) -> None:
    faults = [finding.pair.stem for finding in verdict.faults]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        checksum = _checksum(verdict.facts, faults)
        write_json(memory, {"schema": SCHEMA, "checksum": checksum, "facts": verdict.facts, "faults": faults})
    except (OSError, UnicodeEncodeError) as error:
        _warn_once(f"cannot remember the audit of the data, so each run will repeat it: {error}")


def _checksum(facts: dict[str, Facts], faults: Iterable[str]) -> str:
    return _sha256(json.dumps([sorted(facts.items()), sorted(faults)]).encode())


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _message(heading: str, problems: Sequence[str], shown: int = SHOWN) -> str:
    more = [f"... and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n  ".join([heading, *problems[:shown], *more])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
