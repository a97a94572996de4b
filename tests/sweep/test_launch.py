"""Sweeps through the real command and the local launcher: real processes that fail, get killed and go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import src.models
from src.base.record import RunRecord
from tests.conftest import PROJECT

# A network of the project's own that can be told to come to grief in its third step.
SABOTEUR = """
import os, signal, sys
from src.models.unet import UNet

class Saboteur(UNet):
    def __init__(
        self,
        width: int,
        out_channels: int,
        batch_norm: bool,
        conv_bias: bool,
        residual: bool,
        attention: bool,
        sabotage: str = "none",
    ) -> None:
        super().__init__(width, out_channels, batch_norm, conv_bias, residual, attention)
        self.sabotage, self.steps = sabotage, 0

    def forward(self, images):
        self.steps += self.training
        if self.steps == 3:
            match self.sabotage:
                case "raise":
                    raise RuntimeError("the third step")
                case "exit":
                    sys.exit(7)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)
"""


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """The override with which runs use the saboteur, found by them and by the launcher as if it lay in src/models."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "saboteur.py").write_text(SABOTEUR)
    hook = f"import src.models; src.models.__path__.append({str(tmp_path / 'models')!r})"
    (tmp_path / "sitecustomize.py").write_text(hook)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{PROJECT}")
    monkeypatch.setattr(src.models, "__path__", [*src.models.__path__, str(tmp_path / "models")])
    monkeypatch.delitem(sys.modules, "src.models.saboteur", raising=False)
    return "model._target_=src.models.saboteur.Saboteur"


