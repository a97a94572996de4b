"""A custom data set: a folder `images/` and a folder `masks/`, paired by stem."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from src.base.errors import one_line
from src.data.decoding import PairDecoder
from src.data.images import RASTER_FORMATS, decode
from src.data.masks import MaskReader
from src.data.pairs import OnError, Pair, Splits
from src.data.sources.lists import USUAL, find_lists, read_names, unread_lists
from src.data.verify import check_pairs

# what inference writes beside a mask: cat.jpg.overlay.png
INFERENCE_PICTURES = ("overlay", "probability", "panels", "report_a", "report_a_overlay", "report_d")
IMAGES = "images"
MASKS = "masks"
BINARY = PairDecoder(masks=MaskReader(binary=True))
SHOWN = 20  # files of one kind that a message lists
OF_SYSTEMS = ("__MACOSX", "@eaDir")  # folders that a system adds, with pictures in them


class Mismatch(NamedTuple):
    """Why a stem does not pair up, and its files."""

    kind: str
    stem: str
    names: list[str]


def open_folder(
    root: Path,
    fold: int = 0,
    on_error: OnError = "raise",
    mask_suffix: str | None = None,
    decoder: PairDecoder = BINARY,
) -> Splits:
    """Pair `images/<stem>.*` with `masks/<stem><mask_suffix>.*` under `root`, in their subfolders too.

    A stem is a path without ending below `images/`, in Unicode's form NFC. Files that are not images are left out, as
    hidden ones are, and so are masks without the suffix; `notes` names them. Without a suffix, masks as inference
    writes them (`cat.jpg.mask.png`) pair too.

    With `train.txt`, `valid.txt` and `test.txt` in `root` (see `find_lists` and `read_names`) these are the splits,
    and pairs that they do not name are left out. Without them, stem i of the sorted stems is valid when i % 10 == fold,
    test when i % 10 == (fold + 5) % 10, else train.

    With `on_error` "skip", stems that do not pair up are left out and named in `skipped`; the splits are those of a
    folder without them.

    Raises ValueError, with everything that is wrong at once: folders that are missing or empty; stems without
    image or mask, stems that occur twice, links that lead nowhere, and (beside these) every file that cannot be used;
    lists that are incomplete, or name unknown or repeated stems.
    """
    pairs, faults, notes = _pair_up(root, on_error, mask_suffix or "", decoder)
    paths = find_lists(root)
    if paths is None:
        notes += _position_notes(root, pairs)
        split = partial(_by_position, fold=fold)
        skipped = tuple(faults.values())
        return Splits(*split(list(pairs.values())), decoder, skipped, tuple(notes), split)
    endings = [*_endings(), *(f"{mask_suffix}{ending}" for ending in _endings() if mask_suffix)]
    known = pairs.keys() | faults.keys()
    lists = [read_names(path, root, known, (IMAGES, MASKS), endings) for path in paths]
    faults |= _unknown(root, lists, known, on_error)
    listed = {stem for stems in lists for stem in stems}
    unlisted = [stem for stem in pairs if stem not in listed]
    notes += _line(f"pairs that no list names, left out ({len(unlisted)})", unlisted, indent="")
    train, valid, test = ([pairs[stem] for stem in stems if stem in pairs] for stems in lists)
    skipped = tuple(faults[stem] for stems in lists for stem in stems if stem in faults)
    return Splits(train, valid, test, decoder, skipped, tuple(notes))


def _pair_up(
    root: Path, on_error: OnError, mask_suffix: str, decoder: PairDecoder
) -> tuple[dict[str, Pair], dict[str, str], list[str]]:
    """The pairs by stem in sorted order, the fault of each skipped stem, and notes on the other files left out."""
    missing = [name for name in (IMAGES, MASKS) if not (root / name).is_dir()]
    if missing:
        raise ValueError(
            f"no folder {' and no folder '.join(missing)} in {root.absolute()}: data=folder reads"
            " <data.root>/images/<stem>.* and <data.root>/masks/<stem>.*"
        )
    images, not_images = _by_stem(root / IMAGES)
    masks, not_masks = _by_stem(root / MASKS)
    notes = _left_out("files that are not images", root, [*not_images, *not_masks])
    if mask_suffix:
        suffix = unicodedata.normalize("NFC", mask_suffix)
        others = [path for stem, paths in masks.items() if not stem.endswith(suffix) for path in paths]
        masks = {stem.removesuffix(suffix): paths for stem, paths in masks.items() if stem.endswith(suffix)}
        notes += _left_out(f"masks whose names do not end with data.mask_suffix={mask_suffix}", root, others)
    else:
        masks, others = _of_inference(images, masks)
        notes += _left_out("overlays and probabilities beside masks", root, others)
    heading = f"images and masks in {root.absolute()} do not pair up:"
    if not images and not masks:
        raise ValueError("\n  ".join([heading, "both folders are empty", *notes]))
    mismatches = _mismatches(root, images, masks)
    if mismatches and on_error == "raise":
        problems = [
            *_mismatch_lines(mismatches),
            *_suffix_hint(images.keys() - masks.keys(), masks.keys() - images.keys()),
            *_unusable_files(images, masks, decoder),
        ]
        raise ValueError("\n  ".join([heading, *problems, *notes]))
    faults: dict[str, str] = {}
    for kind, stem, names in mismatches:
        before = f"{faults[stem]}; " if stem in faults else ""
        faults[stem] = before + one_line(f"{kind}: {', '.join(names)}")
    paired = sorted(images.keys() & masks.keys() - faults.keys())
    return {stem: Pair(stem, images[stem][0], masks[stem][0]) for stem in paired}, faults, notes


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The images in `folder` by their stems, and the files that are not images."""
    files: dict[str, list[Path]] = {}
    others = []
    for path in _files(folder):
        if _is_image(path):
            stem = (path.parent / path.stem).relative_to(folder).as_posix()
            files.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
        else:
            others.append(path)
    return files, others


