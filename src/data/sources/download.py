"""Oxford-IIIT Pet from its official address: downloaded with resume, checked by md5, safely unpacked."""

import hashlib
import http.client
import logging
import shutil
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from filelock import FileLock

from src.base.progress import ProgressBar
from src.data.sources.oxford_pet import missing_files

OFFICIAL_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
OFFICIAL_CHECKSUMS = {
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
}
MAXIMUM_BYTES = 20_000_000_000  # unpacked; a small archive may hold far more, and would fill the disk
ATTEMPTS = 5
PAUSE = 5.0  # seconds before the next attempt
TIMEOUT = 60  # seconds of silence
CHUNK = 1 << 16  # bytes
RETRIED = (408, 429)  # besides 5xx, the only statuses that mean "later"
BROKEN = (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError)

log = logging.getLogger(__name__)


def download_oxford_pet(
    root: Path, base_url: str = OFFICIAL_ADDRESS, checksums: dict[str, str] = OFFICIAL_CHECKSUMS
) -> None:
    """Download and unpack the data set to `root`, about 0.8 GB, unless every file that its lists name exists.

    Each archive (`<folder>.tar.gz`, with its md5) whose folder does not exist is fetched from under `base_url`, or
    taken from `root` if it lies there, and unpacked. A second process waits for the first.

    Raises ValueError when the archives cannot be had or written, or a folder exists without some of its files.
    """
    if not missing_files(root):
        return
    workplace = root / ".download"
    try:
        workplace.mkdir(parents=True, exist_ok=True)
        with FileLock(workplace / "lock"):
            for name, md5 in checksums.items():
                if not (root / name.removesuffix(".tar.gz")).exists():  # it appears only as a whole
                    _provide(root, workplace / name, base_url, md5)
    except OSError as error:
        raise ValueError(f"cannot write the data to {root.absolute()}: {error}") from error
    if missing := missing_files(root):
        raise ValueError(
            f"{root.absolute()} lacks {len(missing)} of the files that its lists name ({', '.join(missing[:3])}): "
            "move its folders images and annotations away and try again"
        )


def _provide(root: Path, archive: Path, base_url: str, md5: str) -> None:
    """Unpack one archive: the user's if it lies in `root`, else the downloaded one, which is then deleted."""
    name = archive.name
    folder = root / name.removesuffix(".tar.gz")
    if _has_md5(root / name, md5):
        return unpack(root / name, folder)
    if not _has_md5(archive, md5):
        log.info("downloading %s to %s", name, root)
        try:
            fetch(base_url.rstrip("/") + "/" + name, archive, md5)
        except ValueError as error:
            raise ValueError(
                f"{error}\nIf this machine cannot reach that address, put {name} (md5 {md5}) into {root.absolute()} "
                "by other means and run it again; or try everything out on drawn pets with data=synthetic"
            ) from error
    unpack(archive, folder)
    archive.unlink()


def fetch(url: str, target: Path, md5: str) -> None:
    """Download `url` to `target`, which appears only once its md5 (hex) is right.

    What has arrived waits in `<target>.part`, and another call resumes there. Server errors (5xx) and broken
    connections are tried again, up to 5 times in all.

    Raises ValueError, with the address, when the server refuses, cannot be reached, or sends another file; OSError
    when the file cannot be written.
    """
    part = target.with_name(target.name + ".part")
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE if attempt else 0)
        reason = _receive(url, part)
        if reason is None:
            break
        log.warning("%s: %s", url, reason)
    else:
        raise ValueError(
            f"{url}: tried {ATTEMPTS} times, at last: {reason}. What has arrived ({_size(part):,} bytes) is kept: "
            "run it again later and it resumes there"
        )
    if not _has_md5(part, md5):
        part.unlink()
        raise ValueError(f"{url}: wrong checksum, expected md5 {md5}; what was downloaded is deleted")
    part.replace(target)


def _receive(url: str, part: Path) -> str | None:
    """Append one answer of the server to `part`; return why the file is not complete, or None if it is."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return _append(response, part, start if response.status == 206 else 0)  # else the server sends everything
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            return None  # nothing is left to send
        if error.code < 500 and error.code not in RETRIED:
            raise ValueError(f"{url}: the server refuses: {error.code} {error.reason}") from error
        return f"{error.code} {error.reason}"
    except BROKEN as error:
        return str(error) or type(error).__name__


def _append(response: http.client.HTTPResponse, part: Path, start: int) -> str | None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    bar = ProgressBar(desc=part.stem, initial=start, total=total, unit="B", unit_scale=True)
    with part.open("ab" if start else "wb") as file, bar:
        while chunk := response.read1(CHUNK):  # what has come, so that nothing is lost when the rest does not
            file.write(chunk)
            bar.update(len(chunk))
    complete = total is None or _size(part) == total
    return None if complete else f"the connection ended after {_size(part):,} bytes"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the archive, whose only top folder must be named like `folder`, to `folder`, which must not exist.

    It is unpacked beside its place and then renamed. Only one process may do this at a time.

    Raises ValueError, naming archive and member, for members outside that folder and links, for more than
    `MAXIMUM_BYTES`, and for a damaged archive.
    """
    workplace = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(workplace, ignore_errors=True)  # of a process that was killed
    workplace.mkdir(parents=True)
    try:
        _extract(archive, workplace, folder.name)
        (workplace / folder.name).rename(folder)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _extract(archive: Path, workplace: Path, top: str) -> None:
    size = 0
    try:
        with tarfile.open(archive) as members:
            for member in members:
                if member.name.split("/")[0] != top or not (member.isfile() or member.isdir()):
                    raise ValueError(f"{archive}: {member.name!r} is refused: not a file or folder in {top}/")
                size += member.size
                if size > MAXIMUM_BYTES:  # nothing of this member is written yet
                    raise ValueError(f"{archive}: {member.name!r} is refused: more than {MAXIMUM_BYTES:,} bytes in all")
                members.extract(member, workplace, filter="data")  # refuses names that lead out
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{archive}: cannot be unpacked: {error}") from error
    if not (workplace / top).is_dir():
        raise ValueError(f"{archive}: has no folder {top}/ in it")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_md5(path: Path, md5: str) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5
