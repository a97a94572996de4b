"""Sweeps through submitit: its processes on this machine everywhere, and SLURM's queue where there is one.

On a cluster of several machines give pytest a folder that all of them see: `--basetemp=<folder>`.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.cli.overrides import CONF
from src.sweep.follow import JobLost
from src.sweep.slurm import SlurmBackend, outside_a_job
from tests.sweep.test_launch import runs_of, started, wait_for

SETTINGS = {
    "cluster": "local",
    "wait": True,
    "partition": None,
    "timeout_min": 240,
    "max_timeouts": 10,
    "restarts": 3,
    "signal_delay_s": 120,
    "gpus_per_node": 1,
    "cpus_per_task": 4,
    "mem_gb": 16,
    "array_parallelism": None,
    "setup": [],
    "additional_parameters": None,
}
NO_SLURM = pytest.mark.skipif(shutil.which("sbatch") is None, reason="no SLURM here")


@pytest.fixture(params=["local", pytest.param("slurm", marks=NO_SLURM)])
def launcher(request) -> list[str]:
    """Overrides that send runs of one core, without a GPU, through submitit."""
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    sizes = ["gpus_per_node=0", "cpus_per_task=1", "mem_gb=2", "array_parallelism=2"]
    return ["hydra/launcher=slurm", *(f"hydra.launcher.{setting}" for setting in [f"cluster={request.param}", *sizes])]


@pytest.fixture
def submitit_is_here(monkeypatch):
    """Settings are checked as where submitit is installed."""
    monkeypatch.setattr("src.sweep.follow.importlib.util.find_spec", lambda package: package)


def job_ids(tmp_path: Path) -> list[str]:
    return sorted(file.name.split("_submitted")[0] for file in tmp_path.rglob("*_submitted.pkl"))


def send(number: signal.Signals, job_id: str, launcher: list[str]) -> None:
    """Sends a signal to the process that submitit runs for a job."""
    if "hydra.launcher.cluster=slurm" in launcher:
        subprocess.run(["scancel", f"--signal={number.name.removeprefix('SIG')}", job_id], check=True)
    else:
        os.kill(child_of(int(job_id)), number)  # here a job's id is the process that starts it and starts it again


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def epochs_of(tmp_path: Path) -> list[dict]:
    """The rows of the only run, without what depends on the machine's mood."""
    (folder,) = [tmp_path / "runs" / "adhoc" / run_id for run_id in runs_of(tmp_path)]
    varies = ("images_per_second", "train_seconds", "peak_memory_bytes", "device_jobs")
    return [{key: row[key] for key in row if key not in varies} for row in RunRecord(folder).read_epochs()]


def test_further_options_of_sbatch_are_typed_as_the_documentation_says():
    options = "hydra.launcher.additional_parameters={account: vision, qos: low}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["hydra/launcher=slurm", options], return_hydra_config=True)
    assert config.hydra.launcher.additional_parameters == {"account": "vision", "qos": "low"}


@pytest.mark.long
def test_a_sweep_then_the_same_again(train, small, tmp_path, launcher):
    sweep = ["-m", *small, *launcher, "seed=0,1"]
    first = train(*sweep)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("started") == first.stderr.count("finished     seed=") == 2
    assert [run["machine"]["cores"] for run in runs_of(tmp_path).values()] == [1, 1]  # what was asked for
    assert len(job_ids(tmp_path)) == 2
    again = train(*sweep)
    assert again.returncode == 0 and again.stderr.count("skipped") == 2 and "started" not in again.stderr
    assert len(job_ids(tmp_path)) == 2


@pytest.mark.long
def test_a_run_that_is_pre_empted_goes_on_where_it_was(train, small, tmp_path, launcher):
    sweep = [*small, "trainer.epochs=15"]
    whole = train("-m", *sweep, f"output={tmp_path}/whole/runs")  # not beside the other, which would take it over
    assert whole.returncode == 0, whole.stderr
    parent = started(*sweep, *launcher)
    wait_for(lambda: list(tmp_path.glob("runs/adhoc/*/epochs.jsonl")))
    (job_id,) = job_ids(tmp_path)
    send(signal.SIGUSR2, job_id, launcher)
    wait_for(lambda: [run["status"] for run in runs_of(tmp_path).values()] == ["interrupted"])
    (run_id,) = runs_of(tmp_path)
    assert (tmp_path / "runs" / "adhoc" / run_id / "checkpoints" / "last.pt").exists()
    _, said = parent.communicate(timeout=400)  # SLURM queues it again after two minutes
    assert parent.returncode == 0, said
    assert "1 of 1 runs finished" in said and "Traceback" not in said
    log = (tmp_path / "runs" / "adhoc" / run_id / "train.log").read_text()
    assert log.count("stopped by SIGTERM") == log.count("resuming in epoch") == 1
    assert job_ids(tmp_path / "runs") == [job_id]
    assert epochs_of(tmp_path) == epochs_of(tmp_path / "whole")
    assert len(epochs_of(tmp_path)) == 15


@pytest.mark.long
def test_sigterm_ends_one_job_and_ctrl_c_all(small, tmp_path, launcher):
    parent = started(*small, "trainer.epochs=1000", *launcher, "seed=0,1,2")  # two at a time
    wait_for(lambda: len(list(tmp_path.glob("runs/adhoc/*/epochs.jsonl"))) == 2)
    send(signal.SIGTERM, job_ids(tmp_path)[0], launcher)
    wait_for(lambda: len(list(tmp_path.glob("runs/adhoc/*/epochs.jsonl"))) == 3)
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130 and "the same command resumes" in said
    assert said.count("interrupted  ") == said.count("stopped by SIGTERM") == 3 and "Traceback" not in said
    for run_id in runs_of(tmp_path):
        record = RunRecord(tmp_path / "runs" / "adhoc" / run_id)
        assert record.status() == "interrupted" and not record.is_held()
        assert (record.checkpoints / "last.pt").exists()


