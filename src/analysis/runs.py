"""The runs of a sweep as one table: what was planned, what is there, whatever became of each of them."""

import math
import statistics
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, Field

from src.analysis.settings import ReadConfig, add_values, config_of_any, section_of, sort_key
from src.config import Section, parse_section
from src.errors import ConfigError
from src.files import read_json, read_yaml
from src.identity import CHOICE_SECTIONS
from src.record import SCHEMA, STATUSES, RunRecord

LAYOUT = "<folder>/<run_id>/run.json, as `python -m src.train` writes it under multirun_outputs/<sweep>/"
DICE = ("valid_dice", "test_dice")
COSTS = ("seconds", "train_seconds", "images_per_second", "peak_memory_bytes")
LAST = (*COSTS, "alone", "device", "train_images", "fingerprint", "error", "sweep", "folder")
WHOLE_NUMBERS = ("seed", "epoch", "epochs", "best_epoch", "train_images")
NUMBERS = (*DICE, *COSTS)
WORDS = ("config_id", "device", "fingerprint", "error")
RECORD_FILES = {"run.json", "config.yaml", "overrides.yaml", "epochs.jsonl", "test.json", "checkpoints", "train.log"}


def load_runs(*sweeps: Path) -> pd.DataFrame:
    """One row a run of the folders `sweeps`, sorted by choices and seed; no run is left out, however it stands.

    Columns: run_id, config_id, a column for each config group, seed, status, `epoch` (ended so far) of `epochs`,
    best_epoch, the scores (valid_dice: best so far; test_dice and others once finished), seconds (worked),
    train_seconds (in training steps), images_per_second (median over epochs), peak_memory_bytes, alone (whether no
    other run was seen on its device), device, train_images, fingerprint of the data, error (why it failed, was
    interrupted or is unreadable), sweep and folder; and one column a config value, such as `optimizer.lr`, where
    settings of the same choices differ in values. What is not known is missing (NA).

    `status` is `planned` for a run of plan.json that has not begun, `unreadable` for a folder whose record is broken or
    missing, else as in the record. Raises ValueError for a folder that is no sweep.
    """
    return load_runs_and_epochs(*sweeps)[0]


