"""Where a run resumes: from its last checkpoint, from the one before if that is damaged, else from the start."""

import logging
from pathlib import Path
from typing import Any

from src.base.record import RunRecord
from src.training.checkpoint import BEST, LAST, PENDING_BEST, PREVIOUS, load_checkpoint
from src.training.state import TrainState

log = logging.getLogger(__name__)


def resume(state: TrainState, record: RunRecord) -> None:
    """Brings `state` to where the record's checkpoints are; without any, it stays as it is.

    Raises ValueError when the weights of the best epoch are lost, or when the checkpoint is not one of this run.
    """
    content = _newest_checkpoint(record)
    if content is None:
        return
    try:
        state.load_state_dict(content)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{record.checkpoints / LAST}: is not a checkpoint of this run ({type(error).__name__}: {error}); restore "
            f"it from a copy, or delete {record.folder} to start the run again"
        ) from error
    _settle_best(state, record)
    log.info("resuming in epoch %d after %d of its batches", state.epoch, state.batch)


def _newest_checkpoint(record: RunRecord) -> dict[str, Any] | None:
    """The content of last.pt, else of previous.pt, which then becomes last.pt; a warning names a damaged one."""
    folder = record.checkpoints
    last, previous = folder / LAST, folder / PREVIOUS
    content = _read(last, "model", "epoch", "batch", "best_epoch")
    if content is None and (content := _read(previous, "model", "epoch", "batch", "best_epoch")) is not None:
        record.check()
        previous.replace(last)  # now, lest the damaged one becomes the previous one
        log.warning("resuming from the checkpoint before, %s", previous)
    if content is None:
        if last.exists() or previous.exists():
            log.warning("%s has no checkpoint that can be read: the run starts again", folder)
        for name in (LAST, PREVIOUS, BEST, PENDING_BEST):
            record.check()
            (folder / name).unlink(missing_ok=True)
    return content


def _read(path: Path, *keys: str) -> dict[str, Any] | None:
    """The checkpoint at `path`; None if there is none and, with a warning, if it is damaged or lacks `keys`."""
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


def _settle_best(state: TrainState, record: RunRecord) -> None:
    """Makes best.pt and `state` agree on the best epoch, whenever the process ended, and loads its weights.

    Better weights that waited for a last.pt which was never written are dropped. If last.pt was damaged, best.pt may be
    of a later epoch than `state` knows: then its score is the one to beat.
    """
    pending, best = record.checkpoints / PENDING_BEST, record.checkpoints / BEST
    waiting = _read(pending, "model", "epoch", "valid_dice")
    record.check()
    if waiting is not None and waiting["epoch"] == state.best_epoch:
        pending.replace(best)
    pending.unlink(missing_ok=True)
    kept = _read(best, "model", "epoch", "valid_dice")
    if kept is None and state.best_epoch == 0:
        return
    if kept is None or kept["epoch"] < state.best_epoch:
        raise ValueError(
            f"{best}: the weights of the best epoch, {state.best_epoch}, are lost; restore the file from a copy, "
            f"or delete {record.folder} to start the run again"
        )
    state.best_epoch, state.best_dice = kept["epoch"], kept["valid_dice"]
    state.best_score = kept.get("score", state.best_dice)  # checkpoints of before were always chosen by Dice
    device = state.network.numerics.device
    state.best_weights = {key: value.to(device) for key, value in kept["model"].items()}
