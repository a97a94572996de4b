"""Overrides before and after Hydra reads them: in a form that our own schema can check, and configs as plain values."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.base.config import AnySection, parse_section
from src.base.errors import ConfigError, did_you_mean, one_line, shown
from src.base.files import WHAT_TO_DO, CannotWrite

CONF = Path(__file__).resolve().parents[2] / "conf"
PATHS = ("output", "init_from", "data.root", "data.cache_dir")
_VALUE_OVERRIDE = re.compile(r"^\+{0,2}(?P<key>[^\s=~+@-][^=@]*)=")


def force_overrides(arguments: list[str]) -> list[str]:
    """`arguments` with `key=value` as `++key=value`, except for config groups and Hydra's own keys.

    Hydra stops at the first unknown key and advises `+key=…`, which makes a key that nothing reads. Forced, all unknown
    keys reach the schema, which names them at once with what is allowed.
    """
    groups = {folder.relative_to(CONF).as_posix() for folder in CONF.rglob("*") if folder.is_dir()}
    forced = []
    for argument in arguments:
        match = _VALUE_OVERRIDE.match(argument)
        own = match is not None and match["key"] not in groups and not match["key"].startswith("hydra")
        if match is not None and match["key"] in PATHS:  # Hydra's grammar has no ~
            argument = re.sub(r"(?<=[=,])~(?=/|,|$)", lambda _: str(Path.home()), argument)
        forced.append(f"++{argument.lstrip('+')}" if own else argument)
    return forced


def quote_paths(arguments: list[str], keys: Collection[str]) -> list[str]:
    """`arguments` with the values of `keys` in quotes, so that Hydra takes any path as it is, without its grammar.

    `null` stays null; a file of that name is `./null`.
    """
    quoted = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        unchanged = key.lstrip("+") not in keys or value == "null"
        quoted.append(argument if unchanged else f"{key}='{_escaped(value)}'")
    return quoted


def _escaped(value: str) -> str:
    """`value` for Hydra's single quotes: a backslash before a quote or `${`, backslashes in front of it doubled."""
    value = re.sub(r"(\\*)('|\$\{)", lambda match: f"{match[1] * 2}\\{match[2]}", value)
    return re.sub(r"\\+$", lambda match: match[0] * 2, value)


def experiment_problems(overrides: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """One line for `experiment=` with a list, or with a name that none of the config `folders` has.

    Of a list Hydra would silently drop the grids, and for a wrong name it would list only the folders.
    """
    names = [override.partition("=")[2] for override in overrides if re.match(r"\+{0,2}experiment=", override)]
    files = [(folder / "experiment", file) for folder in folders for file in (folder / "experiment").rglob("*.yaml")]
    known = sorted({file.relative_to(folder).with_suffix("").as_posix() for folder, file in files})
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


def group_problems(overrides: Iterable[str]) -> list[str]:
    """One line for each group that every run needs and that `overrides` set to null."""
    needed = "data|model|loss|optimizer|scheduler|augmentation|numerics|trainer"
    matches = [re.fullmatch(rf"({needed})=(null)?|~({needed})", override) for override in overrides]
    missing = [match[1] or match[3] for match in matches if match]
    return [f"{group}: got null; every run needs one, see --help for the options" for group in missing]


def check_by_model(
    config: DictConfig, plain: dict[str, Any], overrides: Iterable[str], networks: Collection[str]
) -> None:
    """Raises ConfigError for keys of `trainer.by_model` that change nothing: of no network, or read by no other key.

    `config`: as composed, with its interpolations; `plain`: resolved. `networks`: the names of all networks beside the
    run's own. An override such as `trainer.batch_size=8` may replace what an option sets by network.
    """
    by_model = plain["trainer"]["by_model"] if isinstance(plain.get("trainer"), dict) else None
    if not by_model or not isinstance(by_model, dict):  # the schema checks its type
        return
    given = strip_plus(overrides)
    by_network = " ".join(one for one in given if one.startswith("trainer.by_model"))
    keys = [one.partition("=")[0] for one in given]
    replaced = {key for key in keys if key.removeprefix("trainer.") not in by_network}
    text = OmegaConf.to_yaml(config)
    read = sorted(set(re.findall(r"trainer\.by_model\.(?:\$\{[^}]*\}|\w+)\.(\w+)", text)))
    model = plain.get("model")
    known = {*networks, model.get("name") if isinstance(model, dict) else None}
    problems = []
    for name, settings in by_model.items():
        where = f"trainer.by_model.{name}"
        if name not in known:
            hint = did_you_mean(str(name), sorted(networks))
            problems.append(f"{where}: got {shown(name)}, which is not a network; {hint}")
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key not in read and f"trainer.{key}" not in replaced:
                hint = did_you_mean(str(key), read)
                problems.append(f"{where}.{key}: got {shown(value)}, but no key looks it up by network; {hint}")
    if problems:
        raise ConfigError(problems)


def sweep_name(chosen: object, experiment: str | None, otherwise: str) -> str:
    """The name of a sweep's folder: `chosen`, else the experiment's name, else `otherwise`."""
    return str(chosen or experiment or otherwise).replace("/", "_")


def task_overrides(hydra: Any) -> list[str]:
    """The overrides of a composed config, beside those of Hydra's own part; interpolations are not resolved.

    Iterating over the list in the config would resolve them with the values from before the sweep.
    """
    return OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[return-value]


def strip_plus(overrides: Iterable[str]) -> list[str]:
    """Overrides as they were before `force_overrides`."""
    return [override.lstrip("+") for override in overrides]


def error_message(error: ValueError | OSError) -> str:
    """What a command prints before it ends because of `error`, a user's mistake or a disk's refusal."""
    if isinstance(error, OSError):
        advice = WHAT_TO_DO.get(error.errno or 0)
        return f"cannot continue: {error}" + (f"; {advice}" if advice and not isinstance(error, CannotWrite) else "")
    if not isinstance(error, ConfigError):
        return str(error)
    return "\n".join(["the config cannot be used:", *(f"  {one_line(problem)}" for problem in error.problems)])


def plain_values(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain dicts, lists and values, every interpolation resolved.

    Raises ConfigError for keys without a value and for an interpolation that leads nowhere.
    """
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
