"""What a command takes of Hydra: what it would ignore, unpickle or write elsewhere is refused."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError, shown
from src.cli.overrides import CONF, option_names

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # Hydra's default
TAKEN = ("launcher", "sweeper", "callbacks", "mode", "verbose", "job_logging", "hydra_logging", "help", "hydra_help")
_NOT_TAKEN = re.compile(rf"[+~]*(?P<key>hydra(?!\w)(?![./](?:{'|'.join(TAKEN)})(?!\w))[^=]*)")


def config_folders(asked: argparse.Namespace) -> list[Path]:
    """The folders that options come from: of --config-path, which comes first, conf, and of --config-dir."""
    before, after = ([Path(folder).absolute()] if folder else [] for folder in (asked.config_path, asked.config_dir))
    return [*before, CONF, *after]


def check_arguments(asked: argparse.Namespace, name: str) -> None:
    """Raises ConfigError for flags and overrides that the command `name` does not take."""
    problems = []
    if asked.experimental_rerun is not None:
        problems.append("--experimental-rerun: not taken; the same command resumes or repeats a run")
    if asked.config_path is not None and not Path(asked.config_path).is_dir():
        problems.append(f"--config-path: got {shown(asked.config_path)}, which is not a folder")
    folders = config_folders(asked)
    if asked.config_dir is not None:
        problems += _folder_problems(folders[-1])
    problems += _not_taken(asked.overrides)
    if any(re.match(r"[+~]*claims[=@/]", override) for override in asked.overrides):
        problems.append("claims: unknown key; python -m src.aggregate takes claim_files, as claim_files=report_a")
    if name == "train" and not problems:
        problems = _group_problems(asked.overrides) + _experiment_problems(asked.overrides, folders)
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


def _experiment_problems(overrides: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """One line for `experiment=` with a list, or with a name that none of the config `folders` has.

    Of a list Hydra would silently drop the grids, and for a wrong name it would list only the folders.
    """
    names = [override.partition("=")[2] for override in overrides if re.match(r"\+{0,2}experiment=", override)]
    known = option_names("experiment", folders)
    problems = []
    for name in names:
        if re.search(r"[,*(]", name):
            problems.append(
                f"experiment: got {name!r}; one at a time, because each has its own grid and a sweep over "
                "experiments would drop them all: run the command once for each (what they share is trained once)"
            )
        elif name not in [*known, "null"]:
            problems.append(f"experiment: got {name!r}; allowed: {', '.join(known)}")
    return problems


def _group_problems(overrides: Iterable[str]) -> list[str]:
    """One line for each group that every run needs and that `overrides` set to null."""
    needed = "data|model|loss|optimizer|scheduler|augmentation|numerics|trainer"
    matches = [re.fullmatch(rf"({needed})=(null)?|~({needed})", override) for override in overrides]
    missing = [match[1] or match[3] for match in matches if match]
    return [f"{group}: got null; every run needs one, see --help for the options" for group in missing]


def _not_taken(overrides: Sequence[str]) -> list[str]:
    """One line for each of `overrides` that changes a reserved key of Hydra."""
    matches = filter(None, map(_NOT_TAKEN.match, overrides))
    places = "output=<folder> and sweep.name=<name> say where runs are kept"
    taken = f"of Hydra's own part these are: {', '.join(TAKEN)}"
    is_place = re.compile(r"hydra\.(run|sweep)\b")
    return [f"{match['key']}: not taken; {places if is_place.match(match['key']) else taken}" for match in matches]


def check_sweeps(overrides: list[str], allowed: bool) -> None:
    """Raises ConfigError for several values of a key of Hydra's, or of any key where no sweep is `allowed`."""
    problems = []
    for override in OverridesParser.create().parse_overrides(overrides):
        if not override.is_sweep_override():
            continue
        key, value = override.key_or_group, shown(override.get_value_string())
        if override.is_hydra_override():
            problems.append(f"{key}: got {value}; all runs of a sweep share Hydra's own part")
        elif not allowed:
            problems.append(f"{key}: got {value}, several values; -m makes a sweep of them, [...] a list")
    if problems:
        raise ConfigError(problems)


def check_hydra(hydra: DictConfig) -> None:
    """Raises ConfigError for parts of a config that Hydra itself would act on, and this program does not."""
    callbacks = (hydra.callbacks or {}).items()
    problems = [
        f"hydra.callbacks.{name}: got {shown(callback)}; it takes a _target_ and its arguments"
        for name, callback in callbacks
        if not isinstance(OmegaConf.select(hydra.callbacks, f"{name}._target_"), str)
    ]
    if not isinstance(hydra.verbose, bool | str) and not OmegaConf.is_list(hydra.verbose):
        problems.append(f"hydra.verbose: got {shown(hydra.verbose)}; allowed: true, false, names of loggers")
    if hydra.job.env_set or hydra.job.env_copy:
        problems.append("hydra.job: sets environment variables; set them before the command instead")
    if hydra.mode == RunMode.MULTIRUN:
        targets = {part: OmegaConf.select(hydra, f"{part}._target_") for part in ("sweeper", "launcher")}
        if targets["sweeper"] == BASIC_SWEEPER:
            problems.append("-m: this command makes no sweeps; python -m src.train does, with hydra/sweeper=grid")
        problems += [
            f"hydra.{part}: got {shown(target)}; allowed: those of this program, which start a process for each run"
            for part, target in targets.items()
            if target != BASIC_SWEEPER and not str(target).startswith("hydra_plugins.segsweep.")
        ]
    if problems:
        raise ConfigError(problems)
