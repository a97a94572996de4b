"""The entry of every command: hydra.main composes its config and calls its task; every end is one line and a code."""

import functools
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf

from src.base.config import is_key
from src.base.errors import ConfigError, Ended, shown
from src.base.record import RunBusy, RunLost
from src.base.renamed import OPTIONS
from src.cli import command_help
from src.cli.console import console, remember_arguments
from src.cli.hydra_limits import SWEEPS, check_arguments, check_hydra, check_sweeps, config_folders
from src.cli.overrides import (
    CONF,
    choose_settings,
    error_message,
    force_overrides,
    keys_forced,
    name_words,
    parse_arguments,
    quote_paths,
    quoted_path,
    strip_plus,
    sweep_folder,
)

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "register_new_resolver")  # OmegaConf 2.4, of what 2.3 needs
    command_help.register()
    OmegaConf.register_new_resolver("sweep_folder", lambda *, _root_: sweep_folder(_root_), replace=True)
Task = Callable[[DictConfig], Any]  # what it returns is the objective of a search


def hydra_command(
    config_name: str, paths: Sequence[str] = (), words: Sequence[str] = ()
) -> Callable[[Task], Callable[[], None]]:
    """Decorator: makes `task(config)` a command that composes conf/<config_name>.yaml with the overrides in sys.argv.

    `paths`: keys whose values are taken as they are, without Hydra's grammar; `words`: keys whose values may be given
    without the key, in this order. The exit code is that of Ended; 1, with
    the reason, for ValueError and OSError, which stand for mistakes of users and refusals of disks, and for a run that
    another process holds; 130 for Ctrl-C and for a run that another process has taken over.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            with console():
                try:
                    _start(task, config_name, paths, words)
                except Ended as end:
                    _exit(end)
                except RunLost as error:
                    _exit(Ended(f"interrupted: {error}", 128 + signal.SIGINT))
                except (ValueError, OSError, RunBusy) as error:
                    sys.exit(error_message(error))

        return main

    return decorate


def _exit(end: Ended) -> None:
    print(end, file=sys.stderr)
    sys.exit(end.code)


def _start(task: Task, name: str, paths: Sequence[str], words: Sequence[str]) -> None:
    """Checks sys.argv and gives it to hydra.main, flags first: Hydra 1.3 takes no override after a flag."""
    asked, flags, overrides = parse_arguments(sys.argv[1:])
    if name in SWEEPS:
        remember_arguments(name)
    folders = config_folders(asked)
    if not asked.shell_completion:
        overrides = quote_paths(choose_settings(name_words(overrides, words), folders), paths)
    check_arguments(asked, overrides, name)
    if asked.config_path:
        flags.append(f"--config-path={folders[0]}")  # Hydra would look for it beside this program's files
    if asked.config_path and not any(override.startswith("hydra.searchpath") for override in overrides):
        # it takes the place of conf, which it builds on
        overrides.append(f"hydra.searchpath=[{quoted_path(f'file://{CONF}')}]")
    job = _as_job(task, overrides)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else hydra.main prints errors itself
    given = overrides
    forced = overrides if asked.shell_completion else force_overrides(overrides, folders)
    if name in SWEEPS and not all(map(is_key, keys_forced(forced))):
        given = forced  # Hydra takes half a second to refuse it
    with as_config_errors(overrides):
        while True:
            try:
                return _run_hydra(job, name, flags, given)
            except ConfigCompositionException as error:
                if isinstance(error, MissingConfigException) or _is_of_task(error):
                    raise
                is_sweep = name == "settle" and "--multirun" not in flags
                several = re.match("Ambiguous value|Sweep parameters", str(error)) is not None
                check_sweeps(overrides, in_a_sweep=is_sweep or not several)
                if str(error).startswith("hydra.mode changed") or (is_sweep and several):
                    flags = ["--multirun", *flags]  # Hydra 1.4, of an experiment that is a sweep; settling is one
                elif given == forced:
                    raise
                else:  # an unknown key among others: forced in, all of them reach the schema, which names them at once
                    given = forced


def _run_hydra(job: Task, name: str, flags: Sequence[str], overrides: Sequence[str]) -> None:
    sys.argv[1:] = [*flags, *overrides]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The version_base parameter")  # Hydra 1.4, of what 1.3 needs
        main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)
    main()


def _as_job(task: Task, overrides: Sequence[str]) -> Task:
    """`task` as hydra.main and every launcher call it: in this process or, pickled, in another one."""
    command = os.getpid()

    @functools.wraps(task)
    def job(config: DictConfig) -> Any:
        with errors_of_task():
            check_hydra(HydraConfig.get(), overrides)
            try:
                return task(config)
            except Ended as end:
                if end.code > 128 and os.getpid() == command:  # a launcher in this process would start the next job
                    _exit(end)
                raise

    return job


@contextmanager
def errors_of_task() -> Iterator[None]:
    """Marks exceptions as those of the program's own code, which Hydra passes on, also from another process.

    A module of the user's that ends the program as if all were well does not end it so.
    """
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
        raise Ended("a module that the config names ended the program (sys.exit) before the work was done") from end
    except Exception as error:
        vars(error)["of_task"] = True
        raise


def _is_of_task(error: Exception) -> bool:
    return isinstance(error, ConfigError | Ended) or hasattr(error, "of_task")


@contextmanager
def as_config_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Whatever Hydra raises because of `overrides` inside the block becomes a ConfigError of one line."""
    try:
        yield
    except Exception as error:  # beside its own errors Hydra lets ValueError, IndexError, AssertionError through
        if _is_of_task(error):
            raise
        raise ConfigError([format_hydra_error(error, overrides)]) from error


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
        if "missing a required argument" in str(error):
            return f"{shown(override)}: interval(lowest, highest) and range(start, stop) need their bounds"
        return (
            f"{shown(override)}: cannot be read; an override is key=value, with quotes around a value that has any of "
            "the signs ,=:()[]{}'\" in it, for example 'notes=\"first, second\"'"
        )
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return f"a file of the config is not plain YAML: {' '.join(str(error).split())}"
    verbose = [override for override in overrides if override.startswith("hydra.verbose=")]
    if verbose and isinstance(error, AssertionError):
        return f"{verbose[0]}: allowed are true, false and names of loggers"
    not_there = r"In '(experiment/.+?)': (?:Could not override|Invalid [^@]*for) 'experiment/([^'@]+)"
    relative = re.match(not_there, str(error))
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
        for override in strip_plus(overrides):
            reason = re.sub(rf"\+*{re.escape(override)}", lambda _, typed=override: typed, reason)  # type: ignore[misc]
        return reason.removeprefix(": ")
    reason = reason.partition("\n")[0]  # the next lines of OmegaConf's are about its own types
    got = f"; got {shown(' '.join(strip_plus(overrides)))}" if overrides else ""
    return (reason or type(error).__name__) + got
