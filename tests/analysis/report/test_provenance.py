"""Where answers come from, and the commands that repeat them."""

import shlex

from src.analysis.records.loading import load_records
from src.analysis.report.provenance import provenance_of
from tests.analysis import sweeps
from tests.analysis.recorded import finish


def test_what_is_known_of_the_runs_that_are_included(tmp_path):
    for seed in (0, 1):
        finish(tmp_path, "model=unet", dice=[0.5, 0.6], seed=seed, seconds=60.0)
    finish(tmp_path, "model=resnet34_unet", dice=[0.5, 0.6], device="cpu", seconds=60.0)
    sweeps.fail(tmp_path, "boom")
    facts = provenance_of(load_records([tmp_path])).facts
    assert facts["data"] == "90 train, 10 valid, 2 test (fingerprint d1d1d1d1d1d1)"
    assert facts["device"] == "cpu; NVIDIA H200"
    assert facts["machine"] == "Linux, 2 cores per run" and facts["numerics"] == "exact"
    assert facts["code"] == "commit 0123456789" and facts["versions"] == "torch 2.13.0"
    assert facts["time"].startswith("21m 00s in 3 runs, 20")


def test_a_line_for_each_setting_with_all_its_seeds(tmp_path):
    for seed in (10, 2):
        finish(tmp_path, "scheduler=onecycle", "notes='a b'", dice=[0.5], seed=seed)
    finish(tmp_path, "scheduler=cosine", dice=[0.5], seed=1)
    commands = provenance_of(load_records([tmp_path])).commands
    assert commands[0] == "python -m src.train scheduler=cosine seed=1"
    words = ["python", "-m", "src.train", "-m", "scheduler=onecycle", "notes='a b'", "seed=2,10"]
    assert shlex.split(commands[1]) == words  # as a shell reads it


def test_an_experiment_sweeps_by_itself(tmp_path):
    record = finish(tmp_path, dice=[0.5])
    (record.folder / "overrides.yaml").write_text("[experiment=demo, model=unet, seed=0]")
    assert provenance_of(load_records([tmp_path])).commands == ["python -m src.train experiment=demo model=unet seed=0"]


def test_a_run_whose_overrides_cannot_be_read_is_repeated_by_its_seed(tmp_path):
    record = finish(tmp_path, dice=[0.5], seed=7)
    (record.folder / "overrides.yaml").write_text("{")
    assert provenance_of(load_records([tmp_path])).commands == ["python -m src.train seed=7"]
