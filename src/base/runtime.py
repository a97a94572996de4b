"""The device, the random numbers and the arithmetic a run is computed with."""

import ctypes
import os
import random
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.base.config import NumericsSection
from src.base.environment import usable_cores
from src.base.errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
DRIVER = Path("/proc/driver/nvidia/version")
ALL_THREADS = torch.get_num_threads()  # as torch or OMP_NUM_THREADS decided when the program began


def pick_device(wanted: str) -> torch.device:
    """The device named `wanted`; `auto` takes CUDA, else MPS, else the CPU. Raises ConfigError when it is not there."""
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *available]
    if wanted == "auto":
        return torch.device(available[0])
    if wanted not in available:
        raise ConfigError([f"device: got {wanted!r}; this machine has {', '.join(available)} (or auto)"])
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """What the device calls itself, for example the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def accelerator_versions(device: torch.device) -> dict[str, str | None]:
    """The versions of CUDA, cuDNN and NVIDIA's driver that a run on `device` uses; None for those that it does not."""
    if device.type != "cuda":
        return {"cuda": None, "cudnn": None, "driver": None}
    driver = re.search(r"\s(\d+\.[\d.]+)\s", DRIVER.read_text() if DRIVER.exists() else "")
    cudnn = torch.backends.cudnn.version()
    return {"cuda": torch.version.cuda, "cudnn": cudnn and str(cudnn), "driver": driver and driver[1]}


def device_key(device: torch.device) -> str:
    """What tells `device` from the others of this machine, the same for every process: for a GPU by its UUID.

    A process's own number of a GPU depends on what CUDA_VISIBLE_DEVICES shows it; it serves only where torch was built
    without UUIDs.
    """
    if device.type != "cuda":
        return device.type
    index = torch.cuda.current_device() if device.index is None else device.index
    return f"cuda-{getattr(torch.cuda.get_device_properties(index), 'uuid', index)}"


@dataclass(frozen=True)
class Numerics:
    """The arithmetic of one run; see conf/numerics."""

    device: torch.device
    settings: NumericsSection

    def set_up(self, cache: Path) -> None:
        """Sets torch's global switches; called at the start of every run, since runs may share a process.

        `cache`: where compiled networks are kept, for all runs.
        """
        # read by cuBLAS when its first handle is made; without it, its matrix products are refused in exact mode
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if self.compiles:
            self._set_up_compiler(cache.absolute() / "compiled")
        torch.use_deterministic_algorithms(self.settings.deterministic)
        # would write NaN into each new tensor, to show reads of what was never written; no result depends on it
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.tune(whole_batch=False)
        torch.backends.cudnn.allow_tf32 = self.settings.tf32
        torch.backends.cuda.matmul.allow_tf32 = self.settings.tf32
        torch.set_num_threads(self.settings.cpu_threads or ALL_THREADS)
        if self.device.type == "cpu":
            _keep_freed_memory()

    def _set_up_compiler(self, cache: Path) -> None:
        """Keeps compiled code in `cache`, and limits what compiles beside us to this run's share of the cores."""
        from torch._inductor import config
        from torch._inductor.runtime.runtime_utils import default_cache_dir

        # torch sets its default, a temporary folder that is lost with the machine, as soon as anything imports its
        # compiler, as the check of a config does; a launcher hands it on to its runs
        if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
        if "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
            config.compile_threads = usable_cores()

    def note_of_idle_cores(self) -> str | None:
        """For a run on a CPU that is not a launcher's job: what one thread costs, and which key changes it."""
        cores = min(usable_cores(), ALL_THREADS)
        is_job = "SEGSWEEP_CORES" in os.environ  # a launcher gives the other cores to other runs
        if self.device.type != "cpu" or self.settings.cpu_threads != 1 or cores == 1 or is_job:
            return None
        return (
            f"numerics={self.settings.name} uses 1 of {cores} cores, so a step may take {cores} times as long; "
            f"numerics.cpu_threads={cores} uses all and makes another run, whose sums differ in the last bits"
        )

    def tune(self, whole_batch: bool) -> None:
        """Lets cuDNN time its algorithms for whole training batches; other shapes are too rare to be worth the time."""
        torch.backends.cudnn.benchmark = whole_batch and not self.settings.deterministic

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass: bfloat16 where asked for, on CUDA only (CPUs are slower with it)."""
        enabled = self.settings.autocast is not None and self.device.type == "cuda"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    @property
    def compiles(self) -> bool:
        """Whether networks are compiled: where asked for, on CUDA only (on a CPU it takes longer than it saves)."""
        return bool(self.settings.compile) and self.device.type == "cuda"

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and weights."""
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format


def _keep_freed_memory() -> None:
    """Lets glibc keep for the next step what torch frees after each one; elsewhere nothing.

    By default large tensors go back to the kernel, which clears their memory for the next step: see
    docs/performance.md.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


@contextmanager
def switches_restored() -> Iterator[None]:
    """Puts back what `Numerics.set_up` and `tune` change in torch, since runs may share a process."""
    deterministic, warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    switches = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = switches
        torch.set_num_threads(threads)


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch: initial weights depend on `seed` alone."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """torch's generators on the CPU and on `device`, as byte tensors."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Puts back what `random_state` took; a generator that this machine lacks is left out."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
