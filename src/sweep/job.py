"""One run of a sweep, which is pickled for other machines and read there without torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from src.base.config import RunConfig
from src.base.identity import Identity
from src.base.record import RunRecord


@dataclass(frozen=True)
class Job:
    """A run to execute: its checked config, overrides, sweep folder, ids and data fingerprint."""

    config: RunConfig
    overrides: list[str]
    sweep: str
    identity: Identity
    data_fingerprint: str

    @property
    def record(self) -> RunRecord:
        """The record of this run, which may not exist yet."""
        return RunRecord(Path(self.config.output) / self.sweep / self.identity.run_id)

    def message(self) -> str:
        """The JSON that src.sweep.worker reads."""
        config = self.config.model_dump(mode="json")
        return json.dumps({"config": config, "sweep": self.sweep, "overrides": self.overrides})
