"""Files that are written whole or not at all, and read without trust: regular files only, within size limits."""

import errno
import glob
import io
import itertools
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from src.base.errors import cut, one_line

LARGEST_JSON = 10_000_000  # bytes; as Python's objects up to 25 times as much
LARGEST_YAML = 1_000_000  # bytes
MOST_YAML_NODES = 50_000  # aliases expanded: a few hundred bytes of them can stand for billions of nodes
DEEPEST = 50  # mappings and lists within each other; what walks through them recurses
_SEXAGESIMAL = re.compile(r"[-+0-9_.]+:[-+0-9_.:]*")  # YAML's 1:30 for 90, which takes long where it is long
_MERGE = "tag:yaml.org,2002:merge"  # of the key <<
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there

WHAT_TO_DO = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "the quota is used up: make room there",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
}


class CannotWrite(OSError):
    """A file that the disk does not take; the message names the file and says what to do."""

    def __str__(self) -> str:
        advice = WHAT_TO_DO.get(self.errno or 0)
        return f"{self.filename} cannot be written: {self.strerror}" + (f"; {advice}" if advice else "")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises CannotWrite where the disk refuses something in the block without saying of which file, or is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and error.errno not in WHAT_TO_DO):
            raise
        raise CannotWrite(error.errno, error.strerror, str(path)) from error


def allowed() -> None:
    """The check for a file that only one process writes."""


@contextmanager
def replacing(path: Path, flush: bool = True, check: Callable[[], None] = allowed) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there becomes `path` when the block ends well.

    A crash at any moment leaves either the old file or the new one. Raises OSError as the disk does, CannotWrite where
    the disk names no file. Without `flush` that holds for a crash of the program, not of the machine: for thousands of
    files that can be made again.

    `check` raises where this process may not write `path` any more; it is asked before anything is written, and again
    when the temporary file is there. A process that takes over deletes temporary files first, so that not even a
    process that is stopped between that and the rename replaces a file of the new holder.
    """
    check()
    # by chance: process numbers of two machines may be the same
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            yield temporary
            if flush:
                flush_to_disk(temporary)
            check()
            temporary.replace(path)
            if flush:
                flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def making(folder: Path, check: Callable[[], None] = allowed) -> Iterator[Path]:
    """Yields a new folder beside `folder`, which becomes `folder` when the block ends well, and is deleted otherwise.

    What another process left unfinished is deleted first, so that a process that was stopped cannot continue with it;
    `check` as in `replacing`. Raises OSError, as where something lies in `folder` already.
    """
    beginning = f".making-{folder.name}-"
    for left in folder.parent.glob(f"{glob.escape(beginning)}*"):
        shutil.rmtree(left, ignore_errors=True)
    workplace = folder.with_name(f"{beginning}{secrets.token_hex(4)}")
    try:
        workplace.mkdir(parents=True)
        yield workplace
        check()
        workplace.rename(folder)
        flush_to_disk(folder.parent)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """Asks the system to have the file or folder `path` on the disk, not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path) -> None:
    """Raises ValueError where no file can be made in `folder` or, while it is not there, in the folders above it."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"cannot continue: {there} is not a folder; move it, or change output=<folder>")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"cannot continue: {there} is on a read-only disk, or this user has no right to write there; "
            "change that, or change output=<folder>"
        )


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, or a copy of it where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def refuse_links(folder: Path) -> None:
    """Raises ValueError if `folder`, in which files will be written, or a folder in it is a symbolic link."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink() and (path == folder or path.is_dir()):
            raise ValueError(f"{path}: is a symbolic link to {path.readlink()}, where nothing is written; remove it")


def write_text(path: Path, text: str, check: Callable[[], None] = allowed) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all; `check` as in `replacing`."""
    with replacing(path, check=check) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, check: Callable[[], None] = allowed) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", check)


def open_regular(path: Path, largest: int | None = None) -> io.BufferedReader:
    """The file `path`, opened for reading.

    Raises OSError as the disk does, and ValueError for what is not a regular file, or has more than `largest` bytes: a
    pipe would be waited for forever, a device may do anything when it is opened.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "pipe, socket or device"
        raise ValueError(f"{path}: is a {kind}; it should be a regular file")
    if largest is not None and found.st_size > largest:
        raise ValueError(f"{path}: has {found.st_size:,} bytes; at most {largest:,} are read")
    # non-blocking, in case a pipe has replaced it meanwhile
    return io.BufferedReader(io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)))


