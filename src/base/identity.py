"""The stable names of a run: the same settings on the same data always get the same id, and so the same folder."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from src.base.config import RunConfig, neutral_keys

BUILT_SECTIONS = ("model", "loss", "optimizer", "scheduler")
# Their names stand in the run_id, so they belong to the hash too: else one setting could have two folders.
NAMED_IN_RUN_ID = (*BUILT_SECTIONS, "augmentation")
CHOICE_SECTIONS = (*NAMED_IN_RUN_ID, "mix", "data", "trainer", "numerics", "debug")


@dataclass(frozen=True)
class Identity:
    """`config_id` is shared by all seeds of a setting; `run_id` names one of its runs and its folder.

    `init_digest`: of the weights that training starts from, which both ids depend on.
    """

    run_id: str
    config_id: str
    init_digest: str | None = None


def identify(config: RunConfig, fingerprint: str, init_digest: str | None = None) -> Identity:
    """The ids of `config`, as `checked` gives it, on the data of `fingerprint`.

    `init_digest`: digest of the weights that training starts from, if `init_from` names some.
    """
    setting = setting_of(config) | {"fingerprint": fingerprint, "init_from": init_digest}
    choices = choices_of(config)
    readable = "-".join([*(choices[section] for section in NAMED_IN_RUN_ID), f"seed{config.seed}"])
    return Identity(f"{readable}-{_digest({**setting, 'seed': config.seed})}", _digest(setting), init_digest)


def setting_of(config: RunConfig) -> dict[str, Any]:
    """What decides the result of a run beside its seed and its data, as plain values.

    Of each section the values that are not off (null or false) and not neutral. A class of ours counts by its name
    and not by its module, so that it may move.
    """
    plain = config.model_dump(mode="json")
    return {section: _values(section, plain[section]) for section in CHOICE_SECTIONS if plain[section] is not None}


def _values(section: str, plain: dict[str, Any]) -> dict[str, Any]:
    counted = {key: value for key, value in plain.items() if key not in neutral_keys(section) and value is not False}
    target = str(counted.get("_target_", ""))
    if target.startswith("src."):
        del counted["_target_"]
        counted["class"] = target.rpartition(".")[2]
    return meaning(counted)


def choices_of(config: RunConfig) -> dict[str, str]:
    """The name of the option chosen in each group, for example `{"model": "unet", …}`."""
    plain = config.model_dump()
    return {section: plain[section]["name"] for section in CHOICE_SECTIONS if plain[section] is not None}


def meaning(value: Any) -> Any:
    """`value` without null keys, and with 1.0 as 1: settings that mean the same look the same."""
    if isinstance(value, dict):
        return {key: meaning(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    # a letter in front: bare hexadecimal digits such as 1e5 would read as a number in an override
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "c" + hashlib.sha256(text.encode()).hexdigest()[:8]
