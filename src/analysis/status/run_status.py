"""One run, told from its record: how it ended, what it was made with, and which of its checkpoints were removed."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.base.provenance import FOLDER, read_provenance
from src.base.record import RunRecord
from src.display.text import collapse_whitespace, human_seconds, mapping_text, shortened

RECORDED = ("device", "numerics", "data", "git", "versions", "machine", "tags", "notes", "error")  # keys of run.json

LONGEST = 2000  # characters of a fact, which a record may have any number of


def run_text(folder: Path) -> str:
    """A line for each fact of the run in `folder`. Raises ValueError for a folder that is not a run's."""
    record = RunRecord(folder)
    run = record.read_now()
    if run is None:
        raise ValueError(f"{folder}: is not the folder of a run, it has no run.json; sweep=<folder> shows a sweep")
    facts = {
        "run": run.get("run_id"),
        "status": run["status"],
        "scores": run.get("scores"),
        "time": f"{human_seconds(run.get('seconds', 0))}, from {run.get('started')} to {run.get('finished')}",
        **{key: run.get(key) for key in RECORDED},
        **_made_with(folder, run.get("provenance")),
        **{f"removed {one['at']}": f"{', '.join(one['files'])} (keep={one['keep']})" for one in run.get("removed", [])},
        "again": shlex.join(["python", "-m", "src.repeat", f"run={folder}"]),
    }
    texts = {name: _text(value) for name, value in facts.items() if value}
    width = max(map(len, texts))
    return "\n".join(f"{collapse_whitespace(name):<{width}}  {text}" for name, text in texts.items())


def _made_with(folder: Path, name: object) -> dict[str, str]:
    if name is None:  # of a run from before it was kept
        return {}
    sweep = folder.absolute().parent
    found = read_provenance(sweep, name)
    if found is None:
        return {"provenance": f"not in {sweep / FOLDER}, where {name} should be"}
    return found.described() | {"provenance": str(sweep / FOLDER / f"{name}.json")}


def _text(value: Any) -> str:
    return shortened(collapse_whitespace(mapping_text(value) if isinstance(value, Mapping) else value), LONGEST)
