"""What is worth a warning about a data set whose files are all sound: one-class masks, images twice, small images."""

from collections.abc import Callable, Iterator
from itertools import combinations

from src.data.pairs import Facts, Pair, Splits
from src.errors import one_line

NEARLY_ALL = 0.99  # of a mask's pixels
FEW = 0.05  # of a data set's images, of which nothing is said
SHOWN = 5


def notes_of(splits: Splits, image_size: int) -> tuple[str, ...]:
    """A line with numbers for each such fact of audited `splits`, whose images are resized to `image_size` pixels."""
    parts = {"training": splits.train, "validation": splits.valid, "test": splits.test}
    return (*_of_one_class(parts), *_twice(parts), *_small([*splits.train, *splits.valid, *splits.test], image_size))


def _of_one_class(parts: dict[str, list[Pair]]) -> Iterator[str]:
    """Where they are the most of a split: a good data set may have some images without foreground."""
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
            yield f"nearly all {kind} (at least {NEARLY_ALL:.0%} of the pixels): {numbers}; a score says little on them"


def _twice(parts: dict[str, list[Pair]]) -> Iterator[str]:
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
    assert pair.facts is not None, "notes are for pairs that were audited"
    return pair.facts
