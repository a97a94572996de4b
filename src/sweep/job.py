"""One run that a sweep wants done; it travels to other machines and is read there without torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from src.base.config import RunConfig
from src.base.identity import Identity
from src.base.record import RunRecord


@dataclass(frozen=True)
class Job:
    """One run to be done: its checked config, its ids, the fingerprint of its data, and where its record goes."""

    config: RunConfig
    overrides: list[str]
    sweep: str
    identity: Identity
    data_fingerprint: str

    @property
    def record(self) -> RunRecord:
        """The record of this run, whether it has begun or not."""
        return RunRecord(Path(self.config.output) / self.sweep / self.identity.run_id)

    def message(self) -> str:
        """What the process that does this job needs to know, as JSON."""
        config = self.config.model_dump(mode="json")
        return json.dumps({"config": config, "sweep": self.sweep, "overrides": self.overrides})
