"""The run_id of a record of schema 1, computed as it was then: only to tell whether its config.yaml was changed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NAMED = ("model", "loss", "optimizer", "scheduler", "augmentation")
SECTIONS = (*NAMED, "data", "trainer", "numerics", "debug")
NEUTRAL = {
    "data": {"root", "cache", "cached", "workers", "download", "on_error"},
    "trainer": {"keep_every", "by_model"},
}


def run_id(config: Mapping[str, Any], init_digest: str | None) -> str:
    """The id of `config`, a config.yaml under the names of its time; `init_digest` of the weights it began from."""
    setting: dict[str, Any] = {}
    for section in SECTIONS:
        if config.get(section) is not None:
            left_out = NEUTRAL.get(section, set()) | (set() if section in NAMED else {"name"})
            setting[section] = {key: value for key, value in config[section].items() if key not in left_out}
    setting = _meaning(setting) | ({"init_from": init_digest} if init_digest else {}) | {"seed": config["seed"]}
    text = json.dumps(setting, sort_keys=True, separators=(",", ":"), default=str)
    readable = "-".join([*(config[section]["name"] for section in NAMED), f"seed{config['seed']}"])
    return f"{readable}-c{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _meaning(value: Any) -> Any:
    """`value` without null keys, and with 1.0 as 1."""
    if isinstance(value, dict):
        return {key: _meaning(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_meaning(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
