"""A data set of one's own: a folder `images/` and a folder `masks/`, paired by stem."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from src.data.images import BACKGROUND, PET, read_codes, read_image
from src.data.oxford_pet import check_fold
from src.data.pairs import Pair, Splits, read_lines

IMAGES = "images"
MASKS = "masks"
LISTS = ("train.txt", "valid.txt", "test.txt")
SHOWN = 20  # offenders of one kind that a message lists


def open_folder(root: Path, fold: int = 0) -> Splits:
    """Pair `images/<stem>.*` with `masks/<stem>.*` under `root`; hidden files and subfolders are skipped.

    With `train.txt`, `valid.txt` and `test.txt` in `root` (one stem a line, blank and # lines skipped) these
    are the splits, and what they do not name is left out. Without them, stem i of the sorted stems is valid
    when i % 10 == fold, test when i % 10 == (fold + 5) % 10, else train.

    Mask values are {0, 1} or {0, 255}, 0 being background, the same in the whole data set: the first mask
    with any foreground decides which, and the audit names the files that differ.

    Raises ValueError, with everything that is wrong at once: folders that are missing or empty; stems without
    image or mask, stems that occur twice, and (beside these) files that cannot be read; lists that are
    incomplete, or name unknown or repeated stems.
    """
    check_fold(fold)
    pairs = _pair_up(root)
    present = [name for name in LISTS if (root / name).exists()]
    train, valid, test = _listed(root, present, pairs) if present else _by_position(sorted(pairs), fold)
    return Splits(
        train=[pairs[stem] for stem in train],
        valid=[pairs[stem] for stem in valid],
        test=[pairs[stem] for stem in test],
        read_trimap=_reader_for(pairs.values()),
    )


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


def _pair_up(root: Path) -> dict[str, Pair]:
    """Pair the files of both folders, by stem in sorted order."""
    missing = [name for name in (IMAGES, MASKS) if not (root / name).is_dir()]
    if missing:
        raise ValueError(
            f"no folder {' and no folder '.join(missing)} in {root.absolute()}: data=folder reads"
            " <data.root>/images/<stem>.* and <data.root>/masks/<stem>.*"
        )
    images, masks = _by_stem(root / IMAGES), _by_stem(root / MASKS)
    problems = _mismatches(images, masks)
    if problems:
        problems += _line("cannot be read", _unreadable(images, masks))
        raise ValueError(f"images and masks in {root.absolute()} do not pair up:\n" + "\n".join(problems))
    return {stem: Pair(stem, images[stem][0], masks[stem][0]) for stem in sorted(images)}


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files


def _mismatches(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> list[str]:
    """Describe what keeps the two folders from pairing up, one line a kind; empty when nothing does."""
    if not images and not masks:
        return ["  both folders are empty"]
    twice = [path.name for files in (images, masks) for paths in files.values() if paths[1:] for path in paths]
    return [
        *_line("image without mask", [images[stem][0].name for stem in sorted(images.keys() - masks.keys())]),
        *_line("mask without image", [masks[stem][0].name for stem in sorted(masks.keys() - images.keys())]),
        *_line("several files of one stem", twice),
    ]


def _unreadable(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> list[str]:
    """Name the files that do not decode, so that the one message has these too."""
    names = []
    for files, read in ((images, read_image), (masks, read_codes)):
        for path in (path for paths in files.values() for path in paths):
            try:
                read(path)
            except ValueError:
                names.append(f"{path.parent.name}/{path.name}")
    return names


def _listed(root: Path, present: list[str], pairs: dict[str, Pair]) -> list[list[str]]:
    """Read the three lists, refusing stems that are unknown or occur twice, in one list or two."""
    if len(present) < len(LISTS):
        absent = [name for name in LISTS if name not in present]
        raise ValueError(
            f"{root.absolute()} has {', '.join(present)} but not {', '.join(absent)}:"
            " give all three lists, or none (then stems are split by position)"
        )
    splits = [read_lines(root / name) for name in LISTS]
    times = Counter(stem for stems in splits for stem in stems)
    repeated = [stem for stem in times if times[stem] > 1]
    unknown = [stem for stem in times if stem not in pairs]
    problems = _line("named more than once", repeated) + _line("without image and mask", unknown)
    if problems:
        raise ValueError(f"{', '.join(LISTS)} in {root.absolute()} name wrong stems:\n" + "\n".join(problems))
    return splits


def _by_position(stems: list[str], fold: int) -> list[list[str]]:
    part = {fold: "valid", (fold + 5) % 10: "test"}
    return [
        [stem for i, stem in enumerate(stems) if part.get(i % 10, "train") == split]
        for split in ("train", "valid", "test")
    ]


def _line(kind: str, names: list[str]) -> list[str]:
    """One line of a message, none when there is nothing to name."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"  {kind}: {', '.join(names[:SHOWN])}{more}"] if names else []
