"""The jobs of a sweep: every point checked before the first one starts, each run once, what is finished left alone."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src.base.config import RunConfig, parse_data
from src.base.errors import ConfigError, shown
from src.base.files import check_writable, read_json, write_json
from src.base.identity import CHOICE_SECTIONS, Identity, choices_of, identify
from src.base.locks import SharedLock
from src.cli.overrides import sweep_name
from src.data.open_data import open_verified
from src.sweep.job import Job
from src.training.checkpoint import file_digest
from src.training.checks import checked

# These may differ between points that are one run: they name an option, or act through a key that other runs read.
LABELS = {*(f"{section}.name" for section in CHOICE_SECTIONS if section != "data"), "trainer.by_model"}
ONE_FOLDER = "all runs of a sweep lie in one folder"
ONE_DATA_SET = "a sweep has one data set: run the command once for each of them, each time with another sweep.name"
ONE_VALUE = {"output": ONE_FOLDER, "sweep.name": ONE_FOLDER, "data.root": ONE_DATA_SET, "data.name": ONE_DATA_SET}
Point = tuple[dict[str, Any], list[str]]  # a composed config as plain values, and what was typed for it


def make_jobs(points: Sequence[Point], default_name: str, device_here: bool = True) -> list[Job]:
    """The distinct runs among `points`, in their order, as a sweep named `sweep.name`, else `default_name`.

    Raises ConfigError with the problems of all points, each said once with the first point that has it, and for keys
    with several values that make no other run; ValueError for a folder that may not be written and for data that are
    missing or broken.
    """
    problems: dict[str, str] = {}
    shared = set(points[0][1]).intersection(*(overrides for _, overrides in points))
    runs: dict[str, tuple[Identity, list[RunConfig], list[str]]] = {}  # of each run_id, with every config that is it
    for plain, overrides in points:
        try:
            config = checked(plain, device_here)
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, " ".join(one for one in overrides if one not in shared))
            continue
        if not problems:
            identity = identify(config, file_digest(Path(config.init_from)) if config.init_from else None)
            runs.setdefault(identity.run_id, (identity, [], overrides))[1].append(config)
    if problems:
        raise ConfigError([f"{problem} (at {point})" if point else problem for problem, point in problems.items()])
    if several := _several_values([configs for _, configs, _ in runs.values()]):
        raise ConfigError(several)
    first = next(iter(runs.values()))[1][0]
    sweep = sweep_name(first.sweep.name, None, default_name)
    check_writable(Path(first.output) / sweep)
    return [
        Job(configs[0], overrides, sweep, identity, _fingerprint_of(configs[0]))
        for identity, configs, overrides in runs.values()
    ]


def _several_values(runs: Sequence[Sequence[RunConfig]]) -> list[str]:
    """One line for each key with several values that make no other run; `runs` holds the configs of each run."""
    flat = [[_flat(config) for config in configs] for configs in runs]
    every = [config for configs in flat for config in configs]
    kinds = {config["data.kind"] for config in every}
    of_one_kind = [[config for config in every if config["data.kind"] == kind] for kind in kinds]
    groups = [(configs, configs[0].keys() - LABELS) for configs in flat if len(configs) > 1]
    groups += [(every, {"output", "sweep.name"}), *((configs, {"data.root"}) for configs in of_one_kind)]
    found: dict[str, list[Any]] = {}
    for configs, keys in groups:
        for key in sorted(keys):
            values: list[Any] = []
            for config in configs:
                if config.get(key) not in values:
                    values.append(config.get(key))
            if len(values) > 1:
                found.setdefault(key, values)
    return [
        f"{key}: got several ({', '.join(map(shown, values[:3]))}{', …' if values[3:] else ''}); "
        + ONE_VALUE.get(key, "they would all be one run, because this key cannot change a result: give it one value")
        for key, values in found.items()
    ]


def _flat(config: RunConfig) -> dict[str, Any]:
    """The keys of a config and of its sections, as `seed` and `trainer.epochs`, with their values."""
    flat: dict[str, Any] = {}
    for key, value in config.model_dump().items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def write_plan(jobs: Sequence[Job], folder: Path) -> None:
    """Adds `jobs` to `<sweep>/plan.json`: the runs that are meant to be there, begun or not."""
    path = folder / "plan.json"
    lock = SharedLock(folder / ".locks" / "plan.lock")
    with lock.held(wait=True):  # another part of the sweep may be launched at this moment
        before = _planned(path)
        planned = before | {job.identity.run_id: _plan_of(job) for job in jobs}
        if planned != before:
            write_json(path, {"schema": 1, "runs": list(planned.values())}, lock.check)


def _planned(path: Path) -> dict[str, Any]:
    """The entries of a plan by run_id; none where there is no plan yet. Raises ValueError, naming it, for no plan."""
    plan = read_json(path) if path.exists() else {"runs": []}
    try:
        return {str(run["run_id"]): run for run in plan["runs"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is not the plan of a sweep; delete it, and this command writes it again") from error


def _plan_of(job: Job) -> dict[str, Any]:
    return {
        "run_id": job.identity.run_id,
        "config_id": job.identity.config_id,
        "choices": choices_of(job.config),
        "seed": job.config.seed,
        "epochs": job.config.trainer.epochs,
    }


def _fingerprint_of(config: RunConfig) -> str:
    return _fingerprint_once(config.data.model_dump_json())


@cache
def _fingerprint_once(data: str) -> str:
    return open_verified(parse_data(json.loads(data)))[1]
