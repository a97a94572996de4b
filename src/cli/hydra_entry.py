"""The entry of every command: Hydra composes its config, the task runs, every end is a line and an exit code.

In place of `hydra.main`, from which it differs in two things: sweeps are left to our sweeper and launchers alone (see
hydra_limits.py), and a mistake is one line, not a stack.
"""

import argparse
import functools
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import run_job
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from src.base.errors import ConfigError, shown
from src.base.record import RunBusy, RunLost
from src.base.renamed import OPTIONS
from src.cli import command_help
from src.cli.console import console
from src.cli.hydra_limits import check_arguments, check_hydra, check_sweeps, config_folders
from src.cli.overrides import (
    CONF,
    choose_settings,
    error_message,
    force_overrides,
    quote_paths,
    strip_plus,
    task_overrides,
)

command_help.register()
Task = Callable[[DictConfig], int | None]  # returns its exit code; None is 0


def hydra_command(config_name: str, paths: Sequence[str] = ()) -> Callable[[Task], Callable[[], None]]:
    """Decorator: makes `task(config)` a command that composes conf/<config_name>.yaml with the overrides in sys.argv.

    `paths`: keys whose values are taken as they are, without Hydra's grammar. Exit code 1 and its reason for ValueError
    and OSError, which stand for mistakes of users and refusals of disks, and for a run that another process holds; 130
    for Ctrl-C and for a run that another process has taken over.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            with console():
                try:
                    code = _start(task, config_name, sys.argv[1:], paths)
                except (ValueError, OSError) as error:
                    sys.exit(error_message(error))
                except RunLost as error:
                    print(f"interrupted: {error}", file=sys.stderr)
                    code = 128 + signal.SIGINT
                except RunBusy as error:
                    sys.exit(str(error))
                if code:
                    sys.exit(code)

        return main

    return decorate


@contextmanager
def as_config_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Whatever Hydra raises because of `overrides` inside the block becomes a ConfigError of one line."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # beside its own errors Hydra lets ValueError, IndexError, AssertionError through
        raise ConfigError([format_hydra_error(error, overrides)]) from error


def network_names(loader: ConfigLoader, group: str = "model") -> set[str]:
    """The names of all networks, of conf and of --config-dir: those of their files and those inside."""
    names: set[str] = set()
    for option in loader.get_group_options(group):
        found = loader.repository.load_config(f"{group}/{option}")  # type: ignore[attr-defined]
        names |= {option, str(found.config.get("name", option))}
    return names.union(*(network_names(loader, f"{group}/{inner}") for inner in loader.list_groups(group)))


class _Loader(ConfigLoaderImpl):
    """Offers every folder of conf as a group but `claims`, which holds no options."""

    def get_group_options(self, group_name: str, *arguments: Any, **named: Any) -> list[str]:
        options = super().get_group_options(group_name, *arguments, **named)
        return [option for option in options if f"{group_name}/{option}".strip("/").split("/")[0] != "claims"]


def _start(task: Task, name: str, arguments: list[str], paths: Sequence[str]) -> int | None:
    """Answers a question such as --help, or runs `task` once, or hands its grid to the sweeper."""
    parser = get_args_parser()
    asked = parser.parse_intermixed_args(arguments)
    folders = config_folders(asked)
    if not asked.shell_completion:
        asked.overrides = choose_settings(asked.overrides, folders)
    check_arguments(asked, name)
    if not asked.shell_completion:
        asked.overrides = force_overrides(quote_paths(asked.overrides, paths), folders)
    version.setbase("1.3")
    search_path = create_config_search_path(f"file://{CONF}")
    here = folders.index(CONF)
    for folder in folders[:here]:
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="main"))
    for folder in folders[here + 1 :]:
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    hydra = Hydra(name, _Loader(search_path))
    name = asked.config_name or name
    GlobalHydra.instance().initialize(hydra)
    try:
        with as_config_errors(asked.overrides):
            if _answered(hydra, name, parser, asked):
                return None
            config = _compose(hydra, name, asked)
            sweeps = config.hydra.mode == RunMode.MULTIRUN
            callbacks = Callbacks(config)
            begin = (_sweep if sweeps else _once)(hydra, config, callbacks, task)
        return begin()
    finally:
        GlobalHydra.instance().clear()


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


def _compose(hydra: Hydra, name: str, asked: argparse.Namespace) -> DictConfig:
    """The config with Hydra's own part, which is checked; `hydra.mode` is RUN or MULTIRUN."""
    config = hydra.compose_config(name, asked.overrides, RunMode.MULTIRUN, validate_sweep_overrides=False)
    mode = RunMode.MULTIRUN if asked.multirun else config.hydra.mode or RunMode.RUN
    check_sweeps(asked.overrides, allowed=mode == RunMode.MULTIRUN)
    if mode == RunMode.RUN and config.hydra.mode is None and OmegaConf.select(config.hydra, "sweeper.params"):
        raise ConfigError(["hydra.sweeper.params: holds a grid, which one run does not use; -m makes a sweep of it"])
    config.hydra.mode = mode
    if config.hydra.verbose is True:
        config.hydra.verbose = "src"  # the program's own lines, without those of its libraries
    check_hydra(config.hydra)
    return config


