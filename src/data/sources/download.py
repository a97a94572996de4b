"""Downloading the Oxford-IIIT Pet data set from its official address, and unpacking it."""

import logging
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from filelock import FileLock

from src.data.sources.fetch import fetch, has_md5
from src.data.sources.oxford_pet import missing_files

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


OFFICIAL_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
OFFICIAL_CHECKSUMS = {
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
}


def download_oxford_pet(
    root: Path,
    base_url: str = OFFICIAL_ADDRESS,
    checksums: Mapping[str, str] = OFFICIAL_CHECKSUMS,
    pause: float = 1.0,
) -> None:
    """Download and unpack the data set to `root`, about 0.8 GB; does nothing when it is there already.

    It is there when every image and trimap that its lists name exists, however it got there. Else each archive
    (`<folder>.tar.gz`, with its md5) that is not yet unpacked as a whole is fetched from under `base_url` and
    unpacked; one that lies in `root` is used instead if it is the right one, so no network is needed then.
    A folder in the way is set aside, not deleted. An interrupted download goes on where it broke off. Two
    processes at once are safe: the second waits, and then finds everything there.

    `pause`: seconds before the first new attempt after a failure, doubled each time.
    Raises ValueError, saying what to do, when the archives cannot be had, are not what they should be, or
    cannot be written.
    """
    if not missing_files(root):
        return
    workplace = root / ".download"
    try:
        workplace.mkdir(parents=True, exist_ok=True)
        with FileLock(workplace / "lock"):
            for name, md5 in checksums.items():
                _provide(root, workplace, name, base_url, md5, pause)
    except OSError as error:
        raise ValueError(f"cannot write the data to {root.absolute()}: {error}") from error
    missing = missing_files(root)
    if missing:
        raise ValueError(
            f"{root.absolute()} was once unpacked as a whole, but now lacks {len(missing)} of the files that its"
            f" lists name ({', '.join(missing[:3])}): move its folders images and annotations away and try again"
        )


def _provide(root: Path, workplace: Path, name: str, base_url: str, md5: str, pause: float) -> None:
    """Unpack one archive, unless that has been done; fetch it first, unless somebody put it there."""
    folder = root / name.removesuffix(".tar.gz")
    if is_unpacked(folder, md5):
        return
    if has_md5(root / name, md5):
        unpack(root / name, folder, md5)
        return
    archive = workplace / name
    if not has_md5(archive, md5):
        log.info("downloading %s to %s", name, root)
        _fetch(base_url.rstrip("/") + "/" + name, archive, md5, pause)
    unpack(archive, folder, md5)
    archive.unlink()


def _fetch(url: str, archive: Path, md5: str, pause: float) -> None:
    """Fetch, and say what else can be done when it fails."""
    try:
        fetch(url, archive, md5, pause)
    except ValueError as error:
        root = archive.parent.parent.absolute()
        raise ValueError(
            f"{error}\nIf this machine cannot reach that address, put {archive.name} (md5 {md5}) into {root}"
            " by other means and run it again; or try everything out on drawn pets with data=synthetic"
        ) from error
