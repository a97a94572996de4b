"""The runs of a sweep as one table, with the status of each; no damage to a record affects other runs."""

import math
import statistics
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, ConfigDict, Field

from src.analysis.records.setting_names import ReadConfig, add_values, config_of_any, section_of, sort_key
from src.base.config import Section, parse_section
from src.base.errors import ConfigError, one_line, shown
from src.base.files import read_json, read_yaml
from src.base.identity import CHOICE_SECTIONS
from src.base.record import RunRecord, SweepFolder
from src.base.renamed import with_new_names

LAYOUT = "<folder>/<run_id>/run.json, as `python -m src.train` writes it under multirun_outputs/<sweep>/"
DICE = ("valid_dice", "test_dice")
COSTS = ("seconds", "train_seconds", "images_per_second", "peak_memory_bytes")
LAST = (*COSTS, "exclusive", "device", "train_images", "fingerprint", "error", "sweep", "folder")
WHOLE_NUMBERS = ("seed", "epoch", "epochs", "best_epoch", "train_images")
NUMBERS = (*DICE, *COSTS)
WORDS = ("config_id", "device", "fingerprint", "error")
COLUMNS = {"run_id", "config_id", "status", "left_out", "included", *CHOICE_SECTIONS, *WHOLE_NUMBERS, *LAST}
MOST_EPOCHS = 10**9  # of a plan
RECORD_FILES = {"run.json", "config.yaml", "overrides.yaml", "epochs.jsonl", "test.json", "checkpoints", "train.log"}


def load_runs(*sweeps: Path) -> pd.DataFrame:
    """One row per run of the folders `sweeps`, sorted by choices and seed, whatever its status.

    Columns: run_id, config_id, a column for each config group, seed, status, `epoch` (finished so far) of `epochs`,
    best_epoch, the scores (valid_dice: best so far; test_dice and others once finished), seconds (worked),
    train_seconds (in training steps), images_per_second (median over epochs), peak_memory_bytes, exclusive (whether no
    other run was seen on its device), device, train_images, fingerprint of the data, error (why it failed, was
    interrupted or is unreadable), sweep and folder; and one column per config value, such as `optimizer.lr`, if
    settings of the same choices differ in values. Unknown values are missing (NA).

    `status` is `planned` for a run of plan.json that has not started, `unreadable` for a folder whose record is broken
    or missing, else that of the record. Raises ValueError for a folder that is not a sweep.
    """
    return load_runs_and_epochs(*sweeps)[0]


