"""Opening what a config chooses: the real config with overrides, real files."""

from pathlib import Path

import pytest
from PIL import Image

from src.base.config import parse_data
from src.data.decoding import PairDecoder
from src.data.open_data import notes_of, open_data
from src.data.pairs import Facts, Pair, Splits


@pytest.fixture
def open_chosen(composed):
    """Opens the data set that these overrides choose."""

    def opened(*overrides: str) -> Splits:
        return open_data(parse_data(composed(*overrides)["data"]))

    return opened


def counts(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.valid), len(splits.test)


def test_oxford_pet_is_read_from_its_root(open_chosen, tmp_path: Path, write_oxford_pet) -> None:
    root = write_oxford_pet(tmp_path / "pets", [f"Cat_{number}" for number in range(12)], ["dog_1"])
    assert counts(open_chosen("data=oxford_pet", f"data.root={root}")) == (10, 2, 1)
    assert open_chosen("data=oxford_pet", f"data.root={root}", "data.fold=4").valid[0].stem == "Cat_4"


def test_folds_and_lists_of_a_folder_do_not_go_together(open_chosen, composed, tmp_path: Path) -> None:
    for folder, value in (("images", 7), ("masks", 1)):
        (tmp_path / folder).mkdir()
        for stem in "abc":
            Image.new("L", (8, 8), value).save(tmp_path / folder / f"{stem}.png")
    chosen = ("data=folder", f"data.root={tmp_path}")
    assert sum(counts(open_chosen(*chosen, "data.fold=2"))) == 3
    for stem, name in zip("abc", ("training.txt", "val.txt", "test.txt"), strict=True):
        (tmp_path / name).write_text(stem)
    assert counts(open_chosen(*chosen)) == (1, 1, 1)
    with pytest.raises(ValueError, match=r"data\.fold: got 2, but training\.txt, val\.txt, test\.txt in .* decide"):
        open_chosen(*chosen, "data.fold=2")
    recorded = parse_data(composed(*chosen, "data.fold=2")["data"])  # of a run from before it was refused
    assert counts(open_data(recorded, make=False)) == (1, 1, 1)


def test_download_leaves_data_alone_that_are_there(open_chosen, tmp_path: Path, write_oxford_pet) -> None:
    root = write_oxford_pet(tmp_path / "pets", ["Cat_1", "Cat_2"], ["dog_1"])
    assert counts(open_chosen("data=oxford_pet", f"data.root={root}", "data.download=true")) == (1, 1, 1)


def test_without_download_absent_data_are_only_explained(open_chosen, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.download=true"):
        open_chosen("data=oxford_pet", f"data.root={tmp_path}/nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_somebody_elses_config_makes_nothing(composed, tmp_path: Path) -> None:
    for overrides in (
        ["data=synthetic", "data.trainval=11", "data.test=3", "data.size=32"],
        ["data=oxford_pet", "data.download=true"],
    ):
        data = parse_data(composed(*overrides, f"data.root={tmp_path}/nowhere")["data"])
        with pytest.raises(ValueError, match=r"nowhere"):
            open_data(data, make=False)
        assert not (tmp_path / "nowhere").exists()


def test_without_making_what_was_drawn_before_is_opened(composed, tmp_path: Path) -> None:
    sizes = ("data.trainval=11", "data.test=3", "data.size=32")
    data = parse_data(composed("data=synthetic", f"data.root={tmp_path}", *sizes)["data"])
    open_data(data)
    assert counts(open_data(data, make=False)) == (9, 2, 3)


def test_synthetic_data_are_drawn_where_they_are_asked_for(open_chosen, tmp_path: Path) -> None:
    sizes = ("data.trainval=11", "data.test=3", "data.size=32", "data.seed=5")
    splits = open_chosen("data=synthetic", f"data.root={tmp_path}", *sizes)
    assert counts(splits) == (9, 2, 3)
    assert splits.test[0].image.is_relative_to(tmp_path / "11-3-32-5")


def test_folder_is_paired(open_chosen, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L", (4, 3), 255).save(tmp_path / name / f"{number}.png")
    assert counts(open_chosen("data=folder", f"data.root={tmp_path}")) == (8, 1, 1)


def test_tilde_is_the_home_folder(open_chosen, tmp_path: Path, write_oxford_pet, monkeypatch) -> None:
    write_oxford_pet(tmp_path / "pets", ["Cat_1", "Cat_2"], ["dog_1"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert counts(open_chosen("data=oxford_pet", "data.root='~/pets'")) == (1, 1, 1)


def test_the_keys_of_a_folder_reach_its_decoder(composed, tmp_path: Path) -> None:
    """Applying EXIF data is what is done without the key, so it leaves the id as it is."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L", (4, 3)).save(tmp_path / name / f"{number}.png")
    folder = ("data=folder", f"data.root={tmp_path}")
    plain, applied, ignored = (
        parse_data(composed(*folder, *more)["data"])
        for more in ([], ["data.exif=apply"], ["data.exif=ignore", "data.mask_threshold=0.5", "data.ignore_value=255"])
    )
    assert plain == applied and open_data(plain).decoder.images.exif == "apply"
    decoder = open_data(ignored).decoder
    assert (decoder.images.exif, decoder.masks.threshold, decoder.masks.ignore) == ("ignore", 0.5, 255)


# --- Warnings about sound data: with numbers where something is odd, none where nothing is


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


def test_masks_without_a_pixel_that_counts_are_counted():
    (note,) = notes([*many(2), *many(1, foreground=None)], test=[pair("t", None), pair("u", None)])
    assert "1 of 3 training masks, 0 of 1 validation masks, 2 of 2 test masks; such an image scores 1" in note


@pytest.mark.parametrize("foreground", [0.02, 0.98])
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
