"""The numbers of a page's curves."""

import json
import math

import pytest

from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report import curve_data as module
from src.analysis.report.curve_data import curve_data
from tests.analysis import sweeps
from tests.analysis.recorded import finish

CURVES = {"valid_dice": [0.1, 0.2, 0.3, 0.4, 0.5], "valid_loss": [1.0, 0.9, 0.8, 0.7, 0.6]}


def data_of(sweep):
    records = load_records([sweep])
    settings = settings_of(records)
    return curve_data(records, settings, settings_scores(records, settings))


@pytest.fixture
def two(tmp_path):
    """Two runs of one setting, the second with two thirds of the first's validation Dice and three epochs."""
    finish(tmp_path, dice=[0.5], curves=CURVES)
    finish(tmp_path, dice=[0.6], seed=1, curves={"valid_dice": [0.06, 0.12, 0.18], "valid_loss": [1.0, 0.9, 0.8]})
    return tmp_path


def test_each_run_is_a_line_and_what_it_lacks_is_null(two):
    data = data_of(two)
    (setting,) = data["settings"]
    assert setting["curves"]["valid_dice"] == {
        "x": [1, 2, 3, 4, 5],
        "y": [[0.1, 0.2, 0.3, 0.4, 0.5], [0.06, 0.12, 0.18, None, None]],
        "summarized": False,
    }
    keys = [one["key"] for one in data["metrics"]]
    assert keys[0] == "valid_dice" and "valid_iou" not in keys  # not on record
    assert [one["key"] for one in data["metrics"] if one["log"]] == ["valid_loss", "train_loss"]
    json.dumps(data, allow_nan=False)


def test_too_many_numbers_for_a_page_are_summarized_and_thinned(two, monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 60)
    data = data_of(two)
    curve = data["settings"][0]["curves"]["valid_dice"]
    # 3 lines of 8 metrics and 5 epochs are 120 numbers
    assert data["step"] == 2 and curve["summarized"]
    assert curve["x"] == [1, 3, 5]
    assert curve["y"] == [[0.08, 0.24, None], [0.06, 0.18, None], [0.1, 0.3, None]]


def test_a_peak_of_the_learning_rate_within_an_epoch_shows(tmp_path):
    record = finish(tmp_path, dice=[0.5], curves={"valid_dice": [0.1, 0.2]})
    rates = [{"lr": 0.8, "lr_first": 0.04, "lr_max": 1.0}, {"lr": 0.0, "lr_first": 0.7, "lr_max": 0.7}]
    rows = [{**row, **own} for row, own in zip(record.read_epochs(), rates, strict=True)]
    with record.locked():
        record.write_epochs(rows)
    curve = data_of(tmp_path)["settings"][0]["curves"]["lr"]
    assert curve["x"] == [0.01, 0.5, 1, 1.01, 1.5, 2] and curve["y"] == [[0.04, 1.0, 0.8, 0.7, 0.35, 0.0]]


def test_records_without_it_have_the_rate_of_each_epochs_last_step(two):
    (first, _) = data_of(two)["settings"][0]["curves"]["lr"]["y"]
    assert [value for value in first if value is not None] == pytest.approx([0.001, 0.0008, 0.0006, 0.0004, 0.0002])
    assert math.isclose(first[2], 0.001)


def test_without_epochs_there_are_no_curves(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    assert data_of(tmp_path) == {}
