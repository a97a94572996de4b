"""Warnings about a data set whose files are all sound: how they are read, one-class masks, duplicate images, sizes."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from src.base.errors import one_line
from src.data.decoding import MASK_IN_ALPHA, MASK_TURNED, MASK_TURNED_LIKE_IMAGE, ON_WHITE, TURNED, PairDecoder
from src.data.pairs import Facts, Pair, Splits

NEARLY_ALL = 0.99  # of a mask's pixels
FEW = 0.05  # share of small images up to which no note is made
SHOWN = 5


def notes_of(splits: Splits, image_size: int) -> tuple[str, ...]:
    """A line with numbers for each such fact of verified `splits`, whose images are resized to `image_size` pixels."""
    parts = {"training": splits.train, "validation": splits.valid, "test": splits.test}
    return (
        *_ways_of_reading(splits.pairs, splits.decoder),
        *_of_one_class(parts),
        *_duplicates(parts),
        *_small(splits.pairs, image_size),
    )


def _ways_of_reading(pairs: list[Pair], decoder: PairDecoder) -> Iterator[str]:
    marks = Counter(mark for pair in pairs for mark in _facts(pair).marks)
    if turned := marks[TURNED]:
        yield (
            f"{turned} of {len(pairs)} images are turned by their EXIF orientation; {marks[MASK_TURNED_LIKE_IMAGE]} "
            f"masks are turned like their image, whose stored size they have, {marks[MASK_TURNED]} by their own "
            "orientation, the others are taken as drawn on the turned image (data.exif=ignore reads stored pixels)"
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


def _duplicates(parts: dict[str, list[Pair]]) -> Iterator[str]:
    for (name, pairs), (other, others) in combinations(parts.items(), 2):
        first = {_facts(pair).pixels: pair.stem for pair in pairs}
        twins = [(pair.stem, first[pixels]) for pair in others if (pixels := _facts(pair).pixels) in first]
        if twins:
            shown = ", ".join(f"{stem} is {twin}" for stem, twin in twins[:SHOWN])
            more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
            yield f"{len(twins)} of {len(others)} {other} images are {name} images too: {one_line(shown)}{more}"


def _small(pairs: list[Pair], image_size: int) -> Iterator[str]:
    sizes = [(facts.width, facts.height) for facts in map(_facts, pairs)]
    small = [size for size in sizes if max(size) < image_size]
    if len(small) >= FEW * len(sizes):
        width, height = min(small, key=lambda size: size[0] * size[1])
        yield (
            f"{len(small)} of {len(sizes)} images are smaller than data.image_size={image_size} in both directions and "
            f"are enlarged (the smallest has {width} x {height} pixels)"
        )


def _facts(pair: Pair) -> Facts:
    assert pair.facts is not None, "notes are for verified pairs"
    return pair.facts
