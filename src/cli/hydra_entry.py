"""How a command begins: Hydra composes what was typed; whatever else a config would have Hydra do is refused."""

import argparse
import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from src.base.errors import ConfigError, shown
from src.base.renamed import OPTIONS
from src.cli.console import console
from src.cli.overrides import CONF, experiment_problems, refusal, task_overrides, typed

Task = Callable[[DictConfig], None]
# All that Hydra's own part of a config may name for being looked up and called, wherever that part was written.
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


class _Loader(ConfigLoaderImpl):
    """Offers every folder of conf as a group but `claims`, which holds no options."""

    def get_group_options(self, group_name: str, *arguments: Any, **named: Any) -> list[str]:
        options = super().get_group_options(group_name, *arguments, **named)
        return [option for option in options if f"{group_name}/{option}".strip("/").split("/")[0] != "claims"]


def command(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Makes a command of a function of a config, which is conf/<config_name>.yaml with what is typed.

    In place of `hydra.main`, from which it differs in two things: nothing that a config names is built but our own
    sweeper and launchers (no callbacks, no loggers from factories, no pickled configs), and a mistake is one line, not
    a stack.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            with console():
                try:
                    _start(task, config_name, sys.argv[1:])
                except ConfigError as error:
                    sys.exit(refusal(error))

        return main

    return decorate


@contextmanager
def one_line_each(overrides: Sequence[str]) -> Iterator[None]:
    """Whatever Hydra raises because of `overrides` inside the block becomes a ConfigError of one line."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # beside its own errors Hydra lets ValueError, IndexError, AssertionError through
        raise ConfigError([_told(error, overrides)]) from error


def network_names(loader: ConfigLoader, group: str = "model") -> set[str]:
    """What the options of the group `model` are called, of conf and of --config-dir, and what their files are."""
    names: set[str] = set()
    for option in loader.get_group_options(group):
        found = loader.repository.load_config(f"{group}/{option}")  # type: ignore[attr-defined]
        names |= {option, str(found.config.get("name", option))}
    return names.union(*(network_names(loader, f"{group}/{inner}") for inner in loader.list_groups(group)))


def _start(task: Task, name: str, arguments: list[str]) -> None:
    """Answers a question such as --help, or does `task` once, or hands its grid to the sweeper."""
    parser = get_args_parser()
    asked = parser.parse_intermixed_args(arguments)
    _check_typed(asked, name)
    version.setbase("1.3")
    search_path = create_config_search_path(f"file://{CONF}")
    if asked.config_dir is not None:
        folder = Path(asked.config_dir).absolute()
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    hydra = Hydra(name, _Loader(search_path))
    GlobalHydra.instance().initialize(hydra)
    try:
        with one_line_each(asked.overrides):
            if _answered(hydra, name, parser, asked):
                return
            config = _composed(hydra, name, asked)
            sweeps = config.hydra.mode == RunMode.MULTIRUN
            begin = _sweep(hydra, config, task) if sweeps else _once(config, task)
        begin()
    finally:
        GlobalHydra.instance().clear()


def _check_typed(asked: argparse.Namespace, name: str) -> None:
    """Raises ConfigError for flags and keys with which Hydra would unpickle, import or write something."""
    flags = {"--experimental-rerun": asked.experimental_rerun, "--config-path": asked.config_path}
    flags["--config-name"] = asked.config_name
    problems = [
        f"{flag}: not taken; --config-dir=<folder> adds a folder of options"
        for flag, value in flags.items()
        if value is not None
    ]
    if asked.config_dir is not None and not Path(asked.config_dir).is_dir():
        problems.append(f"--config-dir: got {shown(asked.config_dir)}, which is no folder")
    elif asked.config_dir is not None:
        problems += [
            f"--config-dir: {file} is an option of the project too, which would be taken instead; rename yours"
            for file in _hidden(Path(asked.config_dir))
        ]
    problems += not_taken(asked.overrides)
    if any(re.match(r"[+~]*claims[=@/]", override) for override in asked.overrides):
        problems.append("claims: unknown key; python -m src.aggregate takes claim_files, as claim_files=report_a")
    if name == "train" and not problems:
        folders = [CONF, *([Path(asked.config_dir)] if asked.config_dir else [])]
        problems += experiment_problems(asked.overrides, folders)
    if problems:
        raise ConfigError(problems)


def _hidden(folder: Path) -> list[str]:
    """The files of `folder` that Hydra would pass over, because conf has another of the same name."""
    files = [file.relative_to(CONF) for file in sorted(CONF.rglob("*.yaml"))]
    there = [file for file in files if (folder / file).is_file()]
    return [str(file) for file in there if (folder / file).read_bytes() != (CONF / file).read_bytes()]


def not_taken(overrides: Sequence[str]) -> list[str]:
    """One line for each of `overrides` that changes a part of Hydra's which is none of the user's business."""
    matches = filter(None, map(_NOT_TAKEN.match, overrides))
    return [f"{match['key']}: not taken; of Hydra's own part these are: {', '.join(TAKEN)}" for match in matches]


def _answered(hydra: Hydra, name: str, parser: argparse.ArgumentParser, asked: argparse.Namespace) -> bool:
    """Whether one of Hydra's questions was asked; the answer is printed then."""
    if asked.help:
        hydra.app_help(config_name=name, args_parser=parser, args=asked)
    elif asked.hydra_help:
        hydra.hydra_help(config_name=name, args_parser=parser, args=asked)
    elif asked.cfg:
        hydra.show_cfg(name, asked.overrides, asked.cfg, asked.package, asked.resolve)
    elif asked.info:
        hydra.show_info(asked.info, name, asked.overrides)
    elif asked.shell_completion:
        hydra.shell_completion(name, asked.overrides)
    else:
        return False
    return True


def _composed(hydra: Hydra, name: str, asked: argparse.Namespace) -> DictConfig:
    """The config with Hydra's own part, which is judged; its `mode` says whether it is a sweep."""
    config = hydra.compose_config(name, asked.overrides, RunMode.MULTIRUN, validate_sweep_overrides=False)
    mode = RunMode.MULTIRUN if asked.multirun else config.hydra.mode or RunMode.RUN
    _check_sweeps(asked.overrides, allowed=mode == RunMode.MULTIRUN)
    if mode == RunMode.RUN and config.hydra.mode is None and OmegaConf.select(config.hydra, "sweeper.params"):
        raise ConfigError(["hydra.sweeper.params: holds a grid, which one run does not use; -m makes a sweep of it"])
    config.hydra.mode = mode
    check_hydra(config.hydra)
    return config


def _check_sweeps(overrides: list[str], allowed: bool) -> None:
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
    """Raises ConfigError for all in Hydra's own part of a config that would call or change what we do not know."""
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
    """Everything in `value` that Hydra or Python's logging would look up by its name, and where it stands."""
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


def _once(config: DictConfig, task: Task) -> Callable[[], None]:
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    HydraConfig.instance().set_config(config)
    with read_write(config), open_dict(config):
        del config["hydra"]
    return functools.partial(task, config)


def _sweep(hydra: Hydra, config: DictConfig, task: Task) -> Callable[[], None]:
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=task, config=config)
    return functools.partial(sweeper.sweep, task_overrides(config.hydra))


