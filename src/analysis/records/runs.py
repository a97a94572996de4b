"""The runs of sweeps as one table, with the status of each; no damage to a record affects other runs."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.analysis.records.files import MOST_EPOCHS, Row, read_config, read_plan, read_run
from src.analysis.records.kept_reads import Columns, KeptReads
from src.base.config import neutral_keys
from src.base.identity import CHOICE_SECTIONS
from src.base.record import RunRecord

LAYOUT = "<folder>/<run_id>/run.json, as `python -m src.train` writes it under multirun_outputs/<sweep>/"
DICE = ("valid_dice", "test_dice")
COSTS = ("seconds", "train_seconds", "images_per_second", "peak_memory_bytes")
LAST = (*COSTS, "exclusive", "device", "train_images", "fingerprint", "failure_kind", "error", "sweep", "folder")
WHOLE_NUMBERS = ("seed", "epoch", "epochs", "best_epoch", "train_images")
TEXTS = ("config_id", "device", "fingerprint", "failure_kind", "error")
RECORD_FILES = {"run.json", "config.yaml", "overrides.yaml", "epochs.jsonl", "test.json", "checkpoints", "train.log"}
Configs = Mapping[str, Mapping[str, Any]]  # by config_id, of the settings of which one is readable


def load_runs(*sweeps: Path) -> pd.DataFrame:
    """One row per run of the folders `sweeps`, sorted by choices and seed, whatever its status.

    Columns: run_id, config_id, a column for each config group, seed, status, `epoch` (finished so far) of `epochs`,
    best_epoch, the scores (valid_dice: best so far; test_dice and others once finished), seconds (worked),
    train_seconds (in training steps), images_per_second (median over epochs), peak_memory_bytes, exclusive (whether no
    other run was seen on its device), device, train_images, fingerprint of the data, failure_kind (`own`: it failed by
    its own fault, now or in an earlier attempt; `lost`: it was killed or interrupted, or had no memory or disk), error
    (why it failed, was interrupted or is unreadable), sweep and folder; and one column per config value, such as
    `optimizer.lr`, if settings of the same choices differ in values. Unknown values are missing (NA).

    `status` is `planned` for a run of plan.json that has not started, `unreadable` for a folder whose record is broken
    or missing, else that of the record. Raises ValueError for a folder that is not a sweep.
    """
    return load_runs_and_epochs(sweeps, KeptReads())[0]


def load_runs_and_epochs(sweeps: Sequence[Path], kept: KeptReads) -> tuple[pd.DataFrame, pd.DataFrame, Configs]:
    """The runs of `load_runs`; a row per finished epoch: `folder` of its run and the keys of its line; the configs."""
    rows, epochs = [], {}
    for sweep in sweeps:
        for row, columns in _read_sweep(sweep, kept):
            rows.append({**row, "sweep": str(sweep), "folder": str(sweep / row["run_id"])})
            epochs[rows[-1]["folder"]] = columns
    planned_values = {row["config_id"]: row.pop("values") for row in rows if "values" in row}
    runs = _typed(pd.DataFrame(rows))
    configs = _read_configs(runs, kept)
    epochs_of = {setting: _epochs_in(config) for setting, config in configs.items()}
    runs["epochs"] = runs["epochs"].fillna(runs["config_id"].map(epochs_of).astype("Int64"))
    values = add_values(runs, {**_planned_configs(runs, configs, planned_values), **configs})
    order = [*_choices_in(runs), *values, "seed", "run_id", "folder"]
    return runs.sort_values(order, key=_sort_key, ignore_index=True), _joined(epochs), configs


def add_values(runs: pd.DataFrame, configs: Configs) -> list[str]:
    """Adds to `runs` the config values, such as `optimizer.lr`, in which settings of the same choices differ.

    Returns the names of the new columns.
    """
    choices = _distinguishing_choices(runs)
    settings = runs.dropna(subset="config_id").drop_duplicates("config_id")
    if not settings.duplicated(choices).any():
        return []
    values = {setting: config_values(config) for setting, config in configs.items()}
    alike = settings.groupby(choices, dropna=False, sort=False)["config_id"]
    names = [name for _, ids in alike for name in _differing([values[id] for id in ids if values.get(id)])]
    names = list(dict.fromkeys(names))
    for name in names:
        runs[name] = _as_numbers_or_text(runs["config_id"].map({id: own.get(name) for id, own in values.items()}))
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


def config_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value that affects a result besides the seed, by its dotted name, null if it is off."""
    values = {"init_from": config["init_from"]} if config.get("init_from") else {}
    for section in CHOICE_SECTIONS:
        for key, value in section_of(config, section).items():
            if key != "name" and key not in neutral_keys(section):
                values[f"{section}.{key}"] = None if value is False else value
    return values


