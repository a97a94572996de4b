"""Keys and options of the config that have another name now: refused with the new name, and read in old records."""

from typing import Any

# A key of the config, and its name now.
KEYS = {
    "data.cache": "data.cache_dir",
    "data.cached": "data.decode_once",
    "model.flip_tta": "trainer.flip_tta",
}
# An option's file below conf/, and what to type now.
OPTIONS = {
    "trainer/small": "size=small",
    "augmentation/colour": "augmentation=color",
    "setting/best/colour": "setting=best/color",
}


def with_new_names(plain: Any) -> Any:
    """The config of an old record with the data keys' names of today; anything else stays as it is."""
    data = plain.get("data") if isinstance(plain, dict) else None
    if not isinstance(data, dict):
        return plain
    return {**plain, "data": {KEYS.get(f"data.{key}", str(key)).removeprefix("data."): data[key] for key in data}}
