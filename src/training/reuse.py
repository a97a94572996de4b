"""Runs that are there already: finished here, or in another sweep beside this one; and what a later call adds."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.base.config import RunConfig, parse_section
from src.base.errors import one_line
from src.base.files import link_or_copy, making, read_json, read_yaml
from src.base.identity import identify
from src.base.provenance import copy_provenance
from src.base.record import HEADLINE, LARGEST_RUN, SCHEMA, RunBusy, RunRecord, SweepFolder
from src.base.renamed import with_new_names
from src.training.checkpoint import BEST, load_checkpoint
from src.training.metrics import dice_per_image, iou_per_image, pooled

log = logging.getLogger(__name__)
ROUNDING = 1e-9  # between a score as text and the one that the run computed


def finished_before(record: RunRecord, data_fingerprint: str) -> dict[str, Any] | None:
    """The run.json of `record` if the run is finished. Raises ValueError if it is not the record of this run."""
    run = record.read()
    if run is None:
        return None
    before, finished = run.get("data", {}).get("fingerprint"), run["status"] == "finished"
    is_this_run = run["schema"] >= SCHEMA and before == data_fingerprint  # both are part of the folder's name
    if not is_this_run or (finished and "test_dice" not in run.get("scores", {})):
        raise ValueError(
            f"{record.run_file}: is not the record of this run, it has schema {run['schema']} and a data.fingerprint "
            f"{str(before)[:12]} instead of {SCHEMA} and {data_fingerprint[:12]}, or, finished, no scores.test_dice; "
            f"restore a backup, or move {record.folder} away"
        )
    return run if finished else None


def finished_elsewhere(record: RunRecord, data_fingerprint: str) -> Path | None:
    """The folder of the same run, finished on the same data in another sweep beside this one and whole.

    None where something lies in this run's own folder: it is begun again rather than deleted.
    """
    if record.folder.exists() and any(record.folder.iterdir()):
        return None
    for file in sorted(record.folder.parent.parent.glob(f"*/{record.folder.name}/run.json")):
        sibling = RunRecord(file.parent)
        try:
            run = sibling.read()
            is_done = run and run["schema"] == SCHEMA and run["status"] == "finished"
            if run and is_done and run["data"]["fingerprint"] == data_fingerprint:
                _check_whole(sibling, run)
                return sibling.folder
        except (ValueError, KeyError, TypeError, OSError) as error:  # not this run's problem
            log.warning("%s is not reused: %s", sibling.folder, one_line(str(error)))
    return None


def _check_whole(record: RunRecord, run: Mapping[str, Any]) -> None:
    """Raises ValueError if weights, curves or images are missing, or the scores do not follow from them."""
    for file in (record.config_file, record.epochs_file, record.checkpoints / BEST):
        if not file.exists():
            raise ValueError(record.why_missing(file.name) or f"{file} is missing")
    config = parse_section(RunConfig, with_new_names(read_yaml(record.config_file)))
    identity = identify(config, run["data"]["fingerprint"], run.get("init_digest"))
    if not identity.run_id == run["run_id"] == record.folder.name:
        raise ValueError("config.yaml or run.json is of another run")
    best, scores = load_checkpoint(record.checkpoints / BEST), run["scores"]
    epochs = {epoch["epoch"]: epoch["valid_dice"] for epoch in record.read_epochs()}
    compared = [
        ("best_epoch", run["best_epoch"], best["epoch"]),
        ("valid_dice", scores["valid_dice"], best["valid_dice"]),
        ("valid_dice in epochs.jsonl", epochs[best["epoch"]], best["valid_dice"]),
    ]
    images, protocols = record.read_test_images(), record.read_scores("test")
    for protocol in {HEADLINE: {}} | protocols:
        entry, rows = protocols[protocol], [row for row in images if row["protocol"] == protocol]
        if not rows or not len(rows) == len({row["stem"] for row in rows}) == entry["images"]:
            raise ValueError(f"test_images.csv lacks images of {protocol}, or has one twice")
        counts = np.array([[int(row["tp"]), int(row["fp"]), int(row["fn"]), 0] for row in rows])  # (images, 4)
        dice, iou = dice_per_image(counts), iou_per_image(counts)
        means = {"dice": dice.mean(), "iou": iou.mean(), "pooled_dice": dice_per_image(pooled(counts))[0]}
        said = {"dice": entry["dice"]["mean"], "iou": entry["iou"]["mean"], "pooled_dice": entry["pooled_dice"]}
        compared += [(f"{protocol} {name} in test.json", said[name], mean) for name, mean in means.items()]
        compared += [(f"Dice of {row['stem']}", float(row["dice"]), one) for row, one in zip(rows, dice, strict=True)]
        compared += [(f"IoU of {row['stem']}", float(row["iou"]), one) for row, one in zip(rows, iou, strict=True)]
        if protocol == HEADLINE:
            compared += [(f"test_{name}", scores[f"test_{name}"], mean) for name, mean in means.items()]
    for name, written, found in compared:
        if not abs(written - found) <= ROUNDING:
            raise ValueError(f"{name} is {written}, but {found} follows from its weights and test_images.csv")


def note_of_old_runs(sweep: Path) -> str | None:
    """A line on the runs in the folder `sweep` whose ids were made in another way; None if it has none."""
    count = sum(_schema(file) == 1 for file in SweepFolder(sweep).run_files())
    if count == 0:
        return None
    subject = f"{count} runs of schema 1 are here; they are" if count > 1 else "1 run of schema 1 is here; it is"
    return f"{subject} neither resumed nor reused ({sweep})"


def _schema(run_file: Path) -> object:
    try:
        return read_json(run_file, LARGEST_RUN)["schema"]
    except (ValueError, OSError, KeyError, TypeError):  # a broken one is named by what looks at it
        return None


def link_finished_run(record: RunRecord, data_fingerprint: str) -> dict[str, Any] | None:
    """Makes a run that another sweep has finished a run of this sweep too, under the record's lock.

    Returns its run.json, or None if none qualifies. Its weights are linked if that is possible, so they take no
    room and outlive the other folder: they are replaced and never written to. All else is copied.
    """
    source = finished_elsewhere(record, data_fingerprint)
    if source is None:
        return None
    with making(record.folder, record.check) as workplace:
        shutil.copytree(source, workplace, copy_function=_take, dirs_exist_ok=True)
    copy_provenance((record.read() or {}).get("provenance"), source.parent, record.folder.parent)
    log.info("taken over from %s, where it was finished", source)
    return record.read()


def warn_of_other_code(record: RunRecord, run: dict[str, Any], state: dict[str, Any] | None) -> None:
    """Warns if a run resumes under another `state` of the code."""
    if run.get("git") != state:
        log.warning("%s: was begun at the git state %s and resumes at %s", record.folder, run.get("git"), state)


def _take(source: str, target: str) -> None:
    if source.endswith(".pt"):
        link_or_copy(Path(source), Path(target))
    else:
        shutil.copy2(source, target)


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

    def changes() -> dict[str, Any]:
        run = record.read() or {}
        return {key: value for key, value in united_labels(run, config, overrides).items() if value != run.get(key)}

    if not changes():
        return ""
    try:
        with record.locked():
            changed = changes()
            record.update(**changed)
    except RunBusy as error:
        return f"; tags and notes stay as they are, {error}"
    return f"; {' and '.join(changed)} changed" if changed else ""
