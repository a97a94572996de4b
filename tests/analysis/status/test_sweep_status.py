"""How a sweep stands: the very text, the estimate worked out by hand, and what fits a small screen."""

import re

import pandas as pd
import pytest

from src.analysis.records.runs import load_runs
from src.analysis.status.sweep_status import has_ended, seconds_left, status_text, write_summary
from tests.analysis.sweeps import another_process, begin, fail, finish, holding, plan
from tests.golden import assert_golden


# time left: 3 epochs of the running run, and 8 of a model that is not known yet, 10 s each
@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "sweep"


def test_the_text(sweep):
    plan(sweep, *({"model": model, "seed": seed} for model in ("unet", "resnet34_unet") for seed in (0, 1, 2)))
    finish(sweep, 0.76543, model="unet", seed=0, valid=0.8)
    fail(sweep, "NonFiniteLoss:\nnan", model="unet", seed=1, done=3)
    begin(sweep, model="resnet34_unet", seed=0)
    (sweep / "cut-off" / "checkpoints").mkdir(parents=True)
    with another_process(holding(begin(sweep, model="unet", seed=2, done=1))):
        text = status_text(load_runs(sweep), width=80)
    assert_golden("status.txt", text + "\n")


def test_a_single_finished_run(sweep):
    finish(sweep, 0.75)
    assert (
        status_text(load_runs(sweep), width=100)
        == """\
all with model unet, loss bce, data synthetic

seed  status    epoch  valid Dice  test Dice  time
   0  finished    4/4      0.5000     0.7500   40s

1 run: 1 finished"""
    )


def test_when_all_have_ended_it_says_how_to_resume(sweep):
    fail(sweep, "boom")
    runs = load_runs(sweep)
    assert has_ended(runs)
    assert status_text(runs, width=60).endswith(
        "1 run: 1 failed\nthe same command resumes interrupted and failed runs from\ntheir last checkpoint"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(sweep, width):
    for model in ("resnet34_unet_cbam", "resnet34_unet_plain", "unet"):
        for lr in (1e-3, 1e-4):
            fail(sweep, "NonFiniteLoss: " + 20 * "the loss is not finite ", model=model, lr=lr)
    lines = status_text(load_runs(sweep), width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if re.search(r"failed +0/4", line)]
    assert len(rows) == 6 and len({row.split()[0] for row in rows}) == 3  # models can still be told apart


def test_on_a_small_screen_what_matters_now_is_shown(sweep):
    plan(sweep, *({"seed": seed} for seed in range(40)))
    for seed in range(10):
        finish(sweep, 0.75, seed=seed)
    fail(sweep, "boom", seed=20)
    with another_process(holding(begin(sweep, seed=30))):
        runs = load_runs(sweep)
    lines = status_text(runs, width=80, height=14).splitlines()
    assert len(lines) == 14
    assert [line.split()[:2] for line in lines[3:10]] == [
        *(["0", "finished"], ["1", "finished"], ["2", "finished"], ["3", "finished"]),
        *(["20", "failed"], ["boom"], ["30", "running"]),
    ]
    assert lines[10] == "… and 34 more"
    assert len(status_text(runs, width=80).splitlines()) == 3 + 41 + 3  # otherwise all


def test_time_left_is_shared_by_the_running_runs(sweep):
    """unet: 10 s an epoch; 2 running with 3 epochs each to go and 1 waiting with 4: (3 + 3 + 4) x 10 s / 2."""
    plan(sweep, *({"seed": seed} for seed in range(4)))
    finish(sweep, 0.75, seed=0)
    with (
        another_process(holding(begin(sweep, seed=1, done=1))),
        another_process(holding(begin(sweep, seed=2, done=1))),
    ):
        assert seconds_left(load_runs(sweep)) == 50


def test_an_epoch_costs_what_it_did_in_the_same_run_then_in_its_model_then_in_all(sweep):
    plan(
        sweep,
        {"model": "unet", "seed": 0},
        {"model": "unet", "seed": 1},
        {"model": "resnet34_unet"},
        {"model": "unet_bias"},
    )
    slow = finish(sweep, 0.75, model="resnet34_unet", seed=1)
    slow.update(seconds=400.0)  # 100 s an epoch
    own = begin(sweep, model="unet", seed=0, done=2)
    own.update(seconds=60.0)  # 30 s an epoch
    finish(sweep, 0.75, model="unet", seed=2)  # 10 s an epoch; with the one above 100 s for 6 epochs
    with another_process(holding(own)):
        left = seconds_left(load_runs(sweep))
    assert left == pytest.approx(2 * 30 + 4 * 100 / 6 + 4 * 100 + 4 * 500 / 10)


def test_a_single_run_is_not_shared(sweep):
    """3 epochs to go in one, none in the other: 30 s, not 15."""
    plan(sweep, {"seed": 0}, {"seed": 1})
    with (
        another_process(holding(begin(sweep, seed=0, done=1))),
        another_process(holding(begin(sweep, seed=1, done=4))),
    ):
        assert seconds_left(load_runs(sweep)) == 30


def test_time_left_is_unknown_before_the_first_epoch_and_when_no_run_is_running(sweep):
    plan(sweep, {"seed": 0}, {"seed": 1})
    with another_process(holding(begin(sweep, seed=0))):
        assert status_text(load_runs(sweep), width=80).endswith("time left: unknown")
    finish(sweep, 0.75, seed=0)
    assert status_text(load_runs(sweep), width=80).endswith("time left: unknown, no run is running")


@pytest.fixture
def ended(sweep):
    plan(sweep, *({"model": "unet", "seed": seed} for seed in range(4)), {"model": "unet_nobn"})
    finish(sweep, 0.7, model="unet", seed=0, valid=0.6)
    finish(sweep, 0.9, model="unet", seed=1, valid=0.8, epochs=8)
    fail(sweep, "NonFiniteLoss: nan | inf", model="unet", seed=2, done=3)
    (sweep / "cut-off" / "checkpoints").mkdir(parents=True)
    return sweep


def test_the_summary_hides_no_run_that_did_not_finish(ended):
    path = write_summary(ended)
    assert path == ended / "summary.md"
    assert_golden("summary.md", path.read_text())


def test_the_csv_of_the_summary_has_every_run(ended):
    write_summary(ended)
    rows = pd.read_csv(ended / "summary.csv").set_index("run_id")
    assert rows["status"].value_counts().to_dict() == {"finished": 2, "planned": 2, "failed": 1, "unreadable": 1}
    assert rows.loc["unet-seed1", ["test_dice", "seed", "epoch", "seconds"]].to_list() == [0.9, 1, 8, 80]
    assert rows.loc["unet-seed2", "error"] == "NonFiniteLoss: nan | inf"


def test_a_new_summary_replaces_the_old_one(ended):
    write_summary(ended)
    before = {path.name for path in ended.iterdir()}
    finish(ended, 0.5, model="unet_nobn")
    assert "3 finished" in write_summary(ended).read_text()
    assert {path.name for path in ended.iterdir()} - before == {"unet_nobn-seed0"}


def test_a_folder_without_runs_gets_no_summary(tmp_path):
    with pytest.raises(ValueError, match="does not hold runs"):
        write_summary(tmp_path)
    assert list(tmp_path.iterdir()) == []
