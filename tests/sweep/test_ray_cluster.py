"""Sweeps through a Ray cluster that this machine makes for itself."""

import importlib.util
import signal

import psutil
import pytest
import torch

from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.sweep.ray_cluster import RayBackend
from tests.sweep.test_launch import runs_of, started, wait_for

NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed")
LAUNCHER = ["hydra/launcher=ray", "hydra.launcher.num_cpus=1", "hydra.launcher.num_gpus=0"]


def bits_of(folder):
    """What a run computed, byte for byte; of the weights the tensors, since the files name the machine."""
    weights = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    tensors = {name: value.numpy().tobytes() for name, value in weights["model"].items()}
    dice = [(row["train_loss"], row["valid_dice"]) for row in RunRecord(folder).read_epochs()]
    return tensors, dice, (folder / "test.json").read_bytes(), (folder / "test_images.csv").read_bytes()


@NEEDS_RAY
@pytest.mark.long
def test_a_sweep_then_the_same_again(command, small, tmp_path):
    sweep = ["-m", *small, *LAUNCHER, "seed=0,1"]
    first = command("train", *sweep)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("started") == first.stderr.count("finished     seed=") == 2
    assert [run["machine"]["cores"] for run in runs_of(tmp_path).values()] == [1, 1]  # what was asked for
    again = command("train", *sweep)
    assert again.returncode == 0 and again.stderr.count("skipped") == 2 and "started" not in again.stderr


@NEEDS_RAY
@pytest.mark.long
def test_ctrl_c_leaves_runs_that_can_go_on(small, tmp_path):
    sweep = [*small, "trainer.epochs=1000", *LAUNCHER]
    parent = started(*sweep)
    wait_for(lambda: list(tmp_path.glob("runs/adhoc/*/epochs.jsonl")))
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130 and "interrupted  " in said and "stopped by SIGTERM" in said
    (run_id,) = runs_of(tmp_path)
    record = RunRecord(tmp_path / "runs" / "adhoc" / run_id)
    assert record.status() == "interrupted" and not record.is_held()
    assert (record.checkpoints / "last.pt").exists()


@pytest.fixture
def two_machines():
    """A cluster of a head without CPUs and two machines of one CPU, as Ray makes one on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.machines = [cluster.add_node(num_cpus=1, wait=True) for _ in range(2)]
        yield cluster
    finally:
        cluster.shutdown()


@NEEDS_RAY
@pytest.mark.long
def test_runs_of_a_machine_that_dies_resume_on_another_and_end_with_the_same_bits(train, small, tmp_path, two_machines):
    sweep = [*small, "trainer.epochs=60", "trainer.checkpoint_seconds=1", "seed=0,1"]
    assert train("-m", *sweep, f"output={tmp_path}/whole/runs").returncode == 0
    parent = started(*sweep, *LAUNCHER, f"hydra.launcher.address={two_machines.address}")
    wait_for(lambda: len(list(tmp_path.glob("runs/adhoc/*/checkpoints/last.pt"))) == 2)
    dies = two_machines.machines[0]
    (raylet,) = dies.all_processes["raylet"]
    processes = psutil.Process(raylet.process.pid).children(recursive=True)
    for process in processes:
        process.suspend()  # none may see another's death, as on a machine without power
    for process in processes:
        process.kill()
    two_machines.remove_node(dies, allow_graceful=False)
    _, said = parent.communicate(timeout=300)
    assert parent.returncode == 0 and "2 of 2 runs finished" in said, said
    assert said.count("lost         seed=") == 1 and "it starts again" in said and "Traceback" not in said
    logs = [file.read_text() for file in tmp_path.glob("runs/adhoc/*/train.log")]
    assert sorted(log.count("resuming in epoch") for log in logs) == [0, 1]
    for run in (tmp_path / "runs" / "adhoc").glob("unet*"):
        assert bits_of(run) == bits_of(tmp_path / "whole" / "runs" / "adhoc" / run.name)


@NEEDS_RAY
@pytest.mark.long
def test_a_run_that_no_machine_can_hold_is_refused(command, small):
    refused = command("train", "-m", *small, *LAUNCHER, "hydra.launcher.num_gpus=64")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "got 1 and 64; no machine of the Ray cluster is that large" in refused.stderr


def test_wrong_settings_are_refused_together():
    with pytest.raises(ConfigError) as refused:
        RayBackend({"address": "ray://head:10001", "num_cpus": 0, "num_gpus": 1, "restarts": 3, "gpus": 1})
    launch = "launch on a machine of the Ray cluster with address=auto"
    for words in (f"address: got 'ray://head:10001'; {launch}", "num_cpus: got 0", "hydra.launcher.gpus: unknown key"):
        assert words in str(refused.value)


@pytest.mark.parametrize("address", [None, "auto", "local", "head:6379"])
def test_addresses_of_ray(address, monkeypatch, capsys):
    monkeypatch.setattr("src.sweep.follow.importlib.util.find_spec", lambda package: package)
    backend = RayBackend({"address": address, "num_cpus": 2, "num_gpus": 0, "restarts": 3})
    small = [{"Alive": True, "Resources": {"CPU": 1.0}}]
    if address in (None, "local"):  # no machine can join a Ray that we start
        with pytest.raises(ValueError, match="got 2 and 0; no machine of the Ray cluster is that large"):
            backend._check_size(small)
    else:
        backend._check_size(small)
        assert "waiting for one to join" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is here")
def test_without_ray_the_way_to_it_is_said():
    with pytest.raises(ConfigError, match=r"it needs ray, not installed here; pip install"):
        RayBackend({"address": None, "num_cpus": 1, "num_gpus": 0, "restarts": 3})
