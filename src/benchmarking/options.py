"""What a benchmark may be asked for."""

from pydantic import Field

from src.config import Section


class BenchmarkOptions(Section):
    """See conf/benchmark.yaml."""

    output: str = Field(min_length=1)
    networks: list[str] = Field(min_length=1)
    repeats: int = Field(ge=1)
    steps: int = Field(ge=1)
    images: int = Field(ge=1)
