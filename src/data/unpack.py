"""Unpacking one folder of a tar archive: safely, and so that it is there as a whole or not at all."""

import logging
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

MAXIMUM_BYTES = 20_000_000_000  # unpacked; a small archive may hold far more, and would fill the disk
MARKER = ".unpacked"  # lies in a folder that was unpacked as a whole, and holds the archive's md5

log = logging.getLogger(__name__)


def unpack(archive: Path, folder: Path, md5: str) -> None:
    """Unpack the archive, whose only top folder must be named like `folder`, to `folder`.

    It is unpacked beside its place; the marker is written last, then it is renamed in place. A `folder` that
    is there already is set aside under another name, never deleted. The caller sees to it that only one
    process does this at a time.

    Raises ValueError, naming archive and member, for members that are absolute, climb out with `..`, lie in
    another folder, or are neither files nor folders (links, devices), for more than `MAXIMUM_BYTES`, and for a
    damaged archive.
    """
    workplace = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(workplace, ignore_errors=True)  # of a process that was killed
    workplace.mkdir(parents=True)
    try:
        _extract(archive, workplace, folder.name)
        (workplace / folder.name / MARKER).write_text(md5 + "\n")
        _set_aside(folder)
        (workplace / folder.name).rename(folder)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def is_unpacked(folder: Path, md5: str) -> bool:
    """Whether `folder` is the whole content of the archive with this md5."""
    marker = folder / MARKER
    return marker.is_file() and marker.read_text().strip() == md5


def _extract(archive: Path, workplace: Path, top: str) -> None:
    try:
        size = 0
        with tarfile.open(archive) as members:
            for member in members:
                _check_member(member, archive, top)
                size += member.size
                if size > MAXIMUM_BYTES:  # nothing of this member is written yet
                    raise ValueError(f"{archive}: holds more than {MAXIMUM_BYTES:,} bytes: {member.name!r} is refused")
                members.extract(member, workplace, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{archive}: cannot be unpacked: {error}") from error
    if not (workplace / top).is_dir():
        raise ValueError(f"{archive}: has no folder {top}/ in it")


def _check_member(member: tarfile.TarInfo, archive: Path, top: str) -> None:
    path = PurePosixPath(member.name)
    if ".." in path.parts or "\\" in member.name or path.parts[:1] != (top,):
        raise ValueError(f"{archive}: member {member.name!r} is refused: it would not lie in {top}/")
    if not (member.isfile() or member.isdir()):
        raise ValueError(f"{archive}: member {member.name!r} is refused: neither a file nor a folder")


def _set_aside(folder: Path) -> None:
    """Give way to a folder that is there already: it may be somebody's work, so it is kept."""
    if not folder.exists():
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.set-aside-{number}")).exists():
        number += 1
    folder.rename(aside)
    log.warning("%s was incomplete; it is now %s", folder, aside.name)
