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
    """A recorded config, a mapping of sections, with its keys under the names of today; anything else as it is.

    A path that is empty, as paths could be before, names the working folder.
    """
    if not isinstance(plain, dict):
        return plain
    sections = {name: dict(value) if isinstance(value, dict) else value for name, value in plain.items()}
    for old, new in KEYS.items():
        (section, key), (target, new_key) = old.split("."), new.split(".")
        source, place = sections.get(section), sections.get(target)
        if isinstance(source, dict) and isinstance(place, dict) and key in source:
            place.setdefault(new_key, source.pop(key))
    for holder, key in ((sections, "output"), (sections.get("data"), "root"), (sections.get("data"), "cache_dir")):
        if isinstance(holder, dict) and holder.get(key) == "":
            holder[key] = "."
    return sections
