"""What a report printed beside what runs gave: numbers by hand, ranges, sizes that differ, settings that it has not."""

import math

import pytest

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.printed import printed_beside_measured
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from tests.analysis.recorded import finish

CLAIM = {"says": "x", "test": {"type": "level", "measure": "test_dice", "side": {}, "at_least": 0}}


def file_of(*printed, **conditions):
    content = {"source": "Report Z", "where": {"loss": "bce"}, "reported_with": conditions, "printed": list(printed)}
    return ClaimFile.model_validate({**content, "claims": {"X": CLAIM}})


def rows_of(folder, file):
    records = load_records([folder])
    return printed_beside_measured(records, [(file, settings_of(records))]).to_dict("records")


def test_each_number_stands_beside_the_mean_of_the_runs(tmp_path):
    for seed, dice in enumerate(([0.5, 0.9], [0.6, 0.8], [0.4, 1.0])):
        curve = [0.3, 0.8 + 0.01 * seed, 0.7]
        finish(tmp_path, "trainer.epochs=3", dice=dice, seed=seed, seconds=100.0, curves={"valid_dice": curve})
    numbers = {"test_dice": [0.92, 0.93], "test_dice_min": 0.0, "valid_dice_best": 0.9, "train_seconds": 1800}
    rows = rows_of(tmp_path, file_of({"setting": {"model": "unet"}, "numbers": numbers}))
    assert [row["metric"] for row in rows] == list(numbers)
    assert [(row["printed"], row["here"]) for row in rows] == [
        (0.92, pytest.approx(0.7)),
        (0.0, pytest.approx(0.5)),  # the mean of 0.5, 0.6 and 0.4
        (0.9, pytest.approx(0.81)),
        (1800, pytest.approx(300)),
    ]
    assert [row["printed_to"] for row in rows[:2]] == [0.93, 0.0]
    assert all(row["low"] < row["here"] < row["high"] for row in rows[1:3])
    assert math.isnan(rows[3]["low"]) and {row["seeds"] for row in rows} == {3}
    assert {row["other_conditions"] for row in rows} == {""}


def test_an_interval_ends_where_scores_do(tmp_path):
    for seed, dice in enumerate(([0.9, 1.0], [0.99, 0.98], [0.2, 0.3])):
        finish(tmp_path, dice=dice, seed=seed)
    (row,) = rows_of(tmp_path, file_of({"setting": {"model": "unet"}, "numbers": {"test_dice": 0.93}}))
    assert (row["low"], row["high"]) == (0, 1)


def test_other_sizes_are_named_and_the_reports_own_size_comes_alone(tmp_path):
    printed = {"setting": {"model": "unet", "trainer.batch_size": 32}, "numbers": {"test_dice": 0.93}}
    file = file_of(printed, **{"model.width": 64, "train_images": 3312})
    finish(tmp_path, "trainer.batch_size=4", dice=[0.9])
    (row,) = rows_of(tmp_path, file)
    assert row["other_conditions"] == "model.width 8 (64), train_images 90 (3312), trainer.batch_size 4 (32)"
    finish(tmp_path, "trainer.batch_size=32", dice=[0.8])
    (row,) = rows_of(tmp_path, file)
    assert (row["here"], row["other_conditions"]) == (0.8, "model.width 8 (64), train_images 90 (3312)")


def test_settings_that_the_report_does_not_have_are_left_out(tmp_path):
    finish(tmp_path, "model=resnet34_unet", dice=[0.9])
    finish(tmp_path, "loss=focal", dice=[0.9])
    assert rows_of(tmp_path, file_of({"setting": {"model": "unet"}, "numbers": {"test_dice": 0.93}})) == []


def test_settings_with_what_no_report_has_are_not_the_reports(tmp_path):
    finish(tmp_path, "trainer.ema_decay=0.99", dice=[0.9])
    finish(tmp_path, "mix=mixup", dice=[0.9])
    assert rows_of(tmp_path, file_of({"setting": {"model": "unet"}, "numbers": {"test_dice": 0.93}})) == []


def test_costs_are_those_of_runs_that_had_their_device_to_themselves(tmp_path):
    for seed, jobs in enumerate((1, 2)):
        finish(tmp_path, dice=[0.9], seed=seed, seconds=10.0 * jobs, device_jobs=jobs)
    (row,) = rows_of(tmp_path, file_of({"setting": {"model": "unet"}, "numbers": {"train_seconds": 1800}}))
    assert (row["seeds"], row["here"]) == (1, pytest.approx(60))


@pytest.mark.parametrize("number", [92.9, -1, [0.93, 0.92]])
def test_numbers_that_cannot_be_are_refused(number):
    with pytest.raises(ValueError, match="test_dice: allowed are 0 to 1, the lower end of a range first"):
        file_of({"setting": {"model": "unet"}, "numbers": {"test_dice": number}})
