"""Why a run ends early: on request, after a signal, or by a failure, told in one line with what to do."""

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from src.base.config import RunConfig
from src.base.errors import one_line
from src.base.files import CannotWrite

# Ctrl-C, the polite end sent by schedulers and process managers, and SLURM's warning before its time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# of torch on the CPU, in shared memory, on CUDA and MPS, of cuBLAS, C++ and OpenCV, all in exceptions of general types
SIGNS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "bad_alloc",
    "Insufficient memory",
)
NOT_DETERMINISTIC = "does not have a deterministic implementation"  # torch, of what numerics=exact rules out


class Interrupted(Exception):
    """The run was stopped by the signal `signal_number`. It can be resumed."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")


class StopRequest:
    """Remembers the first signal that came; a second Ctrl-C stops at once, without a checkpoint.

    The other signals may come any number of times: a scheduler sends them to all processes of a job, and repeats them.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catches SIGNALS inside the block; outside the main thread, where Python allows no handlers, does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number = number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or one that it was raised from, says that there was not enough memory."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(error, OSError) and any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__
    return False


def explain(error: BaseException, config: RunConfig) -> str:
    """The line that is recorded for `error`, which begins with its type."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, CannotWrite):
        return f"{reason}; after that the same command resumes from the last checkpoint"
    if is_out_of_memory(error):
        first = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {_out_of_memory(config)} ({first})"
    if NOT_DETERMINISTIC in reason:
        return f"{one_line(reason).partition(', but you set')[0]}; use numerics=fast"
    return reason


def _out_of_memory(config: RunConfig) -> str:
    """What to try instead: half the batch, or less, of which several make the optimizer step of before."""
    batch_size, accumulate = config.trainer.batch_size, config.trainer.accumulate
    said = f"out of memory with trainer.batch_size={batch_size} at data.image_size={config.data.image_size}"
    if batch_size == 1:
        return f"{said}; try a smaller data.image_size or network"
    step = batch_size * accumulate  # images
    fits = next(size for size in range(batch_size // 2, 0, -1) if step % size == 0)
    return (
        f"{said}; by estimate (half of it) trainer.batch_size={fits} would fit, "
        f"with trainer.accumulate={step // fits} for steps of {step} images as before"
    )
