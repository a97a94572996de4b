"""Runs of schema 1 are still evaluated, used and exported, if their config.yaml is theirs by the rule of their time."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from src.base.record import RunRecord
from src.prediction.load_model import load_model, read_config, run_id_of_schema_1
from src.training.checkpoint import load_checkpoint

RECORDED = Path(__file__).with_name("config_of_schema_1.yaml")  # of a run that was trained before there was schema 2
RUN_ID = "unet-bce-adamw-cosine-flip_jitter-seed0-c5f58e348"


def test_the_id_of_a_recorded_config_is_the_one_it_was_recorded_under():
    recorded = yaml.safe_load(RECORDED.read_text())
    assert run_id_of_schema_1(recorded, None) == RUN_ID
    assert run_id_of_schema_1({**recorded, "data": {**recorded["data"], "workers": 5}}, None) == RUN_ID
    assert run_id_of_schema_1({**recorded, "trainer": {**recorded["trainer"], "epochs": 3}}, None) != RUN_ID
    assert run_id_of_schema_1(recorded, "0123") != RUN_ID


@pytest.fixture
def old_run(run_copy):
    """A finished run as it was recorded then: its config, its id, and checkpoints of format 1."""
    config = yaml.safe_load(RECORDED.read_text())
    config["model"]["flip_tta"] = True
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    run_id = run_id_of_schema_1(config, None)
    record = json.loads((run_copy / "run.json").read_text()) | {"schema": 1, "run_id": run_id}
    (run_copy / "run.json").write_text(json.dumps(record))
    best = run_copy / "checkpoints" / "best.pt"
    content = load_checkpoint(best) | {"format": 1}
    best.unlink()  # it may be linked
    torch.save(content, best)
    return run_copy.rename(run_copy.with_name(run_id))


def test_it_is_loaded_with_its_keys_under_the_names_of_today(old_run):
    predictor = load_model(old_run, "cpu")
    assert predictor.runner.flip_tta and predictor.config.trainer.flip_tta
    assert predictor.config.data.decode_once is True
    assert RunRecord(old_run).read()["schema"] == 1


@pytest.mark.parametrize(("section", "key", "value"), [("data", "fold", 3), ("model", "flip_tta", None)])
def test_a_changed_config_of_it_is_refused_with_both_ids(old_run, section, key, value):
    config = yaml.safe_load((old_run / "config.yaml").read_text())
    config[section][key] = value
    (old_run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=rf"is the config of the run unet-\S+, but run\.json says {old_run.name}"):
        load_model(old_run, "cpu")


def test_without_its_record_the_folders_name_is_held_against_the_config(old_run):
    (old_run / "run.json").unlink()
    load_model(old_run, "cpu")
    with pytest.raises(ValueError, match=r"has no run\.json, without which nothing tells"):
        load_model(old_run.rename(old_run.with_name("mine")), "cpu")


def test_of_other_starting_weights_without_a_digest_it_is_said_that_nothing_was_checked(old_run, caplog):
    config = yaml.safe_load((old_run / "config.yaml").read_text()) | {"init_from": "weights.pth"}
    (old_run / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_config(old_run).init_from == "weights.pth"
    load_model(old_run, "cpu")
    assert "that config.yaml is the run's cannot be checked" in caplog.text
