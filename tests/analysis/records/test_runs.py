"""A table of every run of a sweep, whatever became of it, read while others write."""

import fcntl
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from src.analysis.records.runs import add_values, load_runs, shared_and_differing
from src.analysis.status.sweep_status import status_text, write_summary
from src.base.record import RunRecord
from tests.analysis.sweeps import another_process, begin, facts_of, fail, finish, holding, plan


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "sweep"


def statuses(sweep):
    return dict(load_runs(sweep)[["run_id", "status"]].itertuples(index=False))


def only_run(sweep):
    (run,) = load_runs(sweep).to_dict("records")
    return run


def test_a_row_for_each_run_however_it_stands(sweep):
    plan(sweep, *({"seed": seed} for seed in range(11)), {"model": "resnet34_unet", "seed": 3}, epochs=50)
    finish(sweep, 0.75, seed=0)
    begin(sweep, seed=1, done=2)
    fail(sweep, "NonFiniteLoss: nan", seed=2)
    fail(sweep, "stopped by SIGTERM", "interrupted", seed=10)
    with another_process(holding(begin(sweep, model="resnet34_unet", seed=3, done=1))):
        runs = load_runs(sweep)
    assert list(zip(runs["model"], runs["seed"], runs["status"], strict=True)) == [
        ("resnet34_unet", 3, "running"),
        ("unet", 0, "finished"),
        ("unet", 1, "interrupted"),
        ("unet", 2, "failed"),
        *[("unet", seed, "planned") for seed in range(3, 10)],
        ("unet", 10, "interrupted"),
    ]
    assert list(runs["epoch"][:5]) == [1, 4, 2, 0, 0] and set(runs["epochs"]) == {50}
    assert list(runs["error"].dropna()) == [
        "no process holds it: killed, or running on another machine",
        "NonFiniteLoss: nan",
        "stopped by SIGTERM",
    ]


def test_what_failed_by_its_own_fault_is_told_from_what_was_lost(sweep):
    fail(sweep, "NonFiniteLoss: nan", seed=0)
    fail(sweep, "OutOfMemoryError: out of memory", seed=1)
    fail(sweep, "stopped by SIGTERM", "interrupted", seed=2)
    begin(sweep, seed=3, done=2)  # killed
    fail(sweep, "KeyError: 'mask'", seed=4)
    finish(sweep, 0.75, seed=4)  # in its second attempt
    fail(sweep, "OutOfMemoryError: out of memory", seed=5)
    finish(sweep, 0.75, seed=5)
    older = fail(sweep, "training diverged: the loss is nan", seed=6).run_file
    older.write_text(
        json.dumps({key: value for key, value in json.loads(older.read_text()).items() if key != "failure_kind"})
    )
    kinds = load_runs(sweep)["failure_kind"]
    assert list(kinds.fillna("")) == ["own", "lost", "lost", "lost", "own", "", "own"]


def test_the_columns_of_a_finished_run(sweep):
    finish(sweep, 0.75, valid=0.5, seed=3)
    run = only_run(sweep)
    assert {key: value for key, value in run.items() if not pd.isna(value)} == {
        "run_id": "unet-seed3",
        "config_id": "c-unet",
        "model": "unet",
        "loss": "bce",
        "data": "synthetic",
        "seed": 3,
        "status": "finished",
        "epoch": 4,
        "epochs": 4,  # of its config, since nobody planned it
        "best_epoch": 1,
        "valid_dice": 0.5,
        "test_dice": 0.75,
        "seconds": 40.0,
        "fingerprint": "d1",
        "sweep": str(sweep),
        "folder": str(sweep / "unet-seed3"),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "run.json is missing"),
        (b"", "run.json: is not valid JSON"),
        (b'{"schema": 1, "run_id": "unet-se', "run.json: is not valid JSON (Unterminated string"),
        (b"\xff\xfe", "run.json: is not valid JSON"),
        (b"[]", "run.json: is not what a run records (it holds a list)"),
        (b'{"schema": 1, "status": "finished"}', "run.json is not a valid record: run_id: missing; config_id"),
        (b'{"schema": 3, "status": "finished"}', "schema: got 3; input should be 1 or 2"),
        (b'{"schema": 1, "status": "done"}', "status: got 'done'"),
    ],
)
def test_a_broken_record_is_a_row_that_says_so(sweep, content, reason):
    finish(sweep, 0.75, seed=0)
    record = begin(sweep, seed=1, done=2)
    record.run_file.unlink()
    if content is not None:
        record.run_file.write_bytes(content)
    good, broken = load_runs(sweep).to_dict("records")
    assert (good["status"], good["test_dice"], good["seed"]) == ("finished", 0.75, 0)
    assert (broken["run_id"], broken["status"], broken["epoch"]) == ("unet-seed1", "unreadable", 2)
    assert reason in broken["error"]


