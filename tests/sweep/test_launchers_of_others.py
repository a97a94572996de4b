"""Launchers and sweepers of Hydra and its plugins: each job does one run under its lock and returns its objective."""

import importlib.util
import json
import os
import signal

import pytest
from omegaconf import OmegaConf

from src.base.errors import ConfigError, Ended
from src.cli import hydra_entry
from src.cli.hydra_limits import check_hydra
from tests.conftest import PROJECT

FAILS = ["optimizer=sgd", "optimizer.lr=1e30,0.1", "scheduler=constant"]


def runs_of(tmp_path, sweep="adhoc"):
    files = sorted(tmp_path.glob(f"runs/{sweep}/*/run.json"))
    return [json.loads(file.read_text()) for file in files]


def test_hydras_basic_launcher_skips_what_is_finished_and_runs_the_rest(train, small, tmp_path):
    one_epoch = [*small, "trainer.epochs=1", "hydra/launcher=basic"]
    before = set(PROJECT.iterdir())
    assert train("-m", *one_epoch, "seed=0").returncode == 0
    both = train("-m", *one_epoch, "seed=0,1")
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("already finished, nothing to do") == both.stdout.count("\nfinished: ") == 1
    assert [run["status"] for run in runs_of(tmp_path)] == ["finished", "finished"]
    assert {path.name for path in set(PROJECT.iterdir()) - before} <= {".cache"}


def test_a_failed_run_of_a_launcher_of_hydras_ends_the_command_with_exit_code_1_after_the_others(
    train, small, tmp_path
):
    done = train("-m", *small, "trainer.epochs=1", "hydra/launcher=basic", *FAILS)
    assert (done.returncode, sorted(run["status"] for run in runs_of(tmp_path))) == (1, ["failed", "finished"])
    assert "\nfailed: NonFiniteLoss: " in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr and "Error executing job" not in done.stderr


def test_a_signal_ends_a_sweep_in_this_process_and_a_job_elsewhere_only_raises(monkeypatch, capsys):
    def task(config):
        raise Ended("interrupted: x", 128 + signal.SIGTERM)

    monkeypatch.setattr(hydra_entry, "check_hydra", lambda *_: None)
    monkeypatch.setattr(hydra_entry.HydraConfig, "get", lambda: None)
    job = hydra_entry._as_job(task, [])
    with pytest.raises(SystemExit, match="143"):
        job({})
    assert capsys.readouterr().err == "interrupted: x\n"
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(Ended, match="interrupted: x"):
        job({})


@pytest.mark.parametrize(
    ("sweeper", "said"),
    [
        ({"direction": "minimize"}, "direction: got minimize; the objective is the best validation Dice"),
        ({"direction": ["maximize", "minimize"]}, "direction: got ['maximize', 'minimize']; "),
        ({"direction": "maximize"}, None),
        ({"ax_config": {"experiment": {"minimize": True}}}, "ax_config.experiment.minimize: got True; "),
        ({"optim": {"maximize": False}}, "optim.maximize: got False; "),
        ({"optim": {"maximize": True}}, None),
        ({"params": {"seed": "0,1"}}, None),
    ],
)
def test_a_search_for_the_smallest_dice_is_refused(sweeper, said):
    hydra = OmegaConf.create({"mode": "MULTIRUN", "callbacks": {}, "sweeper": sweeper})
    if said is None:
        check_hydra(hydra)
        return
    with pytest.raises(ConfigError) as refusal:
        check_hydra(hydra)
    (problem,) = refusal.value.problems
    assert problem.startswith(f"hydra.sweeper.{said}") and f"hydra.sweeper.{said.partition(':')[0]}=" in problem


def test_a_dry_run_is_refused_where_the_launcher_would_train(train, small, tmp_path):
    done = train("-m", *small, "seed=0,1", "hydra/launcher=basic", "hydra.sweeper.dry_run=true")
    assert done.returncode == 1 and "hydra.sweeper.dry_run: this launcher cannot do it; " in done.stderr
    assert runs_of(tmp_path) == []


@pytest.mark.long
def test_a_sweeper_of_others_hands_its_batches_to_our_launcher(command, small, tmp_path):
    batches = ["-m", "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1", "trainer.epochs=1"]
    done = command("train", *small, *batches, *FAILS)
    assert done.returncode == 1 and "failed: " in done.stderr  # at once, as Hydra's sweeper does
    done = command("train", *small, *batches, "seed=0,1")
    assert done.returncode == 0 and done.stderr.count("1 of 1 runs finished") == 2, done.stderr
    assert len(json.loads((tmp_path / "runs/adhoc/plan.json").read_text())["runs"]) == 3


def installed(plugin):
    found = importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(f"hydra_plugins.{plugin}")
    return pytest.mark.skipif(not found, reason=f"{plugin} is not installed")


@pytest.mark.long
@pytest.mark.parametrize(
    "launcher",
    [
        "basic",
        pytest.param("joblib", marks=installed("hydra_joblib_launcher")),
        pytest.param("submitit_local", marks=installed("hydra_submitit_launcher")),
    ],
)
def test_every_launcher_runs_skips_and_fails_alike(command, small, tmp_path, launcher):
    sweep = ["-m", *small, "trainer.epochs=1", f"hydra/launcher={launcher}", "data.workers=1"]
    first = command("train", *sweep, "seed=0,1")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("data.workers: 0 for each run") == (launcher == "joblib")
    times = [run["finished"] for run in runs_of(tmp_path)]
    assert command("train", *sweep, "seed=0,1").returncode == 0
    assert [run["finished"] for run in runs_of(tmp_path)] == times and len(times) == 2
    failed = command("train", *sweep, *FAILS)
    assert failed.returncode == 1 and "\nfailed: NonFiniteLoss: " in f"\n{failed.stderr}", failed.stderr
    assert "Traceback" not in failed.stderr
    assert sorted(run["status"] for run in runs_of(tmp_path)) == ["failed", "finished", "finished", "finished"]


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["local", "basic"])
@installed("hydra_optuna_sweeper")
def test_a_search_finds_the_run_with_the_best_validation_dice(command, small, tmp_path, launcher):
    search = ["-m", *small, "trainer.epochs=1", "hydra/sweeper=optuna", f"hydra/launcher={launcher}"]
    trials = ["optimizer.lr=interval(0.001,0.1)", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2"]
    refused = command("train", *search, *trials)
    assert refused.returncode == 1 and "hydra.sweeper.direction=maximize" in refused.stderr.splitlines()[-1]
    done = command("train", *search, *trials, "hydra.sweeper.direction=maximize")
    assert done.returncode == 0, done.stderr
    found = OmegaConf.load(tmp_path / "runs/adhoc/optimization_results.yaml")
    assert found.best_value == max(run["scores"]["valid_dice"] for run in runs_of(tmp_path))
