"""What an evaluation may be asked for."""

from typing import Annotated, Literal

from pydantic import Field

from src.base.config import PackageName, Section
from src.evaluation.pictures.panels import STYLES
from src.training.protocol import Tta


class EvaluateOptions(Section):
    """See conf/evaluate.yaml."""

    run: str = Field(min_length=1)
    allow_targets: tuple[PackageName, ...] = ()
    split: Literal["train", "valid", "test"]
    tta: Tta
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["valid"]
    images: int = Field(ge=0, le=100)
    styles: list[Literal[*STYLES]]  # type: ignore[valid-type]
    root: str | None
    output: str | None
    cache: str
    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    workers: int = Field(ge=-1, le=1024)
