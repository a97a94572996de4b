"""The command as a user meets it: real processes, their exit codes, what they print and what they leave behind."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from src.base.record import RunRecord
from src.data.open_data import open_verified
from src.training.checks import checked
from tests.conftest import PROJECT, _small
from tests.sweep.test_launch import wait_for


def run_folders(tmp_path):
    return sorted(path.parent for path in tmp_path.rglob("run.json"))


@pytest.mark.long
def test_one_run_then_the_same_again(train, command, small, tmp_path):
    before = set(PROJECT.iterdir())
    first = command("train", *small, "model=resnet34_unet", "data.image_size=64", "scheduler=onecycle")
    assert first.returncode == 0, first.stderr
    (folder,) = run_folders(tmp_path)
    assert folder.parent == tmp_path / "runs" / "single"
    score = json.loads((folder / "run.json").read_text())["scores"]["test_dice"]
    assert f"finished: test Dice {score:.4f}, {folder}" in first.stdout
    assert "epoch 2/2" in first.stdout and "\r" not in first.stderr  # no bars where nobody looks
    again = train(*small, "model=resnet34_unet", "data.image_size=64", "scheduler=onecycle")
    for named in (first, again):
        assert named.stderr.splitlines().count(f"run {folder.name} in {folder.parent}") == 1
    assert again.returncode == 0 and f"already finished, nothing to do: test Dice {score:.4f}" in again.stdout
    assert {path.name for path in set(PROJECT.iterdir()) - before} <= {".cache"}  # Hydra writes nothing


@pytest.mark.long
def test_a_run_is_named_before_what_only_its_checks_import(composed, small):
    open_verified(checked(composed(*small)).data)
    command = [sys.executable, "-X", "importtime", "-m", "src.train", *small, "model.out_channels=2"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True).stderr
    before, after = told.split("\nrun unet-")
    for module in ("albumentations", "torch._dynamo", "pandas"):
        assert f" {module}\n" not in before and f" {module}\n" in after


def test_a_run_is_named_before_its_parts_are_tried_and_a_refused_one_has_no_folder(train, composed, small, tmp_path):
    open_verified(checked(composed(*small)).data)
    refused = train(*small, "model.out_channels=2")
    named, *problems = refused.stderr.splitlines()
    assert re.fullmatch(rf"run unet-bce-\S+-seed0-c[0-9a-f]{{8}} in {tmp_path}/runs/single", named)
    assert refused.returncode == 1 and "model.out_channels: got 2 with loss=bce" in "".join(problems)
    several = train(*small, "loss.gama=2", "augmentation.transforms=[{_target_: albumentations.HorizontalFlip, q: 1}]")
    assert several.returncode == 1 and "loss.gama" in several.stderr and "unknown argument 'q'" in several.stderr
    assert "run unet-" not in several.stderr and not (tmp_path / "runs").exists()


@pytest.mark.long
def test_a_sweep_and_its_report(train, command, small, tmp_path):
    swept = train("-m", *small, "scheduler=cosine,onecycle", "hydra.launcher.jobs=2")
    assert swept.returncode == 0, swept.stderr
    folders = run_folders(tmp_path)
    assert len(folders) == 2 and {folder.parent for folder in folders} == {tmp_path / "runs" / "adhoc"}
    told = command("aggregate", f"sweep={tmp_path}/runs/adhoc", "claim_files=report_a")
    assert told.returncode == 0 and told.stderr == "", told.stderr
    assert "Best mean test Dice: " in told.stdout and "No verdict on settings with fewer than 3 seeds: " in told.stdout
    assert f"report: {tmp_path}/runs/adhoc/report/index.html" in told.stdout
    assert re.search(r"^A4 +undecided  OneCycle beats cosine on test Dice for UNet", told.stdout, re.MULTILINE)
    page = (tmp_path / "runs" / "adhoc" / "report" / "index.html").read_text()
    assert "too few seeds (1 of onecycle, 1 of cosine); a verdict needs 3 of each" in page.lower()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=unett"], ["model: got 'unett'; allowed: ", "resnet34_unet_plain"]),
        (["trainer.epochz=3", "loss.gama=2", "seed=x"], ["trainer.epochz", "loss.gama", "seed", "'epochs'"]),
        (["model=unet_nobn"], ["model.out_channels: got 2 with loss=bce, which takes 1"]),
        (["data.root=/nowhere", "data=oxford_pet"], ["/nowhere", "data.download=true", "data=synthetic"]),
        (["loss=null", "~data"], ["loss: got null", "data: got null"]),
        (["loss._target_=torch.nn.BCELoss"], ["loss: BCELoss does not take logits and a target of (2, 1, "]),
        (["sweep.name=.."], ["sweep.name: got '..'"]),
        (["optimizer.lr=inf"], ["optimizer.lr: got inf"]),
        (["output=/proc/nowhere"], ["cannot continue", "/proc/nowhere"]),
        (["-m", "seed=range(3,3)"], ["the grid is empty"]),
        (["-m", "sweep.name=a,b"], ["sweep.name: got several"]),
        (["experiment=nothing"], ["experiment: got 'nothing'", "report_a/scheduler"]),
    ],
)
def test_a_mistake_gets_one_message_and_no_folder(train, small, tmp_path, overrides, said):
    small = [override for override in small if not overrides[-1].startswith("data=") or "data" not in override]
    refused = train(*small, *overrides)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr + refused.stdout
    for words in said:
        assert words in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_says_why_in_one_line_and_tells_the_story_in_its_log(train, small, tmp_path):
    failed = train(*small, "optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant")
    assert failed.returncode == 1
    (folder,) = run_folders(tmp_path)
    reason = json.loads((folder / "run.json").read_text())["error"]
    assert reason.startswith("NonFiniteLoss: training loss is ") and "(lr 1e+30)" in reason
    assert f"failed: {reason}" in failed.stderr and "Traceback" not in failed.stderr
    assert "Traceback" in (folder / "train.log").read_text()


@pytest.mark.long
def test_a_signal_leaves_a_checkpoint_and_the_same_command_goes_on(train, small, tmp_path):
    arguments = [*small, "trainer.epochs=20"]
    process = subprocess.Popen([sys.executable, "-m", "src.train", *arguments], cwd=PROJECT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("epochs.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and b"the same command resumes" in said
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    done = len((folder / "epochs.jsonl").read_text().splitlines())
    resumed = train(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming in epoch {done + 1}" in resumed.stdout
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 20


@pytest.mark.long
def test_runs_at_work_at_the_same_time_on_a_device_know_of_each_other(train, small, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # away from the runs of tests beside this one
    monkeypatch.setattr(tempfile, "tempdir", None)

    def device_jobs(seed: int) -> list[int | None]:
        folders = [folder for folder in run_folders(tmp_path) if f"-seed{seed}-" in folder.name]
        return [row["device_jobs"] for folder in folders for row in RunRecord(folder).read_epochs()]

    command = [sys.executable, "-m", "src.train", *small, "trainer.epochs=1000"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        try:
            wait_for(lambda: device_jobs(seed=0))
            train(*small, "seed=1")
        finally:
            first.terminate()
    train(*small, "seed=2")
    assert device_jobs(seed=0)[0] == 1  # before the second began
    assert device_jobs(seed=1) == [2, 2]
    assert device_jobs(seed=2) == [1, 1]


def test_a_typo_is_answered_by_a_process_that_leaves_nothing(command, small, tmp_path):
    refused = command("train", *small, "model=unett", "trainer.epochz=3")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr + refused.stdout
    assert "resnet34_unet_plain" in refused.stderr and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("question", ["--help", "--cfg=job"])
def test_questions_are_answered(command, question):
    answer = command("train", question)
    assert answer.returncode == 0 and "scheduler" in answer.stdout


def test_a_run_that_another_machine_has_taken_over_ends_as_interrupted(train, small, tmp_path, monkeypatch):
    append = RunRecord.append_epoch

    def append_and_lose(record, row):
        append(record, row)
        (heartbeat,) = record.folder.parent.glob(".locks/*.heartbeat")
        heartbeat.unlink()
        heartbeat.write_text('{"host": "another", "name": "fast", "pid": 7, "token": "theirs", "beat": "1"}')

    monkeypatch.setattr(RunRecord, "append_epoch", append_and_lose)
    lost = train(*small)
    (folder,) = run_folders(tmp_path)
    assert lost.returncode == 130 and "Traceback" not in lost.stdout + lost.stderr
    assert f"interrupted: {folder} was taken over by another process (process 7 on fast)" in lost.stderr
    record = RunRecord(folder)
    assert (record.read()["status"], record.read()["error"], len(record.read_epochs())) == ("running", None, 1)
    assert "process 7" not in record.log_file.read_text()


@pytest.mark.long
def test_a_finished_run_is_finished_also_while_it_is_evaluated(train, run_copy, synthetic_root, tmp_path):
    folder = tmp_path / "runs" / "single" / run_copy.name
    folder.parent.mkdir(parents=True)
    run_copy.rename(folder)
    arguments = _small(synthetic_root, tmp_path / "runs")
    with RunRecord(folder).locked():  # as `python -m src.evaluate` does
        again, sweep = train(*arguments), train("-m", *arguments, "sweep.name=single")
    assert again.returncode == 0 and "already finished, nothing to do: test Dice" in again.stdout
    assert sweep.returncode == 0 and "1 of 1 runs finished" in sweep.stderr


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{}", marks=pytest.mark.long),
        pytest.param("[]", marks=pytest.mark.long),
        pytest.param("3", marks=pytest.mark.long),
        "",
        "[" * 100_000,
        pytest.param('{"schema":9,"status":"new"}', marks=pytest.mark.long),
        pytest.param('{"schema":2,"status":"finished"}', marks=pytest.mark.long),
        '{"schema":2,"status":"finished","data":null}',
        pytest.param('{"schema":2,"status":"finished","data":{"fingerprint":"f"},"scores":{}}', marks=pytest.mark.long),
        pytest.param('{"schema":2,"status":"running"}', marks=pytest.mark.long),
        pytest.param('{"schema":2,"status":"running","data":{"fingerprint":5}}', marks=pytest.mark.long),
    ],
)
def test_a_run_json_of_a_wrong_shape_is_named_in_one_line(train, run_copy, synthetic_root, tmp_path, content):
    folder = tmp_path / "runs" / "single" / run_copy.name
    folder.parent.mkdir(parents=True)
    run_copy.rename(folder)
    (folder / "run.json").write_text(content)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for mode in ([], ["-m", "sweep.name=single"]):
        refused = train(*mode, *_small(synthetic_root, tmp_path / "runs"))
        said = [line for line in refused.stderr.splitlines() if str(folder) in line]
        assert refused.returncode == 1 and "Traceback" not in refused.stderr and len(said) == 1, refused.stderr
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_runs_of_schema_1_stay_as_they_are_and_are_counted_once(train, run_copy, synthetic_root, tmp_path):
    for sweep, name in (("single", "unet-a"), ("single", "unet-b"), ("mine", "unet-c"), ("mine", "unet-d")):
        folder = Path(shutil.copytree(run_copy, tmp_path / "runs" / sweep / name))
        run = json.loads((folder / "run.json").read_text()) | {"schema": 1, "run_id": name}
        (folder / "run.json").write_text(json.dumps(run))
    before = {file: file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    for mode in ([], ["-m", "sweep.name=mine"]):
        done = train(*mode, *_small(synthetic_root, tmp_path / "runs"), "trainer.epochs=1", "debug=one_batch")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("2 runs of schema 1 are here; they are neither resumed nor reused") == 1
    assert {file: file.read_bytes() for file in before} == before
    assert len(list((tmp_path / "runs").glob("*/*/run.json"))) == 6


SWEEP = """# @package _global_
defaults:
  - override {slash}hydra/launcher: slurm
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 0,1
"""


@pytest.fixture
def own(tmp_path):
    """`own("experiment/mine", "seed: 3")`: the override that adds a folder with this option of the user's own."""

    def write(option: str, content: str) -> str:
        file = tmp_path / "own" / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return f"--config-dir={tmp_path}/own"

    return write


