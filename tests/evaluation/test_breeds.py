from pathlib import Path

from src.data.pairs import Pair
from src.data.sources.oxford_pet import breeds_of
from src.evaluation.scoring import by_group


def pairs_under(root: Path, *stems: str) -> list[Pair]:
    return [Pair(stem, root / "images" / f"{stem}.jpg", root / "annotations/trimaps" / f"{stem}.png") for stem in stems]


def test_the_official_list_names_species_and_breed(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\namerican_bulldog_7 2 2 1\n"
    )
    assert breeds_of(pairs_under(tmp_path, "Abyssinian_100")) == {
        "Abyssinian_100": ("cat", "Abyssinian"),
        "american_bulldog_7": ("dog", "american_bulldog"),
    }


def test_lines_that_do_not_say_it_are_passed_over(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "list.txt").write_text("Abyssinian_100\nBombay_1 2 3 1\nnameless 1 1 1\n")
    assert breeds_of(pairs_under(tmp_path, "Abyssinian_100")) == {}


def test_a_data_set_without_a_list_has_no_breeds(tmp_path):
    assert breeds_of(pairs_under(tmp_path, "a")) == {}


def test_means_of_groups_come_hardest_first_and_leave_out_who_belongs_to_none():
    found = by_group(["cat", "dog", None, "cat"], [0.9, 0.5, 0.0, 0.7])
    assert found == {"dog": {"images": 1, "dice": 0.5}, "cat": {"images": 2, "dice": 0.8}}
    assert list(found) == ["dog", "cat"]