def _of_inference(
    images: dict[str, list[Path]], masks: dict[str, list[Path]]
) -> tuple[dict[str, list[Path]], list[Path]]:
    """The masks, also those that inference wrote (cat.jpg.mask.png); and its other pictures of these images."""
    stems = {f"{stem}{path.suffix}": stem for stem, paths in images.items() for path in paths}
    found: dict[str, list[Path]] = {}
    others = []
    for name, paths in masks.items():
        image, _, kind = name.rpartition(".")
        of_inference = image in stems and name not in images
        if of_inference and kind in INFERENCE_PICTURES:
            others += paths
        else:
            found.setdefault(stems[image] if of_inference and kind == "mask" else name, []).extend(paths)
    return found, others


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


def _is_image(path: Path) -> bool:
    """By its name or by its content: a damaged image has its name alone, and a file of any name may be an image."""
    if path.suffix.lower() in _endings():
        return True
    if not path.is_file():  # reading a pipe would never end
        return _is_broken(path)
    try:
        with Image.open(path, formats=[kind for kind in RASTER_FORMATS if kind in Image.OPEN]):
            return True
    except Exception:  # decoders raise nearly anything
        return False


@cache
def _endings() -> tuple[str, ...]:
    return tuple(ending for ending, kind in Image.registered_extensions().items() if kind in RASTER_FORMATS)


def _left_out(what: str, root: Path, paths: Sequence[Path]) -> list[str]:
    return _line(f"{what}, left out ({len(paths)})", [path.relative_to(root).as_posix() for path in paths], indent="")


def _position_notes(root: Path, stems: Iterable[str]) -> list[str]:
    """Names what may look as if it decided the splits, although position does."""
    unread = unread_lists(root, (IMAGES, MASKS))
    folders = {stem.partition("/")[0] for stem in stems if "/" in stem}
    named = sorted(folder for folder in folders if folder.lower() in ("train", "training", "val", "valid", "test"))
    looks = [*unread, *(f"{IMAGES}/{folder}/" for folder in named)]
    kind = f"the splits are by position ({', '.join(USUAL)} in data.root would decide them), not by"
    return _line(kind, looks, indent="")


