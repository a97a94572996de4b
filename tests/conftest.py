"""What many tests use: the real config, composed as the command does it, and the command itself as a subprocess."""

import os

# before anything imports torch: tests run side by side, and threads that wait for each other's cores only burn them
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.cli.overrides import CONF, force_overrides, plain_values

PROJECT = CONF.parent
hypothesis.settings.register_profile("any machine", deadline=None)  # a slow moment is no wrong answer
hypothesis.settings.load_profile("any machine")
Compose = Callable[..., dict[str, Any]]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def composed() -> Compose:
    """The real config with overrides, as plain values: `composed("model=unet", "seed=3")`."""

    def compose_plain(*overrides: str) -> dict[str, Any]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return plain_values(compose("train", force_overrides(list(overrides))))

    return compose_plain


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the synthetic data of all tests lie, made by whoever needs them first."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def small(tmp_path: Path, synthetic_root: Path) -> list[str]:
    """Overrides for a run of seconds, of the real classes, on 20 + 6 synthetic images, recorded under tmp_path."""
    return _small(synthetic_root, tmp_path / "runs")


def _small(root: Path, output: Path) -> list[str]:
    return [
        "data=synthetic",
        f"data.root={root}",
        "data.trainval=20",
        "data.test=6",
        "data.size=48",
        "data.workers=0",
        f"data.cache_dir={root}/cache",
        "size=small",
        "trainer.epochs=2",
        "trainer.batch_size=4",
        "data.image_size=32",
        "model.width=2",
        "device=cpu",
        f"output={output}",
    ]


@dataclass(frozen=True)
class Done:
    """What a command did: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def train(here: Callable[..., Done]) -> Callable[..., Done]:
    """Does what `python -m src.train <arguments>` does; the runs of a sweep are processes of their own all the same."""
    from src.train import train

    return partial(here, train)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Does what `python -m src.<name> <arguments>` does, from the arguments to the exit code, but in this process.

    `main` is the command's function. It spares the seconds that importing torch or pandas takes.
    """

    def run(main: Callable[[], None], *arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", [main.__module__, *arguments])
        monkeypatch.setenv("SEGSWEEP_ARGUMENTS", "null")  # which the command sets
        monkeypatch.chdir(PROJECT)
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            main()
            code: int | str | None = 0
        except SystemExit as end:
            code = end.code
        finally:
            logging.getLogger().handlers.clear()  # Hydra's, which write to this test's captured output
        printed = capfd.readouterr()
        said = "" if isinstance(code, int) or code is None else f"{code}\n"
        return Done(code if isinstance(code, int) else int(code is not None), printed.out, printed.err + said)

    return run


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs `python -m src.<name> <arguments>` in the project's root and returns what it did."""

    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"src.{name}", *arguments],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def _trained(folder: Path, root: Path, *overrides: str) -> Path:
    """The folder of a run of two epochs on 20 + 6 synthetic images, trained by the command's own path."""
    from src.training.checks import checked
    from src.training.run import run

    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = plain_values(compose("train", force_overrides([*_small(root, folder), *overrides])))
    outcome = run(checked(plain), "single", list(overrides))
    assert outcome.status == "finished", outcome.error
    return outcome.folder


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, synthetic_root: Path) -> Path:
    """The folder of a finished run of a UNet of width 2 at 32 pixels; not to be changed, see `run_copy`."""
    return _trained(tmp_path_factory.mktemp("runs"), synthetic_root)


@pytest.fixture(scope="session")
def two_channel_run(tmp_path_factory: pytest.TempPathFactory, synthetic_root: Path) -> Path:
    """As `trained_run`, with report D's two output channels."""
    return _trained(tmp_path_factory.mktemp("runs"), synthetic_root, "model=unet_nobn", "loss=cross_entropy")


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of `trained_run` that a test may change."""
    return Path(shutil.copytree(trained_run, tmp_path / "copied" / trained_run.name))