def section_of(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a config; empty if it is null or incomplete."""
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def is_same(first: Any, second: Any) -> bool:
    """Whether two values of a config mean the same: 1 is 1.0, and null is false (off), but true is not 1."""
    return bool(comparable(first) == comparable(second))


def comparable(value: Any) -> Hashable:
    """A form of a config value that is equal for values that mean the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return (True,) if value else None
    if isinstance(value, dict):
        return frozenset((key, comparable(item)) for key, item in value.items())
    return tuple(map(comparable, value)) if isinstance(value, list) else value


def _joined(epochs: Mapping[str, Columns]) -> pd.DataFrame:
    """The columns of each folder below each other, with the folder, and nan if a folder lacks a column."""
    lengths = {folder: len(columns["epoch"]) for folder, columns in epochs.items() if columns}
    if not sum(lengths.values()):
        return pd.DataFrame()
    known = [epochs[folder] for folder in lengths]
    table = {"folder": np.repeat(np.array(list(lengths), dtype=object), list(lengths.values()))}
    for name in dict.fromkeys(name for columns in known for name in columns):
        missing = (np.full(length, np.nan) for length in lengths.values())
        table[name] = np.concatenate([one.get(name, nan) for one, nan in zip(known, missing, strict=True)])
    return pd.DataFrame(table)


def _read_sweep(sweep: Path, kept: KeptReads) -> Iterator[tuple[Row, Columns]]:
    """For each run of a sweep, planned or started, its row and the columns of its epochs."""
    try:
        planned = read_plan(sweep)
    except (ValueError, OSError) as error:
        planned = {}
        reason = f"the planned runs are unknown ({error}); delete it, and the next launch writes it again"
        yield {"run_id": "plan.json", "status": "unreadable", "error": reason}, {}
    folders = _run_folders(sweep, planned)
    for folder in folders:
        yield read_run(RunRecord(folder), planned.get(folder.name, {}), kept)
    started = {folder.name for folder in folders}
    for run_id, facts in planned.items():
        if run_id not in started:
            yield {**facts, "run_id": run_id, "status": "planned"}, {}


def _run_folders(sweep: Path, planned: Mapping[str, Any]) -> list[Path]:
    """The folders in `sweep` that are runs: planned, with a file of a record, or still empty."""
    paths = sorted(sweep.iterdir()) if sweep.is_dir() else []
    folders = [path for path in paths if path.is_dir() or (path.name in planned and path.is_symlink())]
    files = {folder: _names_in(folder) for folder in folders if not folder.name.startswith(".")}
    runs = [folder for folder in files if folder.name in planned or not files[folder] or files[folder] & RECORD_FILES]
    if not planned and not any(files[folder] for folder in runs):
        raise ValueError(_not_a_sweep(sweep))
    return runs


def _names_in(folder: Path) -> set[str]:
    try:
        return {file.name for file in folder.iterdir()}
    except OSError:
        return {"run.json"}  # if it is a run, reading it fails with the reason


def _not_a_sweep(sweep: Path) -> str:
    if not sweep.is_dir():
        return f"{sweep}: is not a folder; expected {LAYOUT}"
    if (sweep / "run.json").exists():
        return f"{sweep}: is a single run; give the folder around it, {sweep.absolute().parent}"
    inner = sorted({file.parent.parent.name for file in sweep.glob("[!.]*/[!.]*/run.json")})
    if inner:
        return f"{sweep}: holds sweeps, not runs; give one of {', '.join(str(sweep / name) for name in inner)}"
    return f"{sweep}: does not hold runs; expected {LAYOUT}"


def _read_configs(runs: pd.DataFrame, kept: KeptReads) -> Configs:
    """The config of each setting, of its first run with a readable one.

    Without any the setting is unknown: its finished runs are marked as unreadable.
    """
    configs: dict[str, dict[str, Any]] = {}
    for config_id, folders in runs.groupby("config_id")["folder"]:
        problems = {}
        for index, folder in folders.items():
            try:
                configs[str(config_id)] = read_config(Path(folder), kept)
                break
            except (OSError, ValueError) as error:
                problems[index] = f"config.yaml cannot be used: {error}"
        else:
            for index in folders.index[runs["status"][folders.index].eq("finished")]:
                runs.loc[index, ["status", "error"]] = ["unreadable", problems[index]]
    return configs


def _planned_configs(runs: pd.DataFrame, configs: Configs, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """For each setting that is only planned a config of the same choices with its own `values`: what is known of it."""
    settings = runs.dropna(subset="config_id").drop_duplicates("config_id").set_index("config_id")
    choices = settings[_choices_in(runs)].fillna("").agg(tuple, axis=1)
    planned = {}
    for setting in [one for one, own in values.items() if own and one not in configs]:
        alike = (configs[other] for other in configs if choices[other] == choices[setting])
        planned[setting] = dict(next(alike, {}))
        for name, value in values[setting].items():
            section, _, key = name.partition(".")
            planned[setting][section] = {**section_of(planned[setting], section), key: value} if key else value
    return planned


def _epochs_in(config: Mapping[str, Any]) -> int | None:
    epochs = section_of(config, "trainer").get("epochs")
    return epochs if type(epochs) is int and 1 <= epochs <= MOST_EPOCHS else None


def _choices_in(runs: pd.DataFrame) -> list[str]:
    return [name for name in CHOICE_SECTIONS if name in runs]


def _distinguishing_choices(runs: pd.DataFrame) -> list[str]:
    """The config groups whose options distinguish settings.

    Groups are left out if one setting has runs under two options, for example `trainer=default` and `trainer=report_a`.
    """
    choices = _choices_in(runs)
    options = runs.groupby("config_id")[choices].nunique(dropna=False)
    return [name for name in choices if options[name].max() <= 1 or not len(options)]


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for values in settings for name in values)
    return [name for name in names if not all(is_same(own.get(name), settings[0].get(name)) for own in settings)]


def _typed(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with all columns, in types with missing values."""
    first = ["run_id", "config_id", *_choices_in(runs), "seed", "status", "epoch", "epochs", "best_epoch"]
    scores = [*DICE, *(name for name in runs if name not in (*first, *DICE, *LAST))]
    types = dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys((*DICE, *COSTS), "float64")
    types |= dict.fromkeys(TEXTS, "object") | {"exclusive": "boolean"}
    return runs.reindex(columns=[*first, *scores, *LAST]).astype(types)


def _as_numbers_or_text(column: pd.Series) -> pd.Series:
    numbers = column.dropna().map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all()
    return column.astype("Float64") if numbers else column.map(str, na_action="ignore")


def _sort_key(column: pd.Series) -> pd.Series:
    """The order of table rows: numbers as numbers, all else as text."""
    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)
