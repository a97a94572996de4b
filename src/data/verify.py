"""Before a run: every file of the data set is read and checked, and the content gets a fingerprint."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from src.base.errors import one_line
from src.base.files import read_regular, write_text
from src.base.progress import ProgressBar
from src.data.decoding import PairContent, PairDecoder
from src.data.images import Decoded, decode, read_file
from src.data.pairs import Facts, OnError, Pair, Splits

SCHEMA = 6  # raise it when more is checked, or the fingerprint is made differently
SHOWN = 50  # problems that a message lists
SHOWN_SKIPPED = 20  # skipped pairs that a message lists

# absolute path, size in bytes (-1: missing), times of the last change of content and of anything in ns, and inode: two
# versions that are unpacked over each other may share size and date, but no program sets the second time
FileState = tuple[str, int, int, int, int]

_MEMORY = TypeAdapter(tuple[PairDecoder, dict[str, Facts], set[str]])  # the last: stems that did not pass
LARGEST_MEMORY = 1_000_000_000  # bytes; about 300 an image
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairCheck:
    """The check of one pair: SHA-256 of each file, what they hold, and what is wrong with them."""

    pair: Pair
    digests: tuple[str, ...]
    content: PairContent
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Verification:
    """The decoder for the data set, the facts of each sound pair by stem, and the checks of the other pairs."""

    decoder: PairDecoder
    facts: dict[str, Facts]
    failed: tuple[PairCheck, ...]


def verify(splits: Splits, cache_folder: Path, on_error: OnError = "raise", known: bool = False) -> tuple[Splits, str]:
    """Check every file of the three splits, and return them with the content's fingerprint (64 hex digits).

    An image must decode fully; its mask must too, hold only allowed values, and have the image's size. A mask without
    foreground is allowed. With `on_error` "skip", pairs that do not pass are left out of the result and named in its
    `skipped`, with those that did not pair up. Its pairs have `facts`, and its `decoder` holds what the whole data set
    decides.

    The fingerprint is sha256 over which stems are for training (train and valid together, so that folds of
    one data set share it), which are for testing, and the bytes of all files, of the pairs that remain; also over how
    these become pixels unless that is the plain way. Folders and dates do not enter.

    What passed is remembered in `cache_folder/verified/`, under the paths, sizes, times and inodes of all files, so
    that the next call costs one stat per file. What did not pass is checked each time. Several processes may call this
    at once. If `cache_folder` cannot be written, only the memory is lost, with a warning.

    Raises ValueError for empty splits and stems that occur twice; with `on_error` "raise" also for all pairs that do
    not pass, with the reason for each (the first 50, and how many more); if `known` where no check is remembered.
    """
    misplaced = _misplaced(splits)
    faults = [*misplaced, *(splits.skipped if misplaced or on_error == "raise" else ())]
    memory = cache_folder / "verified" / _listing_key(splits)
    verification = None if faults else _recall(memory, splits)
    if verification is None or (on_error == "raise" and verification.failed):
        if known:
            raise ValueError("the data have not been verified")
        verification = _check_all(splits)
        if faults or (on_error == "raise" and verification.failed):
            found = (problem for check in verification.failed for problem in check.problems)
            raise ValueError(_refusal(splits, list(dict.fromkeys([*faults, *found]))))  # some pairs are listed twice
        _remember(memory, verification)
    remaining = _without(splits, verification.failed)
    train, valid, test = (
        [replace(pair, facts=verification.facts[pair.stem]) for pair in part]
        for part in (remaining.train, remaining.valid, remaining.test)
    )
    remaining = replace(remaining, train=train, valid=valid, test=test, decoder=verification.decoder)
    return remaining, _fingerprint(remaining)


def skipped_text(splits: Splits) -> str:
    """What was left out of `splits` and why, the first 20 by name."""
    count = len(splits.skipped)
    heading = f"{count} {'pair was' if count == 1 else 'pairs were'} left out (data.on_error=skip):"
    return _message(heading, splits.skipped, SHOWN_SKIPPED)


def _misplaced(splits: Splits) -> list[str]:
    """What is wrong with the splits themselves: every one needs pairs, and no stem may occur twice."""
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    found: dict[str, list[str]] = {}
    for name, pairs in parts.items():
        for pair in pairs:
            found.setdefault(pair.stem, []).append(name)
    problems = [f"{one_line(stem)} is listed twice ({', '.join(names)})" for stem, names in found.items() if names[1:]]
    if not all(parts.values()):
        counts = ", ".join(f"{name} {len(pairs)}" for name, pairs in parts.items())
        problems.insert(0, f"every split needs at least one image, got: {counts}")
    return problems


def _without(splits: Splits, failed: Sequence[PairCheck]) -> Splits:
    """`splits` without the pairs of `failed`. Raises ValueError when that empties one."""
    if not failed:
        return splits
    stems = {check.pair.stem for check in failed}
    parts = [[pair for pair in part if pair.stem not in stems] for part in (splits.train, splits.valid, splits.test)]
    train, valid, test = splits.split([pair for part in parts for pair in part]) if splits.split else parts
    lines = tuple("; ".join(check.problems) for check in failed)
    remaining = replace(splits, train=train, valid=valid, test=test, skipped=(*splits.skipped, *lines))
    if misplaced := _misplaced(remaining):
        raise ValueError(_refusal(splits, [*misplaced, *remaining.skipped]))
    return remaining


def _refusal(splits: Splits, problems: list[str]) -> str:
    count = f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    message = _message(f"{count} in {len(splits.pairs)} images and their masks:", problems)
    return "\n  ".join([message, *splits.notes])


def _check_all(splits: Splits) -> _Verification:
    pairs = splits.pairs
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        checks = pool.map(lambda pair: _check(pair, splits.decoder), pairs)
        bar = ProgressBar(checks, desc="checking the data", total=len(pairs), unit=" images")
        judged, decoder = _judged(list(bar), splits.decoder)
    facts = {check.pair.stem: _facts(check, decoder) for check in judged if not check.problems}
    if facts and (settings := decoder.masks.settings()) and not any(each.foreground for each in facts.values()):
        raise ValueError(f"no mask has any foreground with {' and '.join(settings)}")
    return _Verification(decoder, facts, tuple(check for check in judged if check.problems))


def _fingerprint(splits: Splits) -> str:
    for_training, for_test = (
        sorted(
            "\t".join([pair.stem, pair.facts.image, pair.facts.mask, *pair.facts.marks])
            for pair in part
            if pair.facts is not None
        )
        for part in ([*splits.train, *splits.valid], splits.test)
    )
    return _sha256("\n".join(["trainval", *for_training, "test", *for_test, *splits.decoder.marks()]).encode())


def _judged(checks: list[PairCheck], decoder: PairDecoder) -> tuple[list[PairCheck], PairDecoder]:
    """The checks with what is also wrong in a data set of such pairs, and its decoder, decided by those that pass."""
    sound = [check for check in checks if not check.problems]
    decided = decoder.decided([check.content for check in sound])
    checks = [_in_data_set(check, decided) for check in checks]
    while len(remaining := [check for check in checks if not check.problems]) < len(sound):
        sound, decided = remaining, decoder.decided([check.content for check in remaining])
        checks = [check if check.problems else _in_data_set(check, decided) for check in checks]
    return checks, decided


def _in_data_set(check: PairCheck, decoder: PairDecoder) -> PairCheck:
    further = decoder.problems(check.pair.image, check.pair.mask, check.content)
    return replace(check, problems=(*check.problems, *map(one_line, further)))


def _check(pair: Pair, decoder: PairDecoder) -> PairCheck:
    """Read both files of `pair`, each once, and find what is wrong with them in any data set."""
    problems: list[str] = []
    digests: list[str] = []
    decoded: list[Decoded | None] = []
    for path in (pair.image, pair.mask):
        try:
            content = read_file(path)
            decoded.append(decode(path, content))
            digests.append(_sha256(content))
        except ValueError as error:
            decoded.append(None)
            problems.append(str(error))
    image, mask = decoded
    content_of_pair, more = decoder.content(image, mask)
    return PairCheck(pair, tuple(digests), content_of_pair, tuple(map(one_line, [*problems, *more])))


def _facts(check: PairCheck, decoder: PairDecoder) -> Facts:
    content, (height, width) = check.content, check.content.size
    image, mask = check.digests
    share = None if content.mask is None else decoder.masks.foreground_share(content.mask)
    return Facts(image, mask, content.pixels, width, height, share, content.highest, decoder.marks_of(content))


def _listing_key(splits: Splits) -> str:
    """A hash that changes if any file may have changed since the last check; no file is opened."""
    trainval, test = (
        sorted((pair.stem, file_state(pair.image), file_state(pair.mask)) for pair in part)
        for part in ([*splits.train, *splits.valid], splits.test)
    )
    reading = repr((splits.decoder.images.exif, splits.decoder.masks))
    return _sha256(json.dumps([SCHEMA, reading, trainval, test]).encode())


def file_state(path: Path) -> FileState:
    """What shows, without opening a file, whether it may have changed."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return str(path.absolute()), -1, 0, 0, 0
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _recall(memory: Path, splits: Splits) -> _Verification | None:
    """The remembered check, if the pairs that did not pass then still do not."""
    try:
        checksum, _, content = read_regular(memory, LARGEST_MEMORY).partition(b"\n")
        if checksum.decode() != _sha256(content):
            return None
        decoder, facts, stems = _MEMORY.validate_json(content)
    except (OSError, ValueError):
        return None  # missing or damaged: checked and written again
    decoder = replace(decoder, images=replace(decoder.images, resize=splits.decoder.images.resize))
    suspects = [pair for pair in splits.pairs if pair.stem in stems]
    failed = tuple(_in_data_set(_check(pair, splits.decoder), decoder) for pair in suspects)
    return _Verification(decoder, facts, failed) if all(check.problems for check in failed) else None


def _remember(memory: Path, known: _Verification) -> None:
    """Writes a line with the checksum of what follows it: the check as JSON."""
    try:
        content = _MEMORY.dump_json((known.decoder, known.facts, {check.pair.stem for check in known.failed})).decode()
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, f"{_sha256(content.encode())}\n{content}")
    except (OSError, ValueError) as error:
        log.warning("the check of the data cannot be remembered, so each run will repeat it: %s", error)


def _message(heading: str, problems: Sequence[str], shown: int = SHOWN) -> str:
    more = [f"... and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n  ".join([heading, *problems[:shown], *more])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
