"""Checkpoints that do not hold up training: copied to host memory between two steps, written by a thread."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

import torch

from src.base.record import RunRecord
from src.training.checkpoint import BEST, LAST, PENDING_BEST, PREVIOUS, save_checkpoint
from src.training.state import TrainState

log = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes `state` to the record's checkpoints: last.pt and, after a better epoch, best.pt.

    Better weights wait as best.next.pt until last.pt knows of their epoch, so that a crash at any moment leaves two
    files that agree; the last.pt before stays as previous.pt. Leaving the block waits for the thread.

    Args:
        state: resumed already, so that its best epoch is the one in best.pt.
        record: of the run, held by this process.
        seconds: after which the next checkpoint is due; with 0 each step waits for one.
    """

    def __init__(self, state: TrainState, record: RunRecord, seconds: float) -> None:
        self._state, self._record, self._seconds = state, record, seconds
        self._began = time.monotonic()
        self._saved: tuple[int, int] | None = None  # epoch and batch of the last checkpoint
        self._best_on_disk = state.best_epoch
        self._buffers: dict[Hashable, torch.Tensor] = {}  # host memory, used again by each checkpoint
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._join()
        if kind is None:
            self.check()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint; not while one is being written, so that a slow disk delays no step."""
        is_writing = self._thread is not None and self._thread.is_alive()
        return self._seconds == 0 or (not is_writing and time.monotonic() - self._began >= self._seconds)

    def prepare(self) -> None:
        """Begins to take the memory for copies of a network on the CPU, at its first call.

        New memory comes slowly from the system: the first copy of a large network would hold up training by a second.
        To be called after a step, since optimizers make their state in the first one.
        """
        if not self._buffers and self._thread is None and self._state.network.numerics.device.type == "cpu":
            parts = {LAST: self._state.state_dict(), BEST: self._state.scored.model.state_dict()}
            self._start(partial(self._take_memory, parts))

    def save(self, weights_as: str | None = None) -> None:
        """Copies the state as it is now and begins to write it, unless that is done.

        To be called between two steps. `weights_as`: another file, for the weights alone. Raises what went wrong with
        the checkpoint before, see `check`.
        """
        self.wait()
        state, self._began = self._state, time.monotonic()
        if weights_as is None and self._saved == (state.epoch, state.batch):
            return
        self._saved = (state.epoch, state.batch)
        log.debug("checkpoint in epoch %d before batch %d", *self._saved)
        # also when called within a validation, whose tensors may not be written to later
        with torch.inference_mode(False), torch.no_grad():
            last = self._on_host(LAST, state.state_dict())
            best = None
            if state.best_epoch != self._best_on_disk:
                weights = self._on_host(BEST, state.best_weights)
                best = {
                    "model": weights,
                    "epoch": state.best_epoch,
                    "valid_dice": state.best_dice,
                    "score": state.best_score,
                }
        copied = None
        if state.network.numerics.device.type == "cuda":
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(state.network.numerics.device))
        self._start(partial(self._write, copied, last, best, weights_as))

    def wait(self) -> None:
        """Waits until the checkpoint is written; raises as `check`."""
        self._join()
        self.check()

    def check(self) -> None:
        """Raises what went wrong while the last checkpoint was written, such as OSError for a full disk."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _start(self, work: Callable[[], Any]) -> None:
        # a daemon: a disk that hangs must not keep a process alive that was told to end at once
        self._thread = threading.Thread(target=work, daemon=True, name="checkpoint")
        self._thread.start()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _on_host(self, place: Hashable, value: Any) -> Any:
        """A copy of nested dicts and lists, its tensors in host memory, where they arrive when the device gets there.

        `place` of the value among all that are copied, whose buffer it keeps.
        """
        if isinstance(value, dict):
            return {key: self._on_host((place, key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._on_host((place, index), item) for index, item in enumerate(value))
        if not isinstance(value, torch.Tensor):
            return value
        buffer = self._buffers.get(place)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = self._buffers[place] = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return buffer.copy_(value, non_blocking=value.is_cuda)

    def _take_memory(self, parts: dict[str, Any]) -> None:
        with suppress(Exception), torch.no_grad():  # what goes wrong does so again in `save`, which says it
            for place, part in parts.items():
                self._on_host(place, part)

    def _write(
        self, copied: torch.cuda.Event | None, last: dict[str, Any], best: dict[str, Any] | None, weights_as: str | None
    ) -> None:
        folder, check = self._record.checkpoints, self._record.check
        try:
            if copied is not None:
                copied.synchronize()
            if weights_as is not None:
                weights = last.get("average", last)["model"]
                save_checkpoint(folder / weights_as, {"model": weights, "epoch": last["epoch"] - 1}, check=check)
            if best is not None:
                save_checkpoint(folder / PENDING_BEST, best, check=check)
            save_checkpoint(folder / LAST, last, folder / PREVIOUS, check)
            if best is not None:
                check()
                (folder / PENDING_BEST).replace(folder / BEST)
                self._best_on_disk = best["epoch"]
        except BaseException as error:
            self._error = error
