"""Runs as a stranger would hand them over: a config of their choice, under the id that belongs to it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from src.base.config import RunConfig
from src.base.identity import identify


def disguise(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Applies `change` to the config of `run`, and makes its record say that this is the config it was begun with."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    record = json.loads((run / "run.json").read_text())
    record["run_id"] = identify(RunConfig.model_validate(config), record["data"]["fingerprint"]).run_id
    (run / "run.json").write_text(json.dumps(record))
