"""The files of a sweep as its runs left them, each checked: plan.json, run.json, epochs.jsonl and config.yaml."""

import itertools
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field

from src.analysis.records.kept_reads import Columns, KeptReads
from src.base.config import AnySection, Section, parse_section
from src.base.environment import shell_command
from src.base.errors import ConfigError, one_line
from src.base.files import read_json, read_yaml
from src.base.identity import CHOICE_SECTIONS
from src.base.record import RunRecord, SweepFolder, failure_kind
from src.base.renamed import with_new_names

MOST_EPOCHS = 10**9  # of a plan
EPOCH_COSTS = ("train_seconds", "images_per_second", "peak_memory_bytes")
Row = dict[str, Any]
Text = Annotated[str, AfterValidator(one_line)]  # printable: characters that a terminal would act on are escaped
Choices = Annotated[
    dict[str, Text], AfterValidator(lambda own: {name: own[name] for name in CHOICE_SECTIONS if name in own})
]
FolderName = Annotated[str, Field(pattern=r"^[^./\x00][^/\x00]*$")]
Share = Annotated[float, Field(ge=0, le=1.000001)]  # of pixels, with a margin for rounding
Number = Annotated[float, Field(ge=-1e100, le=1e100)]  # so that its square is finite
Cost = Annotated[float, Field(ge=0, le=1e18)]  # seconds, bytes


class FromRecord(Section):
    """Other keys are ignored; a number in quotes is text."""

    model_config = ConfigDict(extra="ignore", strict=True, coerce_numbers_to_str=False)


class _Planned(FromRecord):
    run_id: FolderName
    config_id: Text
    choices: Choices
    seed: int
    epochs: int = Field(ge=1, le=MOST_EPOCHS)
    values: dict[str, Any] = Field(default_factory=dict)


class _Plan(FromRecord):
    runs: list[_Planned]
    commands: list[list[Text]] = Field(default_factory=list)


class _Epoch(FromRecord):
    """A line of epochs.jsonl; docs/record.md explains the keys."""

    epoch: int
    lr: Number | None = None
    lr_first: Number | None = None
    lr_max: Number | None = None
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


class _Scores(FromRecord):
    valid_dice: Share | None = None
    test_dice: Share | None = None
    test_iou: Share | None = None
    test_pooled_dice: Share | None = None
    test_dice_batch_flattened: Share | None = None


class _Data(FromRecord):
    fingerprint: Text | None = None
    images: dict[str, int] = Field(default_factory=dict)


class _Attempt(FromRecord):
    failure_kind: Literal["own", "lost"] | None = None


class _Run(FromRecord):
    """The needed keys of run.json; docs/record.md has all."""

    run_id: FolderName
    config_id: Text
    choices: Choices
    seed: int
    status: str
    seconds: Cost
    scores: _Scores
    best_epoch: int | None = None
    data: _Data = Field(default_factory=_Data)
    device: Text | None = None
    machine: dict[str, Any] = Field(default_factory=dict)
    error: Text | None = None
    failure_kind: Literal["own", "lost"] | None = None
    attempts: list[_Attempt] = Field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """`own` if the run failed by its own fault, now or in an earlier attempt; `lost` if it was lost."""
        if any(attempt.failure_kind == "own" for attempt in self.attempts):
            return "own"
        if self.status == "failed":
            return self.failure_kind or failure_kind(self.error)
        return "lost" if self.status == "interrupted" else None

    @property
    def device_kind(self) -> str | None:
        """The device within which times are comparable: a model of GPU, or the cores of one machine."""
        if self.device != "cpu":
            return self.device
        return one_line(f"cpu, {self.machine.get('cores')} cores of {self.machine.get('host')}")


def read_plan(sweep: Path) -> dict[str, Row]:
    """The planned runs by run_id, with what is known of each. Raises ValueError or OSError.

    `values`: the config values, such as `optimizer.lr`, in which settings of the same choices differ.
    """
    return {
        run.run_id: run.choices
        | run.model_dump(include={"config_id", "seed", "epochs"})
        | {"epoch": 0, "values": _plain(run.values)}
        for run in _plan(sweep).runs
    }


def read_commands(sweep: Path) -> list[str]:
    """The shell commands that launched the runs of `sweep`, in order; empty if they are not on record."""
    try:
        commands = _plan(sweep).commands
    except (ValueError, OSError):
        return []
    return list(map(shell_command, commands))


def _plan(sweep: Path) -> _Plan:
    path = SweepFolder(sweep).plan_file
    return parse_record(_Plan, read_json(path) if path.exists() else {"runs": []}, path.name)