def runs_of(tmp_path: Path, sweep: str = "adhoc") -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in tmp_path.glob(f"runs/{sweep}/*/run.json")}


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def started(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "src.train", "-m", *arguments], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def jobs_of(parent: int) -> list[int]:
    """Processes that work for the launcher `parent`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"--parent={parent}" in (folder / "cmdline").read_text().split("\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it ended while we looked
    return found


@pytest.mark.long
def test_jobs_that_come_to_grief_are_recorded_and_the_others_go_on(train, small, tmp_path, sabotage):
    sweep = ["-m", *small, sabotage, "+model.sabotage=raise,exit,kill,none", "hydra.launcher.jobs=2"]
    done = train(*sweep)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "1 of 4 runs finished; summary: " in done.stderr
    runs = {run["name"]: run for run in map(with_sabotage(tmp_path), runs_of(tmp_path))}
    assert {name: run["status"] for name, run in runs.items()} == {
        "raise": "failed",
        "exit": "failed",
        "kill": "failed",
        "none": "finished",
    }
    assert runs["raise"]["error"] == "RuntimeError: the third step" and runs["raise"]["exit_code"] == 1
    assert runs["exit"]["exit_code"] == 7
    assert "killed by SIGKILL" in runs["kill"]["error"] and runs["kill"]["exit_code"] == -9
    for name in ("raise", "exit"):
        log = (tmp_path / "runs" / "adhoc" / runs[name]["run_id"] / "train.log").read_text()
        assert "Traceback" in log and "saboteur.py" in log
    summary = (tmp_path / "runs" / "adhoc" / "summary.md").read_text()
    assert "the third step" in summary and "killed by SIGKILL" in summary

    again = train(*sweep, "sweep.retry_failed=false")
    assert again.returncode == 1 and again.stderr.count("left alone") == 3 and again.stderr.count("skipped") == 1


def with_sabotage(tmp_path):
    def read(run_id: str) -> dict:
        folder = tmp_path / "runs" / "adhoc" / run_id
        config = (folder / "config.yaml").read_text()
        name = next(word for word in ("raise", "exit", "kill", "none") if f"sabotage: {word}" in config)
        return {**json.loads((folder / "run.json").read_text()), "name": name}

    return read


@pytest.mark.long
def test_a_sweep_that_grows_runs_only_what_is_missing(train, small, tmp_path):
    first = train("-m", *small, "seed=1,3,1")  # a point given twice runs once
    assert first.returncode == 0, first.stderr
    assert sorted(run["seed"] for run in runs_of(tmp_path).values()) == [1, 3]
    before = {run_id: contents(tmp_path / "runs" / "adhoc" / run_id) for run_id in runs_of(tmp_path)}
    second = train("-m", *small, "seed=1,2,3")
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("skipped") == 2 and second.stderr.count("started") == 1
    assert sorted(run["seed"] for run in runs_of(tmp_path).values()) == [1, 2, 3]
    for run_id, files in before.items():
        assert contents(tmp_path / "runs" / "adhoc" / run_id) == files
        run = runs_of(tmp_path)[run_id]
        name = f"seed={run['seed']} ({run_id.rpartition('-')[2]})"
        assert f"skipped      {name}: already finished, test Dice {run['scores']['test_dice']:.4f}" in second.stderr

    elsewhere = train("-m", *small, "seed=2", "sweep.name=other")
    assert elsewhere.returncode == 0 and "finished in adhoc" in elsewhere.stderr
    assert "started" not in elsewhere.stderr and len(runs_of(tmp_path, "other")) == 1


def test_a_sweep_is_checked_as_a_whole_before_its_first_run(train, small, tmp_path):
    refused = train("-m", *small, "model=unet,resnet34_unet", "trainer.epochs=1,0")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "trainer.epochs: got 0" in refused.stderr and "trainer.epochs=0 model=unet" in refused.stderr
    assert "data.image_size: got 32; resnet34_unet works from 33" in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_tells_what_would_happen_and_records_nothing(train, small, synthetic_root, run_copy):
    sweep = [*small[:-1], f"output={run_copy.parent.parent}", f"sweep.name={run_copy.parent.name}", "seed=0,1"]
    assert train("-m", *small, "data.test=7", "hydra.sweeper.dry_run=true").returncode == 1  # nothing is drawn either
    assert not list(synthetic_root.glob("20-7-*"))
    before = contents(run_copy.parent)
    done = train("-m", *sweep, "hydra.sweeper.dry_run=true")
    assert (done.returncode, contents(run_copy.parent)) == (0, before), done.stderr
    first, *runs = done.stdout.splitlines()
    assert first.startswith("2 runs in ") and [line.split()[0] for line in runs] == ["skip", "start"]
    assert runs[0].split()[1:] == ["seed=0", run_copy.name]
    assert "dry_run: got 'maybe'; true or false" in train("-m", *sweep, "hydra.sweeper.dry_run=maybe").stderr


def test_a_sweep_whose_time_is_over_starts_nothing_and_says_how_many_it_left(train, small, run_copy):
    sweep = [*small[:-1], f"output={run_copy.parent.parent}", f"sweep.name={run_copy.parent.name}", "seed=0,1,2"]
    done = train("-m", *sweep, "hydra.launcher.budget_hours=1e-6")
    assert done.returncode == 1 and "1 of 3 runs finished" in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("not started")]
    assert said.split(maxsplit=2)[2] == (
        "2 runs: not likely to end within hydra.launcher.budget_hours=1e-06; the same command starts them"
    )
    assert [file.parent for file in run_copy.parent.glob("*/run.json")] == [run_copy]


@pytest.mark.long
def test_combinations_that_cannot_be_built_are_left_out_by_name_on_request(train, small, tmp_path, trained_run):
    grid = ["-m", *small, "model=glob([unet*,external])", "hydra.sweeper.dry_run=true"]  # which has no width
    assert "unet_nobn" in train(*grid).stderr
    done = train(*grid, "hydra.sweeper.skip_invalid=true")
    assert done.returncode == 0 and done.stdout.startswith("2 runs in ")
    assert "left out     model=unet_nobn: model.out_channels: got 2 with loss=bce" in done.stderr
    assert "left out     model=external: model.width: unknown key (got 2)" in done.stderr
    refused = train(*grid, "hydra.sweeper.skip_invalid=true", "trainer.epochs=0")
    assert refused.returncode == 1 and "trainer.epochs: got 0" in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experiment=report_a/scheduler,report_a/all"], "one at a time"),
        (["experiment=report_a/schedule"], "report_a/scheduler"),
        (["hydra.launcher.jobs=0", "hydra.launcher.on_error=shrug"], "hydra.launcher.on_error: got 'shrug'"),
    ],
)
def test_mistakes_about_sweeps_get_one_message(train, small, tmp_path, overrides, said):
    refused = train("-m", *small, *overrides)
    assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_ctrl_c_stops_every_job_and_leaves_it_resumable(train, small, tmp_path):
    sweep = [*small, "trainer.epochs=20", "seed=0,1", "hydra.launcher.jobs=2"]
    parent = started(*sweep)
    wait_for(lambda: len(list(tmp_path.rglob("epochs.jsonl"))) == 2)
    asked = time.monotonic()
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130 and "the same command resumes" in said
    assert time.monotonic() - asked < 20
    assert jobs_of(parent.pid) == []
    folders = [tmp_path / "runs" / "adhoc" / run_id for run_id in runs_of(tmp_path)]
    assert [RunRecord(folder).status() for folder in folders] == ["interrupted", "interrupted"]
    assert all((folder / "checkpoints" / "last.pt").exists() for folder in folders)
    assert said.count("interrupted ") == 2 and "Traceback" not in said
    resumed = train("-m", *sweep)
    assert resumed.returncode == 0, resumed.stderr
    for folder in folders:
        assert "resuming in epoch" in (folder / "train.log").read_text()
        assert [row["epoch"] for row in RunRecord(folder).read_epochs()] == list(range(1, 21))


@pytest.mark.long
def test_a_sweep_whose_launcher_is_killed_loses_nothing(train, small, tmp_path):
    grid = [*small, "trainer.epochs=12", "seed=0,1", "scheduler=cosine,onecycle", "hydra.launcher.jobs=2"]
    whole = train("-m", *grid, "sweep.name=whole", f"output={tmp_path}/whole")
    assert whole.returncode == 0, whole.stderr
    parent = started(*grid)
    wait_for(lambda: any(run["status"] == "finished" for run in runs_of(tmp_path).values()))
    wait_for(lambda: len(jobs_of(parent.pid)) >= 2)  # those that wait for their run too
    parent.kill()
    parent.communicate()
    wait_for(lambda: jobs_of(parent.pid) == [], seconds=30)  # they die with it
    hidden = {entry.name for entry in (tmp_path / "runs" / "adhoc").glob(".*")}
    assert hidden == {".locks", ".provenance"}  # no output of theirs
    finished = {run_id for run_id, run in runs_of(tmp_path).items() if run["status"] == "finished"}
    before = {run_id: contents(tmp_path / "runs" / "adhoc" / run_id) for run_id in finished}
    again = train("-m", *grid)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("skipped") == len(finished) > 0
    for run_id, files in before.items():
        assert contents(tmp_path / "runs" / "adhoc" / run_id) == files
    expected = {
        file.parent.name: json.loads(file.read_text())["scores"] for file in tmp_path.glob("whole/whole/*/run.json")
    }
    assert {run_id: run["scores"] for run_id, run in runs_of(tmp_path).items()} == expected


@pytest.mark.long
def test_the_death_of_a_process_that_waits_for_its_run_is_no_failure_of_the_run(small, tmp_path):
    parent = started(*small, "trainer.epochs=30", "seed=0,1,2", "hydra.launcher.jobs=1")
    wait_for(lambda: list(tmp_path.rglob("epochs.jsonl")))
    (waiting,) = {pid for pid in jobs_of(parent.pid) if not holds_a_lock(pid)}
    os.kill(waiting, signal.SIGKILL)
    _, said = parent.communicate(timeout=300)
    assert parent.returncode == 0 and "3 of 3 runs finished" in said
    assert said.count("started ") == 3 and "failed" not in said


def holds_a_lock(pid: int) -> bool:
    return any(".locks" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.long
def test_the_same_sweep_eight_times_at_once_trains_each_run_once(train, small, tmp_path):
    grid = [*small, "trainer.epochs=40", "seed=0,1", "hydra.launcher.jobs=2"]
    launchers = [started(*grid) for _ in range(8)]
    said = [launcher.communicate(timeout=500)[1] for launcher in launchers]
    runs = runs_of(tmp_path)
    assert [run["status"] for run in runs.values()] == ["finished"] * 2, said
    assert any("another process is working on it" in words for words in said)
    assert not any("Traceback" in words for words in said)
    for run_id in runs:
        log = (tmp_path / "runs" / "adhoc" / run_id / "train.log").read_text()
        assert log.count("epoch 1/40") == 1 and log.count("epoch 40/40") == 1
        epochs = RunRecord(tmp_path / "runs" / "adhoc" / run_id).read_epochs()
        assert [row["epoch"] for row in epochs] == list(range(1, 41))
    planned = json.loads((tmp_path / "runs" / "adhoc" / "plan.json").read_text())["runs"]
    assert {run["run_id"] for run in planned} == set(runs)
    again = train("-m", *grid)
    assert again.returncode == 0 and again.stderr.count("skipped") == 2


@pytest.mark.long
def test_a_sweep_may_stop_at_the_first_failure(train, small, tmp_path, sabotage):
    sweep = ["-m", *small, sabotage, "+model.sabotage=raise,none,exit", "hydra.launcher.jobs=1"]
    stopped = train(*sweep, "hydra.launcher.on_error=stop")
    assert stopped.returncode == 1 and [run["status"] for run in runs_of(tmp_path).values()] == ["failed"]
    assert stopped.stderr.count("started") == 1


@pytest.mark.long
def test_a_config_edited_while_a_sweep_runs_does_not_reach_it(small, tmp_path):
    # a config folder of its own, with an optimizer that is edited once the first run has begun
    folder = tmp_path / "conf" / "optimizer"
    folder.mkdir(parents=True)
    own = "name: own\n_target_: torch.optim.SGD\nlr: 0.125\n"
    (folder / "own.yaml").write_text(own)
    sweep = [*small, "optimizer=own", f"--config-dir={tmp_path}/conf", "seed=0,1", "hydra.launcher.jobs=1"]
    parent = started(*sweep)
    wait_for(lambda: runs_of(tmp_path))
    (folder / "own.yaml").write_text(own.replace("0.125", "0.5"))
    parent.communicate(timeout=300)
    assert parent.returncode == 0
    for run_id in runs_of(tmp_path):
        assert "lr: 0.125" in (tmp_path / "runs" / "adhoc" / run_id / "config.yaml").read_text()
