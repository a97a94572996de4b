"""The jobs of a sweep: every point checked before the first one starts, each run once, what is finished left alone."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src.config import RunConfig, parse_data
from src.data.splits import open_audited
from src.errors import ConfigError
from src.files import check_writable, read_json, write_json
from src.identity import choices_of, identify
from src.locks import SharedLock
from src.sweep.job import Job
from src.training.checkpoint import file_digest
from src.training.checks import checked

Point = tuple[dict[str, Any], list[str]]  # a composed config as plain values, and what was typed for it


def make_jobs(points: Sequence[Point], sweep: str, device_here: bool = True) -> list[Job]:
    """The distinct runs among `points`, in their order.

    Raises ConfigError with the problems of all points, each said once with the first point that has it, and ValueError
    for a folder that may not be written and for data that are missing or broken.
    """
    problems: dict[str, str] = {}
    shared = set(points[0][1]).intersection(*(overrides for _, overrides in points))
    jobs: dict[str, Job] = {}
    for plain, overrides in points:
        try:
            config = checked(plain, device_here)
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, " ".join(one for one in overrides if one not in shared))
            continue
        if not problems:
            check_writable(Path(config.output) / sweep)
            identity = identify(config, file_digest(Path(config.init_from)) if config.init_from else None)
            if identity.run_id not in jobs:
                jobs[identity.run_id] = Job(config, overrides, sweep, identity, _fingerprint_of(config))
    if problems:
        raise ConfigError([f"{problem} (at {point})" if point else problem for problem, point in problems.items()])
    return list(jobs.values())


def write_plan(jobs: Sequence[Job], folder: Path) -> None:
    """Adds `jobs` to `<sweep>/plan.json`: the runs that are meant to be there, begun or not."""
    path = folder / "plan.json"
    lock = SharedLock(folder / ".locks" / "plan.lock")
    with lock.held(wait=True):  # another part of the sweep may be launched at this moment
        before = read_json(path)["runs"] if path.exists() else []
        planned = {run["run_id"]: run for run in before} | {job.identity.run_id: _plan_of(job) for job in jobs}
        if list(planned.values()) != before:
            write_json(path, {"schema": 1, "runs": list(planned.values())}, lock.check)


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
    return open_audited(parse_data(json.loads(data)))[1]
