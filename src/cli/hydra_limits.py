"""What a command takes of Hydra: flags and keys that would import, unpickle or write something are refused."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError, shown
from src.cli.overrides import CONF, experiment_problems, group_problems

# Everything that Hydra's own part of a config may name to be looked up and called.
BUILT_FOR_HYDRA = {
    "hydra_plugins.segsweep.sweeper.GridSweeper",
    *(f"hydra_plugins.segsweep.launchers.{name}Launcher" for name in ("Local", "Slurm", "Ray")),
    "logging.StreamHandler",
    "logging.NullHandler",
    "ext://sys.stdout",
    "ext://sys.stderr",
}
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # Hydra's default
TAKEN = ("launcher", "sweeper", "mode", "verbose", "job_logging", "hydra_logging", "help", "hydra_help")
_NOT_TAKEN = re.compile(rf"[+~]*(?P<key>hydra(?!\w)(?![./](?:{'|'.join(TAKEN)})(?!\w))[^=]*)")


def check_arguments(asked: argparse.Namespace, name: str) -> None:
    """Raises ConfigError for flags and overrides that the command `name` does not take."""
    flags = {"--experimental-rerun": asked.experimental_rerun, "--config-path": asked.config_path}
    flags["--config-name"] = asked.config_name
    problems = [
        f"{flag}: not taken; --config-dir=<folder> adds a folder of options"
        for flag, value in flags.items()
        if value is not None
    ]
    folders = [CONF]
    if asked.config_dir is not None:
        folders.append(Path(asked.config_dir))
        problems += _folder_problems(folders[1])
    problems += not_taken(asked.overrides)
    if any(re.match(r"[+~]*claims[=@/]", override) for override in asked.overrides):
        problems.append("claims: unknown key; python -m src.aggregate takes claim_files, as claim_files=report_a")
    if name == "train" and not problems:
        problems = group_problems(asked.overrides) + experiment_problems(asked.overrides, folders)
    if problems:
        raise ConfigError(problems)


def _folder_problems(folder: Path) -> list[str]:
    """One line for a --config-dir that is not a folder, and for each option in it that one of conf would hide."""
    if not folder.is_dir():
        return [f"--config-dir: got {shown(str(folder))}, which is not a folder"]
    files = [file.relative_to(CONF) for file in sorted(CONF.rglob("*.yaml"))]
    return [
        f"--config-dir: {file} is an option of the project too, which would be taken instead; rename yours"
        for file in files
        if (folder / file).is_file() and (folder / file).read_bytes() != (CONF / file).read_bytes()
    ]


def not_taken(overrides: Sequence[str]) -> list[str]:
    """One line for each of `overrides` that changes a reserved key of Hydra."""
    matches = filter(None, map(_NOT_TAKEN.match, overrides))
    return [f"{match['key']}: not taken; of Hydra's own part these are: {', '.join(TAKEN)}" for match in matches]


def check_sweeps(overrides: list[str], allowed: bool) -> None:
    """Raises ConfigError for several values of a key of Hydra's, or of any key where no sweep is `allowed`."""
    problems = []
    for override in OverridesParser.create().parse_overrides(overrides):
        key, value = override.key_or_group, shown(override.get_value_string())
        if override.is_sweep_override() and override.is_hydra_override():
            problems.append(f"{key}: got {value}; all runs of a sweep share Hydra's own part")
        elif override.is_sweep_override() and not allowed:
            problems.append(f"{key}: got {value}, several values; -m makes a sweep of them, [...] a list")
    if problems:
        raise ConfigError(problems)


def check_hydra(hydra: DictConfig) -> None:
    """Raises ConfigError for everything in Hydra's own part of a config that would call or change something unknown."""
    problems = []
    if hydra.callbacks:
        problems.append(f"hydra.callbacks: got {shown(sorted(map(str, hydra.callbacks)))}; this program calls none")
    if not isinstance(hydra.verbose, bool | str) and not OmegaConf.is_list(hydra.verbose):
        problems.append(f"hydra.verbose: got {shown(hydra.verbose)}; allowed: true, false, names of loggers")
    if hydra.job.env_set or hydra.job.env_copy:
        problems.append("hydra.job: sets environment variables; set them before the command instead")
    sweeps = hydra.mode == RunMode.MULTIRUN
    if sweeps and OmegaConf.select(hydra, "sweeper._target_") == BASIC_SWEEPER:
        raise ConfigError(["-m: this command makes no sweeps; python -m src.train does, with hydra/sweeper=grid"])
    for part in ("job_logging", "hydra_logging", *(("launcher", "sweeper") if sweeps else ())):
        plain = None if hydra[part] is None else OmegaConf.to_container(hydra[part], resolve=True)
        problems += [
            f"{where}: got {shown(name)}; allowed: {', '.join(sorted(BUILT_FOR_HYDRA))}"
            for where, name in _looked_up(plain, f"hydra.{part}")
            if not isinstance(name, str) or name not in BUILT_FOR_HYDRA
        ]
    if problems:
        raise ConfigError(problems)


def _looked_up(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Each name in `value` that Hydra or Python's logging would look up, after the key where it is found."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("_target_", "()", "class"):
                yield f"{where}.{key}", item
            yield from _looked_up(item, f"{where}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _looked_up(item, f"{where}[{position}]")
    elif isinstance(value, str) and "://" in value and where.startswith(("hydra.job_logging", "hydra.hydra_logging")):
        yield where, value
