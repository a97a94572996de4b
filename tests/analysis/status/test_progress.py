"""How a sweep stands: the very text, the estimate worked out by hand, and what fits a small screen."""

import re

import pytest

from src.analysis.records.runs import load_runs
from src.analysis.status.progress import has_ended, progress, seconds_left
from tests.analysis.sweeps import another_process, begin, fail, finish, holding, plan

GONE = "no process is at it: it was killed, or it is at work on another machine"

# time left: 3 epochs of the run at work, and 8 of a model that is not known yet, 10 s each
TEXT = f"""\
all with loss bce, data synthetic

model          seed  status       epoch  valid Dice  test Dice  time
resnet34_unet     0  interrupted    0/4           -          -    0s
    {GONE}
resnet34_unet     1  planned        0/4           -          -     -
resnet34_unet     2  planned        0/4           -          -     -
unet              0  finished       4/4      0.8000     0.7654   40s
unet              1  failed         3/4      0.5000          -   30s
    NonFiniteLoss: nan
unet              2  running        1/4      0.5000          -   10s
-                 -  unreadable     0/?           -          -     -
    cut-off
    run.json is missing: the run was stopped as it began, or is half copied

7 runs: 1 finished, 1 running, 2 planned, 1 interrupted, 1 failed, 1 unreadable
time left: about 1m 50s"""


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
        text = progress(load_runs(sweep), width=80)
    assert text == TEXT


def test_a_single_finished_run(sweep):
    finish(sweep, 0.75)
    assert (
        progress(load_runs(sweep), width=100)
        == """\
all with model unet, loss bce, data synthetic

seed  status    epoch  valid Dice  test Dice  time
   0  finished    4/4      0.5000     0.7500   40s

1 run: 1 finished"""
    )


def test_when_all_have_ended_it_says_how_to_go_on(sweep):
    fail(sweep, "boom")
    runs = load_runs(sweep)
    assert has_ended(runs)
    assert progress(runs, width=60).endswith(
        "1 run: 1 failed\n"
        "the same command as before goes on with interrupted and\n"
        "failed runs from their last checkpoint"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(sweep, width):
    for model in ("resnet34_unet_cbam", "resnet34_unet_plain", "unet"):
        for lr in (1e-3, 1e-4):
            fail(sweep, "NonFiniteLoss: " + 20 * "the loss is not finite ", model=model, lr=lr)
    lines = progress(load_runs(sweep), width).splitlines()
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
    lines = progress(runs, width=80, height=14).splitlines()
    assert len(lines) == 14
    assert [line.split()[:2] for line in lines[3:10]] == [
        *(["0", "finished"], ["1", "finished"], ["2", "finished"], ["3", "finished"]),
        *(["20", "failed"], ["boom"], ["30", "running"]),
    ]
    assert lines[10] == "… and 34 more"
    assert len(progress(runs, width=80).splitlines()) == 3 + 41 + 3  # otherwise all


def test_time_left_is_shared_by_the_runs_at_work(sweep):
    """unet: 10 s an epoch; 2 at work with 3 epochs each to go and 1 waiting with 4: (3 + 3 + 4) x 10 s / 2."""
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


def test_time_left_is_unknown_before_the_first_epoch_and_when_nobody_is_at_work(sweep):
    plan(sweep, {"seed": 0}, {"seed": 1})
    with another_process(holding(begin(sweep, seed=0))):
        assert progress(load_runs(sweep), width=80).endswith("time left: unknown")
    finish(sweep, 0.75, seed=0)
    assert progress(load_runs(sweep), width=80).endswith("time left: unknown, no run is at work")
