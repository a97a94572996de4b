"""Which photos are meant: one file, all of a folder, or those that a glob matches."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
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

    A path that exists is taken literally, `*`, `?` and `[` included, also as the beginning of a glob; `~` is the home
    folder. In folders and globs, files without one of EXTENSIONS are left out but counted; hidden files and folders and
    all below `output` are passed over. Links to folders are followed, each folder once. `key`: the option that `name`
    was given with.

    Raises ValueError without any photo, and when `output` is or holds the folder that is searched; OSError for a folder
    that cannot be read.
    """
    given = Path(os.path.expanduser(name))  # noqa: PTH111, which raises for ~x where no user is called so
    if os.path.lexists(given) and not given.is_dir():
        return Inputs(given.parent, [given], 0)
    base = given
    while glob.has_magic(str(base)) and not base.is_dir():
        base = base.parent
    if output is not None and base.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"output: got {str(output)!r}, which is or holds {str(base)!r}, the folder of the photos; give another "
            "folder, or masks would be taken for photos the next time"
        )
    paths = _matching(base, given.parts[len(base.parts) :] or ("**",)) if base.is_dir() else ()
    found = [path for path in paths if output is None or not path.parent.resolve().is_relative_to(output.resolve())]
    photos = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    if not photos and (found or given.is_dir()):
        others = f"holds no photo (other files: {len(found):,})"
        raise ValueError(f"{key}: got {name!r}, which {others}; photos end in {', '.join(EXTENSIONS)}")
    if not photos:
        takes = "it takes a photo, a folder or a glob such as 'photos/**/*.jpg'"
        raise ValueError(f"{key}: got {name!r}, which does not exist or matches nothing; {takes}")
    return Inputs(base, photos, len(found) - len(photos))


def _matching(base: Path, pattern: tuple[str, ...]) -> Iterator[Path]:
    """Every file below `base` that is not hidden and whose path below it matches the components of `pattern`.

    Only folders that can hold one are read, each once for what its content has to match. Raises OSError.
    """
    remaining = {base: frozenset([pattern])}
    seen = set()
    for name, folders, files in os.walk(base, followlinks=True, onerror=_raise):
        folder = Path(name)
        patterns = remaining.pop(folder)
        if (here := (folder.resolve(), patterns)) in seen:
            folders.clear()
            continue
        seen.add(here)
        yield from (folder / file for file in files if () in _rests(patterns, file))
        below = {sub: rests for sub in folders if (rests := _rests(patterns, sub) - {()})}
        remaining |= {folder / sub: rests for sub, rests in below.items()}
        # links last, so that photos keep the names of the folder they really lie in
        folders[:] = sorted(below, key=lambda sub: ((folder / sub).is_symlink(), sub))


def _rests(patterns: Iterable[tuple[str, ...]], name: str) -> frozenset[tuple[str, ...]]:
    """What each of `patterns` leaves to match below `name`: () if it matches as a whole, none if it is hidden."""
    rests = set[tuple[str, ...]]()
    for pattern in patterns if not name.startswith(".") else ():
        for number, component in enumerate(pattern):
            if component == "**":  # takes this name and stays, or stands for no folder
                rests.add(pattern[number:])
                continue
            if fnmatchcase(name, component):
                rests.add(pattern[number + 1 :])
            break
        else:  # it ends in **, which any file matches
            rests.add(())
    return frozenset(rests)


def _raise(error: OSError) -> NoReturn:
    raise error
