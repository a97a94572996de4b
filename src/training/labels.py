"""Tags and notes of a run that has begun before: what a later call adds to them."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.base.config import RunConfig
from src.base.record import RunBusy, RunRecord


def united_labels(run: Mapping[str, Any], config: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The tags and notes of `run` (its run.json) together with those that `config` brings.

    Tags are only ever added. Notes are replaced where some are given, by an experiment or typed, even as empty ones.
    """
    given = bool(config.notes) or any(override.startswith("notes=") for override in overrides)
    return {
        "tags": list(dict.fromkeys([*(run.get("tags") or []), *config.tags])),
        "notes": config.notes if given else run.get("notes", ""),
    }


def add_labels(record: RunRecord, config: RunConfig, overrides: Sequence[str]) -> str:
    """Adds tags and notes to the finished run of `record`; returns what changed, to be put behind a message.

    Writes nothing where nothing changes. run.json is replaced rather than written to, so that a sweep that shares the
    file keeps its own.
    """
    if _changes(record, config, overrides) == {}:
        return ""
    try:
        with record.locked():
            changes = _changes(record, config, overrides)
            record.update(**changes)
    except RunBusy as error:
        return f"; tags and notes stay as they are, {error}"
    return f"; {' and '.join(changes)} changed" if changes else ""


def _changes(record: RunRecord, config: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    run = record.read() or {}
    return {key: value for key, value in united_labels(run, config, overrides).items() if value != run.get(key)}
