"""Where answers come from, the commands that repeat them, and which run's contact sheet is shown."""

import base64
import io
import json
import shlex

import pytest
from PIL import Image

from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.provenance import SHEET, commands_of, contact_sheets, provenance_of
from src.base.environment import Checkout
from src.base.provenance import keep_provenance
from src.base.record import EXAMPLES
from tests.analysis import sweeps
from tests.analysis.recorded import finish


def test_what_is_known_of_the_runs_that_are_included(tmp_path):
    for seed in (0, 1):
        finish(tmp_path, "model=unet", dice=[0.5, 0.6], seed=seed, seconds=60.0)
    finish(tmp_path, "model=resnet34_unet", dice=[0.5, 0.6], device="cpu", seconds=60.0)
    sweeps.fail(tmp_path, "boom")
    facts = provenance_of(load_records([tmp_path]))
    assert facts["data"].startswith("fingerprint d1d1") and "'test': 2" in facts["data"]
    assert facts["device"] == "cpu; NVIDIA H200"
    assert facts["machine"] == "host here, system Linux, cores 2" and facts["numerics"].startswith("name exact, ")
    assert facts["git"] == "commit 0123456789abcdef, changed False" and facts["versions"] == "torch 2.13.0"
    assert facts["time"].startswith("21m 00s in 3 runs, 20")


def test_what_the_runs_were_made_with_is_told_once(tmp_path):
    computing = {"cuda": "12.8", "cudnn": "91000", "driver": "550.54"}
    name = keep_provenance(tmp_path, Checkout("c0ffee", ["a.py"], ["<b>.py"]), computing)
    for seed in (0, 1):
        record = finish(tmp_path, dice=[0.5], seed=seed)
        with record.locked():
            record.update(provenance=name)
    facts = provenance_of(load_records([tmp_path]))
    assert facts["code"].startswith("commit c0ffee; 1 changed files, ") and facts["code"].endswith("untracked: <b>.py")
    assert "CUDA 12.8, cuDNN 91000, driver 550.54, " in facts["made with"] and facts["made with"].count("Python") == 1


def test_a_line_for_each_setting_with_all_its_seeds(tmp_path):
    for seed in (10, 2):
        finish(tmp_path, "scheduler=onecycle", "notes='a b'", dice=[0.5], seed=seed)
    finish(tmp_path, "scheduler=cosine", dice=[0.5], seed=1)
    commands = commands_of(load_records([tmp_path]))
    assert commands[0] == "python -m src.train scheduler=cosine seed=1"
    words = ["python", "-m", "src.train", "-m", "scheduler=onecycle", "notes='a b'", "seed=2,10"]
    assert shlex.split(commands[1]) == words  # as a shell reads it


def test_an_experiment_sweeps_by_itself(tmp_path):
    record = finish(tmp_path, dice=[0.5])
    (record.folder / "overrides.yaml").write_text("[experiment=demo, model=unet, seed=0]")
    assert commands_of(load_records([tmp_path])) == ["python -m src.train experiment=demo model=unet seed=0"]


def test_what_launched_a_sweep_comes_first_and_then_only_runs_of_no_launch(tmp_path):
    finish(tmp_path, dice=[0.5])
    run = finish(tmp_path, dice=[0.5], seed=1).read()
    planned = {key: run[key] for key in ("run_id", "config_id", "choices", "seed")} | {"epochs": 6}
    plan = {"schema": 2, "runs": [planned], "commands": [["-m", "seed=0,1", "notes=$(a) b"], ["experiment=demo"]]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert commands_of(load_records([tmp_path])) == [
        "python -m src.train -m seed=0,1 'notes=$(a) b'",
        "python -m src.train experiment=demo",
        "python -m src.train seed=0",
    ]


def test_a_run_whose_overrides_cannot_be_read_is_repeated_by_its_seed(tmp_path):
    record = finish(tmp_path, dice=[0.5], seed=7)
    (record.folder / "overrides.yaml").write_text("{")
    assert commands_of(load_records([tmp_path])) == ["python -m src.train seed=7"]


RED = (200, 30, 30)


@pytest.fixture
def runs(tmp_path):
    """Of OneCycle three runs with Dice 0.75, 0.9 and 0.8, the last the median, and three worse ones of cosine."""
    scores = [0.75, 0.9, 0.8]
    best = [finish(tmp_path, "scheduler=onecycle", dice=[dice], seed=seed) for seed, dice in enumerate(scores)]
    worse = [finish(tmp_path, "scheduler=cosine", dice=[0.5], seed=seed) for seed in range(3)]
    return [record.folder for record in (*best, *worse)]


def sheets_of(folder):
    records = load_records([folder])
    settings = settings_of(records)
    return contact_sheets(records, settings, settings_scores(records, settings))


def paint(run, color=RED, size=(1280, 100)):
    (run / SHEET).parent.mkdir(parents=True)
    Image.new("RGBA", size, color).save(run / SHEET)


def test_the_sheet_of_the_run_with_the_median_dice_is_shown(runs, tmp_path):
    for run, color in zip(runs, ["black", "black", RED, "black", "black", "black"], strict=True):
        paint(run, color)
    sheet, (second, _, _) = sheets_of(tmp_path)
    caption, jpeg, width = sheet
    shown = Image.open(io.BytesIO(jpeg))
    assert sheet.source == "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    assert shown.size == (width, 94) == (1200, 94)
    assert shown.getpixel((600, 50)) == pytest.approx(RED, abs=3)
    assert f"Test images of {runs[2].name} (test Dice 0.8000), the run of onecycle with pictures" in caption
    assert f"Test images of {runs[3].name} (test Dice 0.5000), the run of cosine with pictures" in second


def test_without_its_sheet_the_next_run_is_shown_and_without_any_the_command_that_makes_one(runs, tmp_path):
    paint(runs[3])  # of the other setting
    (text, jpeg, _), _ = sheets_of(tmp_path)
    assert jpeg == b"" and f"run python -m src.evaluate run={runs[2]} and aggregate again" in text
    paint(runs[1], size=(300, 200))
    assert f"of {runs[1].name} (test Dice 0.9000)" in sheets_of(tmp_path)[0].caption
    Image.new("RGB", (680, 100), RED).save(runs[2] / EXAMPLES)  # drawn by the run itself
    assert f"of {runs[2].name} (test Dice 0.8000)" in sheets_of(tmp_path)[0].caption


DAMAGES = {
    "cut short": lambda png: png[: len(png) // 2],
    "empty": lambda png: b"",
    "no picture": lambda png: b"no picture at all",
    "a changed byte": lambda png: png[:60] + bytes([png[60] ^ 255]) + png[61:],
    "terabytes": lambda png: png[:16] + (10**6).to_bytes(4, "big") * 2 + png[24:],
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_sheet_is_left_out_with_the_reason(runs, tmp_path):
    paint(runs[2])
    sheet = runs[2] / SHEET
    png = sheet.read_bytes()
    for damage, damaged in DAMAGES.items():
        sheet.write_bytes(damaged(png))
        text, jpeg, _ = sheets_of(tmp_path)[0]
        assert jpeg == b"" and str(tmp_path) not in text and "\n" not in text, damage
        assert text.startswith(f"The pictures of {runs[2].name} are left out: contact_sheet.png cannot be read (")


def test_without_an_included_run_pictures_are_not_mentioned(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    assert sheets_of(tmp_path) == []
