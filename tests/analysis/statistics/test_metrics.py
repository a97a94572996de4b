"""What can be asked of a run, worked out by hand for runs of known curves, images and costs."""

import math
from dataclasses import replace

import pytest

from src.analysis.records.loading import load_records
from src.analysis.statistics.metrics import METRICS, valid_loss_rise
from tests.analysis.recorded import finish

LOSS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.5, 0.6, 0.7]  # 10 epochs: a tenth is one, a fifth two
DICE = [0.10, 0.30, 0.50, 0.70, 0.85, 0.90, 0.89, 0.90, 0.88, 0.80]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    curves = {"valid_loss": LOSS, "valid_dice": DICE, "train_dice": [0.95] * 10, "train_accuracy": [0.9] * 9 + [0.97]}
    record = finish(
        tmp_path_factory.mktemp("sweep"), dice=[0.5, 0.75, 0.875, 1.0], curves=curves, seconds=3.0, memory=7 * 10**9
    )
    return load_records([record.folder.parent]), str(record.folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test_dice_median", (0.75 + 0.875) / 2),
        ("test_dice_min", 0.5),
        ("test_dice_max", 1.0),
        # deviations from 0.78125: -0.28125, -0.03125, 0.09375, 0.21875
        ("test_dice_std", math.sqrt((0.28125**2 + 0.03125**2 + 0.09375**2 + 0.21875**2) / 4)),
        ("test_iou_median", (0.75 / 1.25 + 0.875 / 1.125) / 2),  # IoU is Dice / (2 - Dice)
        ("valid_dice_best", 0.9),
        ("valid_loss_end", 0.7),
        ("valid_loss_start", 1.0),
        ("valid_loss_early", 0.95),
        ("valid_loss_mean", 0.67),
        ("valid_loss_fluctuation", 0.1),
        ("valid_dice_end", 0.8),
        ("valid_dice_mean", 0.682),
        ("valid_dice_early", 0.2),
        ("valid_dice_early_minus_end", 0.2 - 0.8),
        ("generalisation_gap", 0.95 - 0.8),
        ("train_accuracy_end", 0.97),
        ("epochs_to_converge", 5.1),  # 95 % of 0.90 is 0.855, a tenth of the way from 0.85 to 0.90
        ("train_seconds", 30.0),
        ("images_per_second", 30.0),
        ("peak_memory", 7e9),
    ],
)
def test_one_number_of_a_run(run, name, value):
    records, folder = run
    ((got,),) = METRICS[name].samples(records, [[folder]])[0]
    assert got == pytest.approx(value)


def test_the_scores_of_single_images(run):
    records, folder = run
    (dice,), (iou,) = (METRICS[name].samples(records, [[folder]]) for name in ("test_dice", "test_iou"))
    assert dice.tolist() == [[0.5, 0.75, 0.875, 1.0]]
    assert iou.tolist() == [[pytest.approx(value) for value in (1 / 3, 0.6, 7 / 9, 1)]]


@pytest.mark.parametrize(
    ("share", "rise"),
    [(0.7, 0.7 / 0.4 - 1), (0.5, 0.7 / 0.6 - 1), (0.1, 0.7 / 1.0 - 1), (0.01, 0.7 / 1.0 - 1)],
)
def test_the_rise_of_the_validation_loss_is_relative_to_its_level_at_a_share_of_the_run(run, share, rise):
    records, folder = run
    assert valid_loss_rise(share).samples(records, [[folder]])[0] == pytest.approx(rise)


@pytest.mark.parametrize(
    ("dice", "epochs"),
    [
        ([0.8, 0.5, 0.5], 0.95),
        ([0.4, 0.8, 0.5], 1.9),
        ([0.0, 0.8, 0.8], 1.95),
        ([0.1, 0.49, 0.2], math.nan),
        ([0.0, 0.0, 0.0], math.nan),
    ],
)
def test_a_run_converges_on_the_line_between_two_epochs_or_never(tmp_path, dice, epochs):
    record = finish(tmp_path, dice=[0.5], curves={"valid_dice": dice})
    (arm,) = METRICS["epochs_to_converge"].samples(load_records([tmp_path]), [[str(record.folder)]])
    assert arm.tolist() == ([] if math.isnan(epochs) else [[pytest.approx(epochs)]])


def test_at_the_end_of_a_long_run_is_the_mean_of_its_last_tenth(tmp_path):
    record = finish(tmp_path, dice=[0.5], curves={"valid_loss": [9.0] * 45 + [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert METRICS["valid_loss_end"].samples(load_records([tmp_path]), [[str(record.folder)]])[0] == 3.0


def test_runs_that_do_not_record_it_are_left_out(tmp_path):
    folders = [str(finish(tmp_path, dice=[0.5], seed=seed).folder) for seed in (0, 1)]
    records = load_records([tmp_path])
    records.epochs.loc[records.epochs["folder"] == folders[0], "train_accuracy"] = math.nan
    assert METRICS["train_accuracy_end"].samples(records, [folders, [folders[0]]])[0].tolist() == [[0.5]]
    assert METRICS["train_accuracy_end"].samples(records, [folders, [folders[0]]])[1].shape == (0, 1)
    without = records.epochs.drop(columns="train_accuracy")
    old = replace(records, epochs=without)
    assert METRICS["train_accuracy_end"].samples(old, [folders])[0].shape == (0, 1)


def test_every_metric_names_the_scope_of_its_intervals():
    scope = {name: metric.scope for name, metric in METRICS.items()}
    assert scope["test_dice"] == scope["test_iou"] == "new seeds and new images"
    assert scope["test_dice_median"] == "new seeds, these test images"
    assert scope["valid_loss_end"] == scope["valid_dice_best"] == "new seeds, these validation images"
    assert scope["peak_memory"] == "new runs on this kind of device"
