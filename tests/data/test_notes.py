"""Warnings about sound data: with numbers where something is odd, none where nothing is."""

from pathlib import Path

import pytest

from src.data.decoding import PairDecoder
from src.data.open_data import notes_of
from src.data.pairs import Facts, Pair, Splits


def pair(stem: str, foreground: float | None = 0.4, pixels: str = "") -> Pair:
    return Pair(stem, Path(stem), Path(stem), Facts("", "", pixels or stem, 300, 200, foreground))


def notes(train: list[Pair], valid: list[Pair] | None = None, test: list[Pair] | None = None):
    splits = Splits(train, valid or [pair("v")], test or [pair("t")], decoder=PairDecoder())
    return notes_of(splits)


def many(count: int, **facts) -> list[Pair]:
    return [pair(f"{facts}{number}", **facts) for number in range(count)]


def test_good_data_are_quiet():
    """A fifth of the images shows nothing, and one is full."""
    train = [*many(31), *many(8, foreground=0.0), *many(1, foreground=1.0)]
    assert notes(train) == ()


@pytest.mark.parametrize(
    ("foreground", "kind"), [(1.0, "foreground"), (0.995, "foreground"), (0.0, "background"), (0.005, "background")]
)
def test_masks_of_nearly_one_class_are_counted(foreground, kind):
    (note,) = notes([*many(2), *many(3, foreground=foreground)])
    assert note.startswith(
        f"nearly all {kind} (at least 99% of the pixels): 3 of 5 training masks, 0 of 1 validation masks, 0 of 1 test"
    )


def test_one_split_of_one_class_is_enough():
    (note,) = notes(many(20), test=many(2, foreground=0.0))
    assert "0 of 20 training masks, 0 of 1 validation masks, 2 of 2 test masks" in note


@pytest.mark.parametrize("foreground", [0.02, 0.98, None])
def test_small_objects_are_no_one_class(foreground):
    assert notes(many(5, foreground=foreground)) == ()


def test_the_same_image_in_two_splits_is_counted_and_named():
    found = notes(
        [pair("a", pixels="1"), pair("b", pixels="2"), pair("c", pixels="2")],
        [pair("d", pixels="1"), pair("e", pixels="3")],
        [pair("f", pixels="1"), pair("g", pixels="2"), pair("h\n", pixels="3")],
    )
    assert found == (
        "1 of 2 validation images are training images too: d is a",
        "2 of 3 test images are training images too: f is a, g is c",
        "2 of 3 test images are validation images too: f is d, h  is e",
    )


def test_many_images_in_two_splits_are_cut():
    (note,) = notes(
        [pair(f"a{number}", pixels=f"{number}") for number in range(9)],
        test=[pair(f"b{number}", pixels=f"{number}") for number in range(9)],
    )
    assert note.startswith("9 of 9 test images are training images too: b0 is a0, ") and note.endswith(
        "b4 is a4 and 4 more"
    )
