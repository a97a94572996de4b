"""What a run says of the arithmetic it is computed with."""

import subprocess
import sys

import pytest
import torch

from src.base import runtime
from src.base.config import NumericsSection
from src.base.runtime import Numerics
from tests.conftest import PROJECT


def note(monkeypatch, cores: int, device: str = "cpu", threads: int | None = 1, limit: int = 64) -> str | None:
    monkeypatch.setattr(runtime, "usable_cores", lambda: cores)
    monkeypatch.setattr(runtime, "ALL_THREADS", limit)
    settings = NumericsSection(
        name="exact", deterministic=True, autocast=None, channels_last=False, tf32=False, cpu_threads=threads
    )
    return Numerics(torch.device(device), settings).note_of_idle_cores()


def test_a_run_alone_on_many_cores_says_what_one_thread_costs_and_which_key_changes_it(monkeypatch):
    monkeypatch.delenv("SEGSWEEP_CORES", raising=False)
    said = note(monkeypatch, cores=16)
    assert said is not None and "1 of 16 cores" in said and "numerics.cpu_threads=16" in said and "\n" not in said


@pytest.mark.parametrize("other", [{"cores": 1}, {"device": "cuda"}, {"threads": 2}, {"threads": None}, {"limit": 1}])
def test_others_have_no_cores_to_spare(monkeypatch, other):
    monkeypatch.delenv("SEGSWEEP_CORES", raising=False)
    assert note(monkeypatch, **{"cores": 16, **other}) is None


def test_a_job_of_a_sweep_leaves_the_other_cores_to_other_runs(monkeypatch):
    monkeypatch.setenv("SEGSWEEP_CORES", "4")
    assert note(monkeypatch, cores=4) is None


@pytest.mark.parametrize(
    ("kernel_module", "driver"),
    [
        (
            "NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  12.2.0 \n",
            "535.104.05",
        ),
        ("NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16)\n", "570.86.15"),
        (None, None),
    ],
)
def test_the_driver_is_that_of_the_kernel_module(monkeypatch, tmp_path, kernel_module, driver):
    monkeypatch.setattr(runtime, "DRIVER", tmp_path / "version")
    if kernel_module is not None:
        (tmp_path / "version").write_text(f"NVRM version: {kernel_module}")
    assert runtime.accelerator_versions(torch.device("cuda"))["driver"] == driver
    assert runtime.accelerator_versions(torch.device("cpu")) == {"cuda": None, "cudnn": None, "driver": None}


PAGES_OF_A_STEP = """
import resource, sys
from pathlib import Path
import torch
from src.base.config import NumericsSection
from src.base.runtime import Numerics

settings = NumericsSection(
    name="fast", deterministic=False, autocast=None, channels_last=False, tf32=False, cpu_threads=None
)
Numerics(torch.device("cpu"), settings).set_up(Path(sys.argv[1]))
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 1024**2)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_memory_that_a_step_on_a_cpu_frees_is_there_for_the_next_one(tmp_path):
    """Pages that the kernel takes back are cleared, one fault each, when they are used again."""
    command = [sys.executable, "-c", PAGES_OF_A_STEP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
    steps = list(map(int, done.stdout.split()))
    assert sum(steps) < 20 * 64 * 1024**2  # without, all forty take theirs; by chance, the first few do so in any case
