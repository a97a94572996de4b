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

    Raises ValueError if one is missing or exists twice.
    """
    files = sorted(root.iterdir())
    found = {split: [path for path in files if path.name.lower() in names] for split, names in NAMES.items()}
    if not any(found.values()):
        return None
    if any(len(paths) != 1 for paths in found.values()):
        present = ", ".join(path.name for paths in found.values() for path in paths)
        raise ValueError(
            f"{root.absolute()} has {present}: give one list for each split ({', '.join(USUAL)}), or none (then stems "
            "are split by position)"
        )
    train, valid, test = (paths[0] for paths in found.values())
    return train, valid, test


def unread_lists(root: Path, leave_out: Collection[str]) -> list[str]:
    """Files in `root` and up to two folders below, but in `leave_out`, that look like lists of splits."""
    found = [path.relative_to(root) for pattern in ("*", "*/*.txt", "*/*/*.txt") for path in root.glob(pattern)]
    looks = [path for path in found if LOOKS_LIKE_ONE.fullmatch(path.name) and path.parts[0] not in leave_out]
    return sorted(path.as_posix() for path in looks)


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
