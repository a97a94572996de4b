"""The runs of a sweep as one table, whatever became of each of them."""

from pathlib import Path
from typing import Any

import pandas as pd

from src.files import read_json
from src.record import RunRecord

LAYOUT = "<folder>/<run_id>/run.json, as `python -m src.train` writes it under multirun_outputs/<sweep>/"


def load_runs(sweep: Path) -> pd.DataFrame:
    """One row a run of the folder `sweep`, sorted by id: choices, seed, ids, status, scores and seconds as columns.

    Runs that failed, were interrupted or are half written are rows too, with their status. Raises ValueError for a
    folder that holds no runs.
    """
    rows = [_row(file.parent) for file in sorted(sweep.glob("*/run.json"))]
    if not rows:
        raise ValueError(f"{sweep}: holds no runs; expected {LAYOUT}")
    return pd.DataFrame(rows)


def _row(folder: Path) -> dict[str, Any]:
    try:
        run = read_json(folder / "run.json")
    except ValueError as error:
        return {"run_id": folder.name, "status": "unreadable", "error": str(error)}
    return {
        "run_id": run["run_id"],
        "config_id": run["config_id"],
        **run["choices"],
        "seed": run["seed"],
        "status": RunRecord(folder).status(),
        **run["scores"],
        "best_epoch": run["best_epoch"],
        "seconds": run["seconds"],
        "fingerprint": run["data"]["fingerprint"],
        "error": run["error"],
    }