def test_an_experiment_of_ones_own_chooses_its_launcher(train, own):
    folder = own("experiment/deep/mine", SWEEP.format(slash="/"))
    for typed in ([folder, "experiment=deep/mine"], ["experiment=deep/mine", *folder.split("="), "seed=1"]):
        shown = train(*typed, "--cfg=hydra")
        assert "hydra_plugins.segsweep.launchers.SlurmLauncher" in shown.stdout, shown
    shown = train(folder, "experiment=deep/mine", "hydra/launcher=local", "--cfg=hydra")
    assert "hydra_plugins.segsweep.launchers.LocalLauncher" in shown.stdout
    assert "hydra_plugins.segsweep.launchers.LocalLauncher" in train("experiment=demo", "--cfg=hydra").stdout


def test_an_override_without_its_slash_says_what_to_write(train, own):
    refused = train(own("experiment/mine", SWEEP.format(slash="")), "experiment=mine")
    said = "experiment/mine: override hydra/launcher: begins in the folder experiment; write override /hydra/launcher:"
    assert refused.returncode == 1 and said in refused.stderr


@pytest.mark.long
def test_an_experiment_of_ones_own_is_swept(train, own, small, tmp_path):
    grid = "# @package _global_\ndata:\n  fold: ${seed}\nhydra:\n  sweeper:\n    params: {seed: '3,4,3'}\n"
    folder = own("experiment/mine", grid)
    refused = train(*small, folder, "experiment=mine")  # its file does not say that it sweeps
    assert refused.returncode == 1
    assert "hydra.sweeper.params: holds a grid, which one run does not use; -m" in refused.stderr
    swept = train(*small, "-m", folder, "experiment=mine", "trainer.epochs=1", "notes=run ${seed}")
    assert swept.returncode == 0, swept.stderr
    assert f"2 runs in {tmp_path}/runs/mine (3 asked, 2 different): 0 need nothing, 2 to do" in swept.stderr
    folders = run_folders(tmp_path)
    assert [yaml.safe_load((folder / "config.yaml").read_text())["data"]["fold"] for folder in folders] == [3, 4]
    assert "notes=run ${seed}" in yaml.safe_load((folders[0] / "overrides.yaml").read_text())
    assert RunRecord(folders[0]).read()["notes"] == "run 3"

    again = train(*small, "-m", folder, "experiment=mine", "trainer.epochs=1", "tags=[late]", "sweep.name=other")
    assert again.stderr.count("; tags changed") == 2 and again.stderr.count("reused ") == 2
    assert [RunRecord(folder).read()["tags"] for folder in run_folders(tmp_path)] == [[], [], ["late"], ["late"]]