def test_of_a_broken_run_that_was_planned_its_setting_is_known(sweep):
    plan(sweep, {"seed": 7})
    (sweep / facts_of(seed=7)["run_id"]).mkdir()
    run = only_run(sweep)
    assert (run["model"], run["seed"], run["status"], run["epochs"]) == ("unet", 7, "unreadable", 4)


def test_of_settings_that_have_not_begun_the_values_are_known(sweep):
    plan(sweep, *({"lr": lr, "seed": seed} for lr in (0.1, 0.01) for seed in (0, 1)))
    assert list(load_runs(sweep)["status"]) == ["planned"] * 4  # of a plan without values
    path = sweep / "plan.json"
    content = json.loads(path.read_text())
    for run, lr in zip(content["runs"], (0.1, 0.1, 0.01, 0.01), strict=True):
        run["values"] = {"optimizer.lr": lr}
    path.write_text(json.dumps(content))
    assert list(load_runs(sweep)["optimizer.lr"]) == [0.01, 0.01, 0.1, 0.1]
    finish(sweep, 0.75, lr=0.1, seed=0)
    runs = load_runs(sweep)
    assert list(runs["optimizer.lr"]) == [0.01, 0.01, 0.1, 0.1] and list(runs["status"]).count("planned") == 3
    assert shared_and_differing(runs)[1] == ["optimizer.lr"]


def test_half_a_line_is_no_epoch_and_a_broken_one_leaves_the_number_open(sweep):
    record = begin(sweep, done=2)
    with record.epochs_file.open("a") as file:
        file.write('{"epoch": 3, "tra')
    assert only_run(sweep)["epoch"] == 2
    with record.epochs_file.open("a") as file:
        file.write("\n")
    run = only_run(sweep)
    assert pd.isna(run["epoch"]) and run["status"] == "interrupted"


@pytest.mark.parametrize("content", ["", "trainer:\n", "trainer:\n  nam", "trainer: {epo", "[1, 2]"])
def test_a_config_that_was_cut_off_leaves_the_number_of_epochs_open(sweep, content):
    for lr in (1e-3, 1e-4):
        record = begin(sweep, done=2, lr=lr)
        (record.folder / "config.yaml").write_text(content)
    runs = load_runs(sweep)
    assert list(runs["epoch"]) == [2, 2] and runs["epochs"].isna().all()
    assert list(runs["status"]) == ["interrupted", "interrupted"]


def test_a_finished_run_whose_setting_cannot_be_known_is_named(sweep):
    finish(sweep, 0.75, seed=0)
    broken = finish(sweep, 0.75, lr=1e-4)
    (broken.folder / "config.yaml").write_text("garbage: [")
    good, unknown = sorted(load_runs(sweep).to_dict("records"), key=lambda run: run["status"])
    assert (good["status"], unknown["status"]) == ("finished", "unreadable")
    assert "config.yaml cannot be used: " in unknown["error"] and "is not plain YAML" in unknown["error"]


def test_a_sweep_of_which_nothing_can_be_read(sweep):
    begin(sweep).run_file.write_text("{")
    assert statuses(sweep) == {"unet-seed0": "unreadable"}
    assert "unet-seed0 " in write_summary(sweep).read_text() and "1 unreadable" in status_text(load_runs(sweep), 80)


def test_a_run_that_makes_its_folder_at_this_moment_is_running(sweep):
    record = begin(sweep)
    record.run_file.unlink()
    with another_process(holding(record)):
        assert only_run(sweep)["status"] == "running"
    assert only_run(sweep)["status"] == "unreadable"


def test_a_run_that_ends_between_two_looks_has_ended_as_it_says(sweep):
    class EndsMeanwhile(RunRecord):
        def is_held(self):
            self.end("finished", scores={"test_dice": 0.5})
            return False

    record = EndsMeanwhile(begin(sweep).folder)
    run = record.read_now()
    assert (run["status"], run["scores"]) == ("finished", {"test_dice": 0.5})


