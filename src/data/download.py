"""Downloading the Oxford-IIIT Pet data set from its official address."""

import logging
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from src.data.fetch import fetch, has_md5
from src.data.oxford_pet import missing_files
from src.data.unpack import is_unpacked, unpack

OFFICIAL_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
OFFICIAL_CHECKSUMS = {
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
}

log = logging.getLogger(__name__)


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
