"""What is typed, before and after Hydra reads it: overrides that our own schema can judge, configs as plain values."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import ConfigError, one_line
from src.files import WHAT_TO_DO, CannotWrite

CONF = Path(__file__).resolve().parent.parent / "conf"
_VALUE_OVERRIDE = re.compile(r"^\+{0,2}(?P<key>[^\s=~+@-][^=@]*)=")


def forcing_values(arguments: list[str]) -> list[str]:
    """`arguments` with `key=value` as `++key=value`, except for config groups and Hydra's own keys.

    Hydra stops at the first key it does not know and advises `+key=…`, which makes a dead key. Forced in, all unknown
    keys reach the schema, which names them at once with what is allowed.
    """
    groups = {folder.relative_to(CONF).as_posix() for folder in CONF.rglob("*") if folder.is_dir()}
    forced = []
    for argument in arguments:
        match = _VALUE_OVERRIDE.match(argument)
        own = match is not None and match["key"] not in groups and not match["key"].startswith("hydra")
        forced.append(f"++{argument.lstrip('+')}" if own else argument)
    # argparse takes overrides on one side of a flag only; these may stand anywhere
    return sorted(forced, key=lambda argument: not re.match(r"(-m|--multirun)$|--config-dir=", argument))


def quoting_values(arguments: list[str], keys: Collection[str]) -> list[str]:
    """`arguments` with the values of `keys` in quotes, so that Hydra takes them as they are: any path, no grammar.

    `null` stays null; a file of that name is `./null`.
    """
    quoted = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        as_it_is = key.lstrip("+") not in keys or value == "null"
        quoted.append(argument if as_it_is else f"{key}='{_escaped(value)}'")
    return quoted


def _escaped(value: str) -> str:
    """For single quotes of Hydra's: a quote or an interpolation gets a backslash, backslashes before it are doubled."""
    value = re.sub(r"(\\*)('|\$\{)", lambda match: f"{match[1] * 2}\\{match[2]}", value)
    return re.sub(r"\\+$", lambda match: match[0] * 2, value)


def check_experiment(arguments: list[str]) -> None:
    """Raises ConfigError for `experiment=` with a list, or with a name that is not there.

    Of a list Hydra would silently drop the grids, and for a wrong name it would list only the folders.
    """
    names = [argument.partition("=")[2] for argument in arguments if re.match(r"\+{0,2}experiment=", argument)]
    known = sorted(file.relative_to(CONF / "experiment").with_suffix("").as_posix() for file in _experiments())
    for name in names:
        if re.search(r"[,*(]", name):
            raise ConfigError(
                [
                    f"experiment: got {name!r}; one at a time, because each brings a grid of its own and a sweep over "
                    "experiments would drop them all: run the command once for each (what they share is trained once)"
                ]
            )
        if name not in [*known, "null"]:
            raise ConfigError([f"experiment: got {name!r}; allowed: {', '.join(known)}"])


def check_groups(arguments: list[str]) -> None:
    """Raises ConfigError for a group without which no run can be, set to null."""
    needed = "data|model|loss|optimizer|scheduler|augmentation|numerics|trainer"
    matches = [re.fullmatch(rf"({needed})=(null)?|~({needed})", argument) for argument in arguments]
    missing = [match[1] or match[3] for match in matches if match]
    if missing:
        raise ConfigError([f"{group}: got null; every run needs one, see --help for the options" for group in missing])


def _experiments() -> list[Path]:
    return [*(CONF / "experiment").rglob("*.yaml")]


def sweep_name(chosen: object, experiment: str | None, otherwise: str) -> str:
    """The folder of runs that belong together: as chosen, else the experiment's name, else `otherwise`."""
    return str(chosen or experiment or otherwise).replace("/", "_")


def typed(overrides: Iterable[str]) -> list[str]:
    """Overrides as they were before `forcing_values`."""
    return [override.lstrip("+") for override in overrides]


def refusal(error: ValueError | OSError) -> str:
    """What a command says before it ends because of `error`, a user's mistake or a disk's refusal."""
    if isinstance(error, OSError):
        advice = WHAT_TO_DO.get(error.errno or 0)
        return f"cannot go on: {error}" + (f"; {advice}" if advice and not isinstance(error, CannotWrite) else "")
    if not isinstance(error, ConfigError):
        return str(error)
    return "\n".join(["the config cannot be used:", *(f"  {one_line(problem)}" for problem in error.problems)])


def plain_values(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain dicts, lists and values, every interpolation resolved.

    Raises ConfigError for an interpolation that leads nowhere.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key or 'config'}: {str(error).splitlines()[0]}"]) from error
