"""The names of settings: the choices that differ and, if choices do not, the config values that do."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from src.base.config import neutral_keys
from src.base.identity import CHOICE_SECTIONS

ReadConfig = Callable[[str], Mapping[str, Any]]


def add_values(runs: pd.DataFrame, config_of: ReadConfig) -> list[str]:
    """Adds to `runs` the config values, such as `optimizer.lr`, in which settings of the same choices differ.

    `config_of` gives the config of a run's folder, or an empty one; one run of each setting (config_id) is read, and
    only if choices do not suffice. Returns the names of the new columns.
    """
    choices = _distinguishing_choices(runs)
    settings = runs.dropna(subset="config_id").drop_duplicates("config_id")
    if not settings.duplicated(choices).any():
        return []
    values = {setting: _dotted(config_of_any(ids, config_of)) for setting, ids in runs.groupby("config_id")["folder"]}
    alike = settings.groupby(choices, dropna=False, sort=False)["config_id"]
    names = list(dict.fromkeys(name for _, ids in alike for name in _differing([values[id] for id in ids])))
    for name in names:
        runs[name] = _typed(runs["config_id"].map(lambda setting, name=name: values.get(setting, {}).get(name)))
    return names


def shared_and_differing(runs: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """What all runs share, by name; and the names of the columns that distinguish their settings."""
    known = runs.dropna(subset="config_id")
    values = [name for name in map(str, runs.columns) if name == "init_from" or "." in name]
    names = [*_distinguishing_choices(known), *values]
    differing = [name for name in names if known[name].nunique(dropna=False) > 1]
    shared = {name: known[name].iloc[0] for name in names if name not in differing} if len(known) else {}
    settings = known.drop_duplicates("config_id")
    if len(settings) > (len(settings.drop_duplicates(differing)) if differing else 1):
        differing.append("config_id")
    return shared, differing


def _distinguishing_choices(runs: pd.DataFrame) -> list[str]:
    """The config groups whose options distinguish settings.

    Groups are left out if one setting has runs under two options, for example `trainer=default` and `trainer=report_a`.
    """
    choices = [name for name in CHOICE_SECTIONS if name in runs]
    options = runs.groupby("config_id")[choices].nunique(dropna=False)
    return [name for name in choices if options[name].max() <= 1 or not len(options)]


def config_of_any(folders: Iterable[str], config_of: ReadConfig) -> Mapping[str, Any]:
    """The first config found among replicates of one setting; empty if none has started."""
    return next((config for folder in folders if (config := config_of(folder))), {})


def setting_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """All that affects the result of a run besides its seed: each choice by name, every value by its dotted name.

    Empty without a config.
    """
    names = {section: section_of(config, section).get("name") for section in CHOICE_SECTIONS}
    return {section: name for section, name in names.items() if isinstance(name, str)} | _dotted(config)


def with_absent_keys(settings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """`settings`, of setting_values, with null for every key that others of the same kind have.

    Records that are older than a key lack it, which means null, as in the run's id.
    """
    settings = list(settings)
    keys: dict[tuple[Any, ...], dict[str, None]] = {}
    for values in settings:
        for key in values:
            keys.setdefault(_kind(values, key.partition(".")[0]), {})[key] = None
    absent = [
        {key: None for section in CHOICE_SECTIONS for key in keys.get(_kind(one, section), ())} for one in settings
    ]
    return [nulls | values if values else {} for nulls, values in zip(absent, settings, strict=True)]


def _kind(values: Mapping[str, Any], section: str) -> tuple[Any, ...]:
    """The kind of a section: sections of one kind have the same keys."""
    return section, str(values.get(f"{section}._target_")), str(values.get(f"{section}.kind"))


def section_of(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a config; empty if it is null or incomplete."""
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def sort_key(column: pd.Series) -> pd.Series:
    """The order of table rows: numbers as numbers, all else as text."""
    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


def _dotted(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of a setting by its dotted name, null if it is off; empty without a config."""
    values = {"init_from": config["init_from"]} if config.get("init_from") else {}
    for section in CHOICE_SECTIONS:
        for key, value in section_of(config, section).items():
            if key != "name" and key not in neutral_keys(section):
                values[f"{section}.{key}"] = None if value is False else value
    return values


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    known = [values for values in settings if values]
    names = dict.fromkeys(name for values in known for name in values)
    return [name for name in names if not all(is_same(values.get(name), known[0].get(name)) for values in known)]


def is_same(first: Any, second: Any) -> bool:
    """Whether two values of a config mean the same: 1 is 1.0, and null is false (off), but true is not 1."""
    first, second = (None if value is False else value for value in (first, second))
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def _typed(column: pd.Series) -> pd.Series:
    """A column of numbers as numbers, any other as text."""
    numbers = column.dropna().map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all()
    return column.astype("Float64") if numbers else column.map(str, na_action="ignore")
