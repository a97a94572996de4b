"""Which photos are meant: one file, all of a folder, or those that a glob matches."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# What counts as a photo in a folder or a glob; a file that is named by itself may be called anything. .heic, which
# Pillow reads only with a plug-in, is among them, so that such photos are reported as failed and not passed over.
COMMON = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp")
OTHERS = (".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".mpo", ".pbm", ".pgm", ".pnm", ".ppm")
EXTENSIONS = (*COMMON, *OTHERS)


@dataclass(frozen=True)
class Inputs:
    """Photos that lie below `base`, in the order of their paths, and how many files beside them were left out."""

    base: Path
    photos: list[Path]
    left_out: int


def find_inputs(name: str, output: Path | None = None, key: str = "input") -> Inputs:
    """The photos that `name` means: a file, a folder with all that is below it, or a glob (`**`: any folders).

    A path that exists is taken literally, `*`, `?` and `[` included; `~` is the home folder. In folders and globs,
    files without one of EXTENSIONS are left out but counted; hidden files and folders and all below `output` are passed
    over. Links to folders are followed, in a folder each once. `key`: the option that `name` was given with.

    Raises ValueError without any photo, and when `output` is or holds the folder that is searched; OSError for a folder
    that cannot be read.
    """
    given = Path(os.path.expanduser(name))  # noqa: PTH111, which raises for ~x where no user is called so
    if os.path.lexists(given) and not given.is_dir():
        return Inputs(given.parent, [given], 0)
    base = given
    while glob.has_magic(str(base)) and not given.is_dir():
        base = base.parent
    if output is not None and base.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"output: got {str(output)!r}, which is or holds {str(base)!r}, the folder of the photos; give another "
            "folder, or masks would be taken for photos the next time"
        )
    paths = _below(given) if given.is_dir() else map(Path, glob.glob(str(given), recursive=True))  # noqa: PTH207
    outside = (path for path in paths if output is None or not path.parent.resolve().is_relative_to(output.resolve()))
    found = [path for path in outside if not path.is_dir()]
    photos = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    if not photos and (found or given.is_dir()):
        others = f"has no photo, only {len(found):,} other files"
        raise ValueError(f"{key}: got {name!r}, which {others}; photos end in {', '.join(EXTENSIONS)}")
    if not photos:
        takes = "it takes a photo, a folder or a glob such as 'photos/**/*.jpg'"
        raise ValueError(f"{key}: got {name!r}, which does not exist or matches nothing; {takes}")
    return Inputs(base, photos, len(found) - len(photos))


def _below(base: Path) -> Iterator[Path]:
    """Every file below `base` that is not hidden, each folder entered once."""
    seen = set()
    for name, folders, files in os.walk(base, followlinks=True, onerror=_raise):
        folder = Path(name)
        if folder.resolve() in seen:
            folders.clear()
            continue
        seen.add(folder.resolve())
        yield from (folder / file for file in files if not file.startswith("."))
        # links last, so that photos keep the names of the folder they really lie in
        visible = [sub for sub in folders if not sub.startswith(".")]
        folders[:] = sorted(visible, key=lambda sub: ((folder / sub).is_symlink(), sub))


def _raise(error: OSError) -> NoReturn:
    raise error
