"""Where a run goes on: from its last checkpoint, from the one before when that is damaged, else from the start."""

import logging
from pathlib import Path
from typing import Any

from src.base.record import RunRecord
from src.training.checkpoint import BEST, LAST, PENDING_BEST, PREVIOUS, load_checkpoint
from src.training.state import Learner

log = logging.getLogger(__name__)


def resume(learner: Learner, record: RunRecord) -> None:
    """Takes `learner` to where the record's checkpoints have it; without any, it stays as it is.

    Raises ValueError when the weights of the best epoch are lost, or when the checkpoint is not one of this run.
    """
    state = _newest_state(record)
    if state is None:
        return
    try:
        learner.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{record.checkpoints / LAST}: is not a checkpoint of this run ({type(error).__name__}: {error}); bring it "
            f"back from a copy, or delete {record.folder} to begin the run anew"
        ) from error
    _settle_best(learner, record)
    log.info("going on in epoch %d after %d of its batches", learner.epoch, learner.batch)


def _newest_state(record: RunRecord) -> dict[str, Any] | None:
    """What last.pt holds, or previous.pt, which then becomes last.pt; damaged ones are named in a warning."""
    folder = record.checkpoints
    last, previous = folder / LAST, folder / PREVIOUS
    state = _read(last, "model", "epoch", "batch", "best_epoch")
    if state is None and (state := _read(previous, "model", "epoch", "batch", "best_epoch")) is not None:
        record.check()
        previous.replace(last)  # now, lest the damaged one becomes the previous one
        log.warning("going on from the checkpoint before, %s", previous)
    if state is None:
        if last.exists() or previous.exists():
            log.warning("%s has no checkpoint that can be read: the run begins anew", folder)
        for name in (LAST, PREVIOUS, BEST, PENDING_BEST):
            record.check()
            (folder / name).unlink(missing_ok=True)
    return state


def _read(path: Path, *keys: str) -> dict[str, Any] | None:
    """The checkpoint at `path`; None where there is none, and, with a warning, where it is damaged or lacks `keys`."""
    if not path.exists():
        return None
    try:
        content = load_checkpoint(path)
        if missing := [key for key in keys if key not in content]:
            raise ValueError(f"{path}: is not a checkpoint of a run, it has no {', '.join(missing)}")
    except ValueError as error:
        log.warning("%s", error)
        return None
    return content


def _settle_best(learner: Learner, record: RunRecord) -> None:
    """Makes best.pt and `learner` agree on the best epoch, at whatever moment the process ended.

    New best weights whose epoch was lost before last.pt knew of it are dropped. best.pt is of a later epoch than
    `learner` knows where last.pt was damaged: then `learner` takes its score for the one to beat.
    """
    pending, best = record.checkpoints / PENDING_BEST, record.checkpoints / BEST
    waiting = _read(pending, "model", "epoch", "valid_dice")
    record.check()
    if waiting is not None and waiting["epoch"] == learner.best_epoch:
        pending.replace(best)
    pending.unlink(missing_ok=True)
    kept = _read(best, "model", "epoch", "valid_dice")
    if kept is None and learner.best_epoch == 0:
        return
    if kept is None or kept["epoch"] < learner.best_epoch:
        raise ValueError(
            f"{best}: the weights of the best epoch, {learner.best_epoch}, are lost; bring the file back from a copy, "
            f"or delete {record.folder} to begin the run anew"
        )
    learner.best_epoch, learner.best_dice = kept["epoch"], kept["valid_dice"]
    device = learner.network.numerics.device
    learner.best_weights = {key: value.to(device) for key, value in kept["model"].items()}