def test_two_who_ask_do_not_take_each_other_for_the_worker(sweep):
    begin(sweep)
    (lock,) = (sweep / ".locks").iterdir()
    with lock.open("rb") as asker:
        fcntl.flock(asker, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what asking does
        assert only_run(sweep)["status"] == "interrupted"


def test_a_copied_sweep_without_locks_and_without_the_right_to_write(sweep, tmp_path):
    copy = tmp_path / "copy"
    with another_process(holding(begin(sweep, done=1))):
        assert only_run(sweep)["status"] == "running"
        shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns(".locks"))
        copy.chmod(0o555)
        assert only_run(copy)["status"] == "interrupted"
    assert {path.name for path in copy.iterdir()} == {"unet-seed0"}
    copy.chmod(0o755)


def test_the_lock_of_a_sweep_that_may_not_be_written(sweep):
    record = begin(sweep)
    locks = [*(sweep / ".locks").iterdir(), sweep / ".locks"]
    with another_process(holding(record)):
        for path in locks:
            path.chmod(0o555)
        assert only_run(sweep)["status"] == "running"
    assert only_run(sweep)["status"] == "interrupted"
    locks[-1].chmod(0o755)


def test_a_copy_of_a_run_is_not_counted_as_another(sweep):
    record = finish(sweep, 0.75)
    shutil.copytree(record.folder, sweep / "unet-backup")
    assert statuses(sweep) == {"unet-seed0": "finished", "unet-backup": "unreadable"}
    shutil.rmtree(record.folder)
    assert statuses(sweep) == {"unet-backup": "finished"}


def test_what_is_no_run_is_no_row(sweep):
    finish(sweep, 0.75)
    (sweep / ".jobs" / "1").mkdir(parents=True)
    (sweep / "figures").mkdir()
    (sweep / "figures" / "curves.png").touch()
    (sweep / "summary.md").touch()
    assert statuses(sweep) == {"unet-seed0": "finished"}


@pytest.mark.parametrize("content", ['{"schema": 1, "runs": [{"run_', "[]", '{"schema": 1, "runs": [{"seed": 0}]}'])
def test_a_plan_that_cannot_be_read_is_said_and_hides_no_run(sweep, content):
    finish(sweep, 0.75)
    (sweep / "plan.json").write_text(content)
    assert statuses(sweep) == {"unet-seed0": "finished", "plan.json": "unreadable"}


def test_a_sweep_that_is_only_planned(sweep):
    plan(sweep, {"seed": 0}, {"seed": 1})
    assert statuses(sweep) == {"unet-seed0": "planned", "unet-seed1": "planned"}


def test_settings_that_differ_in_values_only_get_a_column_for_them(sweep):
    plan(sweep, *({"seed": seed, "lr": lr} for lr in (1e-3, 1e-4) for seed in (0, 1)))
    finish(sweep, 0.75, seed=0, lr=1e-3)
    finish(sweep, 0.25, seed=0, lr=1e-4)
    runs = load_runs(sweep)
    assert list(runs[["optimizer.lr", "seed", "status"]].itertuples(index=False, name=None)) == [
        (1e-4, 0, "finished"),
        (1e-4, 1, "planned"),  # as its replicate
        (1e-3, 0, "finished"),
        (1e-3, 1, "planned"),
    ]


def test_no_such_column_where_choices_suffice(sweep):
    finish(sweep, 0.75, model="unet", lr=1e-3)
    finish(sweep, 0.25, model="resnet34_unet", lr=1e-4)
    assert not [name for name in load_runs(sweep) if "." in name]


def test_a_wrong_folder_gets_one_line_that_says_what_is_expected(sweep, tmp_path):
    with pytest.raises(ValueError, match=r"sweep: is not a folder; expected <folder>/<run_id>/run.json"):
        load_runs(sweep)
    sweep.mkdir()
    with pytest.raises(ValueError, match=r"sweep: does not hold runs; expected <folder>/<run_id>/run.json"):
        load_runs(sweep)
    (sweep / "empty").mkdir()
    with pytest.raises(ValueError, match="does not hold runs"):
        load_runs(sweep)
    record = finish(sweep, 0.75)
    with pytest.raises(ValueError, match=f"is a single run; give the folder around it, {sweep}"):
        load_runs(record.folder)
    with pytest.raises(ValueError, match=f"holds sweeps, not runs; give one of {sweep}"):
        load_runs(tmp_path)
    assert statuses(sweep) == {"empty": "unreadable", "unet-seed0": "finished"}


