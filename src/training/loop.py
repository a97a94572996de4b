"""The training loop: steps that never wait for the device, epochs that are scored and recorded."""

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from src.base.config import TrainerSection
from src.base.device_sharing import count_runs
from src.base.progress import ProgressBar
from src.base.record import RunRecord
from src.base.runtime import device_key, device_name
from src.data.loaders import Batch, EvalLoader, TrainLoader
from src.training.checkpoint_writer import CheckpointWriter
from src.training.metrics import EpochMetrics, MetricAccumulator
from src.training.state import ModelRunner, TrainState, score
from src.training.stopping import Interrupted, StopRequest

log = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite, so training ends; the message names the step and the learning rate."""


def fit(
    state: TrainState,
    loaders: tuple[TrainLoader, EvalLoader],
    trainer: TrainerSection,
    record: RunRecord,
    stop: StopRequest,
) -> None:
    """Trains until the last epoch or early stopping, from wherever `state` is.

    `loaders`: training and validation. Each epoch leaves a row in the record, and a checkpoint is written every
    `trainer.checkpoint_seconds` and at the end. Raises Interrupted (after writing a checkpoint) when `stop` was asked
    for, NonFiniteLoss (leaving the checkpoint before) when the loss becomes NaN or infinite, and OSError (leaving the
    checkpoint before) when the disk does not take one.
    """
    train_loader, valid_loader = loaders
    device = device_key(state.network.numerics.device)
    valid: EpochMetrics | None = None
    upcoming: Iterator[Batch] | None = None
    record.write_epochs(state.history)
    with (
        CheckpointWriter(state, record, trainer.checkpoint_seconds) as writer,
        ProgressBar(total=trainer.epochs, initial=state.epoch - 1, desc="epochs", unit="epoch") as bar,
    ):

        def after_step() -> None:
            stop.check()
            writer.check()
            writer.prepare()
            if writer.is_due():
                _check_finite(state)
                writer.save()

        while state.epoch <= trainer.epochs and not _patience_is_over(state, trainer):
            runs_at_start = count_runs(device)
            try:
                train_epoch(state, train_loader, trainer, after_step, upcoming)
                # asked for already, so that its workers prepare the first batches during validation
                upcoming = train_loader.start(state.epoch + 1) if state.epoch < trainer.epochs else None
                if valid is None:
                    writer.wait()  # a loader starts its processes at its first use: no fork while a thread writes
                valid = evaluate(state.scored, state.loss, valid_loader, "validation", after_step)
            except Interrupted:
                _check_finite(state)
                writer.save()
                writer.wait()
                raise
            runs = [runs_at_start, count_runs(device)]  # if one is unknown, so is their maximum
            row = _finish_epoch(state, valid, trainer, max(filter(None, runs)) if all(runs) else None)
            record.append_epoch(row)
            record.update(best_epoch=state.best_epoch, scores={"valid_dice": state.best_dice})
            bar.update()
            bar.set_postfix(valid_dice=f"{row['valid_dice']:.4f}", best=f"{state.best_dice:.4f}")
            log.info(_sentence(row, trainer.epochs))
            if trainer.keep_every and row["epoch"] % trainer.keep_every == 0:
                writer.save(weights_as=f"epoch_{row['epoch']:04d}.pt")
            elif writer.is_due():
                writer.save()
        writer.save()


def train_epoch(
    state: TrainState,
    loader: TrainLoader,
    trainer: TrainerSection,
    after_step: Callable[[], None],
    batches: Iterator[Batch] | None = None,
) -> None:
    """Takes the epoch's steps from `state.batch` on, with `batches` if `loader` was asked for them before.

    Gradients of `trainer.accumulate` batches make one step, each image weighing the same. `after_step` is called
    between two steps; what it raises ends the epoch there.
    """
    network, every = state.network, trainer.accumulate
    sizes = loader.sizes()
    network.model.train()
    started = time.perf_counter() - state.seconds
    if batches is None:
        batches = loader.start(state.epoch, state.batch)
    what, done = f"epoch {state.epoch}", state.batch
    bar = ProgressBar(batches, what, len(sizes), False, unit="batch", initial=done)
    shown = time.monotonic()
    for batch in bar:
        first = state.batch - state.batch % every
        loss, counts = state.score(batch.images, batch.targets)
        (loss * (len(batch.images) / sum(sizes[first : first + every]))).backward()
        state.tally.add(loss, counts)
        state.batch += 1
        if bar.on_terminal and time.monotonic() - shown >= 1:  # seldom, since reading them waits for the device
            running, shown = state.tally.read(), time.monotonic()
            bar.set_postfix(loss=f"{running.loss:.4f}", dice=f"{running.dice:.4f}", lr=f"{state.lr:.1e}")
        if state.batch % every == 0 or state.batch == len(sizes):
            _step(state, trainer.clip_norm, is_first=first == 0)
            state.seconds = time.perf_counter() - started
            after_step()
    if network.numerics.device.type == "cuda":
        torch.cuda.synchronize(network.numerics.device)  # once an epoch: until here steps were only queued
    state.seconds = time.perf_counter() - started


@torch.inference_mode()
def evaluate(
    network: ModelRunner, loss: nn.Module, loader: EvalLoader, what: str, after_batch: Callable[[], None]
) -> EpochMetrics:
    """Scores every image of `loader` once, in its order, with the network in evaluation mode."""
    network.model.eval()
    network.numerics.tune(whole_batch=False)
    tally = MetricAccumulator()
    for batch in ProgressBar(loader, desc=what, unit="batch", leave=False):
        tally.add(*score(network, loss, batch.images, batch.targets))
        after_batch()
    return tally.read()


def _step(state: TrainState, clip_norm: float | None, is_first: bool) -> None:
    state.lr, state.momentum = lr_and_momentum(state.optimizer)
    if is_first:
        state.lr_first = state.lr_max = state.lr
    elif state.lr_max is not None:
        state.lr_max = max(state.lr_max, state.lr)
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(state.network.model.parameters(), clip_norm)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    if state.average is not None:
        state.average.update()
    state.schedule.after_batch()


def _finish_epoch(
    state: TrainState, valid: EpochMetrics, trainer: TrainerSection, device_jobs: int | None
) -> dict[str, Any]:
    """Reads the epoch's tally, moves `state` to the next epoch and returns the row of this one.

    Raises NonFiniteLoss.
    """
    _check_finite(state)
    if not np.isfinite(valid.loss):
        raise NonFiniteLoss(f"validation loss is {valid.loss} after epoch {state.epoch} (lr {state.lr:g})")
    train = state.tally.read()
    row = {
        "epoch": state.epoch,
        "lr": state.lr,
        "lr_first": state.lr_first,
        "lr_max": state.lr_max,
        "momentum": state.momentum,
        "train_loss": train.loss,
        "valid_loss": valid.loss,
        "train_dice": train.dice,
        "valid_dice": valid.dice,
        "train_dice_batch_flattened": train.dice_batch_flattened,
        "valid_dice_batch_flattened": valid.dice_batch_flattened,
        "valid_iou": valid.iou,
        "train_accuracy": train.accuracy,
        "valid_accuracy": valid.accuracy,
        "images_per_second": len(train.counts) / state.seconds,
        "train_seconds": state.seconds,
        "peak_memory_bytes": peak_memory(state.network.numerics.device),
        "device": device_name(state.network.numerics.device),
        "device_jobs": device_jobs,
    }
    state.history.append(row)
    if (score := _score(row, trainer)) > state.best_score:
        state.keep_as_best(valid.dice, score)
    state.schedule.after_epoch(valid.loss, valid.dice)
    state.epoch, state.batch, state.seconds, state.tally = state.epoch + 1, 0, 0.0, MetricAccumulator()
    return row


def _score(row: dict[str, Any], trainer: TrainerSection) -> float:
    """How good the epoch of `row` is by `trainer.select_by`; higher is better."""
    return -row["valid_loss"] if trainer.select_by == "valid_loss" else row[trainer.select_by or "valid_dice"]


def _check_finite(state: TrainState) -> None:
    losses = [float(loss) for loss in torch.stack(state.tally.losses).cpu()] if state.tally.losses else []
    wrong = next((number for number, loss in enumerate(losses, start=1) if not np.isfinite(loss)), None)
    if wrong is not None:
        raise NonFiniteLoss(
            f"training loss is {losses[wrong - 1]} from batch {wrong} of epoch {state.epoch} on (lr {state.lr:g}); "
            "the last checkpoint is kept; try a smaller lr, trainer.clip_norm=1.0 or numerics=exact"
        )


def _patience_is_over(state: TrainState, trainer: TrainerSection) -> bool:
    patience = trainer.early_stop_patience
    return patience is not None and state.epoch - 1 - state.best_epoch >= patience


def lr_and_momentum(optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """What the next step of the first parameter group takes; momentum is beta1 for Adam and AdamW."""
    group = optimizer.param_groups[0]
    momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
    return float(group["lr"]), float(momentum)


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point so far: of tensors on a CUDA device, elsewhere of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux and in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _sentence(row: dict[str, Any], epochs: int) -> str:
    return (
        f"epoch {row['epoch']}/{epochs}: lr {row['lr']:.2e}, training loss {row['train_loss']:.4f} and Dice "
        f"{row['train_dice']:.4f}, validation loss {row['valid_loss']:.4f} and Dice {row['valid_dice']:.4f}, "
        f"{row['images_per_second']:.1f} images/s"
    )
