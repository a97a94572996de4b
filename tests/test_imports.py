"""Data flow one way, so imports point the other way: a module may import only rooms that come before its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
BASE = {
    "errors",
    "config",
    "record",
    "runtime",
    "files",
    "identity",
    "environment",
    "neighbours",
    "locks",
    "command_line",
    "console",
    "spreadsheets",
}
MAY_IMPORT = {
    "data": BASE | {"data"},
    "models": BASE | {"models"},
    "training": BASE | {"data", "models", "training"},
    "prediction": BASE | {"data", "models", "training", "prediction"},
    "display": BASE | {"display"},
    "analysis": BASE | {"display", "analysis"},
    "exporting": BASE | {"data", "models", "training", "prediction", "exporting"},
    "evaluation": BASE | {"data", "models", "training", "prediction", "display", "analysis", "evaluation"},
    "benchmarking": BASE | {"data", "models", "training", "analysis", "benchmarking"},
    "sweep": BASE | {"data", "training", "analysis", "sweep"},
}
# the ground floor, from bottom to top
ORDER = [
    "errors",
    "console",
    "spreadsheets",
    "files",
    "locks",
    "neighbours",
    "environment",
    "config",
    "identity",
    "record",
    "runtime",
    "command_line",
    "composing",  # with Hydra: for commands and launchers alone
]
MODULES = sorted(SRC.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that the module at `path` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("src.")}


def test_that_all_modules_are_seen():
    assert len(MODULES) > 25


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_imports_point_back_along_the_flow_of_data(path):
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    if room in ORDER:
        assert rooms(path) <= set(ORDER[: ORDER.index(room)])
    elif room in MAY_IMPORT:
        assert rooms(path) <= MAY_IMPORT[room]
    elif room != "__init__":  # a command: it uses every room, and no room uses it
        assert not [other for other in MODULES if room in rooms(other)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_only_commands_know_hydra(path):
    is_command = path.parent == SRC and path.stem not in BASE
    assert is_command or not any(name.split(".")[0] == "hydra" for name in imported(path))


@pytest.mark.parametrize(
    "module", ["src.record", "src.neighbours", "src.analysis.report", "src.train", "src.aggregate", "src.status"]
)
def test_what_must_open_fast_does_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SRC.parent).returncode == 0