def load_runs_and_epochs(*sweeps: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of `load_runs`, and one row per finished epoch: `folder` of its run and the keys of its line."""
    rows, epochs = [], []
    for sweep in sweeps:
        for row, lines in _read_sweep(sweep):
            rows.append({**row, "sweep": str(sweep), "folder": str(sweep / row["run_id"])})
            epochs += [{"folder": rows[-1]["folder"], **line} for line in lines]
    runs = _typed(pd.DataFrame(rows))
    config_of = cache(lambda folder: read_config(Path(folder)))  # parsing YAML is slow
    _leave_out_unknown_settings(runs, config_of)
    _add_epochs(runs, config_of)
    values = add_values(runs, config_of)
    order = [*(name for name in CHOICE_SECTIONS if name in runs), *values, "seed", "run_id", "folder"]
    return runs.sort_values(order, key=sort_key, ignore_index=True), pd.DataFrame(epochs)


def read_config(folder: Path) -> dict[str, Any]:
    """The config of the run in `folder`; empty if it cannot be read.

    Keys and texts are printable; dates and other types of YAML are texts.
    """
    try:
        config = with_new_names(_plain(read_yaml(folder / "config.yaml")))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {one_line(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value))


def _read_sweep(sweep: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """For each run of a sweep, planned or started, its row and the lines of its epochs."""
    planned, problems = _read_plan(sweep)
    folders = _run_folders(sweep, planned)
    for folder in folders:
        yield _read_run(RunRecord(folder), planned.get(folder.name, {}))
    started = {folder.name for folder in folders}
    yield from (
        ({**facts, "run_id": run_id, "status": "planned"}, [])
        for run_id, facts in planned.items()
        if run_id not in started
    )
    yield from ((problem, []) for problem in problems)


def _read_plan(sweep: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The facts of plan.json by run_id; and an `unreadable` row if it cannot be read."""
    path = SweepFolder(sweep).plan_file
    try:
        plan = parse_section(_Plan, read_json(path) if path.exists() else {"runs": []})
        return {run.run_id: run.facts for run in plan.runs}, []
    except (ValueError, OSError) as error:
        reason = f"the planned runs are unknown ({error}); delete it, and the next launch writes it again"
        return {}, [{"run_id": path.name, "status": "unreadable", "error": reason}]


def _run_folders(sweep: Path, planned: Mapping[str, Any]) -> list[Path]:
    """The folders in `sweep` that are runs: planned, with a file of a record, or still empty."""
    paths = sorted(sweep.iterdir()) if sweep.is_dir() else []
    folders = [path for path in paths if path.is_dir() or (path.name in planned and path.is_symlink())]
    files = {folder: _names_in(folder) for folder in folders if not folder.name.startswith(".")}
    runs = [folder for folder in files if folder.name in planned or not files[folder] or files[folder] & RECORD_FILES]
    if not planned and not any(files[folder] for folder in runs):
        raise ValueError(_not_a_sweep(sweep))
    return runs


def _names_in(folder: Path) -> set[str]:
    try:
        return {file.name for file in folder.iterdir()}
    except OSError:
        return {"run.json"}  # if it is a run, reading it fails with the reason


def _not_a_sweep(sweep: Path) -> str:
    if not sweep.is_dir():
        return f"{sweep}: is not a folder; expected {LAYOUT}"
    if (sweep / "run.json").exists():
        return f"{sweep}: is a single run; give the folder around it, {sweep.absolute().parent}"
    inner = sorted({file.parent.parent.name for file in sweep.glob("[!.]*/[!.]*/run.json")})
    if inner:
        return f"{sweep}: holds sweeps, not runs; give one of {', '.join(str(sweep / name) for name in inner)}"
    return f"{sweep}: does not hold runs; expected {LAYOUT}"


def _read_run(record: RunRecord, planned: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a folder, from its plan and its record, and its epochs."""
    try:
        run = record.read_now()
        starting = run is None and record.is_held()
        facts = {"status": "running"} if starting else _facts(run, record.folder)
    except OSError as error:
        facts = {"status": "unreadable", "error": f"run.json cannot be read: {error}"}
    except ConfigError as error:
        facts = {"status": "unreadable", "error": f"run.json is not a valid record: {'; '.join(error.problems)}"}
    except ValueError as error:
        facts = {"status": "unreadable", "error": str(error)}
    try:
        epochs = _read_epochs(record)
        done = {"epoch": len(epochs), **_costs(epochs)}
    except (ValueError, OSError) as error:
        epochs, done = [], {"epoch": None}
        # a finished run with a broken curve is not trusted; an unfinished one rewrites it when it resumes
        facts["status"] = "unreadable" if facts["status"] == "finished" else facts["status"]
        facts["error"] = "; ".join(filter(None, [facts.get("error"), f"epochs.jsonl cannot be used: {error}"]))
    return {"run_id": record.folder.name, **planned, **done, **facts}, epochs


def _read_epochs(record: RunRecord) -> list[dict[str, Any]]:
    """Raises ValueError or OSError if they cannot be read."""
    epochs = []
    for number, line in enumerate(record.read_epochs(), start=1):
        try:
            epoch = parse_section(_Epoch, line)
        except ConfigError as error:
            raise ValueError(f"line {number}: {'; '.join(error.problems)}") from error
        if epoch.epoch != number:
            raise ValueError(f"line {number} has epoch {epoch.epoch}")
        epochs.append(epoch.model_dump(exclude_unset=True))
    return epochs


Text = Annotated[str, AfterValidator(one_line)]  # printable: characters that a terminal would act on are escaped
FolderName = Annotated[str, Field(pattern=r"^[^./\x00][^/\x00]*$")]
Share = Annotated[float, Field(ge=0, le=1.000001)]  # of pixels, with a margin for rounding
Number = Annotated[float, Field(ge=-1e100, le=1e100)]  # so that its square is finite
Cost = Annotated[float, Field(ge=0, le=1e18)]  # seconds, bytes


class _FromRecord(Section):
    """Other keys are ignored; a number in quotes is text."""

    model_config = ConfigDict(extra="ignore", strict=True, coerce_numbers_to_str=False)


class _Planned(_FromRecord):
    run_id: FolderName
    config_id: Text
    choices: dict[str, Text]
    seed: int
    epochs: int = Field(ge=1, le=MOST_EPOCHS)

    @property
    def facts(self) -> dict[str, Any]:
        choices = _sections(self.choices)
        return {"config_id": self.config_id, **choices, "seed": self.seed, "epoch": 0, "epochs": self.epochs}


class _Plan(_FromRecord):
    runs: list[_Planned]


class _Epoch(_FromRecord):
    """A line of epochs.jsonl; docs/record.md explains the keys."""

    epoch: int
    lr: Number | None = None
    momentum: Number | None = None
    train_loss: Number | None = None
    valid_loss: Number | None = None
    train_dice: Share | None = None
    valid_dice: Share | None = None
    train_dice_batch_flattened: Share | None = None
    valid_dice_batch_flattened: Share | None = None
    valid_iou: Share | None = None
    train_accuracy: Share | None = None
    valid_accuracy: Share | None = None
    images_per_second: Cost | None = None
    train_seconds: Cost | None = None
    peak_memory_bytes: Cost | None = None
    device: Text | None = None
    device_jobs: int | None = None


class _Data(_FromRecord):
    fingerprint: Text | None = None
    images: dict[str, int] = Field(default_factory=dict)


class _Run(_FromRecord):
    """The needed keys of run.json; docs/record.md has all."""

    run_id: FolderName
    config_id: Text
    choices: dict[str, Text]
    seed: int
    seconds: Cost
    scores: dict[str, Number]
    best_epoch: int | None = None
    data: _Data = Field(default_factory=_Data)
    device: Text | None = None
    machine: dict[str, Any] = Field(default_factory=dict)
    error: Text | None = None


def _sections(choices: Mapping[str, str]) -> dict[str, str]:
    return {section: choices[section] for section in CHOICE_SECTIONS if section in choices}


def _facts(content: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """The columns that run.json gives. Raises ValueError for one that is broken."""
    if content is None:
        raise ValueError("run.json is missing: the run was stopped at its start, or was copied incompletely")
    run, status = parse_section(_Run, content), content["status"]
    _check_scores(run.scores, status)
    if run.run_id != folder.name and folder.with_name(run.run_id).exists():
        raise ValueError(f"is a copy of {run.run_id}, which is in the same folder")
    gone = "no process holds it: killed, or running on another machine"
    return {
        "run_id": folder.name,
        "config_id": run.config_id,
        **_sections(run.choices),
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


def _check_scores(scores: Mapping[str, float], status: str) -> None:
    problems = [f"scores.{shown(name)}: not the name of a score" for name in scores if not _names_a_score(name)]
    outside = [name for name in DICE if not 0 <= scores.get(name, 0) <= 1]
    problems += [f"scores.{name}: got {scores[name]}; allowed: 0 to 1" for name in outside]
    if status == "finished" and "test_dice" not in scores:
        problems.append("scores.test_dice: missing in a finished run")
    if problems:
        raise ConfigError(problems)


def _names_a_score(name: str) -> bool:
    return name.isidentifier() and name not in COLUMNS


def _costs(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """The costs of a run's training; empty before the end of its first epoch, or if they are not on record."""
    try:
        concurrent_runs: list[Any] = [epoch.get("device_jobs") for epoch in epochs]
        one_device = len({epoch.get("device") for epoch in epochs}) == 1  # and not resumed on another
        return {
            "train_seconds": math.fsum(epoch["train_seconds"] for epoch in epochs),
            "images_per_second": statistics.median(epoch["images_per_second"] for epoch in epochs),
            "peak_memory_bytes": max(epoch["peak_memory_bytes"] for epoch in epochs),
            "exclusive": None if None in concurrent_runs else max(concurrent_runs) == 1 and one_device,
        }
    except (KeyError, TypeError, ValueError):
        return {}


def _device_of(run: _Run) -> str | None:
    """The kind of device within which times are comparable: a model of GPU, or the cores of one machine."""
    if run.device != "cpu":
        return run.device
    return one_line(f"cpu, {run.machine.get('cores')} cores of {run.machine.get('host')}")


def _leave_out_unknown_settings(runs: pd.DataFrame, config_of: ReadConfig) -> None:
    """Marks the finished runs of a setting as unreadable if none of them has a readable config."""
    finished = runs[runs["status"] == "finished"]
    for _, folders in finished.groupby("config_id")["folder"]:
        if config_of_any(folders, config_of):
            continue
        for index, folder in folders.items():
            try:
                read_yaml(Path(folder) / "config.yaml")
            except (OSError, ValueError) as error:
                runs.loc[index, ["status", "error"]] = "unreadable", f"config.yaml cannot be used: {error}"


def _add_epochs(runs: pd.DataFrame, config_of: ReadConfig) -> None:
    """Takes the total number of epochs from the config of a setting without a plan."""
    unplanned = runs[runs["epochs"].isna()]
    for _, folders in unplanned.groupby("config_id")["folder"]:
        epochs = section_of(config_of_any(folders, config_of), "trainer").get("epochs")
        if type(epochs) is int and 1 <= epochs <= MOST_EPOCHS:
            runs.loc[folders.index, "epochs"] = epochs


def _typed(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with all columns, in types with missing values."""
    choices = [name for name in CHOICE_SECTIONS if name in runs]
    first = ["run_id", "config_id", *choices, "seed", "status", "epoch", "epochs", "best_epoch"]
    scores = [*DICE, *(name for name in runs if name not in (*first, *DICE, *LAST))]
    types = dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(WORDS, "object")
    types["exclusive"] = "boolean"
    return runs.reindex(columns=[*first, *scores, *LAST]).astype(types)