def _told(error: Exception, overrides: Sequence[str]) -> str:
    """What is wrong, in one line, with the override it is about."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if error.missing_cfg_file in OPTIONS:
            return f"{group}: got {shown(option)}; renamed to {OPTIONS[error.missing_cfg_file]}"
        allowed = f"allowed: {', '.join(error.options)}" if error.options else "there is no such file of options"
        return f"{group}: got {shown(option)}; {allowed}"
    if isinstance(error, OverrideParseException):
        (override,) = typed([error.override])
        return (
            f"{shown(override)}: cannot be read; an override is key=value, with quotes around a value that has any of "
            "the signs ,=:()[]{}'\" in it, for example 'notes=\"first, second\"'"
        )
    relative = re.match(r"In '(experiment/.+)': Could not override 'experiment/([^'@]+)", str(error))
    if relative is not None:
        return f"{relative[1]}: override {relative[2]}: begins in the folder experiment; write override /{relative[2]}:"
    reason = str(error).partition("\nTo append")[0].strip()
    if error.__cause__ is not None:
        reason = reason.rstrip(".") + ": " + str(error.__cause__).partition("\n")[0]
    if isinstance(error, HydraException):
        for override in overrides:
            reason = reason.replace(override, typed([override])[0])
        return reason.removeprefix(": ")
    reason = reason.partition("\n")[0]  # OmegaConf goes on about its own types
    return f"{reason or type(error).__name__}; typed was {shown(' '.join(typed(overrides)))}"
