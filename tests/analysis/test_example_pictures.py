"""Which run's contact sheet a report shows, and what it says where there is none or a damaged one."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.provenance import MOST_BYTES, PICTURES, example_pictures
from src.analysis.report.report import make_report, write_report
from tests.analysis import sweeps
from tests.analysis.recorded import finish

RED = (200, 30, 30)


@pytest.fixture
def runs(tmp_path):
    """Of OneCycle three runs with Dice 0.75, 0.9 and 0.8, the last the median, and three worse ones of cosine."""
    scores = [0.75, 0.9, 0.8]
    best = [finish(tmp_path, "scheduler=onecycle", dice=[dice], seed=seed) for seed, dice in enumerate(scores)]
    worse = [finish(tmp_path, "scheduler=cosine", dice=[0.5], seed=seed) for seed in range(3)]
    return [record.folder for record in (*best, *worse)]


def found(folder):
    records = load_records([folder])
    settings = settings_of(records)
    return example_pictures(records, settings, settings_scores(records, settings))


def paint(run, color=RED, size=(1280, 100)):
    (run / PICTURES).parent.mkdir(parents=True)
    Image.new("RGBA", size, color).save(run / PICTURES)


def shown(pictures):
    """The picture in the page."""
    kind, data = pictures.source.split(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_the_run_with_the_median_dice_is_shown_though_others_have_pictures_too(runs, tmp_path):
    for run, color in zip(runs, ["black", "black", RED, "black", "black", "black"], strict=True):
        paint(run, color)
    pictures = found(tmp_path)
    assert shown(pictures).size == (1200, 94) and shown(pictures).getpixel((600, 50)) == pytest.approx(RED, abs=3)
    assert pictures.caption.startswith(
        f"The worst, median and best test images of {runs[2].name} (test Dice 0.8000), the run of onecycle with "
        "pictures that is nearest to the median test Dice: "
    )
    assert (pictures.missing, pictures.command) == ("", "")


def test_where_that_run_has_no_pictures_the_next_one_is_shown_and_named(runs, tmp_path):
    paint(runs[1])
    assert f"of {runs[1].name} (test Dice 0.9000)" in found(tmp_path).caption


def test_without_pictures_of_the_best_setting_there_is_the_command_that_makes_them(runs, tmp_path):
    paint(runs[3])  # of the other setting
    pictures = found(tmp_path)
    assert (pictures.source, pictures.caption, pictures.missing) == ("", "", "")
    assert pictures.command == f"python -m src.evaluate run={runs[2]}"


def test_a_folder_with_spaces_is_quoted_for_the_shell(tmp_path):
    record = finish(tmp_path / "it is new", dice=[0.8])
    assert found(tmp_path / "it is new").command == f"python -m src.evaluate 'run={record.folder}'"


DAMAGES = {
    "cut short": lambda png: png[: len(png) // 2],
    "empty": lambda png: b"",
    "no picture": lambda png: b"no picture at all",
    "a changed byte": lambda png: png[:60] + bytes([png[60] ^ 255]) + png[61:],
    "terabytes": lambda png: png[:16] + (10**6).to_bytes(4, "big") * 2 + png[24:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_sheet_is_left_out_with_a_word_and_the_next_one_shown(runs, tmp_path, damage):
    for run in runs[:3]:
        paint(run)
    sheet = runs[2] / PICTURES
    sheet.write_bytes(DAMAGES[damage](sheet.read_bytes()))
    pictures = found(tmp_path)
    assert pictures.missing.startswith(
        f"The pictures of {runs[2].name} are left out: contact_sheet.png cannot be read ("
    )
    assert str(tmp_path) not in pictures.missing and "\n" not in pictures.missing
    assert f"of {runs[0].name} " in pictures.caption and shown(pictures).width == 1200


def test_with_damaged_sheets_only_the_page_is_written_with_the_reason_and_the_command(runs, tmp_path):
    paint(runs[2])
    (runs[2] / PICTURES).write_bytes(b"no picture")
    page = write_report(make_report([tmp_path]), tmp_path / "report").read_text()
    assert f"The pictures of {runs[2].name} are left out: contact_sheet.png cannot be read (" in page
    assert f"<code>python -m src.evaluate run={runs[2]}</code>" in page


def test_a_folder_in_the_place_of_the_sheet_is_no_picture(runs, tmp_path):
    (runs[2] / PICTURES).mkdir(parents=True)
    assert "cannot be read" in found(tmp_path).missing


def test_however_much_is_on_the_sheet_the_page_grows_by_less_than_a_megabyte_and_a_half(runs, tmp_path):
    (runs[2] / PICTURES).parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1280, 3), dtype=np.uint8)  # no picture is harder to pack
    Image.fromarray(noise).save(runs[2] / PICTURES, compress_level=1)
    pictures = found(tmp_path)
    assert len(pictures.source) <= 4 * -(-MOST_BYTES // 3) + 30 < 1_500_000
    assert 600 <= shown(pictures).width < 1200


def test_a_narrow_sheet_is_not_enlarged(runs, tmp_path):
    paint(runs[2], size=(300, 200))
    assert shown(found(tmp_path)).size == (300, 200)


def test_the_same_sheet_gives_the_same_bytes(runs, tmp_path):
    paint(runs[2])
    assert found(tmp_path) == found(tmp_path)


def test_where_no_run_counts_nothing_is_said_of_pictures(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    assert found(tmp_path) is None
