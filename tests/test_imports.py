"""Data flow one way, so imports point the other way: a wing may import only the wings that come before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
TRAINING = {"base", "display", "data", "models", "training"}
RECORDS = {"base", "display", "analysis.records"}
ANALYSES = {"analysis.records", "analysis.statistics", "analysis.claims", "analysis.status"}
# each wing with those it may import beside itself; a wing that is not here would be a mistake
MAY_IMPORT = {
    "base": set(),
    "cli": {"base"},
    "display": {"base"},
    "data": {"base"},
    "models": {"base"},
    "training": TRAINING,
    "sweep": TRAINING | {"cli", "analysis.status"},
    "prediction": TRAINING,
    "evaluation": TRAINING | {"prediction"},
    "exporting": TRAINING | {"prediction"},
    "benchmarking": TRAINING,
    "publishing": RECORDS | {"analysis.report"},
    "analysis.records": RECORDS,
    "analysis.statistics": RECORDS,
    "analysis.claims": RECORDS | {"analysis.statistics"},
    "analysis.status": RECORDS,
    "analysis.report": RECORDS | ANALYSES,
    "analysis": RECORDS | ANALYSES | {"analysis.report"},
}
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


def wing_of(module: str) -> str:
    """Of a dotted name: its folder under src, and of analysis the folder within; `command` for a file of src itself."""
    parts = module.split(".")[1:]
    if not (SRC / parts[0]).is_dir():
        return "command"
    deeper = parts[0] == "analysis" and len(parts) > 1 and (SRC / "analysis" / parts[1]).is_dir()
    return ".".join(parts[: 2 if deeper else 1])


def wings(path: Path) -> set[str]:
    return {wing_of(name) for name in imported(path) if name.startswith("src.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_imports_point_back_along_the_flow_of_data(path):
    own = wing_of(".".join(("src", *path.relative_to(SRC).with_suffix("").parts)))
    if own != "command":  # a command uses every wing, and no wing uses it
        assert wings(path) <= {own, *MAY_IMPORT[own]}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_only_commands_and_their_entry_know_hydra(path):
    knows = any(name.split(".")[0] == "hydra" for name in imported(path))
    assert not knows or path.parent in (SRC, SRC / "cli")


def test_the_facade_of_the_analysis_opens_without_pandas():
    code = (
        "import sys; from src.analysis import load; sys.exit(bool({'pandas', 'scipy', 'matplotlib'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=SRC.parent).returncode == 0


@pytest.mark.parametrize(
    "module",
    [
        "src.base.record",
        "src.base.device_sharing",
        "src.analysis.report.report",
        "src.train",
        "src.aggregate",
        "src.compare",
        "src.status",
        "src.publishing.publishing",
    ],
)
def test_what_must_open_fast_does_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SRC.parent).returncode == 0