@pytest.mark.long
def test_a_job_that_dies_without_a_word_is_put_on_record(small, tmp_path):
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    parent = started(*small, "trainer.epochs=1000", "hydra/launcher=slurm", "hydra.launcher.cluster=local")
    wait_for(lambda: list(tmp_path.glob("runs/adhoc/*/epochs.jsonl")))
    task = child_of(int(job_ids(tmp_path)[0]))
    os.kill(task, signal.SIGSTOP)  # it must not see the death of the run, nor the run its own
    os.kill(child_of(task), signal.SIGKILL)
    os.kill(task, signal.SIGKILL)
    _, said = parent.communicate(timeout=60)
    (run,) = runs_of(tmp_path).values()
    assert parent.returncode == 1 and run["status"] == "failed"
    assert run["error"] == f"its job {job_ids(tmp_path)[0]} ended without an answer" and run["error"] in said


@pytest.mark.parametrize(
    ("state", "resumable", "again"),
    [
        ("CANCELLED", True, False),  # by a user
        ("NODE_FAIL", True, True),  # where SLURM does not queue it again
        ("FAILED", False, True),  # ended within the GraceTime of a pre-emption, if the run left a checkpoint
        ("OUT_OF_MEMORY", False, False),
    ],
)
def test_only_what_the_cluster_took_away_starts_again(monkeypatch, tmp_path, state, resumable, again):
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    monkeypatch.setattr("src.sweep.slurm.shutil.which", lambda name: name)
    monkeypatch.setattr("src.sweep.slurm._state", lambda job_id: state)
    paths = SimpleNamespace(result_pickle=tmp_path / "none")
    with pytest.raises(JobLost) as lost:
        SlurmBackend({**SETTINGS, "cluster": "slurm"}).result(SimpleNamespace(job_id="7_0", paths=paths, stderr=str))
    assert (lost.value.resumable, lost.value.again) == (resumable, again)


def test_a_job_that_is_submitted_later_is_not_gone_before_it_was_looked_for(monkeypatch, tmp_path):
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    monkeypatch.setattr("src.sweep.slurm.shutil.which", lambda name: name)
    queued, looks = [], []
    monkeypatch.setattr("src.sweep.slurm.QUEUE_PAUSE", 0)
    monkeypatch.setattr(
        "src.sweep.slurm.subprocess.run",
        lambda *_, **__: looks.append(0) or SimpleNamespace(returncode=0, stdout="\n".join(queued)),
    )

    def submit_array(part):
        queued.append(str(len(queued)))
        return [SimpleNamespace(job_id=queued[-1], paths=SimpleNamespace(result_pickle=tmp_path / "none"))]

    backend = SlurmBackend({**SETTINGS, "cluster": "slurm"})
    backend._executor = SimpleNamespace(submit_array=submit_array)
    (first,) = backend.submit([None])
    queued[0] = "left the queue"
    assert [backend.has_ended(first), backend.has_ended(first)] == [False, True] and len(looks) == 2
    monkeypatch.setattr("src.sweep.slurm.QUEUE_PAUSE", 100)  # what was seen until now is still recent
    (second,) = backend.submit([None])
    assert not backend.has_ended(second) and not backend.has_ended(second) and len(looks) == 3


@NO_SLURM
@pytest.mark.long
def test_a_sweep_can_be_left_to_slurm(train, small, tmp_path):
    settings = ["wait=false", "gpus_per_node=0", "cpus_per_task=1", "mem_gb=2"]
    left = train("-m", *small, "hydra/launcher=slurm", *(f"hydra.launcher.{setting}" for setting in settings))
    assert left.returncode == 0 and f"python -m src.status sweep={tmp_path}/runs/adhoc" in left.stdout
    wait_for(lambda: [run["status"] for run in runs_of(tmp_path).values()] == ["finished"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout_min": "soon", "wait": None}, ["hydra.launcher.timeout_min: got 'soon'", "hydra.launcher.wait: got"]),
        ({"partitionn": "gpu"}, ["hydra.launcher.partitionn: unknown key", "did you mean 'partition'?"]),
        ({"wait": False}, ["hydra.launcher.wait: got false with cluster=local"]),
        ({"timeout_min": 2}, ["hydra.launcher.signal_delay_s: got 120 with timeout_min=2"]),
    ],
)
@pytest.mark.usefixtures("submitit_is_here")
def test_wrong_settings_are_refused_together(settings, said):
    with pytest.raises(ConfigError) as refused:
        SlurmBackend({**SETTINGS, **settings})
    assert len(refused.value.problems) == len(settings)
    for words in said:
        assert words in str(refused.value)


@pytest.mark.usefixtures("submitit_is_here")
def test_without_slurm_there_is_no_queue(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"no sbatch on this machine; .*hydra\.launcher\.cluster=local"):
        SlurmBackend({**SETTINGS, "cluster": "slurm"})


def test_a_job_submits_without_its_own_size_but_to_its_cluster(monkeypatch):
    kept = {"SLURM_CONF": "/etc/elsewhere.conf", "SBATCH_ACCOUNT": "vision"}
    given = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "64", **kept}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with outside_a_job():
        assert {name: os.environ[name] for name in given if name in os.environ} == kept
    assert {name: os.environ[name] for name in given} == given


def test_the_settings_of_the_launcher_are_all_in_its_yaml():
    from omegaconf import OmegaConf

    from src.cli.overrides import CONF

    given = dict(OmegaConf.load(CONF / "hydra" / "launcher" / "slurm.yaml"))
    del given["_target_"]
    assert {**given, "cluster": "local"} == SETTINGS
