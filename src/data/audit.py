"""The audit: every file of a data set is sound before a run begins, and its content has a fingerprint."""

import functools
import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from src.base.errors import one_line
from src.base.files import read_json, write_json
from src.data.images import Decoded, decode, read_file
from src.data.pairs import Facts, OnError, Pair, Splits
from src.data.reading import PairReader, Seen
from src.data.unchanged import State, state_of

SCHEMA = 4  # raise it when the audit checks more, or the fingerprint is made differently
SHOWN = 50  # offenders that a message lists
SHOWN_SKIPPED = 20  # as many of those that are left out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """Of one pair: SHA-256 of each file, what was seen in them, and what is wrong with them."""

    pair: Pair
    digests: tuple[str, ...]
    seen: Seen
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Verdict:
    """How the data set is read, what was found in the pairs that pass, by stem, and of the others."""

    reader: PairReader
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
    one data set share it), which are for testing, and the bytes of all files, of the pairs that remain; also over how
    these become pixels, where that is not the plain way. Folders and dates do not enter. What the data set as a whole
    decides of how it is read is in the `reader` of what is returned.

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
    remaining = replace(remaining, train=train, valid=valid, test=test, reader=verdict.reader)
    return remaining, _fingerprint(remaining)


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
        looked = list(
            tqdm(
                pool.map(functools.partial(_look, reader=splits.reader), pairs),
                desc="checking the data",
                total=len(pairs),
                unit=" images",
                disable=None if progress else True,  # None: only when stderr is a terminal
            )
        )
    findings, reader = _judged(looked, splits.reader)
    facts = {finding.pair.stem: _facts(finding, reader) for finding in findings if not finding.problems}
    if facts and (settings := reader.masks.settings()) and not any(each.foreground for each in facts.values()):
        raise ValueError(f"no mask has any foreground with {' and '.join(settings)}")
    return _Verdict(reader, facts, tuple(finding for finding in findings if finding.problems))


def _fingerprint(splits: Splits) -> str:
    for_training, for_test = (
        sorted(
            "\t".join([pair.stem, pair.facts.image, pair.facts.mask, *pair.facts.marks])
            for pair in part
            if pair.facts is not None
        )
        for part in ([*splits.train, *splits.valid], splits.test)
    )
    return _sha256("\n".join(["trainval", *for_training, "test", *for_test, *splits.reader.marks()]).encode())


def examine(pairs: Sequence[Pair], reader: PairReader) -> list[Finding]:
    """Reads the files of `pairs` as one data set, and says everything that is wrong with each."""
    return _judged([_look(pair, reader) for pair in pairs], reader)[0]


def _judged(findings: list[Finding], reader: PairReader) -> tuple[list[Finding], PairReader]:
    """What is also wrong with each in a data set of such pairs, and its reader, which those that pass decide."""
    sound = [finding for finding in findings if not finding.problems]
    decided = reader.decided([finding.seen for finding in sound])
    findings = [_in_data_set(finding, decided) for finding in findings]
    while len(remaining := [finding for finding in findings if not finding.problems]) < len(sound):
        sound, decided = remaining, reader.decided([finding.seen for finding in remaining])
        findings = [finding if finding.problems else _in_data_set(finding, decided) for finding in findings]
    return findings, decided


def _in_data_set(finding: Finding, reader: PairReader) -> Finding:
    further = reader.problems(finding.pair.image, finding.pair.mask, finding.seen)
    return replace(finding, problems=(*finding.problems, *map(one_line, further)))


def _look(pair: Pair, reader: PairReader) -> Finding:
    """Reads both files of `pair`, each once, and says what is wrong with them in any data set."""
    problems: list[str] = []
    digests: list[str] = []
    decoded: list[Decoded | None] = []
    if not _is_utf8(pair.stem):
        problems.append(f"{pair.image}: the name is no UTF-8, so no table can hold it; rename the file")
    for path in (pair.image, pair.mask):
        try:
            content = read_file(path)
            decoded.append(decode(path, content))
            digests.append(_sha256(content))
        except ValueError as error:
            decoded.append(None)
            problems.append(str(error))
    image, mask = decoded
    seen, more = reader.look(image, mask)
    return Finding(pair, tuple(digests), seen, tuple(map(one_line, [*problems, *more])))


def _facts(finding: Finding, reader: PairReader) -> Facts:
    seen, (height, width) = finding.seen, finding.seen.size
    image, mask = finding.digests
    share = None if seen.mask is None else reader.masks.foreground_share(seen.mask)
    return Facts(image, mask, seen.pixels, width, height, share, seen.highest, reader.marks_of(seen))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listing_key(splits: Splits) -> str:
    """Hash what tells, without opening a file, whether anything may have changed since the last audit."""
    trainval = _listing([*splits.train, *splits.valid])
    return _sha256(json.dumps([SCHEMA, repr(splits.reader), trainval, _listing(splits.test)]).encode())


def _listing(pairs: Iterable[Pair]) -> list[tuple[str, State, State]]:
    return sorted((pair.stem, state_of(pair.image), state_of(pair.mask)) for pair in pairs)


def _recall(memory: Path, splits: Splits) -> _Verdict | None:
    """What is remembered, if the pairs that did not pass then still do not."""
    try:
        verdict = read_json(memory)
        known = {stem: Facts(*facts) for stem, facts in verdict["facts"].items()}
        facts = {stem: one._replace(marks=tuple(one.marks)) for stem, one in known.items()}
        stems = set(verdict["faults"])
        reader = splits.reader.recalled(verdict["reader"])
        if verdict["checksum"] != _checksum(verdict["reader"], facts, stems):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: audited and written again
    suspects = [pair for pair in (*splits.train, *splits.valid, *splits.test) if pair.stem in stems]
    findings = tuple(_in_data_set(_look(pair, splits.reader), reader) for pair in suspects)
    return _Verdict(reader, facts, findings) if all(finding.problems for finding in findings) else None


def _remember(memory: Path, verdict: _Verdict) -> None:
    faults = [finding.pair.stem for finding in verdict.faults]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        reader = verdict.reader.found()
        known = {"checksum": _checksum(reader, verdict.facts, faults), "reader": reader, "facts": verdict.facts}
        write_json(memory, {"schema": SCHEMA, **known, "faults": faults})
    except (OSError, UnicodeEncodeError) as error:
        _warn_once(f"cannot remember the audit of the data, so each run will repeat it: {error}")


def _checksum(reader: dict[str, Any], facts: dict[str, Facts], faults: Iterable[str]) -> str:
    return _sha256(json.dumps([reader, sorted(facts.items()), sorted(faults)]).encode())


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _message(heading: str, problems: Sequence[str], shown: int = SHOWN) -> str:
    more = [f"... and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n  ".join([heading, *problems[:shown], *more])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
