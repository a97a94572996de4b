"""The description of a data set as text, CSV and figures."""

import pandas as pd
import pytest

from src.display.data_description import description_lines, write_description

SHARES = {"foreground": 0.4123, "pet": 0.3, "background": 0.5877, "border": 0.1123, "ignored": 0.0}
GROUPS = pd.DataFrame(
    [{"group": "all images", "images": 2, "width": 384.0, "height": 288.5, "smallest": 150, "largest": 500}]
).assign(under_512=0.9984, aspect=1.333, **SHARES)
IMAGES = pd.DataFrame({"stem": ["=a", "b"], "width": [384, 150], "height": [288, 100], "aspect": [1.33, 1.5]}).assign(
    breed=["Maine_Coon", None], species=["cat", None], **SHARES
)


def test_numbers_are_rounded_and_shares_are_percent() -> None:
    names, row, *_ = description_lines(GROUPS)
    assert names.split()[:4] == ["group", "images", "width", "height"]
    sizes = ["2", "384", "288", "150", "500", "99.8%", "1.33"]
    assert row.split()[2:] == [*sizes, "41.2%", "30.0%", "58.8%", "11.2%", "0.0%"]


@pytest.mark.parametrize("with_breeds", [True, False])
def test_text_csv_and_figures_are_written(tmp_path, with_breeds) -> None:
    lines = write_description(IMAGES if with_breeds else IMAGES.assign(breed=None), GROUPS, tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names >= {"images.csv", "groups.csv", "description.txt", "distributions.svg", "distributions.png"}
    assert ("foreground_by_breed.svg" in names) is with_breeds
    assert (tmp_path / "new" / "description.txt").read_text().splitlines() == lines
    assert "'=a" in (tmp_path / "new" / "images.csv").read_text()  # no formula for a spreadsheet
