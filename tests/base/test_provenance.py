"""What a run was made with: kept once, whatever git says, read as data, and never a reason to fail."""

import importlib.metadata
import json
import os
import shutil
import subprocess

import pytest

from src.base import provenance
from src.base.environment import Checkout, checkout_at, git_state
from src.base.provenance import FOLDER, copy_provenance, keep_provenance, read_provenance

CPU = {"cuda": None, "cudnn": None, "driver": None}


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with a text, a binary file and one that was renamed, in the project's place."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "config", "diff.context", "0")  # of which a patch must not depend
    for name in ("code.py", "old name.py", "image.bin"):
        (folder / name).write_bytes((name.encode() + b"\n") * 20)
    git(folder, "add", "."), git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "PROJECT", folder)
    monkeypatch.setenv("SEGSWEEP_ARGUMENTS", '["-m", "seed=0,1", "notes=a b"]')
    return folder


def changed(project):
    (project / "code.py").write_text("code.py\n" * 9 + "other\n" + "code.py\n" * 10)
    (project / "image.bin").write_bytes(bytes(range(256)))
    git(project, "mv", "old name.py", "new name.py")
    (project / "notes.txt").write_text("a secret")
    return checkout_at(project)


def test_of_a_changed_checkout_the_patch_makes_the_same_files_again(project, tmp_path):
    sweep, head = tmp_path / "sweep", git(project, "rev-parse", "HEAD").decode().strip()
    sweep.mkdir()
    checkout = changed(project)
    assert checkout == Checkout(head, ["code.py", "image.bin", "new name.py"], ["notes.txt"])
    assert git_state(checkout) == {"commit": head, "changed": True}
    name = keep_provenance(sweep, checkout, {"cuda": "12.8", "cudnn": "91000", "driver": "550.54"})
    assert keep_provenance(sweep, checkout, {"cuda": "12.8", "cudnn": "91000", "driver": "550.54"}) == name
    found = read_provenance(sweep, name)
    assert {file.name for file in (sweep / FOLDER).iterdir()} == {f"{name}.json", found.patch}
    assert b"secret" not in (sweep / FOLDER / found.patch).read_bytes()
    (
        git(tmp_path, "clone", "-q", str(project), "again"),
        git(tmp_path / "again", "apply", str(sweep / FOLDER / found.patch)),
    )
    for file in ("code.py", "image.bin", "new name.py"):
        assert (tmp_path / "again" / file).read_bytes() == (project / file).read_bytes()
    assert not (tmp_path / "again" / "old name.py").exists()
    described = found.described()
    assert described["command"] == "python -m src.train -m seed=0,1 'notes=a b'"
    assert described["code"] == f"commit {head}; 3 changed files, {found.patch}; untracked: notes.txt"
    assert "CUDA 12.8, cuDNN 91000, driver 550.54" in described["made with"]
    assert f"numpy=={importlib.metadata.version('numpy')}" in found.packages


def test_a_clean_checkout_has_no_patch_and_another_command_another_name(project, tmp_path, monkeypatch):
    first = keep_provenance(tmp_path, checkout_at(project), CPU)
    monkeypatch.delenv("SEGSWEEP_ARGUMENTS")
    second = keep_provenance(tmp_path, checkout_at(project), CPU)
    assert len({first, second}) == len(list((tmp_path / FOLDER).iterdir())) == 2
    assert read_provenance(tmp_path, second).command is None and read_provenance(tmp_path, first).patch is None


def test_nothing_of_it_can_fail_a_run(project, tmp_path, monkeypatch):
    checkout = changed(project)
    monkeypatch.setattr(provenance, "LARGEST_PATCH", 100)
    name = keep_provenance(tmp_path, checkout, CPU)
    assert read_provenance(tmp_path, name).patch_left_out == "patch left out: more than 100 bytes"
    shutil.rmtree(project / ".git")
    assert checkout_at(project) is None and git_state(None) is None
    name = keep_provenance(tmp_path, checkout, CPU)
    assert read_provenance(tmp_path, name).patch_left_out == "patch left out: git diff failed"
    assert read_provenance(tmp_path, keep_provenance(tmp_path, None, CPU)).described()["code"] == "not a git checkout"
    monkeypatch.setenv("PATH", "")
    assert checkout_at(project) is None
    assert keep_provenance(tmp_path, checkout, CPU) is None
    (tmp_path / "file").write_text("")
    assert keep_provenance(tmp_path / "file", None, CPU) is None


def test_what_is_kept_is_data_and_may_be_anything(tmp_path):
    (tmp_path / FOLDER).mkdir()
    for number, content in enumerate(['{"command": 3}', "{", '{"patch": "../../x.patch"}', '{"host": "\\u001b[2J"}']):
        (tmp_path / FOLDER / f"{number:016}.json").write_text(content)
    assert [read_provenance(tmp_path, f"{number:016}") is None for number in range(4)] == [True, True, True, False]
    assert "\\x1b[2J" in read_provenance(tmp_path, f"{3:016}").described()["made with"]
    for name in (None, "../x", ["a"], "0123456789abcdef"):
        assert read_provenance(tmp_path, name) is None


def test_a_run_that_is_reused_takes_it_along(project, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    name = keep_provenance(tmp_path / "first", changed(project), CPU)
    copy_provenance(name, tmp_path / "first", tmp_path / "second")
    kept = [
        {file.name: file.read_bytes() for file in (tmp_path / one / FOLDER).iterdir()} for one in ("first", "second")
    ]
    assert kept[0] == kept[1] and len(kept[0]) == 2
    (
        copy_provenance("../x", tmp_path / "first", tmp_path / "second"),
        copy_provenance(None, tmp_path, tmp_path / "nowhere"),
    )


def test_a_name_of_any_bytes_can_be_kept(project, tmp_path):
    (project / os.fsdecode(b"\xff.py")).touch()
    name = keep_provenance(tmp_path, checkout_at(project), CPU)
    assert read_provenance(tmp_path, name).untracked == ["\\xff.py"]
    json.loads((tmp_path / FOLDER / f"{name}.json").read_text())
