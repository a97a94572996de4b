"""`python -m src.compare` as a user meets it: two words, an answer, and a page with the images that differ most."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.analysis.report.figures import Picture
from src.compare import compare
from tests.analysis.recorded import replicates


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(Picture, "figure", lambda picture: Figure((1, 1)))  # others test what they show
    for scheduler, mean in (("cosine", 0.7), ("onecycle", 0.85)):
        replicates(tmp_path / "sweep", f"scheduler={scheduler}", mean=mean)
    return tmp_path / "sweep"


def test_two_words_are_the_two_settings_and_runs_without_weights_are_only_listed(here, sweep):
    done = here(compare, "onecycle", "cosine", f"sweep={sweep}", "device=cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nonecycle minus cosine: +15." in done.stdout
    page = sweep.parent / "compare" / "onecycle_vs_cosine" / "index.html"
    assert done.stdout.endswith(f"page: {page}\n")
    text = page.read_text()
    assert "The images are not drawn: " in text and "has no checkpoints/best.pt" in text
    assert "scheduler.pct_start" in text and "data:image/svg+xml" in text
    assert len((page.parent / "images.csv").read_text().splitlines()) == 41
    assert sorted(path.name for path in sweep.parent.iterdir()) == ["compare", "sweep"]


def test_what_is_missing_or_wrong_is_said_before_any_work(here, sweep):
    assert "b: missing; it takes the folder of a run" in here(compare, str(sweep)).stderr
    done = here(compare, "a=onecycle", "cosine", "b=cosine", f"sweep={sweep}")
    assert done.returncode == 1 and "'cosine': cannot be read" in done.stderr
    done = here(compare, "onecycle", "b=typo", f"sweep={sweep}")
    assert done.returncode == 1 and done.stderr.startswith("b: got 'typo'; it takes") and done.stderr.count("\n") == 1


def test_the_report_of_an_aggregation_is_not_replaced(here, sweep, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").touch()
    done = here(compare, "onecycle", "cosine", f"sweep={sweep}", f"output={tmp_path}/report")
    assert done.returncode == 1 and "has the report of an aggregation; name another folder" in done.stderr
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.md"] and not done.stdout


@pytest.mark.long
def test_images_of_two_networks_are_drawn_side_by_side(here, trained_run, two_channel_run, tmp_path):
    done = here(compare, str(trained_run), str(two_channel_run), f"output={tmp_path}/page", "images=2", "device=cpu")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "page" / "figures" / "side_by_side.jpg") as sheet:
        assert sheet.width == 1280
    assert "data:image/jpeg" in (tmp_path / "page" / "index.html").read_text()
