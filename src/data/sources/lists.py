"""Lists of splits: three text files beside the images that name those of each split, in the forms of other programs."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from src.data.pairs import read_lines

# accepted names of each list, in capitals too
NAMES = {
    "train": ("train.txt", "training.txt"),
    "valid": ("valid.txt", "val.txt", "validation.txt"),
    "test": ("test.txt", "testing.txt"),
}
USUAL = ("train.txt", "valid.txt", "test.txt")
LOOKS_LIKE_ONE = re.compile(r"(train|val|test|dev|eval|split|fold).*\.(txt|csv|tsv|lst|json)", re.IGNORECASE)


def find_lists(root: Path) -> tuple[Path, Path, Path] | None:
    """The lists for training, validation and test in `root`, None if it has none of them.

    Raises ValueError if one is missing, or exists twice.
    """
    files = sorted(root.iterdir())
    found = {split: [path for path in files if path.name.lower() in names] for split, names in NAMES.items()}
    if not any(found.values()):
        return None
    if several := [" and ".join(path.name for path in paths) for paths in found.values() if paths[1:]]:
        raise ValueError(f"{root.absolute()} has {', '.join(several)}: keep one list for each split")
    if not all(found.values()):
        present = ", ".join(path.name for paths in found.values() for path in paths)
        absent = ", ".join(name for name, paths in zip(USUAL, found.values(), strict=True) if not paths)
        raise ValueError(
            f"{root.absolute()} has {present} but not {absent}: "
            "give all three lists, or none (then stems are split by position)"
        )
    train, valid, test = (paths[0] for paths in found.values())
    return train, valid, test


def unread_lists(root: Path, leave_out: Collection[str]) -> list[str]:
    """Files in `root` and up to two folders below that look like lists of splits but are not read."""
    names = {name for each in NAMES.values() for name in each}
    here = [path for path in root.iterdir() if path.name.lower() not in names]
    below = (*root.glob("*/*.txt"), *root.glob("*/*/*.txt"))
    found = [path.relative_to(root) for path in (*here, *below) if LOOKS_LIKE_ONE.fullmatch(path.name)]
    return sorted(path.as_posix() for path in found if path.parts[0] not in leave_out)


def read_names(
    path: Path, root: Path, stems: Collection[str], folders: Sequence[str], endings: Sequence[str]
) -> list[str]:
    """The stems that the list `path` names, in its order; a line that names none of `stems` is returned as it is.

    A line is a stem, or the image's or mask's file with one of `endings`, with or without the folder (one of
    `folders`, or its whole path), or several columns that all name the same pair; columns of digits are passed over.
    """

    def stem_of(name: str) -> str | None:
        plain = unicodedata.normalize("NFC", name)
        if plain in stems:
            return plain
        plain = plain.replace("\\", "/").removeprefix(f"{root.absolute().as_posix()}/").removeprefix("./")
        plain = next((plain.removeprefix(f"{folder}/") for folder in folders if plain.startswith(f"{folder}/")), plain)
        shortened = (plain[: len(plain) - len(end)] for end in ("", *endings) if plain.lower().endswith(end.lower()))
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
