"""Which photos are meant: one file, all of a folder, or those that a glob matches."""

import glob
import os
from collections.abc import Iterator, Sequence
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


def expanded(name: str) -> Path:
    """The path that `name` is; a `~` at its beginning is the home folder, unless a file or folder is called so."""
    path = Path(name)
    if os.path.lexists(path) or not name.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no user is called so
        return path


def find_inputs(name: str, output: Path | None = None, key: str = "input") -> Inputs:
    """The photos that `name` means: a file, a folder with all that is below it, or a glob (`**`: any folders).

    A path that exists is taken literally, `*`, `?` and `[` included. In folders and globs, hidden files and those
    without one of EXTENSIONS are left out but counted; hidden folders and all below `output` are passed over. Links to
    folders are followed, each folder once. `key`: the option that `name` was given with.

    Raises ValueError without any photo, and when `output` is or holds the folder that is searched.
    """
    given = expanded(name)
    if os.path.lexists(given) and not given.is_dir():
        return Inputs(given.parent, [given], 0)
    base, pattern = _split(given, key)
    found = list(_files(base, pattern, output and output.resolve()))
    photos = sorted(path for path in found if path.suffix.lower() in EXTENSIONS and not _is_hidden(path.name))
    if not photos:
        raise ValueError(f"{key}: got {name!r}, {_without_photos(given, len(found))}")
    if output is not None and base.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"output: got {str(output)!r}, which is or holds {str(base)!r}, the folder of the photos; give another "
            "folder, or masks would be taken for photos the next time"
        )
    return Inputs(base, photos, len(found) - len(photos))


def _split(given: Path, key: str) -> tuple[Path, tuple[str, ...]]:
    """The folder before the first wildcard of `given`, and the components from there on; none for a folder."""
    for number in range(len(given.parts)):
        base, pattern = Path(*given.parts[:number]), given.parts[number:]
        if glob.has_magic(pattern[0]) and not os.path.lexists(base / pattern[0]):
            if ".." in pattern:
                raise ValueError(f"{key}: got {str(given)!r}; .. cannot follow a wildcard")
            return base, pattern
    return given, ()


def _files(base: Path, pattern: Sequence[str], output: Path | None) -> Iterator[Path]:
    """Every file that `pattern` matches below `base`, each folder entered once, and none in the folder `output`."""
    # a folder that holds the base is refused later, with its reason
    seen = set() if output is None or base.resolve().is_relative_to(output) else {output}
    for name, folders, files in os.walk(base, followlinks=True, onerror=_raise) if base.is_dir() else ():
        folder = Path(name)
        real, parts = folder.resolve(), folder.relative_to(base).parts
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (folder / file for file in files if _matches((*parts, file), pattern))
        # links last, so that photos keep the names of the folder they really lie in
        folders[:] = sorted(
            (sub for sub in folders if not _is_hidden(sub) and _may_lead((*parts, sub), pattern)),
            key=lambda sub: ((folder / sub).is_symlink(), sub),
        )


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the path `parts` matches the pattern, or lies in a folder that matches it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or (len(parts) > 0 and _matches(parts[1:], pattern))
    return len(parts) > 0 and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _may_lead(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether something below the path `folder` can match the pattern."""
    before = pattern[: pattern.index("**")] if "**" in pattern else pattern
    return all(fnmatchcase(*both) for both in zip(folder, before, strict=False))


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _raise(error: OSError) -> NoReturn:
    raise error


def _without_photos(given: Path, others: int) -> str:
    """Why `given` means no photo, and what would."""
    extensions = f"photos in folders and globs are {', '.join(EXTENSIONS)}"
    if others:
        return f"which has {others:,} files but no photo; {extensions} (give another file by its own name)"
    if os.path.lexists(given):
        return f"a folder without photos; {extensions}"
    what = "matches nothing" if glob.has_magic(str(given)) else "does not exist"
    return f"which {what}; it takes a photo, a folder or a glob such as 'photos/**/*.jpg'"
