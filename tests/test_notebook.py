"""The notebook: short, without definitions, committed with its results, and it runs from first cell to last."""

import ast

import nbformat
import pytest
from nbclient import NotebookClient

from tests.analysis.recorded import replicates
from tests.conftest import PROJECT

NOTEBOOK = PROJECT / "notebooks" / "aggregate.ipynb"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_short_and_committed_with_the_results_of_the_demo(notebook):
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 12 and NOTEBOOK.stat().st_size < 1_000_000
    cells = _code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))  # run once, from top to bottom
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in kinds and kinds.count("execute_result") == len(cells)
    assert set(notebook.metadata) == {"kernelspec"} and notebook.metadata.kernelspec.name == "python3"
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == []


def test_it_defines_nothing_and_imports_one_name(notebook):
    lines = [line for cell in _code_cells(notebook) for line in cell.source.splitlines() if not line.startswith("%")]
    nodes = list(ast.walk(ast.parse("\n".join(lines))))
    assert [node for node in nodes if isinstance(node, DEFINITIONS)] == []
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("src")]
    assert [(node.module, [name.name for name in node.names]) for node in imports] == [("src.analysis", ["load"])]


def test_it_runs_on_the_demo_sweep_and_shows_tables_and_figures(notebook, tmp_path, monkeypatch):
    sweep = tmp_path / "multirun_outputs" / "demo"
    for model, mean in {"unet": 0.8, "resnet34_unet": 0.7}.items():
        for scheduler, gain in {"cosine": 0.0, "onecycle": 0.05}.items():
            replicates(sweep, f"model={model}", f"scheduler={scheduler}", mean=mean + gain, images=20)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # not the user's
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output.data for cell in _code_cells(notebook) for output in cell.outputs if "data" in output]
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert len(tables) == 5  # runs, settings, effects, a comparison, claims
    assert tables[1].index("unet, onecycle") < tables[1].index("resnet34_unet, cosine")
    assert "scheduler: onecycle - cosine (mean of 2)" in tables[2] and "better" in tables[2]
    assert sum("image/png" in data for data in shown) == 4  # settings, curves, effects, images
    assert (sweep / "report" / "index.html").exists()


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