def _is_broken(path: Path) -> bool:
    """Whether `path` is a link to a missing file, or a circular one."""
    return path.is_symlink() and not path.exists()


def _mismatches(root: Path, images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> list[Mismatch]:
    def name(path: Path) -> str:
        return "/".join(path.relative_to(root).parts[1:])

    without_mask = sorted(images.keys() - masks.keys())
    without_image = sorted(masks.keys() - images.keys())
    several: dict[str, list[str]] = {}
    broken: dict[str, list[str]] = {}
    for files in (images, masks):
        for stem, paths in files.items():
            if paths[1:]:
                several.setdefault(stem, []).extend(map(name, paths))
            for path in filter(_is_broken, paths):
                broken.setdefault(stem, []).append(path.relative_to(root).as_posix())
    return [
        *(Mismatch("image without mask", stem, [name(images[stem][0])]) for stem in without_mask),
        *(Mismatch("mask without image", stem, [name(masks[stem][0])]) for stem in without_image),
        *(Mismatch("several files of one stem", stem, names) for stem, names in several.items()),
        *(Mismatch("link that leads nowhere", stem, names) for stem, names in broken.items()),
    ]


def _mismatch_lines(mismatches: Sequence[Mismatch]) -> list[str]:
    """One line for each kind."""
    names: dict[str, list[str]] = {}
    for mismatch in mismatches:
        names.setdefault(mismatch.kind, []).extend(mismatch.names)
    return [line for kind, of_kind in names.items() for line in _line(kind, of_kind, indent="")]


def _suffix_hint(without_mask: Collection[str], without_image: Collection[str]) -> list[str]:
    """The suffix that would pair them all up, if any."""
    first = min(without_mask, default="")
    suffixes = sorted(stem.removeprefix(first) for stem in without_image if first and stem.startswith(first))
    found = [suffix for suffix in suffixes if all(f"{stem}{suffix}" in without_image for stem in without_mask)]
    return [f"with data.mask_suffix={found[0]} these images would have masks"] if found else []


def _unusable_files(images: dict[str, list[Path]], masks: dict[str, list[Path]], decoder: PairDecoder) -> list[str]:
    """What is wrong with the files beside their names, so that the one message has it too."""
    pairs = [Pair(stem, images[stem][0], masks[stem][0]) for stem in sorted(images.keys() & masks.keys())]
    problems = [problem for check in check_pairs(pairs, decoder) for problem in check.problems]
    paired = {path for pair in pairs for path in (pair.image, pair.mask)}
    for path in (path for files in (images, masks) for paths in files.values() for path in paths):
        if path not in paired:
            try:
                decode(path)
            except ValueError as error:
                problems.append(one_line(str(error)))
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*problems[:SHOWN], *more]


def _unknown(root: Path, lists: list[list[str]], known: Collection[str], on_error: OnError) -> dict[str, str]:
    """The fault of each stem that is listed but missing; refused unless skipped. Repeated stems are always refused."""
    times = Counter(stem for stems in lists for stem in stems)
    repeated = [stem for stem in times if times[stem] > 1]
    unknown = [stem for stem in times if stem not in known]
    problems = _line("named more than once", repeated)
    if on_error == "raise" or problems:
        problems += _line("without image and mask", unknown)
    if problems:
        raise ValueError(
            f"the lists of the splits in {root.absolute()} name wrong stems (a line is a stem, or a file of "
            f"{IMAGES}/ or {MASKS}/):\n" + "\n".join(problems)
        )
    return {stem: one_line(f"listed without image and mask: {stem}") for stem in unknown}


def _by_position(pairs: Iterable[Pair], fold: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    part = {fold: "valid", (fold + 5) % 10: "test"}
    ordered = sorted(pairs, key=lambda pair: pair.stem)
    train, valid, test = (
        [pair for i, pair in enumerate(ordered) if part.get(i % 10, "train") == split]
        for split in ("train", "valid", "test")
    )
    return train, valid, test


def _line(kind: str, names: list[str], indent: str = "  ") -> list[str]:
    """One line of a message, none without names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{indent}{kind}: {one_line(', '.join(names[:SHOWN]))}{more}"] if names else []