def read_run(record: RunRecord, planned: Row, kept: KeptReads) -> tuple[Row, Columns]:
    """The columns of a run, from its plan and its record, and those of its epochs."""
    try:
        run = record.read_now()
        starting = run is None and record.is_held()
        facts = {"status": "running"} if starting else _facts(run, record.folder)
    except (ValueError, OSError) as error:
        facts = {"status": "unreadable", "error": str(error)}
    try:
        epochs = _read_epochs(record, kept)
        done = {"epoch": len(epochs["epoch"]), **_costs(epochs)}
    except (ValueError, OSError) as error:
        epochs, done = {}, {"epoch": None}
        # a finished run with a broken curve is not trusted; an unfinished one rewrites it when it resumes
        facts["status"] = "unreadable" if facts["status"] == "finished" else facts["status"]
        facts["error"] = "; ".join(filter(None, [facts.get("error"), f"epochs.jsonl cannot be used: {error}"]))
    return {"run_id": record.folder.name, **planned, **done, **facts}, epochs


def read_config(folder: Path, kept: KeptReads) -> dict[str, Any]:
    """The config of the run in `folder`. Raises ValueError or OSError.

    Keys and texts are printable; dates and other types of YAML are texts.
    """
    path = RunRecord(folder).config_file
    if columns := kept.find(path):
        return dict(json.loads(columns["json"][0]))
    config = with_new_names(_plain(read_yaml(path)))
    if not isinstance(config, dict):
        raise ValueError(f"it holds a {type(config).__name__}")
    kept.add(path, {"json": np.array([json.dumps(config)], dtype=object)})
    return config


def parse_record(model: type[AnySection], content: Any, what: str) -> AnySection:
    """Raises ValueError with all problems in one line, `what` in front."""
    try:
        return parse_section(model, content)
    except ConfigError as error:
        raise ValueError(f"{what}: {'; '.join(error.problems)}") from error


def _facts(content: Row | None, folder: Path) -> Row:
    """The columns that run.json gives. Raises ValueError for one that is broken."""
    if content is None:
        raise ValueError("run.json is missing: the run was stopped at its start, or was copied incompletely")
    run = parse_record(_Run, content, "run.json is not a valid record")
    if run.status == "finished" and run.scores.test_dice is None:
        raise ValueError("run.json is not a valid record: scores.test_dice: missing in a finished run")
    if run.run_id != folder.name and folder.with_name(run.run_id).exists():
        raise ValueError(f"is a copy of {run.run_id}, which is in the same folder")
    gone = "no process holds it: killed, or running on another machine"
    return {
        **run.choices,
        **run.scores.model_dump(exclude_unset=True),
        **run.model_dump(include={"config_id", "seed", "status", "best_epoch", "seconds"}),
        "fingerprint": run.data.fingerprint,
        "train_images": run.data.images.get("train"),
        "device": run.device_kind,
        "failure_kind": run.failure,
        "error": run.error or (gone if run.status == "interrupted" else None),
    }


def _read_epochs(record: RunRecord, kept: KeptReads) -> Columns:
    """The keys of the lines as columns, numbers as float64, the missing ones nan. Raises ValueError or OSError."""
    if columns := kept.find(record.epochs_file):
        return columns
    epochs = []
    for number, line in enumerate(record.read_epochs(), start=1):
        epoch = parse_record(_Epoch, line, f"line {number}")
        if epoch.epoch != number:
            raise ValueError(f"line {number} has epoch {epoch.epoch}")
        epochs.append(epoch.model_dump(exclude_unset=True))
    types = dict.fromkeys(_Epoch.model_fields, "float64") | {"epoch": "int64", "device": "object"}
    keys = dict.fromkeys(itertools.chain(["epoch"], *epochs))
    columns = {key: np.array([epoch.get(key) for epoch in epochs], dtype=types[key]) for key in keys}
    kept.add(record.epochs_file, columns)
    return columns


def _costs(epochs: Columns) -> Row:
    """The costs of a run's training; empty before the end of its first epoch, or if they are not on record."""
    costs = [epochs.get(name, np.array([math.nan])) for name in EPOCH_COSTS]
    if not len(epochs["epoch"]) or np.isnan(costs).any():
        return {}
    seconds, speed, memory = costs
    concurrent_runs = epochs.get("device_jobs", np.array([math.nan])).max()  # nan if one is unknown
    one_device = len(set(epochs.get("device", [None]))) == 1  # and not resumed on another
    return {
        "train_seconds": math.fsum(seconds),
        "images_per_second": float(np.median(speed)),
        "peak_memory_bytes": float(memory.max()),
        "exclusive": None if math.isnan(concurrent_runs) else bool(concurrent_runs == 1 and one_device),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {one_line(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value))