def test_decoding_changes_nothing(sweep):
    plan(sweep, {"seed": 0}, {"seed": 1})
    finish(sweep, 0.75, seed=0)
    begin(sweep, seed=1)
    before = {path: path.stat().st_mtime_ns for path in [sweep, *sweep.rglob("*")]}
    load_runs(sweep)
    assert {path: path.stat().st_mtime_ns for path in [sweep, *sweep.rglob("*")]} == before


def test_a_record_without_a_fingerprint_is_a_row_like_others(sweep):
    record = fail(sweep, "boom", done=3)
    run = json.loads(record.run_file.read_text())
    del run["data"]
    record.run_file.write_text(json.dumps(run))
    row = only_run(sweep)
    assert (row["status"], row["error"], row["epoch"]) == ("failed", "boom", 3) and pd.isna(row["fingerprint"])


def test_a_folder_that_cannot_be_looked_into_is_a_row_that_says_so(sweep, monkeypatch):
    finish(sweep, 0.75, seed=0)
    closed = finish(sweep, 0.75, seed=1).folder
    iterdir, exists = Path.iterdir, Path.exists

    def refuse(look):
        def looked(path):
            if path == closed or path.parent == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return look(path)

        return looked

    monkeypatch.setattr(Path, "iterdir", refuse(iterdir))
    monkeypatch.setattr(Path, "exists", refuse(exists))
    assert statuses(sweep) == {"unet-seed0": "finished", "unet-seed1": "unreadable"}


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
    assert add_values(runs, {}) == []  # no config can be read yet
    assert shared_and_differing(runs) == ({"model": "unet"}, ["config_id"])


def test_the_values_that_differ_between_settings_of_the_same_choices():
    configs = {
        "c1": {
            "seed": 0,
            "data": {"root": "/a", "workers": 1},
            "trainer": {"name": "small", "batch_size": 8, "by_model": {}},
        },
        "c2": {"seed": 0, "data": {"root": "/b", "workers": 2}, "trainer": {"name": "small", "batch_size": 16}},
        "c3": {"seed": 0, "data": {"root": "/b"}, "trainer": {"name": "small", "batch_size": 32}},
    }
    runs = runs_of(
        {"config_id": "c1", "model": "unet"},
        {"config_id": "c2", "model": "unet"},
        {"config_id": "c3", "model": "resnet34_unet"},
        {"config_id": None, "model": None},
    )
    assert add_values(runs, configs) == ["trainer.batch_size"]  # where files lie decides nothing
    assert list(runs["trainer.batch_size"][:3]) == [8, 16, 32] and pd.isna(runs["trainer.batch_size"][3])
    assert shared_and_differing(runs) == ({}, ["model", "trainer.batch_size"])


def test_a_setting_that_was_asked_for_under_two_names_is_not_told_apart_by_them():
    configs = {"c1": {"trainer": {"epochs": 50}}, "c2": {"trainer": {"epochs": 10}}}
    runs = runs_of(
        {"config_id": "c1", "model": "unet", "trainer": "default"},
        {"config_id": "c1", "model": "unet", "trainer": "report_a"},
        {"config_id": "c2", "model": "unet", "trainer": "default"},
    )
    assert add_values(runs, configs) == ["trainer.epochs"]
    assert shared_and_differing(runs) == ({"model": "unet"}, ["trainer.epochs"])


def test_values_that_are_no_numbers_become_text():
    configs = {
        "c1": {"data": {"mean": [0.5, 0.5, 0.5]}, "init_from": None},
        "c2": {"data": {"mean": None}, "init_from": "a.pt"},
    }
    runs = runs_of({"config_id": "c1", "model": "unet"}, {"config_id": "c2", "model": "unet"})
    assert add_values(runs, configs) == ["data.mean", "init_from"]
    assert runs["data.mean"][0] == "[0.5, 0.5, 0.5]" and pd.isna(runs["data.mean"][1])
    assert shared_and_differing(runs) == ({"model": "unet"}, ["data.mean", "init_from"])
