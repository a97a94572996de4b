"""Which photos are meant: one file, all of a folder, or those that a glob matches."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from src.data.images import image_endings

UNREAD = (".avif", ".heic", ".heif")  # photos that not every Pillow reads: reported as failed, not passed over


@dataclass(frozen=True)
class Inputs:
    """Photos that lie below `base`, in the order of their paths, and how many files beside them were left out."""

    base: Path
    photos: list[Path]
    left_out: int


def find_inputs(name: str, output: Path | None = None, key: str = "input") -> Inputs:
    """The photos that `name` means: a file, a folder with all that is below it, or a glob (`**`: any folders).

    A path that exists is taken literally, `*`, `?` and `[` included, also as the beginning of a glob; `~` is the home
    folder. In folders and globs, files without a photo's ending are left out but counted; hidden files and folders and
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
    below = given.parts[len(base.parts) :] or ("**",)
    paths = _matching(base, below, set()) if base.is_dir() else ()
    found = [path for path in paths if output is None or not path.parent.resolve().is_relative_to(output.resolve())]
    endings = sorted({*image_endings(), *UNREAD})
    photos = sorted(path for path in found if path.suffix.lower() in endings)
    if not photos:
        others = f"holds no photo (other files: {len(found):,}); photos end in {', '.join(endings)}"
        nothing = "does not exist or matches nothing; it takes a photo, a folder or a glob such as 'photos/**/*.jpg'"
        raise ValueError(f"{key}: got {name!r}, which {others if found or given.is_dir() else nothing}")
    return Inputs(base, photos, len(found) - len(photos))


def _matching(folder: Path, pattern: tuple[str, ...], seen: set[tuple[Path, tuple[str, ...]]]) -> Iterator[Path]:
    """Every file below `folder` that is not hidden and whose path below it matches the components of `pattern`.

    `seen`: the real folders so far, each with what its content had to match. Raises OSError.
    """
    if not pattern or (state := (folder.resolve(), pattern)) in seen:
        return
    seen.add(state)
    component, rest = pattern[0], pattern[1:]
    if component == "**":  # it may stand for no folder
        yield from _matching(folder, rest, seen)
    # links last, so that photos keep the names of the folder they really lie in
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_symlink(), path)):
        if path.name.startswith(".") or not (component == "**" or fnmatchcase(path.name, component)):
            continue
        if path.is_dir():
            yield from _matching(path, pattern if component == "**" else rest, seen)
        elif not rest:
            yield path
