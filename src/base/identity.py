"""The stable names of a run: the same settings always get the same id, and so the same folder."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from src.base.config import RunConfig

# Keys that cannot change a result: where things lie, how many processes read them, what is kept on the way.
NEUTRAL_KEYS = {
    # which images are left out shows in the fingerprint of the data, as it does for `root`
    "data": {"root", "cache_dir", "decode_once", "workers", "download", "on_error"},
    "trainer": {"keep_every", "by_model"},
}
BUILT_SECTIONS = ("model", "loss", "optimizer", "scheduler")
FIXED_SECTIONS = ("augmentation", "data", "trainer", "numerics", "debug")
# Their names stand in the run_id, so they belong to the hash too: else one setting could have two folders.
NAMED_IN_RUN_ID = (*BUILT_SECTIONS, "augmentation")
CHOICE_SECTIONS = (*BUILT_SECTIONS, *FIXED_SECTIONS)


@dataclass(frozen=True)
class Identity:
    """`config_id` is shared by all seeds of a setting; `run_id` names one of its runs and its folder.

    `init_digest`: of the weights that training starts from, which both ids depend on.
    """

    run_id: str
    config_id: str
    init_digest: str | None = None


def identify(config: RunConfig, init_digest: str | None = None) -> Identity:
    """The ids of `config`, whose built sections must be cast to their signatures' types already.

    `init_digest`: digest of the weights that training starts from, where `init_from` names some. Null keys count as
    absent, so that a new optional key leaves every older id as it was.
    """
    setting = setting_of(config) | ({"init_from": init_digest} if init_digest else {})
    config_id = _digest(setting)
    choices = choices_of(config)
    readable = "-".join([*(choices[section] for section in NAMED_IN_RUN_ID), f"seed{config.seed}"])
    return Identity(f"{readable}-{_digest({**setting, 'seed': config.seed})}", config_id, init_digest)


def setting_of(config: RunConfig) -> dict[str, Any]:
    """What decides the result of a run beside its seed, as plain values."""
    plain = config.model_dump(mode="json")
    setting = {}
    for section in CHOICE_SECTIONS:
        if plain[section] is not None:
            left_out = NEUTRAL_KEYS.get(section, set()) | (set() if section in NAMED_IN_RUN_ID else {"name"})
            setting[section] = {key: value for key, value in plain[section].items() if key not in left_out}
    return _meaning(setting)


def choices_of(config: RunConfig) -> dict[str, str]:
    """The name of the option chosen in each group, for example `{"model": "unet", …}`."""
    plain = config.model_dump()
    return {section: plain[section]["name"] for section in CHOICE_SECTIONS if plain[section] is not None}


def _meaning(value: Any) -> Any:
    """`value` without null keys, and with 1.0 as 1: settings that mean the same look the same."""
    if isinstance(value, dict):
        return {key: _meaning(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_meaning(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    # a letter in front: bare hexadecimal digits such as 1e5 would read as a number in an override
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "c" + hashlib.sha256(text.encode()).hexdigest()[:8]