def _once(hydra: Hydra, config: DictConfig, callbacks: Callbacks, task: Task) -> Callable[[], int | None]:
    _log_to_console_only(config.hydra.job_logging)
    name = config.hydra.job.config_name

    def begin() -> int | None:
        callbacks.on_run_start(config=config, config_name=name)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
        done = run_job(task, config, job_dir_key="hydra.run.dir", job_subdir_key=None, hydra_context=context)
        callbacks.on_run_end(config=config, config_name=name, job_return=done)
        if isinstance(done._return_value, Exception):  # the property would print a line before it raises
            raise done._return_value
        return done.return_value

    return begin


def _log_to_console_only(job_logging: Any) -> None:
    """Takes the file out of a config of Python's logging, and the muting of loggers: a run's record has its own log."""
    if job_logging is None:
        return
    with open_dict(job_logging):
        job_logging.disable_existing_loggers = False
        handlers = OmegaConf.select(job_logging, "root.handlers") or []
        if "file" in handlers:
            handlers.remove("file")
            job_logging.handlers.pop("file", None)


def _sweep(hydra: Hydra, config: DictConfig, callbacks: Callbacks, task: Task) -> Callable[[], int | None]:
    context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
    # the task function is not called: our launchers start processes
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=print, config=config)
    name = config.hydra.job.config_name

    def begin() -> int | None:
        callbacks.on_multirun_start(config=config, config_name=name)
        try:
            sweeper.sweep(task_overrides(config.hydra))
        finally:
            callbacks.on_multirun_end(config=config, config_name=name)
        return None

    return begin


def format_hydra_error(error: Exception, overrides: Sequence[str]) -> str:
    """What is wrong, in one line, with the override it is about."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        file = str(error.missing_cfg_file)
        group, _, option = file.rpartition("/")
        if file in OPTIONS:
            return f"{group}: got {shown(option)}; renamed to {OPTIONS[file]}"
        allowed = f"allowed: {', '.join(error.options)}" if error.options else "this option does not exist"
        group = group or "--config-name"
        return f"{group}: got {shown(option)}; {allowed}"
    if isinstance(error, OverrideParseException):
        (override,) = strip_plus([error.override])
        return (
            f"{shown(override)}: cannot be read; an override is key=value, with quotes around a value that has any of "
            "the signs ,=:()[]{}'\" in it, for example 'notes=\"first, second\"'"
        )
    relative = re.match(r"In '(experiment/.+)': Could not override 'experiment/([^'@]+)", str(error))
    if relative is not None:
        return f"{relative[1]}: override {relative[2]}: begins in the folder experiment; write override /{relative[2]}:"
    if isinstance(error, InstantiationException):
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        key = re.search(r"full_key: (\S+)", str(error))
        return f"{key[1] if key else 'hydra'}: {' '.join(str(root).split())}"
    reason, _, advice = str(error).partition("\nTo append")
    reason = reason.strip()
    own = re.search(r"default list use (\+([^@=]+)\S*)", advice)
    if own is not None and not (CONF / own[2]).is_dir():
        return f"{reason.rstrip('.')}; {own[1]} adds it"
    if error.__cause__ is not None:
        reason = reason.rstrip(".") + ": " + str(error.__cause__).partition("\n")[0]
    if isinstance(error, HydraException):
        for override in overrides:
            reason = reason.replace(override, strip_plus([override])[0])
        return reason.removeprefix(": ")
    reason = reason.partition("\n")[0]  # the next lines of OmegaConf's are about its own types
    got = f"; got {shown(' '.join(strip_plus(overrides)))}" if overrides else ""
    return (reason or type(error).__name__) + got
