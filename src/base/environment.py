"""Where a run happened: package versions, machine and git state, found without importing torch."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "hydra-core", "omegaconf", "albumentations", "opencv-python-headless", "numpy")


PROJECT = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Version of Python and of each package that can change a result; packages that are absent are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # for example a GPU machine whose opencv comes from elsewhere
    return found


def machine() -> dict[str, Any]:
    """Host name, operating system and number of CPU cores that this process may use."""
    return {"host": platform.node(), "system": platform.platform(), "cores": usable_cores()}


def usable_cores() -> int:
    """CPU cores this process may use, which a scheduler, a container or our launcher may have limited."""
    if share := os.environ.get("SEGSWEEP_CORES"):
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout at `folder` and whether tracked files differ from it; None outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
