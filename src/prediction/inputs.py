"""Which photos are meant: one file, all of a folder, or those that a glob matches."""

import fnmatch
import glob
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    """The path that `name` is; a `~` at its beginning is the home folder, unless something is literally called so."""
    path = Path(name)
    if _is_there(path) or not name.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no user is called so
        return path


def find_inputs(name: str, output: Path) -> Inputs:
    """The photos that `name` means: a file, a folder with all that is below it, or a glob (`**`: any folders).

    What is there literally is taken literally, `*`, `?` and `[` included. In folders and globs, hidden files and
    those without one of EXTENSIONS are left out but counted; hidden folders and whatever lies below `output` are
    passed over. Links to folders are followed, each folder once.

    Raises ValueError when there is no photo, and when `output` is or holds the folder that is searched.
    """
    given = expanded(name)
    if _is_there(given) and not given.is_dir():
        return Inputs(given.parent, [given], 0)
    base, components = _split(given)
    met = list(_met(base, components, output))
    photos = sorted(path for path in met if _is_photo(path))
    if not photos:
        raise ValueError(f"input: got {name!r}, {_without_photos(given, len(met))}")
    if base.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"output: got {str(output)!r}, which is or holds {str(base)!r}, where photos are looked for; give a folder "
            "of its own, or masks would be taken for photos the next time"
        )
    return Inputs(base, photos, len(met) - len(photos))


def _split(given: Path) -> tuple[Path, Sequence[str]]:
    """The folder before the first wildcard of `given`, and the components from there on; none for a folder."""
    base = Path(given.anchor)
    components = given.parts[1:] if given.anchor else given.parts
    for index, component in enumerate(components):
        if glob.has_magic(component) and not _is_there(base / component):
            if ".." in components[index:]:
                raise ValueError(f"input: got {str(given)!r}; no .. may follow a wildcard")
            return base, components[index:]
        base = base / component
    return base, ()


def _met(base: Path, components: Sequence[str], output: Path) -> Iterator[Path]:
    """Every file that the components match below `base`, each once; of a folder that they match, all that it holds."""
    outside = output.resolve()

    @cache
    def is_output(folder: Path) -> bool:
        return folder.resolve().is_relative_to(outside)

    # what lies in a folder that holds the base is no output of ours yet; it is refused with a better reason
    may_be_output = not base.resolve().is_relative_to(outside)
    matches = _matching(base, components) if base.is_dir() else iter(())
    files = (file for match in matches for file in (_files_below(match) if match.is_dir() else (match,)))
    return (file for file in dict.fromkeys(files) if not (may_be_output and is_output(file.parent)))


def _matching(folder: Path, components: Sequence[str]) -> Iterator[Path]:
    if not components:
        yield folder
    elif components[0] == "**":
        # at the end it means all that is below, which whoever meets a folder takes anyway
        for below in _folders(folder) if components[1:] else (folder,):
            yield from _matching(below, components[1:])
    elif _is_there(folder / components[0]):
        yield from _matching(folder / components[0], components[1:])
    elif folder.is_dir():
        for entry in folder.iterdir():
            # as in a shell, a wildcard at the beginning meets no hidden file
            if fnmatch.fnmatchcase(entry.name, components[0]) and _is_hidden(entry) <= components[0].startswith("."):
                yield from _matching(entry, components[1:])


def _files_below(top: Path) -> Iterator[Path]:
    return (entry for folder in _folders(top) for entry in folder.iterdir() if not entry.is_dir())


def _folders(top: Path) -> Iterator[Path]:
    """`top` and the folders below it without hidden ones, each once, however many links lead there."""
    waiting, seen = deque([top]), set()
    while waiting:
        folder = waiting.popleft()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        yield folder
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not _is_hidden(entry):
                # links last, so that photos keep the names of the folder they really lie in
                (waiting.append if entry.is_symlink() else waiting.appendleft)(entry)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not _is_hidden(path)


def _without_photos(given: Path, others: int) -> str:
    """Why there is nothing to do."""
    extensions = f"photos in folders and globs are {', '.join(EXTENSIONS)}"
    if others:
        return f"which has {others:,} files but no photo; {extensions} (give another file by its own name)"
    if _is_there(given):
        return f"a folder without photos; {extensions}"
    what = "matches nothing" if glob.has_magic(str(given)) else "is not there"
    return f"which {what}; it takes a photo, a folder or a glob such as 'photos/**/*.jpg'"
