"""Overrides before and after Hydra reads them: in a form that our own schema can check, and configs as plain values."""

import argparse
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.base.config import AnySection, parse_section
from src.base.errors import ConfigError, did_you_mean, one_line, shown
from src.base.files import WHAT_TO_DO, CannotWrite

CONF = Path(__file__).resolve().parents[2] / "conf"
PATHS = ("output", "init_from", "data.root", "data.cache_dir")
HYDRAS = r"hydra\b(?!\.(launcher|sweeper)\.)"  # keys that we do not check; those of launchers and sweepers we do
_VALUE_OVERRIDE = re.compile(r"^\+{0,2}(?P<key>[^\s=~+@-][^=@]*)=")


def parse_arguments(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
    """Splits a command line into what its flags say, the flags themselves, and the overrides, in whatever order."""
    parser = argparse.ArgumentParser(add_help=False)
    for short, flag in (("cd", "config-dir"), ("cn", "config-name"), ("cp", "config-path"), ("c", "cfg")):
        parser.add_argument(f"-{short}", f"--{flag}")
    parser.add_argument("-p", "--package")
    parser.add_argument("-i", "--info", nargs="?", const="all")
    parser.add_argument("--experimental-rerun")
    parser.add_argument("-m", "--multirun", action="store_const", const=True)
    parser.add_argument("-sc", "--shell-completion", action="store_const", const=True)
    parser.add_argument("overrides", nargs="*")
    asked, others = parser.parse_known_intermixed_args(arguments)
    given = {f"--{key.replace('_', '-')}": value for key, value in vars(asked).items() if value and key != "overrides"}
    flags = [flag if value is True else f"{flag}={value}" for flag, value in given.items()]
    return asked, [*flags, *others], asked.overrides


def is_for_hydra(override: str) -> bool:
    """Whether `override` changes Hydra's own part, beside the keys of a config."""
    return re.match(r"[+~]*hydra\b", override) is not None


def force_overrides(arguments: Sequence[str], folders: Sequence[Path] = (CONF,)) -> list[str]:
    """`arguments` with `key=value` as `++key=value`, except for the groups of config `folders` and keys of Hydra's own.

    Hydra stops at the first unknown key and advises `+key=…`, which makes a key that nothing reads. Forced, all unknown
    keys reach the schema, which names them at once with what is allowed. A group of conf has an option already, so that
    `+experiment=x` chooses as `experiment=x` does; `+group=x` adds one that only another folder has.
    """
    groups = {group for folder in folders for group in _groups(folder)}
    chosen = _groups(CONF)
    forced = []
    for argument in map(_with_home, arguments):
        match = _VALUE_OVERRIDE.match(argument)
        own = match is not None and match["key"] not in groups and re.match(HYDRAS, match["key"]) is None
        if match is not None and match["key"] in chosen and not argument.startswith("++"):
            argument = argument.removeprefix("+")
        forced.append(f"++{argument.lstrip('+')}" if own else argument)
    return forced


def keys_forced(overrides: Iterable[str]) -> list[str]:
    """The keys of a config that `force_overrides` made `++key=value` of, without Hydra's."""
    forced = [override for override in overrides if override.startswith("++") and not is_for_hydra(override)]
    return [override.lstrip("+").partition("=")[0] for override in forced]


def _with_home(argument: str) -> str:
    """`argument` with the user's folder for each ~ that begins a path: Hydra's grammar has no such sign."""
    match = _VALUE_OVERRIDE.match(argument)
    if match is None or match["key"] not in PATHS:
        return argument
    return re.sub(r"(?<=[=,])~(?=/|,|$)", lambda _: str(Path.home()), argument)


def _groups(folder: Path) -> set[str]:
    return {group.relative_to(folder).as_posix() for group in folder.rglob("*") if group.is_dir()}


def option_names(group: str, folders: Iterable[Path]) -> list[str]:
    """The options of a config group in all of `folders`, those in its subfolders as `best/unet`."""
    files = [(folder / group, file) for folder in folders for file in (folder / group).rglob("*.yaml")]
    return sorted({file.relative_to(place).with_suffix("").as_posix() for place, file in files})


def source_folders(hydra: Any) -> list[Path]:
    """The folders that the options of a composed config come from, beside those inside of packages."""
    return [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]


def network_names(folders: Iterable[Path]) -> set[str]:
    """The names of all networks of config `folders`: those of their files and those inside."""
    names: set[str] = set()
    for folder in folders:
        for option in option_names("model", [folder]):
            found = OmegaConf.load(folder / f"model/{option}.yaml")
            names |= {option, str(OmegaConf.select(found, "name") or option)}
    return names


def choose_settings(arguments: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """`arguments` with `experiment=x` as `setting=x` where config `folders` have x as a setting only."""
    settings = set(option_names("setting", folders)).difference(option_names("experiment", folders))
    choices = {f"{plus}experiment={name}": f"setting={name}" for name in settings for plus in ("", "+")}
    return [choices.get(argument, argument) for argument in arguments]


def name_words(arguments: Sequence[str], keys: Sequence[str]) -> list[str]:
    """`arguments` with the next of `keys` that is not given in front of each word: a path, or what has no `=`."""
    free = (key for key in keys if not any(argument.startswith(f"{key}=") for argument in arguments))
    named = []
    for argument in arguments:
        key = next(free, None) if "=" not in argument or argument.startswith(("/", ".")) else None
        named.append(argument if key is None else f"{key}={argument}")
    return named


def quote_paths(arguments: Sequence[str], keys: Collection[str]) -> list[str]:
    """`arguments` with the values of `keys` in quotes, so that Hydra takes any path as it is, without its grammar.

    `null` stays null; a file of that name is `./null`. Of a run's paths, which may be several, only a ~ is replaced.
    """
    quoted = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        unchanged = key.lstrip("+") not in keys or value == "null"
        quoted.append(_with_home(argument) if unchanged else f"{key}={quoted_path(value)}")
    return quoted


def quoted_path(path: str) -> str:
    """`path` in single quotes: a backslash before a quote or `${` in it, backslashes in front of these doubled."""
    path = re.sub(r"(\\*)('|\$\{)", lambda match: f"{match[1] * 2}\\{match[2]}", path)
    return "'" + re.sub(r"\\+$", lambda match: match[0] * 2, path) + "'"


def check_by_model(plain: dict[str, Any], overrides: Iterable[str], networks: Collection[str]) -> None:
    """Raises ConfigError for what of `trainer.by_model` changes nothing: other names than `networks` and the run's own,
    and values of `overrides` for the run's network that no key looks up.

    `plain`: the resolved config.
    """
    trainer, model = ({} if not isinstance(plain.get(key), dict) else plain[key] for key in ("trainer", "model"))
    by_model, own = trainer.get("by_model"), model.get("name")
    if not isinstance(by_model, dict):  # the schema checks its type
        return
    unknown = [name for name in by_model if name not in {*networks, own}]
    allowed = sorted(networks)
    problems = [f"trainer.by_model: got {shown(name)}; {did_you_mean(str(name), allowed)}" for name in unknown]
    given = " ".join(override for override in strip_plus(overrides) if override.startswith("trainer.by_model"))
    settings = by_model.get(own)
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if str(key) in given and key in trainer and trainer[key] != value:
            used = f"trainer.{key} is {shown(trainer[key])} for every network"
            problems.append(f"trainer.by_model.{own}.{key}: got {shown(value)}, but {used}")
    if problems:
        raise ConfigError(problems)


def sweep_name(chosen: object, experiment: str | None, otherwise: str) -> str:
    """The name of a sweep's folder: `chosen`, else the experiment's name, else `otherwise`."""
    return str(chosen or experiment or otherwise).replace("/", "_")


def sweep_folder(config: DictConfig) -> str:
    """The folder of the runs of a sweep, whose composed config has Hydra's own part."""
    chosen, experiment = OmegaConf.select(config, "sweep.name"), config.hydra.runtime.choices.get("experiment")
    # --cfg hydra resolves Hydra's own part alone
    return f"{OmegaConf.select(config, 'output') or '.'}/{sweep_name(chosen, experiment, 'adhoc')}"


def task_overrides(hydra: Any) -> list[str]:
    """The overrides of a composed config, beside those of Hydra's own part; interpolations are not resolved.

    Iterating over the list in the config would resolve them with the values from before the sweep.
    """
    return OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[return-value]


def strip_plus(overrides: Iterable[str]) -> list[str]:
    """Overrides as they were before `force_overrides`."""
    return [override.lstrip("+") for override in overrides]


def error_message(error: Exception) -> str:
    """What a command prints before it ends because of `error`, for example a user's mistake or a disk's refusal."""
    if isinstance(error, OSError):
        advice = WHAT_TO_DO.get(error.errno or 0)
        return f"cannot continue: {error}" + (f"; {advice}" if advice and not isinstance(error, CannotWrite) else "")
    if not isinstance(error, ConfigError):
        return str(error)
    return "\n".join(["the config cannot be used:", *(f"  {one_line(problem)}" for problem in error.problems)])


def plain_values(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain dicts, lists and values, every interpolation resolved.

    Raises ConfigError for keys without a value, for an interpolation that leads nowhere, and for an experiment that
    Hydra took for a section of that name.
    """
    if misplaced := [group for group in ("experiment", "setting") if group in config]:
        raise ConfigError([f"{group}: its file must begin with the line `# @package _global_`" for group in misplaced])
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigError([f"{key}: missing" for key in missing])
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key or 'config'}: {str(error).splitlines()[0]}"]) from error


def parse_options(model: type[AnySection], config: DictConfig, needed: Mapping[str, str]) -> AnySection:
    """The composed config of a command as its options; `needed`: what each key that has no default takes.

    Raises ConfigError with every problem, missing keys first.
    """
    missing = [key for key in needed if OmegaConf.is_missing(config, key)]
    given = OmegaConf.masked_copy(config, [str(key) for key in config if key not in missing])
    try:
        return parse_section(model, plain_values(given))
    except ConfigError as error:
        absent = [f"{key}: missing; it takes {needed[key]}" for key in missing]
        others = [problem for problem in error.problems if problem.partition(":")[0] not in missing]
        raise ConfigError(absent + others) from error
