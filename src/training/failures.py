"""Why a run failed, in one line: what happened and what to do."""

from src.config import RunConfig
from src.files import CannotWrite
from src.training.memory import is_out_of_memory


def explain(error: BaseException, config: RunConfig) -> str:
    """The line that is recorded for `error`, which begins with its type."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, CannotWrite):
        return f"{reason}; after that the same command goes on from the last checkpoint"
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
