"""Runs that need not be trained again: finished here before, or in a sibling sweep, on the same data."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from src.environment import git_state
from src.record import RunRecord

log = logging.getLogger(__name__)
PROJECT = Path(__file__).resolve().parents[2]


def finished_before(record: RunRecord, data_fingerprint: str) -> dict[str, Any] | None:
    """The run.json of `record` if the run is finished. Raises ValueError if it was begun on other data."""
    run = record.read()
    if run is None:
        return None
    before = run["data"]["fingerprint"]
    if before != data_fingerprint:
        raise ValueError(
            f"{record.folder}: was begun on data with fingerprint {before[:12]}, the data there now have "
            f"{data_fingerprint[:12]}; bring the old data back, or give another sweep.name for the new ones"
        )
    return run if run["status"] == "finished" else None


def finished_elsewhere(record: RunRecord, data_fingerprint: str) -> Path | None:
    """The folder of the same run, finished on the same data in another sweep beside this one."""
    for file in sorted(record.folder.parent.parent.glob(f"*/{record.folder.name}/run.json")):
        sibling = RunRecord(file.parent)
        try:
            run = sibling.read() if sibling.folder != record.folder else None
            if run and run["status"] == "finished" and run["data"]["fingerprint"] == data_fingerprint:
                return sibling.folder
        except (ValueError, KeyError, OSError) as error:  # a broken record of another sweep is that sweep's affair
            log.warning("%s is not looked at: %s", sibling.run_file, error)
    return None


def take_over(source: Path, record: RunRecord) -> None:
    """Makes the finished run at `source` a run of this sweep too, under the record's lock.

    Its files are linked, so they take no room and outlive the other folder; where that is not possible, copied.
    """
    temporary = record.folder.with_name(f".{record.folder.name}.taking")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, copy_function=_link_or_copy)
    shutil.rmtree(record.folder, ignore_errors=True)  # of a run that was killed before it had a run.json
    temporary.rename(record.folder)


def warn_of_other_code(record: RunRecord, run: dict[str, Any]) -> None:
    """A run that goes on under another state of the code is worth a warning, but no refusal."""
    state = git_state(PROJECT)
    if run.get("git") != state:
        log.warning("%s: was begun at the git state %s and goes on at %s", record.folder, run.get("git"), state)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
