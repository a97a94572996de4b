"""The description of a data set: shares and sizes counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.describe import describe_groups, describe_images
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.verify import verify


@pytest.fixture
def images(tmp_path: Path, write_oxford_pet):
    """Photos of 12 x 10 pixels; of Abyssinian_0, 600 x 10, a tenth is pet, a fifth border, the rest background."""
    root = write_oxford_pet(tmp_path / "pets", ["Abyssinian_0", "Abyssinian_1", "boxer_1"], ["boxer_2"])
    Image.new("RGB", (600, 10)).save(root / "images" / "Abyssinian_0.jpg")
    trimap = np.full((10, 600), 2, np.uint8)
    trimap[0], trimap[1:3] = 1, 3
    Image.fromarray(trimap).save(root / "annotations" / "trimaps" / "Abyssinian_0.png")
    lines = ("Abyssinian_0 1 1 1", "Abyssinian_1 1 1 1", "boxer_1 2 2 1")
    (root / "annotations" / "list.txt").write_text("#head\n" + "\n".join(lines))
    return describe_images(verify(open_oxford_pet(root), tmp_path / "cache")[0])


def test_an_image_has_its_size_and_the_shares_of_its_classes(images) -> None:
    (row,) = images[images["stem"] == "Abyssinian_0"].to_dict("records")
    assert row == {
        "split": "valid",
        "species": "cat",
        "breed": "Abyssinian",
        "stem": "Abyssinian_0",
        "width": 600,
        "height": 10,
        "aspect": 60,
        "foreground": pytest.approx(0.3),
        "pet": pytest.approx(0.1),
        "background": pytest.approx(0.7),
        "border": pytest.approx(0.2),
        "ignored": 0,
    }
    assert images["species"].tolist().count(None) + images["species"].isna().sum() >= 1  # boxer_2 is in no list


def test_groups_are_all_images_and_each_split_species_and_breed(images) -> None:
    groups = describe_groups(images).set_index("group")
    assert groups["images"].to_dict() == {
        "all images": 4,
        "split train": 2,
        "split valid": 1,
        "split test": 1,
        "species cat": 2,
        "species dog": 1,
        "breed Abyssinian": 2,
        "breed boxer": 1,
    }
    cats = groups.loc["breed Abyssinian"]
    assert (cats["width"], cats["height"], cats["smallest"], cats["largest"]) == (306, 10, 12, 600)
    assert cats["under_512"] == 0.5 and groups.loc["all images", "under_512"] == 0.75
    assert cats["aspect"] == pytest.approx((60 + 1.2) / 2)
    shares = images[images["breed"] == "Abyssinian"]["pet"]
    assert cats["pet"] == pytest.approx(sum(shares) / 2)
