"""The Oxford-IIIT Pet data set in its official layout, split as in report A."""

from collections.abc import Sequence
from pathlib import Path

from src.base.record import breed_of
from src.data.decoding import PairDecoder
from src.data.images import ImageReader
from src.data.pairs import Pair, Splits, read_lines

IMAGES = "images"
TRIMAPS = "annotations/trimaps"
TRAINVAL_LIST = "annotations/trainval.txt"
TEST_LIST = "annotations/test.txt"
BREED_LIST = "annotations/list.txt"
SPECIES = {"1": "cat", "2": "dog"}  # as the head of list.txt explains
STORED = ImageReader(exif="ignore")  # the official trimaps are drawn on the stored pixels


def open_oxford_pet(root: Path, fold: int = 0) -> Splits:
    """Pair images and trimaps under `root`: `images/<stem>.jpg` with `annotations/trimaps/<stem>.png`.

    Line i of trainval.txt (from 0) is valid when i % 10 == fold, else train; test.txt is test (report A has
    fold 0, which gives 3,312 / 368 / 3,669 of the official lists). Only listed files count, so stray files
    never do. The files themselves are not opened.

    Raises ValueError when a part of the layout is missing, and for a list with a line that cannot be read.
    """
    if missing := _missing_parts(root):
        raise ValueError(
            f"no Oxford-IIIT Pet data in {root.absolute()}: {', '.join(missing)} not found.\n"
            "What to do:\n"
            "  data.download=true                        fetch it (0.8 GB) as the run begins\n"
            "  python -m src.prepare data=oxford_pet     fetch it now, once, for every later run\n"
            "  data.root=<folder>, or the environment variable OXFORD_PET_ROOT, if it is elsewhere\n"
            "  data=synthetic                            try everything out without it, on drawn pets"
        )
    trainval = read_list(root / TRAINVAL_LIST)
    return Splits(
        train=_pairs(root, [stem for i, stem in enumerate(trainval) if i % 10 != fold]),
        valid=_pairs(root, [stem for i, stem in enumerate(trainval) if i % 10 == fold]),
        test=_pairs(root, read_list(root / TEST_LIST)),
        decoder=PairDecoder(STORED),
    )


def read_list(path: Path) -> list[str]:
    """Read the stems of an official list in their order.

    A line is `<stem> <class> <species> <breed>`; only the stem is used, so it may stand alone.
    Raises ValueError, listing every stem that is not a plain file name.
    """
    stems = [line.split()[0] for line in read_lines(path)]
    if odd := [stem for stem in stems if "/" in stem or "\\" in stem or stem.startswith(".")]:
        raise ValueError(f"{path}: each line begins with a file name without folder; got {', '.join(odd[:10])}")
    return stems


def breeds_of(pairs: Sequence[Pair]) -> dict[str, tuple[str, str]]:
    """Species and breed of each stem in the official `annotations/list.txt` beside the images; empty without that file.

    A line is `<stem> <class> <species> <breed>`.
    """
    file = pairs[0].image.parent.parent / BREED_LIST
    lines = [line.split() for line in read_lines(file)] if file.is_file() else []
    complete = [line for line in lines if len(line) >= 3 and line[2] in SPECIES]
    return {line[0]: (SPECIES[line[2]], breed) for line in complete if (breed := breed_of(line[0]))}


def missing_files(root: Path) -> list[str]:
    """Name, relative to `root`, the missing parts and listed files; none is opened."""
    if missing := _missing_parts(root):
        return missing
    pairs = _pairs(root, read_list(root / TRAINVAL_LIST) + read_list(root / TEST_LIST))
    paths = [path for pair in pairs for path in (pair.image, pair.mask)]
    return [str(path.relative_to(root)) for path in paths if not path.is_file()]


def _missing_parts(root: Path) -> list[str]:
    return [part for part in (IMAGES, TRIMAPS, TRAINVAL_LIST, TEST_LIST) if not (root / part).exists()]


def _pairs(root: Path, stems: list[str]) -> list[Pair]:
    return [Pair(stem, root / IMAGES / f"{stem}.jpg", root / TRIMAPS / f"{stem}.png") for stem in stems]
