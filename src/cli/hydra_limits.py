"""What a command refuses, before and after Hydra composes its config, since it would not do what it says."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError, shown
from src.cli.overrides import CONF, option_names, strip_plus

SWEEPS = ("train", "settle")  # commands that make sweeps
# by key of hydra.sweeper: what makes a sweeper look for the largest objective, of Optuna, Ax and Nevergrad
MAXIMIZES = {"direction": "maximize", "ax_config.experiment.minimize": "false", "optim.maximize": "true"}


def config_folders(asked: argparse.Namespace) -> list[Path]:
    """The folders that options come from: of --config-path, which comes first, conf, and of --config-dir."""
    before, after = ([Path(folder).absolute()] if folder else [] for folder in (asked.config_path, asked.config_dir))
    return [*before, CONF, *after]


def check_arguments(asked: argparse.Namespace, overrides: Sequence[str], name: str) -> None:
    """Raises ConfigError for flags and overrides that the command `name` does not take."""
    problems = []
    if asked.experimental_rerun is not None:
        problems.append("--experimental-rerun: not taken; the same command resumes or repeats a run")
    if asked.config_path is not None and not Path(asked.config_path).is_dir():
        problems.append(f"--config-path: got {shown(asked.config_path)}, which is not a folder")
    folders = config_folders(asked)
    if asked.config_dir is not None:
        problems += _folder_problems(folders[-1])
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    places = [key for key in keys if re.match(r"hydra\.(run|sweep|output_subdir)\b", key)]
    problems += [f"{key}: not taken; output=<folder> and sweep.name=<name> say where runs are kept" for key in places]
    chosen = [key for key in keys if key in ("hydra.launcher", "hydra.sweeper")]
    problems += [f"{key}: an option is chosen with a slash: {key.replace('.', '/')}=<name>" for key in chosen]
    if any(re.match(r"[+~]*claims[=@/]", override) for override in overrides):
        problems.append("claims: unknown key; python -m src.aggregate takes claim_files, as claim_files=report_a")
    if name not in SWEEPS and (asked.multirun or any(re.match(r"\+*hydra\.mode=MULTIRUN", one) for one in overrides)):
        problems.append("-m: this command makes no sweeps; python -m src.train does")
    if name in SWEEPS and not problems:
        problems = _group_problems(overrides)
        if not any(override.startswith("hydra.searchpath") for override in overrides):
            problems += _experiment_problems(overrides, folders)
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


def check_sweeps(overrides: Sequence[str], in_a_sweep: bool) -> None:
    """Raises ConfigError for several values of a key of Hydra's, or of any key if not `in_a_sweep`."""
    problems = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_sweep_override():
            continue
        key, value = override.key_or_group, shown(override.get_value_string())
        if override.is_hydra_override():
            problems.append(f"{key}: got {value}; all runs of a sweep share Hydra's own part")
        elif not in_a_sweep:
            problems.append(f"{key}: got {value}, several values; -m makes a sweep of them, [...] a list")
    if problems:
        raise ConfigError(problems)


def check_hydra(hydra: Any, overrides: Sequence[str] = ()) -> None:
    """Raises ConfigError for what of Hydra's own part would have no effect, or the opposite of what is meant.

    `overrides`: of the command line.
    """
    problems = [
        f"hydra.callbacks.{name}: got {shown(callback)}; it takes a _target_ and its arguments"
        for name, callback in (hydra.callbacks or {}).items()
        if not isinstance(OmegaConf.select(hydra.callbacks, f"{name}._target_"), str)
    ]
    if hydra.mode == RunMode.RUN:
        problems += _problems_of_one_run(hydra, overrides)
    else:
        problems += _problems_of_a_sweeper(hydra.sweeper)
    if problems:
        raise ConfigError(problems)


def _problems_of_one_run(hydra: Any, overrides: Sequence[str]) -> list[str]:
    unused = [one for one in overrides if re.match(r"[+~]*hydra[./](launcher|sweeper)\b", one)]
    problems = [f"{override}: one run has no launcher and no sweeper; -m makes a sweep" for override in unused]
    grids = [key for key in ("params", "grids") if OmegaConf.select(hydra, f"sweeper.{key}")]
    if grids and "hydra.mode=RUN" not in strip_plus(overrides):
        problems.append(f"hydra.sweeper.{grids[0]}: holds a grid, which one run does not use; -m makes a sweep of it")
    return problems


def _problems_of_a_sweeper(sweeper: DictConfig) -> list[str]:
    """One line for each key with which the sweeper would look for the settings with the smallest Dice."""
    problems = []
    for key, largest in MAXIMIZES.items():
        got = OmegaConf.select(sweeper, key)
        goals = got if OmegaConf.is_list(got) else [] if got is None else [got]
        if any(str(getattr(goal, "name", goal)).lower() != largest for goal in goals):
            problems.append(
                f"hydra.sweeper.{key}: got {getattr(got, 'name', got)}; the objective is the best validation Dice, "
                f"the larger the better: hydra.sweeper.{key}={largest}"
            )
    return problems
