"""What an inference may be asked for, and what the words of its options name: a run, photos, a folder for masks."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import Field

from src.base.config import PackageName, Section
from src.base.environment import usable_cores
from src.base.errors import ConfigError
from src.prediction.batches import Inference
from src.prediction.inputs import expanded, find_inputs
from src.prediction.load_model import load_model
from src.prediction.outputs import Outputs, check_output
from src.training.protocol import Tta

MOST_WORKERS = 8  # each may hold a photo of 64 million pixels

Result = TypeVar("Result")


class InferenceOptions(Section):
    """See conf/inference.yaml."""

    run: str = Field(min_length=1)
    allow_targets: tuple[PackageName, ...] = ()
    input: str = Field(min_length=1)
    output: str = Field(min_length=1)
    device: str
    batch_size: int = Field(ge=1)
    tta: Tta
    threshold: float = Field(gt=0, lt=1)
    overlay: bool
    probability: bool
    overwrite: bool
    workers: int | None = Field(ge=1)

    def inference(self) -> Inference:
        """All that is asked for, ready to begin. Raises ConfigError with every problem; nothing is written."""
        problems: list[str] = []
        folder = expanded(self.output)
        inputs = _attempt(problems, lambda: find_inputs(self.input, folder))
        _attempt(problems, lambda: check_output(folder))
        predictor = _attempt(problems, lambda: load_model(expanded(self.run), self.device, self.allow_targets))
        if predictor is None or inputs is None or problems:
            raise ConfigError(problems)
        return Inference(
            predictor=predictor,
            inputs=inputs,
            outputs=Outputs(folder, self.overlay, self.probability, self.overwrite),
            batch_size=self.batch_size,
            tta=self.tta,
            threshold=self.threshold,
            workers=self.workers or min(usable_cores(), MOST_WORKERS),
        )


def _attempt(problems: list[str], work: Callable[[], Result]) -> Result | None:
    try:
        return work()
    except ConfigError as error:
        problems += error.problems
    except ValueError as error:
        problems.append(str(error))
    return None
