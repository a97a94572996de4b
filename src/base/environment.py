"""Where a run happened: package versions, machine and git state, found without importing torch."""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

ARGUMENTS = "SEGSWEEP_ARGUMENTS"  # name of an environment variable
FIELDS = {"1 ": 8, "2 ": 9, "u ": 10}  # of git status, before the name of a changed, renamed or unmerged file
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


class Checkout(NamedTuple):
    """A git checkout: its commit, the tracked files that differ from it, and those that git does not know."""

    commit: str
    changed: list[str]
    untracked: list[str]


def checkout_at(folder: Path) -> Checkout | None:
    """The checkout that `folder` lies in; None outside of one, or without git."""
    command = ["git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain=v2", "--branch", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    entries = iter(done.stdout.decode(errors="backslashreplace").split("\0"))
    commit, names = "(initial)", {"changed": list[str](), "untracked": list[str]()}
    for entry in entries:
        if entry.startswith("# branch.oid "):
            commit = entry.split(" ")[2]
        elif entry[:2] in FIELDS:
            names["changed"].append(entry.split(" ", FIELDS[entry[:2]])[-1])
            if entry.startswith("2 "):
                next(entries)  # its name before it was renamed
        elif entry.startswith("? "):
            names["untracked"].append(entry[2:])
    return None if commit == "(initial)" else Checkout(commit, **names)


def git_state(checkout: Checkout | None) -> dict[str, Any] | None:
    """What run.json says of the code: its commit, and whether tracked files differ from it; None without git."""
    return checkout and {"commit": checkout.commit, "changed": bool(checkout.changed)}


def typed_arguments() -> list[str] | None:
    """The arguments of the `src.train` that this process is or was started by; None in a notebook, for example.

    Those of another command follow its name, as `src.settle`.
    """
    return json.loads(os.environ.get(ARGUMENTS, "null"))


def shell_command(arguments: list[str]) -> str:
    """The command with these `typed_arguments`, for a shell."""
    return shlex.join(["python", "-m", *([] if arguments[:1] == ["src.settle"] else ["src.train"]), *arguments])
