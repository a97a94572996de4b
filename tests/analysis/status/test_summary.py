"""What a sweep gave, worked out by hand, and nothing that did not finish is hidden."""

import pandas as pd
import pytest

from src.analysis.records.runs import load_runs
from src.analysis.status.summary import settings_table, write_summary
from tests.analysis.sweeps import begin, fail, finish, plan

TEXT = """\
# demo

7 runs, all with loss bce, data synthetic.
3 finished, 2 planned, 1 failed, 1 unreadable.

## Settings

Test Dice (the headline of docs/record.md), valid Dice (of the best epoch) and time worked are means over
the finished seeds; min and max are of the test Dice. Best mean first.

| model         | finished | test Dice |    min |    max | valid Dice |   time | config          |
| ------------- | -------: | --------: | -----: | -----: | ---------: | -----: | --------------- |
| resnet34_unet |   1 of 1 |    0.8500 | 0.8500 | 0.8500 |     0.7500 |    40s | c-resnet34_unet |
| unet          |   2 of 4 |    0.8000 | 0.7000 | 0.9000 |     0.7000 | 1m 00s | c-unet          |
| unet_nobn     |   0 of 1 |         - |      - |      - |          - |      - | c-unet_nobn     |

## Not finished

| run        | status     | epoch | reason               |
| ---------- | ---------- | ----: | -------------------- |
| unet-seed2 | failed     |   3/4 | NonFiniteLoss: nan \\| inf |
| cut-off    | unreadable |   0/? | run.json is missing: the run was stopped as it began, or is half copied |
"""


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "demo"
    plan(folder, *({"model": "unet", "seed": seed} for seed in range(4)), {"model": "unet_nobn"})
    finish(folder, 0.7, model="unet", seed=0, valid=0.6)
    finish(folder, 0.9, model="unet", seed=1, valid=0.8, epochs=8)
    fail(folder, "NonFiniteLoss: nan | inf", model="unet", seed=2, done=3)
    finish(folder, 0.85, model="resnet34_unet", valid=0.75)
    (folder / "cut-off" / "checkpoints").mkdir(parents=True)
    return folder


def test_the_text(sweep):
    path = write_summary(sweep)
    assert path == sweep / "summary.md"
    assert path.read_text() == TEXT


def test_the_csv_has_every_run(sweep):
    write_summary(sweep)
    rows = pd.read_csv(sweep / "summary.csv").set_index("run_id")
    assert rows["status"].value_counts().to_dict() == {"finished": 3, "planned": 2, "failed": 1, "unreadable": 1}
    assert rows.loc["unet-seed1", ["test_dice", "seed", "epoch", "seconds"]].to_list() == [0.9, 1, 8, 80]
    assert rows.loc["unet-seed2", "error"] == "NonFiniteLoss: nan | inf"


def test_writing_it_again_takes_the_place_of_the_old_one(sweep):
    write_summary(sweep)
    before = {path.name for path in sweep.iterdir()}
    finish(sweep, 0.5, model="unet_nobn")
    assert "| unet_nobn     |   1 of 1 |    0.5000 |" in write_summary(sweep).read_text()
    assert {path.name for path in sweep.iterdir()} - before == {"unet_nobn-seed0"}


def test_a_run_that_is_not_finished_has_no_part_in_the_means(tmp_path):
    finish(tmp_path, 0.5, seed=0, valid=0.5)
    begin(tmp_path, seed=1, done=2, valid=0.9)
    (setting,) = settings_table(load_runs(tmp_path)).to_dict("records")
    assert (setting["runs"], setting["finished"], setting["valid_dice_mean"]) == (2, 1, 0.5)


def test_runs_on_different_data_are_never_pooled(tmp_path):
    plan(tmp_path, *({"seed": seed} for seed in range(3)))
    finish(tmp_path, 0.5, seed=0, data="first-fingerprint")
    finish(tmp_path, 0.9, seed=1, data="other-fingerprint")
    settings = settings_table(load_runs(tmp_path))
    assert list(settings["test_dice_mean"]) == [0.9, 0.5]
    assert list(settings["runs"]) == [1, 2]  # the planned one counts with the first
    text = write_summary(tmp_path).read_text()
    assert "never pooled" in text and "| first-finger |" in text and "| other-finger |" in text


def test_seeds_of_settings_that_differ_in_a_value_are_not_pooled(tmp_path):
    for seed in (0, 1):
        finish(tmp_path, 0.6, seed=seed, lr=1e-3)
        finish(tmp_path, 0.8, seed=seed, lr=1e-4)
    settings = settings_table(load_runs(tmp_path))
    assert list(settings["optimizer.lr"]) == [1e-4, 1e-3] and list(settings["finished"]) == [2, 2]


def test_a_sweep_in_which_nothing_finished(tmp_path):
    plan(tmp_path, {"seed": 0})
    text = write_summary(tmp_path).read_text()
    assert "1 planned" in text and "0 of 1" in text and "Not finished" not in text


def test_no_sweep_no_summary(tmp_path):
    with pytest.raises(ValueError, match="holds no runs"):
        write_summary(tmp_path)
    assert list(tmp_path.iterdir()) == []
