"""Signals that ask a run to stop."""

import signal
import sys

import pytest
import torch

import src.models
from src.base.record import RunRecord
from src.training.checks import checked
from src.training.stopping import Interrupted, StopRequest, explain
from tests.training.attempts import attempt, exit_code


def test_a_scheduler_may_ask_any_number_of_times():
    stop = StopRequest()
    with stop.listening():
        stop.check()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR1, signal.SIGINT):
            signal.raise_signal(number)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        stop.check()


def test_a_second_ctrl_c_does_not_wait():
    stop = StopRequest()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


# --- Memory: running out of it is recorded with what would fit, and a long run takes no more than a short one

GREEDY = """
import torch
from src.models.unet import UNet

class Greedy(UNet):
    def __init__(self, width: int, out_channels: int, batch_norm: bool, conv_bias: bool) -> None:
        super().__init__(width, out_channels, batch_norm, conv_bias)

    def forward(self, images):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
"""


def error_of(output):
    (run_file,) = output.glob("single/*/run.json")
    facts = RunRecord(run_file.parent).read()
    assert facts["status"] == "failed"
    return facts["error"]


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "would_fit"),
    [
        (8, 1, "trainer.batch_size=4 would fit, with trainer.accumulate=2 for steps of 8 images as before"),
        (6, 2, "trainer.batch_size=3 would fit, with trainer.accumulate=4 for steps of 12 images as before"),
        (5, 1, "trainer.batch_size=1 would fit, with trainer.accumulate=5 for steps of 5 images as before"),
        (1, 1, "try a smaller data.image_size or network"),
    ],
)
def test_half_the_batch_is_proposed_with_steps_of_the_same_size(composed, small, batch_size, accumulate, would_fit):
    batch = (f"trainer.batch_size={batch_size}", f"trainer.accumulate={accumulate}")
    said = explain(MemoryError("no room\nand more"), checked(composed(*small, *batch)))
    assert said.startswith(f"MemoryError: out of memory with trainer.batch_size={batch_size} at data.image_size=32; ")
    assert would_fit in said and said.endswith(" (no room)")


def test_what_cuda_raises_is_recorded_with_the_batch_that_would_fit(start, tmp_path, monkeypatch):
    # a network of the project's own that raises what torch does on a GPU without room
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "greedy.py").write_text(GREEDY)
    monkeypatch.setattr(src.models, "__path__", [*src.models.__path__, str(tmp_path / "models")])
    monkeypatch.delitem(sys.modules, "src.models.greedy", raising=False)
    outcome = start("model._target_=src.models.greedy.Greedy")
    assert outcome.status == "failed" and outcome.error == error_of(tmp_path / "runs")
    assert outcome.error.startswith("OutOfMemoryError: out of memory with trainer.batch_size=4 at data.image_size=32; ")
    assert "trainer.batch_size=2 would fit, with trainer.accumulate=2" in outcome.error
    assert "Tried to allocate 2.00 GiB" in outcome.error


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_machine_that_runs_out_of_memory_is_recorded_likewise(composed, small, tmp_path, workers):
    # one layer's output takes 200 MB; threads need room for their stacks and heaps too
    large = ("data.image_size=512", "trainer.batch_size=6", "model.width=32", f"data.workers={workers}")
    process = attempt(checked(composed(*small, *large)), memory=800 * 2**20)
    assert exit_code(process) == 1
    error = error_of(tmp_path / "runs")
    assert "out of memory with trainer.batch_size=6 at data.image_size=512" in error
    assert "by estimate (half of it) trainer.batch_size=3 would fit, with trainer.accumulate=2" in error


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_that_runs_out_of_memory_is_recorded_likewise(start, tmp_path):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 300 * 2**20) / total)
    try:
        start("device=cuda", "data.image_size=512", "trainer.batch_size=16", "model.width=32")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    error = error_of(tmp_path / "runs")
    assert error.startswith("OutOfMemoryError: out of memory with trainer.batch_size=16 at data.image_size=512")
    assert "trainer.batch_size=8 would fit, with trainer.accumulate=2" in error


@pytest.mark.long
def test_memory_stays_flat_over_200_epochs(composed, small, tmp_path):
    process = attempt(checked(composed(*small, "trainer.epochs=200", "scheduler=constant", "optimizer.lr=1e-4")))
    assert exit_code(process) == 0
    (run_file,) = (tmp_path / "runs").glob("single/*/run.json")
    rows = RunRecord(run_file.parent).read_epochs()
    assert len(rows) == 200
    peak = {row["epoch"]: row["peak_memory_bytes"] for row in rows}  # of the process, so far
    print({epoch: peak[epoch] for epoch in (1, 10, 50, 100, 150, 200)})
    assert peak[200] - peak[50] < 4 * 2**20  # bytes; the history itself, a row an epoch, takes some 100 kB of that
