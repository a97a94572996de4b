"""A custom data set: a folder `images/` and a folder `masks/`, paired by stem, and lists of its splits, if any."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from src.base.errors import one_line
from src.data.decoding import PairDecoder
from src.data.images import image_endings
from src.data.masks import MaskReader
from src.data.pairs import Pair, Splits, read_lines

IMAGES = "images"
MASKS = "masks"
BINARY = PairDecoder(masks=MaskReader(binary=True))
SHOWN = 20  # files of one kind that a message lists
OF_SYSTEMS = ("__MACOSX", "@eaDir")  # folders that a system adds, with pictures in them
USUAL = "train.txt, valid.txt, test.txt"
LOOK_LIKE_SPLITS = ("train", "training", "val", "valid", "test")
# accepted names of each list, in capitals too
NAMES = {
    "train": ("train.txt", "training.txt"),
    "valid": ("valid.txt", "val.txt", "validation.txt"),
    "test": ("test.txt", "testing.txt"),
}
LOOKS_LIKE_LIST = re.compile(r"(train|val|test|dev|eval|split|fold).*\.(txt|csv|tsv|lst|json)", re.IGNORECASE)


def open_folder(root: Path, fold: int = 0, mask_suffix: str | None = None, decoder: PairDecoder = BINARY) -> Splits:
    """Pair `images/<stem>.*` with `masks/<stem><mask_suffix>.*` under `root`, in their subfolders too.

    A stem is a path without ending below `images/`, in Unicode's form NFC. Files without an image's ending are left
    out, as hidden ones are, and so are masks without the suffix; `notes` names them.

    With `train.txt`, `valid.txt` and `test.txt` in `root` (see `find_lists` and `read_names`) these are the splits,
    and pairs that they do not name are left out. Without them, stem i of the sorted stems is valid when i % 10 == fold,
    test when i % 10 == (fold + 5) % 10, else train.

    Stems that do not pair up are left out and named in `skipped`; the splits are those of a folder without them.
    Raises ValueError for folders that are missing or empty, and for incomplete lists.
    """
    images, masks, notes = _find_files(root, mask_suffix or "")
    faults = _faults(images, masks)
    paired = sorted(images.keys() & masks.keys() - faults.keys())
    pairs = {stem: Pair(stem, images[stem][0], masks[stem][0]) for stem in paired}
    paths = find_lists(root)
    if paths is None:
        notes += _position_notes(root, pairs)
        split = partial(_by_position, fold=fold)
        return Splits(*split(pairs.values()), decoder, tuple(faults.values()), tuple(notes), split)
    known = pairs.keys() | faults.keys()
    lists = [read_names(path, root, known, mask_suffix or "") for path in paths]
    listed = {stem: path.name for path, stems in zip(paths, lists, strict=True) for stem in stems}
    unknown = {stem: name for stem, name in listed.items() if stem not in known}
    faults |= {stem: one_line(f"listed in {name} without image and mask: {stem}") for stem, name in unknown.items()}
    notes += [f"a line of a list is a stem, or a file of {IMAGES}/ or {MASKS}/"] if unknown else []
    notes += _line("pairs that no list names, left out", [stem for stem in pairs if stem not in listed])
    train, valid, test = ([pairs[stem] for stem in stems if stem in pairs] for stems in lists)
    return Splits(train, valid, test, decoder, tuple(faults[stem] for stem in listed if stem in faults), tuple(notes))


Files = dict[str, list[Path]]  # by stem


def _find_files(root: Path, mask_suffix: str) -> tuple[Files, Files, list[str]]:
    """The images and the masks, these without the suffix in their stems; and notes on the files that are left out."""
    if missing := [name for name in (IMAGES, MASKS) if not (root / name).is_dir()]:
        raise ValueError(
            f"no folder {' and no folder '.join(missing)} in {root.absolute()}: data=folder reads"
            " <data.root>/images/<stem>.* and <data.root>/masks/<stem>.*"
        )
    images, not_images = _by_stem(root / IMAGES)
    found, not_masks = _by_stem(root / MASKS)
    suffix = unicodedata.normalize("NFC", mask_suffix)
    masks = {stem.removesuffix(suffix): paths for stem, paths in found.items() if stem.endswith(suffix)}
    others = [path for stem, paths in found.items() if not stem.endswith(suffix) for path in paths]
    notes = [
        *_line("files that are not images, left out", _below(root, [*not_images, *not_masks])),
        *_line(f"masks whose names do not end with data.mask_suffix={suffix}, left out", _below(root, others)),
    ]
    if not images and not masks:
        raise ValueError("\n  ".join([f"no images and masks in {root.absolute()}", *notes]))
    if images.keys() - masks.keys() and masks.keys() - images.keys():
        notes.append(
            "masks that are named like their images with a suffix pair up with data.mask_suffix=<suffix>, "
            "for example _mask; .jpg.mask for masks that inference wrote"
        )
    return images, masks, notes


def _by_stem(folder: Path) -> tuple[Files, list[Path]]:
    """The images in `folder` by their stems, and the files that are not images."""
    files: Files = {}
    others = []
    for path in _files(folder):
        if path.suffix.lower() in image_endings():
            stem = (path.parent / path.stem).relative_to(folder).as_posix()
            files.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
        else:
            others.append(path)
    return files, others


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files in `folder` and its subfolders, linked ones too, without hidden ones and circular links."""
    inside = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in OF_SYSTEMS:
            continue
        if path.is_dir():
            yield from _files(path, inside) if path.resolve() not in inside else ()
        else:
            yield path


