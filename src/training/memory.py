"""Running out of memory: how each library says it."""

import errno
from collections.abc import Iterator

import torch

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
