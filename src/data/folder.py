"""A data set of one's own: a folder `images/` and a folder `masks/`, paired by stem."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

from src.data.audit import examine
from src.data.images import BACKGROUND, PET, read_codes, read_image
from src.data.oxford_pet import check_fold
from src.data.pairs import OnError, Pair, Splits, read_lines
from src.errors import one_line

IMAGES = "images"
MASKS = "masks"
LISTS = ("train.txt", "valid.txt", "test.txt")
SHOWN = 20  # offenders of one kind that a message lists


def open_folder(root: Path, fold: int = 0, on_error: OnError = "raise") -> Splits:
    """Pair `images/<stem>.*` with `masks/<stem>.*` under `root`; hidden files and subfolders do not count.

    With `train.txt`, `valid.txt` and `test.txt` in `root` (one stem a line, blank and # lines skipped) these
    are the splits, and what they do not name is left out. Without them, stem i of the sorted stems is valid
    when i % 10 == fold, test when i % 10 == (fold + 5) % 10, else train.

    Mask values are {0, 1} or {0, 255}, 0 being background, the same in the whole data set: the first mask
    with any foreground decides which, and the audit names the files that differ.

    With `on_error` "skip", stems that do not pair up are left out, and said to be so. They keep their place in the
    order: once they are put right, no other image has moved to another split.

    Raises ValueError, with everything that is wrong at once: folders that are missing or empty; stems without
    image or mask, stems that occur twice, links that lead nowhere, and (beside these) whatever the audit would find;
    lists that are incomplete, or name unknown or repeated stems.
    """
    check_fold(fold)
    pairs, faults = _pair_up(root, on_error)
    present = [name for name in LISTS if (root / name).exists()]
    if present:
        lists = _listed(root, present)
        faults |= _unknown(root, lists, pairs.keys() | faults.keys(), on_error)
    else:
        lists = _by_position(sorted(pairs.keys() | faults.keys()), fold)
    train, valid, test = ([pairs[stem] for stem in stems if stem in pairs] for stems in lists)
    skipped = tuple(faults[stem] for stems in lists for stem in stems if stem in faults)
    return Splits(train, valid, test, _reader_for(pairs.values()), skipped)


def read_mask_of_1(path: Path) -> np.ndarray:
    """Read a mask of 0 and 1 as trimap codes, uint8 (H, W); ValueError names a file with other values."""
    return _read_mask(path, foreground=1)


def read_mask_of_255(path: Path) -> np.ndarray:
    """Read a mask of 0 and 255 as trimap codes, uint8 (H, W); ValueError names a file with other values."""
    return _read_mask(path, foreground=255)


def _read_mask(path: Path, foreground: int) -> np.ndarray:
    codes = read_codes(path)
    values = np.unique(codes)
    if not np.isin(values, (0, foreground)).all():
        shown = ", ".join(str(value) for value in values[:10]) + (", ..." if len(values) > 10 else "")
        raise ValueError(
            f"{path}: mask values {shown}; this data set's masks hold 0 (background) and {foreground}"
            " (a data set holds either 0 and 1, or 0 and 255)"
        )
    return np.where(codes == foreground, PET, BACKGROUND).astype(np.uint8)


def _reader_for(pairs: Iterable[Pair]) -> Callable[[Path], np.ndarray]:
    """Let the first sound mask with any foreground decide what foreground is: 1 or 255."""
    for pair in pairs:
        try:
            highest = int(read_codes(pair.mask).max(initial=0))
        except ValueError:
            continue  # the audit names it, together with all others
        if highest in (1, 255):
            return read_mask_of_1 if highest == 1 else read_mask_of_255
    return read_mask_of_255


def _pair_up(root: Path, on_error: OnError) -> tuple[dict[str, Pair], dict[str, str]]:
    """Pair the files of both folders, by stem in sorted order; and what is wrong with each stem that is skipped."""
    missing = [name for name in (IMAGES, MASKS) if not (root / name).is_dir()]
    if missing:
        raise ValueError(
            f"no folder {' and no folder '.join(missing)} in {root.absolute()}: data=folder reads"
            " <data.root>/images/<stem>.* and <data.root>/masks/<stem>.*"
        )
    images, masks = _by_stem(root / IMAGES), _by_stem(root / MASKS)
    if not images and not masks:
        raise ValueError(f"images and masks in {root.absolute()} do not pair up:\n  both folders are empty")
    mismatches = _mismatches(images, masks)
    if on_error == "raise" and any(mismatches.values()):
        problems = [_line(kind, [name for names in of.values() for name in names]) for kind, of in mismatches.items()]
        problems.append(_further(images, masks))
        lines = "\n".join(line for lines in problems for line in lines)
        raise ValueError(f"images and masks in {root.absolute()} do not pair up:\n{lines}")
    faults = _by_fault(mismatches)
    paired = sorted(images.keys() & masks.keys() - faults.keys())
    return {stem: Pair(stem, images[stem][0], masks[stem][0]) for stem in paired}, faults


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if (path.is_file() or _leads_nowhere(path)) and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files


def _leads_nowhere(path: Path) -> bool:
    """Whether `path` is a link to something that is not there, or around in a circle."""
    return path.is_symlink() and not path.exists()


def _mismatches(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> dict[str, dict[str, list[str]]]:
    """What keeps the two folders from pairing up: for each kind of fault, the files concerned of each stem."""
    several: dict[str, list[str]] = {}
    broken: dict[str, list[str]] = {}
    for files in (images, masks):
        for stem, paths in files.items():
            if paths[1:]:
                several.setdefault(stem, []).extend(path.name for path in paths)
            for path in filter(_leads_nowhere, paths):
                broken.setdefault(stem, []).append(f"{path.parent.name}/{path.name}")
    return {
        "image without mask": {stem: [images[stem][0].name] for stem in sorted(images.keys() - masks.keys())},
        "mask without image": {stem: [masks[stem][0].name] for stem in sorted(masks.keys() - images.keys())},
        "several files of one stem": several,
        "link that leads nowhere": broken,
    }


def _by_fault(mismatches: dict[str, dict[str, list[str]]]) -> dict[str, str]:
    """The same by stem, as one line each."""
    said: dict[str, list[str]] = {}
    for kind, stems in mismatches.items():
        for stem, names in stems.items():
            said.setdefault(stem, []).append(f"{kind}: {', '.join(names)}")
    return {stem: one_line("; ".join(lines)) for stem, lines in said.items()}


def _further(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> list[str]:
    """What is wrong with the files beside their names, so that the one message has it too."""
    pairs = [Pair(stem, images[stem][0], masks[stem][0]) for stem in sorted(images.keys() & masks.keys())]
    reader = _reader_for(pairs)
    problems = [problem for pair in pairs for problem in examine(pair, reader).problems]
    paired = {path for pair in pairs for path in (pair.image, pair.mask)}
    for files, read in ((images, read_image), (masks, read_codes)):
        for path in (path for paths in files.values() for path in paths if path not in paired):
            try:
                read(path)
            except ValueError as error:
                problems.append(one_line(str(error)))
    more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*(f"  {problem}" for problem in problems[:SHOWN]), *more]


def _listed(root: Path, present: list[str]) -> list[list[str]]:
    """Read the three lists."""
    if len(present) < len(LISTS):
        absent = [name for name in LISTS if name not in present]
        raise ValueError(
            f"{root.absolute()} has {', '.join(present)} but not {', '.join(absent)}:"
            " give all three lists, or none (then stems are split by position)"
        )
    return [read_lines(root / name) for name in LISTS]


def _unknown(root: Path, lists: list[list[str]], known: Collection[str], on_error: OnError) -> dict[str, str]:
    """What is wrong with each stem that is listed and not there; refused unless skipped. Repeated ones always are."""
    times = Counter(stem for stems in lists for stem in stems)
    repeated = [stem for stem in times if times[stem] > 1]
    unknown = [stem for stem in times if stem not in known]
    problems = _line("named more than once", repeated)
    if on_error == "raise" or problems:
        problems += _line("without image and mask", unknown)
    if problems:
        raise ValueError(f"{', '.join(LISTS)} in {root.absolute()} name wrong stems:\n" + "\n".join(problems))
    return {stem: one_line(f"listed without image and mask: {stem}") for stem in unknown}


def _by_position(stems: list[str], fold: int) -> list[list[str]]:
    part = {fold: "valid", (fold + 5) % 10: "test"}
    return [
        [stem for i, stem in enumerate(stems) if part.get(i % 10, "train") == split]
        for split in ("train", "valid", "test")
    ]


def _line(kind: str, names: list[str]) -> list[str]:
    """One line of a message, none when there is nothing to name."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"  {kind}: {one_line(', '.join(names[:SHOWN]))}{more}"] if names else []