def _faults(images: Files, masks: Files) -> dict[str, str]:
    """Why a stem does not pair up, in a line that names its files."""
    faults = {}
    for stem in sorted(images.keys() | masks.keys()):
        paths = [*images.get(stem, []), *masks.get(stem, [])]
        if stem not in masks:
            kind = "image without mask"
        elif stem not in images:
            kind = "mask without image"
        elif len(paths) > 2:
            kind = "several files of one stem"
        elif any("\ud800" <= letter <= "\udfff" for letter in stem):  # bytes that are not UTF-8, as Python keeps them
            kind = "the name is not UTF-8, so no table can hold it; rename both files"
        else:
            continue
        faults[stem] = one_line(f"{kind}: {', '.join(map(str, paths))}")
    return faults


def _position_notes(root: Path, stems: Iterable[str]) -> list[str]:
    """Names what may look as if it decided the splits, although position does."""
    found = [path.relative_to(root) for pattern in ("*", "*/*.txt", "*/*/*.txt") for path in root.glob(pattern)]
    lists = [path for path in found if LOOKS_LIKE_LIST.fullmatch(path.name) and path.parts[0] not in (IMAGES, MASKS)]
    folders = sorted({stem.partition("/")[0] for stem in stems if "/" in stem})
    named = [f"{IMAGES}/{folder}/" for folder in folders if folder.lower() in LOOK_LIKE_SPLITS]
    kind = f"the splits are by position ({USUAL} in data.root would decide them), not by files or folders"
    return _line(kind, [*sorted(path.as_posix() for path in lists), *named])


def find_lists(root: Path) -> tuple[Path, Path, Path] | None:
    """The lists for training, validation and test in `root`, None if it has none of them.

    Raises ValueError if one is missing or exists twice.
    """
    files = sorted(root.iterdir())
    found = {split: [path for path in files if path.name.lower() in names] for split, names in NAMES.items()}
    if not any(found.values()):
        return None
    if any(len(paths) != 1 for paths in found.values()):
        present = ", ".join(path.name for paths in found.values() for path in paths)
        raise ValueError(
            f"{root.absolute()} has {present}: give one list for each split ({USUAL}), or none (then stems "
            "are split by position)"
        )
    train, valid, test = (paths[0] for paths in found.values())
    return train, valid, test


def read_names(path: Path, root: Path, stems: Collection[str], mask_suffix: str = "") -> list[str]:
    """The stems that the list `path` names, in its order; a line that names none of `stems` is returned as it is.

    A line is a stem, or the image's or mask's file, with or without the folder or its whole path, or several columns
    that all name the same pair; columns of digits are passed over.
    """
    endings = ("", *image_endings(), *(f"{mask_suffix}{ending}" for ending in image_endings()))

    def stem_of(name: str) -> str | None:
        plain = unicodedata.normalize("NFC", name)
        if plain in stems:
            return plain
        plain = plain.replace("\\", "/").removeprefix(f"{root.absolute().as_posix()}/").removeprefix("./")
        plain = re.sub(f"^({IMAGES}|{MASKS})/", "", plain)
        shortened = (plain[: len(plain) - len(end)] for end in endings if plain.lower().endswith(end.lower()))
        return next((stem for stem in shortened if stem in stems), None)

    def stem_in(line: str) -> str:
        if (stem := stem_of(line)) is not None:
            return stem
        for separator in ("\t", ",", ";", None):
            columns = [column.strip(' "') for column in line.split(separator) if column.strip()]
            named = {stem_of(column) for column in columns if not column.isdecimal() or stem_of(column)}
            if len(named) == 1 and (stem := named.pop()) is not None:
                return stem
        return line

    return [stem_in(line) for line in read_lines(path, lambda line: stem_of(line) is not None)]


def _by_position(pairs: Iterable[Pair], fold: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    part = {fold: "valid", (fold + 5) % 10: "test"}
    ordered = sorted(pairs, key=lambda pair: pair.stem)
    train, valid, test = (
        [pair for i, pair in enumerate(ordered) if part.get(i % 10, "train") == split]
        for split in ("train", "valid", "test")
    )
    return train, valid, test


def _below(root: Path, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _line(kind: str, names: list[str]) -> list[str]:
    """A note with the count and the first names; none without names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{kind} ({len(names)}): {one_line(', '.join(names[:SHOWN]))}{more}"] if names else []
