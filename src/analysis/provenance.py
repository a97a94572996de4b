"""Where answers come from: machines, versions, code and time of the runs that count, and how to repeat them."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.analysis.loading import Records
from src.analysis.words import human_seconds
from src.files import read_json, read_yaml


@dataclass(frozen=True)
class Provenance:
    """`facts`: name and text of what is known of the runs that count; `commands`: lines for a shell, one a setting."""

    facts: dict[str, str]
    commands: list[str]


def provenance_of(records: Records) -> Provenance:
    """Read from run.json and overrides.yaml of the runs that count."""
    runs = [read_json(Path(folder) / "run.json") for folder in records.counted["folder"]]
    if not runs:
        return Provenance({}, [])
    versions = [_part(run, "versions") for run in runs]
    packages = sorted({name for own in versions for name in own})
    facts = {
        "data": _each(_data(_part(run, "data")) for run in runs),
        "device": _each(run.get("device") for run in runs),
        "machine": _each(_machine(_part(run, "machine")) for run in runs),
        "arithmetic": _each(_part(run, "numerics").get("name") for run in runs),
        "code": _each(_code(_part(run, "git")) for run in runs),
        "versions": ", ".join(f"{name} {_each(own.get(name) for own in versions)}" for name in packages),
        "worked": f"{human_seconds(records.counted['seconds'].sum())} over {len(runs)} runs, "
        f"{_each(str(run.get('started', ''))[:10] for run in runs)}",
    }
    return Provenance({name: text for name, text in facts.items() if text}, _commands(records))


def _part(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of run.json; empty where it is none, as in a record that somebody else's program wrote."""
    part = run.get(name)
    return part if isinstance(part, dict) else {}


def _data(data: dict[str, Any]) -> str:
    images = ", ".join(f"{number} {split}" for split, number in _part(data, "images").items())
    return f"{images} (fingerprint {str(data.get('fingerprint'))[:12]})"


def _commands(records: Records) -> list[str]:
    """For each setting what was typed for it, with all its seeds."""
    typed: dict[tuple[str, ...], list[int]] = {}
    for folder, seed in zip(records.counted["folder"], records.counted["seed"], strict=True):
        words = tuple(word for word in _overrides(Path(folder)) if not word.startswith("seed="))
        typed.setdefault(words, []).append(int(seed))
    return [_command(words, seeds) for words, seeds in typed.items()]


def _command(words: Sequence[str], seeds: Sequence[int]) -> str:
    sweep = [] if any(word.startswith("experiment=") for word in words) or len(seeds) == 1 else ["-m"]
    return shlex.join(["python", "-m", "src.train", *sweep, *words, f"seed={','.join(map(str, sorted(seeds)))}"])


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(word) for word in read_yaml(folder / "overrides.yaml")]
    except (OSError, TypeError, ValueError):
        return []


def _machine(machine: dict[str, Any]) -> str:
    return ", ".join(str(part) for part in (machine.get("system"), _cores(machine.get("cores"))) if part)


def _cores(cores: Any) -> str:
    return f"{cores} core{'' if cores == 1 else 's'} a run" if cores else ""


def _code(git: dict[str, Any]) -> str:
    if "commit" not in git:
        return "not from a git checkout"
    return f"commit {str(git['commit'])[:10]}{' with changes' if git.get('changed') else ''}"


def _each(texts: Iterable[Any]) -> str:
    """The different ones among `texts`, each once, in their order."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))
