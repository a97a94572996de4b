"""Files of a run with contents of another shape: that run is left out with the reason, and no other."""

import json

import pandas as pd
import pytest

from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.runs import load_runs, load_runs_and_epochs
from src.analysis.status.sweep_status import status_text, write_summary
from tests.analysis.sweeps import fail, finish, plan


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "sweep"


def damaged(record, file, change):
    """The record after `change` of the content of `file`, JSON or lines of it."""
    path = record.folder / file
    text = path.read_text()
    path.write_text(change(text) if file != "run.json" else json.dumps(change(json.loads(text))))


def with_value(key, value):
    """A change of run.json: `value` at the dotted `key`."""

    def change(run):
        *outer, last = key.split(".")
        part = run
        for name in outer:
            part = part[name]
        part[last] = value
        return run

    return change


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("seed", "0", "seed: got '0'; input should be a valid integer"),
        ("seed", True, "seed: got True"),
        ("seconds", "long", "seconds: got 'long'"),
        ("seconds", -1, "seconds: got -1; input should be greater than or equal to 0"),
        ("seconds", 1e300, "seconds: got 1e+300"),
        ("choices", ["unet"], "choices: got ['unet']"),
        ("choices.model", {"a": 1}, "choices.model: got {'a': 1}; input should be a valid string"),
        ("scores", None, "scores: got None"),
        ("scores", {}, "scores.test_dice: missing in a finished run"),
        ("scores.test_dice", "0.9", "scores.test_dice: got '0.9'"),
        ("scores.test_dice", 1.5, "scores.test_dice: got 1.5; input should be less than or equal to 1"),
        ("data", 5, "data: got 5"),
        ("data.fingerprint", 5, "data.fingerprint: got 5"),
        ("run_id", "../elsewhere", "run_id: got '../elsewhere'"),
        ("config_id", None, "config_id: got None"),
        ("device", ["cpu"], "device: got ['cpu']"),
        ("machine", "here", "machine: got 'here'"),
        ("best_epoch", 1.5, "best_epoch: got 1.5"),
        ("status", ["finished"], "status: got ['finished']"),
        ("seconds", 10**400, "a whole number of more than 64 bits"),
        ("seconds", float("inf"), "a number that is infinite or none"),
        ("notes", "\ud800", "is not valid JSON"),
    ],
)
def test_a_wrong_shape_in_one_record_leaves_that_run_out_and_no_other(sweep, key, value, reason):
    finish(sweep, 0.75, seed=0)
    damaged(finish(sweep, 0.75, seed=1), "run.json", with_value(key, value))
    good, broken = load_runs(sweep).to_dict("records")
    assert (good["status"], good["test_dice"], broken["status"]) == ("finished", 0.75, "unreadable")
    assert reason in broken["error"] and "\n" not in broken["error"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text * 2, "line 5 has epoch 1"),
        (lambda text: text.replace('"epoch": 3', '"epoch": 1000000000000'), "line 3 has epoch 1000000000000"),
        (lambda text: text.replace('"epoch": 1', '"epoch": "1"'), "line 1: epoch: got '1'"),
        (lambda text: text.replace('"epoch": 1,', ""), "line 1: epoch: missing"),
        (lambda text: text.replace("0.5", '"2024-13-45"'), "line 1: valid_dice: got '2024-13-45'"),
        (lambda text: text.replace("0.5", "NaN"), "a number that is infinite or none"),
        (lambda text: text.replace("0.5", "1" + 400 * "0"), "a whole number of more than 64 bits"),
        (lambda text: text.replace("0.5", "7"), "line 1: valid_dice: got 7"),
        (lambda text: text.replace('"valid_dice": 0.5', '"train_seconds": -1'), "line 1: train_seconds: got -1"),
        (lambda text: text.replace('"valid_dice": 0.5', '"device_jobs": [1]'), "line 1: device_jobs: got [1]"),
        (lambda text: "[1]\n" + text, "a line is not a mapping"),
        (lambda text: text.replace("}", "", 1), "is not valid JSON"),
    ],
)
def test_a_broken_curve_leaves_a_finished_run_out_and_says_where(sweep, change, reason):
    finish(sweep, 0.75, seed=0)
    damaged(finish(sweep, 0.75, seed=1), "epochs.jsonl", change)
    damaged(fail(sweep, "boom", seed=2, done=4), "epochs.jsonl", change)
    good, broken, failed = load_runs(sweep).to_dict("records")
    assert (good["status"], broken["status"], failed["status"]) == ("finished", "unreadable", "failed")
    assert broken["error"].startswith("epochs.jsonl cannot be used: ") and reason in broken["error"]
    assert failed["error"].startswith("boom; epochs.jsonl cannot be used: ") and pd.isna(failed["epoch"])