def test_an_option_that_the_projects_own_would_hide_is_refused(train, own):
    refused = train(own("model/unet", "name: unet\n_target_: src.models.unet.UNet\nwidth: 8\n"))
    assert refused.returncode == 1
    assert "--config-dir: model/unet.yaml is an option of the project too, which would be taken" in refused.stderr


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_by_model_knows_networks_of_ones_own(train, own, small, mode):
    folder = own("model/my_file", "name: my_net\n_target_: src.models.unet.UNet\nwidth: 8\n")
    refused = train(*mode, *small, folder, "trainer.by_model={my_net:{batch_size:2},my_nett:{batch_size:2}}")
    assert refused.returncode == 1 and "got 'my_net';" not in refused.stderr
    assert "trainer.by_model: got 'my_nett'; did you mean 'my_net'?" in refused.stderr


def test_flags_may_stand_anywhere(train, small):
    refused = train(*small, "-m", "seed=0,x", "model=unet")
    assert refused.returncode == 1 and "(at seed=x)" in refused.stderr


def test_a_command_runs_as_a_file_too_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, PROJECT / "src" / "train.py", "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "seed: 0\n" in done.stdout, done.stderr


def test_every_command_is_installed_under_its_name():
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    commands = sorted(path.stem for path in (PROJECT / "src").glob("*.py") if path.stem != "__init__")
    assert scripts == {f"segsweep-{name}": f"src.{name}:{name}" for name in commands}