def load_runs_and_epochs(*sweeps: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs as `load_runs` gives them, and one row an ended epoch: `folder` of its run and the keys of its line."""
    rows, epochs = [], []
    for sweep in sweeps:
        for row, lines in _read_sweep(sweep):
            rows.append({**row, "sweep": str(sweep), "folder": str(sweep / row["run_id"])})
            epochs += [{"folder": rows[-1]["folder"], **line} for line in lines]
    runs = _typed(pd.DataFrame(rows))
    config_of = cache(lambda folder: read_config(Path(folder)))  # parsing YAML is slow
    _add_epochs(runs, config_of)
    values = add_values(runs, config_of)
    order = [*(name for name in CHOICE_SECTIONS if name in runs), *values, "seed", "run_id"]
    return runs.sort_values(order, key=sort_key, ignore_index=True), pd.DataFrame(epochs)


def read_config(folder: Path) -> dict[str, Any]:
    """The config that the run in `folder` was begun with; empty where there is none that can be read."""
    try:
        config = read_yaml(folder / "config.yaml")
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _read_sweep(sweep: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """For each run of a sweep, planned or begun, its row and the lines of its epochs."""
    planned, problems = _read_plan(sweep)
    folders = _run_folders(sweep, planned)
    for folder in folders:
        yield _read_run(RunRecord(folder), planned.get(folder.name, {}))
    begun = {folder.name for folder in folders}
    yield from (
        ({**facts, "run_id": run_id, "status": "planned"}, [])
        for run_id, facts in planned.items()
        if run_id not in begun
    )
    yield from ((problem, []) for problem in problems)


def _read_plan(sweep: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What plan.json says of each run, by run_id; and a row that says so where it cannot be read."""
    path = sweep / "plan.json"
    try:
        entries = read_json(path)["runs"] if path.exists() else []
        return {run["run_id"]: _planned_facts(run) for run in entries}, []
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = (
            f"the runs that have not begun are not known ({error}); the next launch writes it anew if it is deleted"
        )
        return {}, [{"run_id": path.name, "status": "unreadable", "error": reason}]


def _planned_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    return {"config_id": run["config_id"], **run["choices"], "seed": run["seed"], "epoch": 0, "epochs": run["epochs"]}


def _run_folders(sweep: Path, planned: Mapping[str, Any]) -> list[Path]:
    """The folders in `sweep` that are runs, or began to be: planned, with a file of a record, or still empty."""
    folders = [path for path in sweep.iterdir() if path.is_dir()] if sweep.is_dir() else []
    files = {folder: {file.name for file in folder.iterdir()} for folder in folders if not folder.name.startswith(".")}
    runs = [folder for folder in files if folder.name in planned or not files[folder] or files[folder] & RECORD_FILES]
    if not planned and not any(files[folder] for folder in runs):
        raise ValueError(_no_sweep(sweep))
    return runs


def _no_sweep(sweep: Path) -> str:
    if not sweep.is_dir():
        return f"{sweep}: there is no such folder; expected {LAYOUT}"
    if (sweep / "run.json").exists():
        return f"{sweep}: is a single run; give the folder around it, {sweep.absolute().parent}"
    inner = sorted({file.parent.parent.name for file in sweep.glob("[!.]*/[!.]*/run.json")})
    if inner:
        return f"{sweep}: holds sweeps, no runs; give one of {', '.join(str(sweep / name) for name in inner)}"
    return f"{sweep}: holds no runs; expected {LAYOUT}"


def _read_run(record: RunRecord, planned: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a folder, what was planned for it and over that what its record says, and its epochs."""
    try:
        run = record.read_now()
        being_made = run is None and record.is_held()
        facts = {"status": "running"} if being_made else _facts(run, record.folder)
    except OSError as error:
        facts = {"status": "unreadable", "error": f"run.json cannot be read: {error}"}
    except ConfigError as error:
        facts = {"status": "unreadable", "error": f"run.json is no record of a run: {'; '.join(error.problems)}"}
    except ValueError as error:
        facts = {"status": "unreadable", "error": str(error)}
    except (KeyError, TypeError) as error:
        facts = {"status": "unreadable", "error": f"run.json is no record of a run: {error!r}"}
    epochs = _read_epochs(record)
    done = None if epochs is None else len(epochs)
    return {"run_id": record.folder.name, **planned, "epoch": done, **_costs(epochs or []), **facts}, epochs or []


def _read_epochs(record: RunRecord) -> list[dict[str, Any]] | None:
    """None where they cannot be known: a line in the middle is broken, or the file may not be read."""
    try:
        return record.read_epochs()
    except (ValueError, OSError):
        return None


class _Data(Section):
    model_config = ConfigDict(extra="ignore")

    fingerprint: str | None = None
    images: dict[str, int] = Field(default_factory=dict)


class _Run(Section):
    """What is needed of run.json; docs/record.md has all of it."""

    model_config = ConfigDict(extra="ignore")

    run_id: str
    config_id: str
    choices: dict[str, str]
    seed: int
    seconds: float
    scores: dict[str, float]
    best_epoch: int | None = None
    data: _Data = Field(default_factory=_Data)
    device: str | None = None
    machine: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None


def _facts(content: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """The columns that run.json gives. Raises ValueError, KeyError or TypeError for one that is broken."""
    if content is None:
        raise ValueError("run.json is missing: the run was stopped as it began, or is half copied")
    if content["schema"] != SCHEMA or content["status"] not in STATUSES:
        raise ValueError(
            f"run.json has schema {content['schema']} and status {content['status']!r}; this version knows schema "
            f"{SCHEMA}"
        )
    run, status = parse_section(_Run, content), content["status"]
    if run.run_id != folder.name and folder.with_name(run.run_id).exists():
        raise ValueError(f"is a copy of {run.run_id}, which is there too; counting both would count one run twice")
    gone = "no process is at it: it was killed, or it is at work on another machine"
    return {
        "run_id": folder.name,
        "config_id": run.config_id,
        **run.choices,
        "seed": run.seed,
        "status": status,
        **run.scores,
        "best_epoch": run.best_epoch,
        "seconds": run.seconds,
        "fingerprint": run.data.fingerprint,
        "train_images": run.data.images.get("train"),
        "device": _device_of(run),
        "error": run.error or (gone if status == "interrupted" else None),
    }


def _costs(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the training of a run cost; empty before its first epoch has ended, and where it is not on record."""
    try:
        neighbours: list[Any] = [epoch.get("device_jobs") for epoch in epochs]
        one_device = len({epoch.get("device") for epoch in epochs}) == 1  # and not resumed on another
        return {
            "train_seconds": math.fsum(epoch["train_seconds"] for epoch in epochs),
            "images_per_second": statistics.median(epoch["images_per_second"] for epoch in epochs),
            "peak_memory_bytes": max(epoch["peak_memory_bytes"] for epoch in epochs),
            "alone": None if None in neighbours else max(neighbours) == 1 and one_device,
        }
    except (KeyError, TypeError, ValueError):
        return {}


def _device_of(run: _Run) -> str | None:
    """The kind of device on which times can be compared: a model of GPU, or the cores of one machine."""
    if run.device != "cpu":
        return run.device
    return f"cpu, {run.machine.get('cores')} cores of {run.machine.get('host')}"


def _add_epochs(runs: pd.DataFrame, config_of: ReadConfig) -> None:
    """Where no plan says how many epochs a run has in all, the config of its setting does."""
    unplanned = runs[runs["epochs"].isna()]
    for _, folders in unplanned.groupby("config_id")["folder"]:
        trainer = section_of(config_of_any(folders, config_of), "trainer")
        runs.loc[folders.index, "epochs"] = trainer.get("epochs", pd.NA)


def _typed(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with the columns that are always there, in types that know of missing values."""
    choices = [name for name in CHOICE_SECTIONS if name in runs]
    first = ["run_id", "config_id", *choices, "seed", "status", "epoch", "epochs", "best_epoch"]
    scores = [*DICE, *(name for name in runs if name not in (*first, *DICE, *LAST))]
    types = dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(WORDS, "object")
    types["alone"] = "boolean"
    return runs.reindex(columns=[*first, *scores, *LAST]).astype(types)