def read_regular(path: Path, largest: int) -> bytes:
    """The content of the file `path`; raises as `open_regular` does."""
    with open_regular(path, largest) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, largest) + 1) or b""  # Python makes room for all that it is asked for
        if len(content) > size:  # for example files in /proc, which seem to be empty
            content += file.read(largest + 1 - len(content)) or b""
    if len(content) > largest:
        raise ValueError(f"{path}: has more than {largest:,} bytes, which are the most that are read")
    return content


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """The value in the JSON file `path`. Raises ValueError, naming the file, when it holds none; OSError."""
    return parse_json(read_regular(path, largest), path)


def parse_json(content: bytes, path: Path) -> Any:
    """The value that `content`, of the file `path`, is the JSON of. Raises ValueError, naming the file."""
    try:
        value = json.loads(content)
        _check_plain(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not valid JSON ({_reason(error)}); delete it or restore a backup") from error
    return value


class _UniqueKeys(_YAML_LOADER):  # type: ignore[valid-type, misc]
    """A safe loader that refuses a key that a mapping has twice, of which others drop the first.

    Keys are compared as values, so 1 and 0x1 are the same. What `<<` brings in is not a key of the mapping.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._flattened: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replaces `<<` in `node` by what it brings in, once; raises ValueError for a key that is there twice."""
        if node in self._flattened:
            return
        self._flattened.add(node)
        count = sum(key.tag != _MERGE for key, _ in node.value)
        super().flatten_mapping(node)  # puts what `<<` brings in before the keys that are there
        own = [self.construct_object(key) for key, _ in node.value[len(node.value) - count :]]
        counts = Counter(key for key in own if isinstance(key, Hashable))  # the loader refuses the others
        for key, times in counts.most_common(1):
            if times > 1:
                raise ValueError(f"the key {key} twice")


def read_yaml(path: Path) -> Any:
    """The value in the YAML file `path`, plain values only. Raises ValueError, naming the file; OSError."""
    content = read_regular(path, LARGEST_YAML)
    try:
        _check_yaml_nodes(content)
        value = yaml.load(content, _UniqueKeys)
        _check_plain(value)
    except Exception as error:  # its constructors raise anything, for example for dates that do not exist
        raise ValueError(f"{path}: is not plain YAML ({_reason(error)})") from error
    return value


def _reason(error: Exception) -> str:
    return cut(" ".join(one_line(str(error)).split()))


def _check_yaml_nodes(content: bytes) -> None:
    """Raises ValueError for a document that nests too deeply, or has too many nodes with its aliases expanded."""
    sizes: dict[str, int] = {}  # of the anchors so far, in nodes
    total, opened = 0, list[tuple[str | None, int]]()  # the anchor of each collection, and `total` at its beginning
    for event in yaml.parse(content, _YAML_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias *{event.anchor} refers to nothing, or to a part of itself")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, total))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
            total += 1
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > 100 and _SEXAGESIMAL.fullmatch(event.value):
                raise ValueError("a number of more than 100 digits")
        if total > MOST_YAML_NODES or len(opened) > DEEPEST:
            raise ValueError(f"more than {MOST_YAML_NODES:,} values, or more than {DEEPEST} levels of them")


def _check_plain(value: Any) -> None:
    """Raises ValueError for what no record holds and what is dangerous later: too deep, too large, not finite."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels of values")
        kinds = set(map(type, level))
        of_kind: dict[type, list[Any]] = {kind: [one for one in level if type(one) is kind] for kind in kinds}
        if max(map(abs, of_kind.get(int, ())), default=0) >= 2**63:
            raise ValueError("a whole number of more than 64 bits")
        if not all(map(math.isfinite, of_kind.get(float, ()))):
            raise ValueError("a number that is infinite or none")
        "".join(of_kind.get(str, ())).encode()  # half a character of UTF-16 raises ValueError
        mappings = of_kind.get(dict, ())
        keys: Collection[Any] = set[Any]().union(*mappings)  # lines of a table share theirs
        if not all(isinstance(key, str) for key in keys):  # 1 and 1.0 are equal
            keys = list(itertools.chain.from_iterable(mappings))
        values = itertools.chain.from_iterable(one.values() for one in mappings)
        collections = itertools.chain.from_iterable(of_kind.get(kind, ()) for kind in (list, tuple, set))
        level = [*keys, *values, *itertools.chain.from_iterable(collections)]
