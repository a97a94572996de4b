"""Why a run failed, in one line: what happened and what to do."""

import errno
from collections.abc import Iterator

import torch

from src.base.config import RunConfig
from src.base.files import CannotWrite

# of torch on the CPU, in shared memory, on CUDA and MPS, of cuBLAS, C++ and OpenCV, all in exceptions of general types
SIGNS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "bad_alloc",
    "Insufficient memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or one that it was raised from, says that there was not enough memory."""
    return any(_says_so(one) for one in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return any(sign in str(error) for sign in SIGNS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def explain(error: BaseException, config: RunConfig) -> str:
    """The line that is recorded for `error`, which begins with its type."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, CannotWrite):
        return f"{reason}; after that the same command resumes from the last checkpoint"
    if is_out_of_memory(error):
        first = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {_out_of_memory(config)} ({first})"
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
