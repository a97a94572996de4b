"""The jobs of a sweep: every point checked before the first one starts, each run once, what is finished left alone."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from src.base.config import RunConfig
from src.base.environment import typed_arguments
from src.base.errors import ConfigError, attempt, shown
from src.base.files import check_writable, read_json, write_json
from src.base.identity import CHOICE_SECTIONS, Identity, choices_of, identify, setting_of
from src.base.record import SCHEMA, SweepFolder
from src.cli.overrides import sweep_name
from src.data.open_data import open_verified
from src.sweep.process import Job
from src.training.checkpoint import init_digest
from src.training.checks import checked

# These may differ between points that are one run: they name an option, or act through a key that other runs read.
LABELS = {*(f"{section}.name" for section in CHOICE_SECTIONS if section != "data"), "trainer.by_model"}
Point = tuple[dict[str, Any], list[str]]  # a composed config as plain values, and what was typed for it


def make_jobs(
    points: Sequence[Point],
    default_name: str,
    device_here: bool = True,
    left_out: list[str] | None = None,
    make_data: bool = True,
) -> list[Job]:
    """The run of each point, in a sweep named `sweep.name`, else `default_name`; see `distinct`.

    `left_out`: takes a line for each point whose config cannot be used, so that only the others become jobs.
    `make_data`: False draws and downloads no data.

    Raises ConfigError with the problems of all points, each said once with the first point that has it, and for keys
    with several values that make no other run; ValueError for a folder that may not be written and for data that are
    missing or broken.
    """
    points, configs = _checked_all(points, device_here, left_out)
    digests = {config.init_from: init_digest(config) for config in configs}
    # before any data are read: what lies in one folder is the same data
    _check_one_value(configs, [identify(config, config.data.root, digests[config.init_from]) for config in configs])
    sweep = sweep_name(configs[0].sweep.name, None, default_name)
    check_writable(Path(configs[0].output) / sweep)
    prints = _fingerprints(configs, make_data)
    identities = [identify(config, prints[_data(config)], digests[config.init_from]) for config in configs]
    _check_one_value(configs, identities)
    return [
        Job(config, overrides, sweep, identity, prints[_data(config)], swept)
        for config, identity, (_, overrides), swept in zip(configs, identities, points, _swept(points), strict=True)
    ]


def distinct(jobs: Sequence[Job]) -> list[Job]:
    """Each run once, at its first place within its seed.

    Seeds follow one another, so that a sweep that is cut off has as many runs of each setting.
    """
    seeds = list(dict.fromkeys(job.config.seed for job in jobs))
    first: dict[str, Job] = {}
    for job in jobs:
        first.setdefault(job.identity.run_id, job)
    return sorted(first.values(), key=lambda job: seeds.index(job.config.seed))


def _checked_all(
    points: Sequence[Point], device_here: bool, left_out: list[str] | None
) -> tuple[list[Point], list[RunConfig]]:
    """The points and their typed configs, but those `left_out`.

    Raises ConfigError with each problem once, and the first point that has it, unless points may be `left_out` and
    some can be used.
    """
    usable: list[Point] = []
    configs: list[RunConfig] = []
    problems: dict[str, tuple[str, str]] = {}  # and its point; an unknown key is one problem with all its values
    for (plain, overrides), point in zip(points, _swept(points), strict=True):
        try:
            configs.append(checked(plain, device_here))
            usable.append((plain, overrides))
        except ConfigError as error:
            for problem in error.problems:
                unknown = re.match(r"\S+: unknown key(?= \(got )", problem)
                problems.setdefault(unknown[0] if unknown else problem, (problem, point))
            if left_out is not None:
                left_out.append(f"{point}: {'; '.join(error.problems)}")
    if problems and (left_out is None or not configs):
        raise ConfigError([f"{problem} (at {point})" if point else problem for problem, point in problems.values()])
    return usable, configs


def _swept(points: Sequence[Point]) -> list[str]:
    """Of each point the overrides that not all have, for example `model=unet seed=1`."""
    shared = set(points[0][1]).intersection(*(overrides for _, overrides in points))
    return [" ".join(one for one in overrides if one not in shared) for _, overrides in points]


def _fingerprints(configs: Sequence[RunConfig], make: bool) -> dict[str, str]:
    """The fingerprint of the data of each different section `data`, see `_data`; each is opened once.

    Raises ValueError with the problems of all of them.
    """
    problems: list[str] = []
    sections = {_data(config): config.data for config in configs}
    opened = {
        section: attempt(problems, partial(open_verified, data, make or data.kind == "folder"))
        for section, data in sections.items()
    }
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    return {section: found[1] for section, found in opened.items() if found is not None}


def _data(config: RunConfig) -> str:
    return config.data.model_dump_json()


def _check_one_value(configs: Sequence[RunConfig], identities: Sequence[Identity]) -> None:
    """Raises ConfigError with a line for each key that has several values among the configs of one run."""
    flats = [_flat(config) for config in configs]
    alike: dict[str, list[dict[str, Any]]] = {}
    for flat, identity in zip(flats, identities, strict=True):
        alike.setdefault(identity.run_id, []).append(flat)
    groups = [(flats, {"output", "sweep.name"}), *((group, group[0].keys() - LABELS) for group in alike.values())]
    found: dict[str, list[Any]] = {}
    for group, keys in groups:
        for key in sorted(keys):
            values = [flat.get(key) for flat in group]
            same = [None if value is False else value for value in values]  # null is off too
            if any(value != same[0] for value in same):
                found.setdefault(
                    key, [value for number, value in enumerate(values) if same[number] not in same[:number]]
                )
    if found:
        several = {
            key: f"{', '.join(map(shown, values[:3]))}{', …' if values[3:] else ''}" for key, values in found.items()
        }
        why = "give it one value, since a sweep has one folder, and this key alone makes no other run"
        raise ConfigError([f"{key}: got several ({values}); {why}" for key, values in several.items()])


def _flat(config: RunConfig) -> dict[str, Any]:
    """The keys of a config and of its sections, as `seed` and `trainer.epochs`, with their values."""
    flat: dict[str, Any] = {}
    for key, value in config.model_dump().items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def write_plan(jobs: Sequence[Job], folder: Path) -> None:
    """Adds `jobs` to `<sweep>/plan.json`, the runs that are meant to be there, begun or not, and the command."""
    path, lock = SweepFolder(folder).plan_file, SweepFolder(folder).lock("plan")
    values = _differing_values(jobs)
    with lock.held(wait=True):  # another part of the sweep may be launched at this moment
        before, commands = _planned(path)
        planned = before | {job.identity.run_id: _plan_of(job, values[job.identity.config_id]) for job in jobs}
        arguments = typed_arguments()
        added = [] if arguments is None or arguments in commands else [arguments]
        if planned != before or added:
            plan = {"schema": SCHEMA, "commands": [*commands, *added], "runs": list(planned.values())}
            write_json(path, plan, lock.check)


def _planned(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The entries of a plan by run_id, and the arguments of the commands that made it; none before the first launch.

    Raises ValueError, naming it, for a broken plan. Of a plan of schema 1 only those that have begun: the others would
    be waited for under ids that are made no more.
    """
    plan = read_json(path) if path.exists() else {"runs": []}
    try:
        entries = {str(run["run_id"]): run for run in plan["runs"]}
        is_old, commands = plan.get("schema") == 1, [*plan.get("commands", [])]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is not the plan of a sweep; delete it, and this command writes it again") from error
    return {run_id: run for run_id, run in entries.items() if not is_old or (path.parent / run_id).exists()}, commands


def _plan_of(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": job.identity.run_id,
        "config_id": job.identity.config_id,
        "choices": choices_of(job.config),
        "seed": job.config.seed,
        "epochs": job.config.trainer.epochs,
        **({"values": values} if values else {}),
    }


def _differing_values(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """By config_id the values, such as `optimizer.lr`, in which settings of the same choices differ, if any."""
    alike: dict[str, dict[str, dict[str, Any]]] = {}
    for setting, config in {job.identity.config_id: job.config for job in jobs}.items():
        sections = setting_of(config).items()
        flat = {f"{section}.{key}": value for section, values in sections for key, value in values.items()}
        alike.setdefault(str(choices_of(config)), {})[setting] = flat
    differing: dict[str, dict[str, Any]] = {}
    for group in alike.values():
        first, *others = group.values()
        names = {name for other in others for name in first.keys() | other.keys() if first.get(name) != other.get(name)}
        differing |= {setting: {name: flat.get(name) for name in sorted(names)} for setting, flat in group.items()}
    return differing
