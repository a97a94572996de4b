"""Opening the data set that a config chooses, with warnings about one whose files are all sound."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from src.base.config import FolderData, OxfordPetData, SyntheticData
from src.base.errors import one_line
from src.data.decoding import MASK_IN_ALPHA, MASK_TURNED, MASK_TURNED_LIKE_IMAGE, ON_WHITE, TURNED, PairDecoder
from src.data.images import ImageReader
from src.data.masks import MaskReader
from src.data.pairs import Facts, Pair, Splits
from src.data.sources.download import download_oxford_pet
from src.data.sources.folder import find_lists, open_folder
from src.data.sources.oxford_pet import STORED, open_oxford_pet
from src.data.sources.synthetic import make_synthetic
from src.data.verify import verify

NEARLY_ALL = 0.99  # of a mask's pixels
SHOWN = 5


def open_data(data: OxfordPetData | SyntheticData | FolderData, make: bool = True) -> Splits:
    """Open the chosen data set; download it first if the config asks for it, or draw it if it is the synthetic one.

    With `make` False nothing is downloaded, drawn or written: for a config that comes with a run's folder.

    Raises ValueError when it is missing, with what to do, or has another layout. Its files are not checked.
    """
    root = Path(data.root)
    if isinstance(data, FolderData):
        masks = MaskReader(binary=True, threshold=data.mask_threshold, ignore=data.ignore_value)
        decoder = PairDecoder(ImageReader(data.exif or "apply", resize=data.resize), masks)
        splits = open_folder(root, data.fold, data.mask_suffix, decoder)
        # runs from before this was refused can still be looked at
        if make and data.fold != 0 and (lists := find_lists(root)) is not None:
            raise ValueError(
                f"data.fold: got {data.fold}, but {', '.join(path.name for path in lists)} in {root.absolute()} decide "
                "the splits, so every fold would be the same run; leave data.fold at 0, or move the lists away"
            )
        return splits
    if isinstance(data, SyntheticData):
        root = make_synthetic(root, data.trainval, data.test, data.size, data.seed, draw=make)
    elif data.download and make:
        download_oxford_pet(root)
    return replace(open_oxford_pet(root, data.fold), decoder=PairDecoder(replace(STORED, resize=data.resize)))


def open_verified(
    data: OxfordPetData | SyntheticData | FolderData, make: bool = True, cache: str | None = None, known: bool = False
) -> tuple[Splits, str]:
    """The chosen data set with every file checked, and its fingerprint; see `open_data` and `verify`.

    `cache`: the folder that remembers the check, if it is not the config's. `data.on_error` decides whether pairs that
    cannot be used are refused or left out. Raises ValueError as both do, if `known` also for data never verified.
    """
    splits, digest = verify(open_data(data, make), Path(cache or data.cache_dir), data.on_error, known)
    return replace(splits, notes=(*splits.notes, *notes_of(splits))), digest


def notes_of(splits: Splits) -> tuple[str, ...]:
    """A line with numbers for each odd fact of verified `splits`: how it is read, one-class masks, duplicate images."""
    parts = {"training": splits.train, "validation": splits.valid, "test": splits.test}
    ways = _ways_of_reading(splits.pairs, splits.decoder)
    return (*ways, *_of_one_class(parts), *_without_counted(parts), *_duplicates(parts))


def _ways_of_reading(pairs: list[Pair], decoder: PairDecoder) -> Iterator[str]:
    marks = Counter(mark for pair in pairs for mark in _facts(pair).marks)
    if turned := marks[TURNED]:
        masks = marks[MASK_TURNED_LIKE_IMAGE] + marks[MASK_TURNED]
        yield (
            f"{turned} of {len(pairs)} images are turned by their EXIF orientation, {masks} of the masks too; "
            "other masks are taken as drawn on the turned image (data.exif=ignore reads stored pixels)"
        )
    if transparent := marks[ON_WHITE]:
        yield f"{transparent} of {len(pairs)} images have transparent pixels, which are shown on white"
    if deep := [facts.highest for facts in map(_facts, pairs) if facts.highest is not None]:
        bits = decoder.images.bits or 16
        yield (
            f"{len(deep)} of {len(pairs)} images have 16 bits, of which {bits} are in use: the highest value is "
            f"{max(deep)}, white is {(1 << bits) - 1}"
        )
    if alpha := marks[MASK_IN_ALPHA]:
        yield f"{alpha} of {len(pairs)} masks are read from their alpha channel, since their color is uniform"


def _of_one_class(parts: dict[str, list[Pair]]) -> Iterator[str]:
    """If they are the majority of a split: a good data set may have some images without foreground."""
    kinds: dict[str, Callable[[float], bool]] = {
        "foreground": lambda share: share >= NEARLY_ALL,
        "background": lambda share: share <= 1 - NEARLY_ALL,
    }
    for kind, holds in kinds.items():
        counts = {
            name: sum(share is not None and holds(share) for share in (_facts(pair).foreground for pair in pairs))
            for name, pairs in parts.items()
        }
        if any(2 * counts[name] > len(pairs) for name, pairs in parts.items()):
            numbers = ", ".join(f"{counts[name]} of {len(pairs)} {name} masks" for name, pairs in parts.items())
            yield f"nearly all {kind} (at least {NEARLY_ALL:.0%} of the pixels): {numbers}; a score means little there"


def _without_counted(parts: dict[str, list[Pair]]) -> Iterator[str]:
    counts = {name: sum(_facts(pair).foreground is None for pair in pairs) for name, pairs in parts.items()}
    if any(counts.values()):
        numbers = ", ".join(f"{counts[name]} of {len(pairs)} {name} masks" for name, pairs in parts.items())
        yield f"no pixel counts, all are data.ignore_value: {numbers}; such an image scores 1, whatever is predicted"


def _duplicates(parts: dict[str, list[Pair]]) -> Iterator[str]:
    for (name, pairs), (other, others) in combinations(parts.items(), 2):
        first = {_facts(pair).pixels: pair.stem for pair in pairs}
        twins = [(pair.stem, first[pixels]) for pair in others if (pixels := _facts(pair).pixels) in first]
        if twins:
            shown = ", ".join(f"{stem} is {twin}" for stem, twin in twins[:SHOWN])
            more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
            yield f"{len(twins)} of {len(others)} {other} images are {name} images too: {one_line(shown)}{more}"


def _facts(pair: Pair) -> Facts:
    assert pair.facts is not None, "notes are for verified pairs"
    return pair.facts
