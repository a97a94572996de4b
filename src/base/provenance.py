"""What a run was made with: code and its changes, packages, machine, command; kept once in a sweep, by its content."""

import hashlib
import json
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ConfigDict, Field

from src.base.config import Section, parse_section
from src.base.environment import PROJECT, Checkout, shell_command, typed_arguments
from src.base.errors import one_line
from src.base.files import read_json, read_regular, replacing

LARGEST_PATCH = 1_000_000  # bytes
MOST_NAMES = 200  # of changed, and of untracked files
SECONDS = 10  # that git has for a patch
FOLDER = ".provenance"  # in that of a sweep


class Provenance(Section):
    """What is kept; docs/record.md explains the keys. `None`: not known there."""

    model_config = ConfigDict(extra="ignore")

    command: list[str] | None = None
    commit: str | None = None
    changed: list[str] = Field(default_factory=list)
    untracked: list[str] = Field(default_factory=list)
    patch: str | None = Field(None, pattern=r"^[0-9a-f]{16}\.patch$")
    patch_left_out: str | None = None
    python: str | None = None
    packages: list[str] = Field(default_factory=list)
    cuda: str | None = None
    cudnn: str | None = None
    driver: str | None = None
    host: str | None = None
    system: str | None = None

    def described(self) -> dict[str, str]:
        """It in words, by name, each in one printable line."""
        changes = f"{len(self.changed)} changed files, " + (self.patch or self.patch_left_out or "no patch")
        untracked = f"untracked: {', '.join(self.untracked)}" if self.untracked else ""
        code = [f"commit {self.commit}", changes if self.changed else "", untracked]
        gpu = [
            f"{name} {value}"
            for name, value in [("CUDA", self.cuda), ("cuDNN", self.cudnn), ("driver", self.driver)]
            if value
        ]
        made = [f"Python {self.python}", f"{len(self.packages)} packages", *gpu, str(self.host), str(self.system)]
        command = {} if self.command is None else {"command": shell_command(self.command)}
        texts = {
            "code": "; ".join(filter(None, code)) if self.commit else "not a git checkout",
            "made with": ", ".join(made),
        }
        return {name: one_line(text) for name, text in {**command, **texts}.items()}


def keep_provenance(sweep: Path, checkout: Checkout | None, computing: Mapping[str, str | None]) -> str | None:
    """Keeps what this process runs with in the folder `sweep`, unless that is there already; returns its name.

    `checkout`: of the code; `computing`: cuda, cudnn and driver. None, and nothing raised, if it cannot be kept: no run
    fails for it.
    """
    with suppress(OSError, ValueError):
        patch, left_out = _patch() if checkout and checkout.changed else (None, None)
        found = Provenance(
            command=typed_arguments(),
            commit=checkout and checkout.commit,
            changed=checkout.changed[:MOST_NAMES] if checkout else [],
            untracked=checkout.untracked[:MOST_NAMES] if checkout else [],
            patch=f"{_digest(patch)}.patch" if patch is not None else None,
            patch_left_out=left_out,
            python=platform.python_version(),
            packages=_packages(),
            host=platform.node(),
            system=platform.platform(),
            **computing,
        )
        content = json.dumps(found.model_dump(), indent=2).encode() + b"\n"
        name = _digest(content)
        _keep(sweep / FOLDER / f"{name}.json", content)
        if found.patch is not None and patch is not None:
            _keep(sweep / FOLDER / found.patch, patch)
        return name
    return None


def read_provenance(sweep: Path, name: object) -> Provenance | None:
    """What is kept under `name`, as a run.json has it, in the folder `sweep`; None if nothing readable is."""
    with suppress(OSError, ValueError):
        return parse_section(Provenance, read_json(_file(sweep, name)))
    return None


def copy_provenance(name: object, source: Path, target: Path) -> None:
    """Keeps what the sweep `source` has under `name` in the sweep `target` too, as far as that is possible."""
    with suppress(OSError, ValueError):
        found = read_provenance(source, name)
        files = [_file(source, name), *([source / FOLDER / found.patch] if found and found.patch else [])]
        for file in files:
            _keep(target / FOLDER / file.name, read_regular(file, LARGEST_PATCH))


def _file(sweep: Path, name: object) -> Path:
    if not re.fullmatch(r"[0-9a-f]{16}", str(name)):  # it may come from anywhere
        raise ValueError("not the name of a provenance")
    return sweep / FOLDER / f"{name}.json"


def _keep(file: Path, content: bytes) -> None:
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _patch() -> tuple[bytes | None, str | None]:
    """What `git apply` needs to make the tracked files of HEAD those that are there; or None, and why."""
    options = ["--no-ext-diff", "--no-textconv", "--no-color", "--binary", "-U3", "--src-prefix=a/", "--dst-prefix=b/"]
    command = ["git", "--no-optional-locks", "-C", str(PROJECT), "diff", *options, "HEAD"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        patch = process.stdout.read(LARGEST_PATCH + 1)
        timer.cancel()
        if len(patch) > LARGEST_PATCH:
            process.kill()
            return None, f"patch left out: more than {LARGEST_PATCH:,} bytes"
    return (patch, None) if process.returncode == 0 else (None, "patch left out: git diff failed")


def _packages() -> list[str]:
    """`name==version` of each installed package, as pip freeze has them; from folder names, which takes no time."""
    folders = {folder.stem for entry in sys.path if entry for folder in Path(entry).glob("*.dist-info")}
    return sorted((name.replace("-", "==", 1) for name in folders), key=str.lower)