def test_a_score_of_another_name_takes_no_place_of_a_fact(sweep):
    damaged(finish(sweep, 0.75, seed=3), "run.json", with_value("scores.seed", 0.5))
    assert list(load_runs(sweep)["seed"]) == [3]


def test_unknown_keys_of_an_epoch_pass_for_nothing(sweep):
    record = finish(sweep, 0.75)
    damaged(record, "epochs.jsonl", lambda text: text.replace("{", '{"folder": "x", "setting": [1], '))
    _, epochs, _ = load_runs_and_epochs([sweep], KeptReads())
    assert set(epochs["folder"]) == {str(record.folder)} and list(epochs) == ["folder", "epoch", "valid_dice"]


@pytest.mark.parametrize(
    "content",
    [
        "optimizer: {lr: 2024-01-02, a/b: !!binary aGk=, 3: .nan}",
        "optimizer: {_target_: [a], lr: {a: [1, 2]}}\nmodel: {name: {a: 1}, kind: [1]}",
        "trainer: {epochs: many}",
        "trainer: {epochs: 1000000000000000000}",
        "optimizer: {lr: " + "9" * 400 + "}",
        "optimizer: !!set {lr}",
        'optimizer: {"\\e[5m": "\\e[5m"}',
    ],
)
def test_strange_values_in_a_config_upset_no_table(sweep, content):
    for seed, lr in ((0, 1e-3), (0, 1e-4)):
        record = finish(sweep, 0.75, seed=seed, lr=lr)
        if lr == 1e-4:
            (record.folder / "config.yaml").write_text(content)
    runs = load_runs(sweep)
    assert "finished" in set(runs["status"]) <= {"finished", "unreadable"}  # numbers beyond bounds cannot be read
    text = status_text(runs, 200) + write_summary(sweep).read_text()
    assert "\x1b" not in text and "unet" in text


@pytest.mark.parametrize(
    "entry",
    [
        {"choices": {"model": {"a": 1}}},
        {"choices": None},
        {"seed": "0"},
        {"epochs": 10**12},
        {"epochs": None},
        {"run_id": "../x"},
        {"run_id": ".."},
        {"config_id": ["c"]},
    ],
)
def test_a_plan_with_an_entry_of_another_shape_is_said(sweep, entry):
    plan(sweep, {"seed": 0}, {"seed": 1})
    path = sweep / "plan.json"
    content = json.loads(path.read_text())
    content["runs"][1] |= entry
    path.write_text(json.dumps(content))
    finish(sweep, 0.75)
    assert dict(zip(*load_runs(sweep)[["run_id", "status"]].to_numpy().T, strict=True)) == {
        "unet-seed0": "finished",
        "plan.json": "unreadable",
    }


def test_what_a_terminal_would_obey_is_shown_and_takes_no_other_place(sweep):
    for seed in (0, 1):
        damaged(finish(sweep, 0.75, seed=seed), "run.json", with_value("choices.model", "\x1b[5mblink"))
    assert status_text(load_runs(sweep), 200).startswith("all with model \\x1b[5mblink, loss bce")
