"""The text of --help: an example, the groups with their options, and the keys with the comments of their YAML files."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from src.cli.overrides import CONF, option_names, source_folders

NOT_KEYS = ("defaults", "hydra", "name", "kind", "_target_")  # of a YAML file: what an option is, not what it takes
GROUPS = "Groups, as group=option (* is chosen; the keys below are those of the chosen options):"
KEYS = "Keys, as key=value (??? has no default):"
FOOTER = "--cfg job prints the config as the overrides compose it, --hydra-help the options of Hydra."


def register() -> None:
    """Makes `${command_help:}`, which conf/base.yaml gives to Hydra as its help, the text for the composed command."""
    OmegaConf.register_new_resolver("command_help", _command_help, replace=True)


def _command_help(*others: str, _root_: DictConfig) -> str:
    """What the command with the composed config `_root_` takes, and what is in `others`: names of configs, as train.

    `$` is doubled, as Hydra's template needs it.

    Prints it and exits if --help is given: Hydra collects the options of all groups before it fills its template, which
    takes longer than all the rest.
    """
    hydra = _root_.hydra
    folders = source_folders(hydra)
    texts = [text for name in (*others, hydra.job.config_name) for text in _texts(name, folders)]
    headers = [re.sub(r"^# ?", "", text.partition("defaults:")[0], flags=re.M).strip() for text in texts]
    defaults = [entry for text in texts for entry in _defaults(text) if isinstance(entry, dict)]
    groups_of = {group: option for entry in defaults for group, option in entry.items() if " " not in group}
    choices = {**groups_of, **hydra.runtime.choices}
    chosen = {group: option for group, option in choices.items() if _is_ours(group, option, folders)}
    keys = _keys("", texts)
    for group, option in chosen.items():
        path, _, package = group.partition("@")
        keys |= _keys((package or path).replace("/", ".") + ".", _texts(f"{path}/{option}", folders))
    groups = [_group_line(group, option, folders) for group, option in chosen.items()]
    groups += [_group_line(f"+{group}", None, folders) for group in _own_groups(folders, chosen)]
    sections = {GROUPS: groups, KEYS: keys.values()}
    parts = [next(filter(None, reversed(headers)), "")]
    parts += [part for title, lines in sections.items() if lines for part in (title, "\n".join(lines))]
    text = "\n\n".join([*parts, FOOTER])
    if {"-h", "--help"}.intersection(sys.argv):
        print(text)
        sys.exit()
    return text.replace("$", "$$")


def _texts(name: str, folders: Sequence[Path]) -> Iterator[str]:
    """The YAML files that `<name>.yaml` includes from its own folder, and itself, but those of another package."""
    files = [folder / f"{name}.yaml" for folder in folders]
    text = next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")
    if "@package" in text:
        return
    for other in _defaults(text):
        if isinstance(other, str) and other != "_self_":
            yield from _texts(f"/{Path(name).parent / other}".lstrip("/"), folders)
    yield text


def _defaults(text: str) -> list[Any]:
    return (yaml.safe_load(text) or {}).get("defaults", [])


def _keys(prefix: str, texts: Iterable[str]) -> dict[str, str]:
    """The lines of each key in the YAML `texts`, comments and all; a later text replaces a key of an earlier one."""
    keys: dict[str, str] = {}
    for text in texts:
        if text.startswith("{"):
            text = yaml.safe_dump(yaml.safe_load(text), sort_keys=False)
        blocks = re.split(r"^(?=\w+:)", text, flags=re.M)[1:]
        keys |= {prefix + block.partition(":")[0]: prefix + block.strip() for block in blocks}
    return {key: lines for key, lines in keys.items() if key.removeprefix(prefix) not in NOT_KEYS}


def _is_ours(group: str, option: str | None, folders: Sequence[Path]) -> bool:
    """Whether `option` lies in `folders`, or, if none is chosen, any of the group does; other groups are Hydra's."""
    names = option_names(group.partition("@")[0], folders)
    return bool(names) if option is None else option in names


def _own_groups(folders: Sequence[Path], chosen: Iterable[str]) -> list[str]:
    """The groups that only folders of the user's have, and that `+group=option` adds."""
    known = {path.name for path in CONF.iterdir()}.union(chosen)
    return sorted({path.name for folder in folders for path in folder.iterdir() if path.is_dir()} - known)


def _group_line(group: str, chosen: str | None, folders: Sequence[Path]) -> str:
    names = option_names(group.lstrip("+").partition("@")[0], folders)
    if group.startswith("hydra/"):  # in which folders are groups
        names = [name for name in names if "/" not in name]
    options = ", ".join(f"{name}*" if name == chosen else name for name in names if name != "base")
    width = max(80, shutil.get_terminal_size((120, 24)).columns)
    return textwrap.fill(f"{group:<15} {options}", width, subsequent_indent=" " * 16, break_on_hyphens=False)
