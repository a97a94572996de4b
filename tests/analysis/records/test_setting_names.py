"""What tells runs apart, and what they share."""

import pandas as pd

from src.analysis.records.setting_names import add_values, shared_and_differing


def runs_of(*rows):
    return pd.DataFrame([{"folder": f"r{number}", **row} for number, row in enumerate(rows)])


def test_choices_are_shared_or_differ_and_an_unknown_run_has_no_say():
    runs = runs_of(
        {"config_id": "c1", "model": "unet", "loss": "bce"},
        {"config_id": "c2", "model": "unet", "loss": "dice"},
        {"config_id": None, "model": None, "loss": None},
    )
    assert shared_and_differing(runs) == ({"model": "unet"}, ["loss"])


def test_a_group_that_only_some_runs_use_differs():
    runs = runs_of(
        {"config_id": "c1", "model": "unet", "debug": None}, {"config_id": "c2", "model": "unet", "debug": "x"}
    )
    assert shared_and_differing(runs) == ({"model": "unet"}, ["debug"])


def test_nothing_is_known_of_broken_runs():
    assert shared_and_differing(runs_of({"config_id": None})) == ({}, [])


def test_settings_that_nothing_else_tells_apart_go_by_their_id():
    runs = runs_of({"config_id": "c1", "model": "unet"}, {"config_id": "c2", "model": "unet"})
    assert add_values(runs, lambda folder: {}) == []  # no config can be read yet
    assert shared_and_differing(runs) == ({"model": "unet"}, ["config_id"])


def test_the_values_that_differ_between_settings_of_the_same_choices():
    configs = {
        "r0": {
            "seed": 0,
            "data": {"root": "/a", "workers": 1},
            "trainer": {"name": "small", "batch_size": 8, "by_model": {}},
        },
        "r1": {"seed": 0, "data": {"root": "/b", "workers": 2}, "trainer": {"name": "small", "batch_size": 16}},
        "r2": {"seed": 0, "data": {"root": "/b"}, "trainer": {"name": "small", "batch_size": 32}},
    }
    runs = runs_of(
        {"config_id": "c1", "model": "unet"},
        {"config_id": "c2", "model": "unet"},
        {"config_id": "c3", "model": "resnet34_unet"},
        {"config_id": None, "model": None},
    )
    assert add_values(runs, configs.__getitem__) == ["trainer.batch_size"]  # where files lie decides nothing
    assert list(runs["trainer.batch_size"][:3]) == [8, 16, 32] and pd.isna(runs["trainer.batch_size"][3])
    assert shared_and_differing(runs) == ({}, ["model", "trainer.batch_size"])


def test_a_setting_that_was_asked_for_under_two_names_is_not_told_apart_by_them():
    configs = {f"r{number}": {"trainer": {"epochs": epochs}} for number, epochs in enumerate((50, 50, 10))}
    runs = runs_of(
        {"config_id": "c1", "model": "unet", "trainer": "default"},
        {"config_id": "c1", "model": "unet", "trainer": "report_a"},
        {"config_id": "c2", "model": "unet", "trainer": "default"},
    )
    assert add_values(runs, configs.__getitem__) == ["trainer.epochs"]
    assert shared_and_differing(runs) == ({"model": "unet"}, ["trainer.epochs"])


def test_values_that_are_no_numbers_become_text():
    configs = {
        "r0": {"data": {"mean": [0.5, 0.5, 0.5]}, "init_from": None},
        "r1": {"data": {"mean": None}, "init_from": "a.pt"},
    }
    runs = runs_of({"config_id": "c1", "model": "unet"}, {"config_id": "c2", "model": "unet"})
    assert add_values(runs, configs.__getitem__) == ["data.mean", "init_from"]
    assert runs["data.mean"][0] == "[0.5, 0.5, 0.5]" and pd.isna(runs["data.mean"][1])
    assert shared_and_differing(runs) == ({"model": "unet"}, ["data.mean", "init_from"])
