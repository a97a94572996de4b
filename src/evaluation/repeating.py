"""A finished run done again from its record, in another folder, and compared with what it was."""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from src.base.config import PackageName, RunConfig, Section, UserPath
from src.base.environment import PROJECT, checkout_at, git_state, machine, versions
from src.base.errors import Ended, one_line, shown
from src.base.files import read_yaml
from src.base.provenance import FOLDER, read_provenance
from src.base.record import RunRecord
from src.base.runtime import device_name, pick_device
from src.display.text import human_seconds
from src.prediction.load_model import check_identity, is_like, open_own_data, read_config
from src.training.checkpoint import BEST, init_digest, load_weights
from src.training.checks import checked
from src.training.run import run

SWEEP = "repeat"  # of the repeated run, in an output that no other run shares: else that would be reused
COSTS = {"train_seconds", "images_per_second", "peak_memory_bytes", "device", "device_jobs"}  # of an epoch
MADE_WITH = ("device", "git", "versions", "machine")  # keys of run.json


class RepeatOptions(Section):
    """See conf/repeat.yaml."""

    run: UserPath
    go: bool
    output: UserPath
    allow_targets: tuple[PackageName, ...] = ()
    root: UserPath | None
    cache: UserPath
    device: str | None


@dataclass(frozen=True)
class Repetition:
    """A finished run and the config that does it again."""

    before: RunRecord
    facts: Mapping[str, Any]  # its run.json
    config: RunConfig

    @property
    def now(self) -> RunRecord:
        """The record of the repeated run, which may not exist yet."""
        return RunRecord(Path(self.config.output) / SWEEP / str(self.facts["run_id"]))


def plan_repetition(options: RepeatOptions) -> Repetition:
    """What repeats the run of `options`: its config with the paths, the device and the packages of the caller.

    Raises ValueError for a folder that is not a finished run's, for data or weights that are not those it had, and for
    a config that is not its own or names a class that is not allowed.
    """
    folder = Path(options.run)
    config, before = read_config(folder), RunRecord(folder)
    facts = before.read_now() or {}
    if facts.get("status") != "finished" or facts["schema"] == 1:
        got = f"schema {facts.get('schema')} and status {facts.get('status')}"
        raise ValueError(f"{folder}: has {got}; only a finished run of schema 2 is repeated")
    check_identity(config, folder)
    before.read_scores("test"), before.read_test_images(), before.read_epochs()  # a damaged record is refused at once
    # nothing is drawn or downloaded for a record
    open_own_data(folder, config, options.root, options.cache)
    data = {"root": options.root or config.data.root, "cache_dir": options.cache}
    neutral = {"device": options.device or config.device, "allow_targets": options.allow_targets}
    plain = config.model_copy(update=neutral | {"data": config.data.model_copy(update=data)}).model_dump(mode="json")
    config = checked({**plain, "output": str(_output(options, str(facts["run_id"])))}, is_ours=False)
    if init_digest(config) != facts.get("init_digest"):
        raise ValueError(f"{config.init_from}: holds other weights than those that {folder} began from")
    return Repetition(before, facts, config)


def _output(options: RepeatOptions, run_id: str) -> Path:
    """The first of `<output>/<sweep>-1`, -2, … in which the run is not finished: one that was interrupted resumes."""
    name, number = Path(options.run).resolve().parent.name, 1
    while RunRecord(place := Path(options.output) / f"{name}-{number}" / SWEEP / run_id).status() == "finished":
        number += 1
    return place.parent.parent


def intention(plan: Repetition) -> Iterator[str]:
    """Lines that say what is repeated, where, and what is not as it was."""
    yield f"run        {plan.before.folder}: {human_seconds(plan.facts.get('seconds', 0))}, {_scores_text(plan.facts)}"
    yield f"again in   {plan.now.folder}"
    device, git = device_name(pick_device(plan.config.device)), git_state(checkout_at(PROJECT))
    here = {"device": device, "git": git, "versions": versions(), "machine": machine()}
    yield from (f"differs    {line}" for line in _otherwise(_flat(plan.facts), _flat(here)))
    kept = read_provenance(plan.before.folder.absolute().parent, plan.facts.get("provenance"))
    if kept is not None and kept.commit is not None:
        patch = plan.before.folder.absolute().parent / FOLDER / str(kept.patch)
        apply = f" && git -C <folder> apply {shlex.quote(str(patch))}  # read it first" if kept.patch else ""
        yield one_line(f"its code   git worktree add <folder> {shlex.quote(kept.commit)}{apply}")


def repeat(plan: Repetition) -> Iterator[str]:
    """Does it again, and yields lines that compare both; raises Ended if it fails, or has other bits in exact mode."""
    try:
        overrides = [str(word) for word in read_yaml(plan.before.folder / "overrides.yaml")]
    except (OSError, ValueError, TypeError):  # they decide nothing
        overrides = []
    root = logging.getLogger()
    with logging_redirect_tqdm([root] if root.handlers else []):
        outcome = run(plan.config, SWEEP, overrides)
    outcome.check_finished()
    now = plan.now.read() or {}
    yield f"before     {_scores_text(plan.facts)}"
    yield f"now        {_scores_text(now)}, {outcome.folder}"
    different = list(_different(plan.before, plan.now))
    if not different:
        has_weights = (plan.before.checkpoints / BEST).exists()
        weights = " and the weights" if has_weights else "; the weights of the first run are not there"
        yield f"equal to the bit: {len(now['scores'])} scores, all epochs, all test images{weights}"
        return
    yield from (f"differs    {line}" for line in different)
    causes = list(_otherwise(_made_with(plan.before), _made_with(plan.now)))
    yield from (f"made with  {line}" for line in causes or ["the same code, packages and machine"])
    if plan.config.numerics.deterministic:
        raise Ended("not equal to the bit, though numerics.deterministic is true")
    yield "numerics.deterministic is false, so equal bits are not promised"


def _different(before: RunRecord, now: RunRecord) -> Iterator[str]:
    """Where two records of one run are not equal, in what both have: a later evaluation or version adds more."""
    old, new = (_flat(record.read() or {}, ("scores", "best_epoch")) for record in (before, now))
    yield from _otherwise(old, new, needed=["scores.valid_dice", "scores.test_dice"])
    epochs = before.read_epochs(), now.read_epochs()
    if len(epochs[0]) != len(epochs[1]):
        yield f"epochs: {len(epochs[0])} before, {len(epochs[1])} now"
    for old, new in zip(*epochs, strict=False):
        lines = _otherwise(old, new, needed=["train_loss", "valid_dice"])
        if found := [line for line in lines if line.partition(":")[0] not in COSTS]:
            yield f"epoch {new['epoch']}, the first that differs: {'; '.join(found)}"
            break
    protocols = before.read_scores("test"), now.read_scores("test")
    for name, entry in protocols[1].items():
        for line in _otherwise(protocols[0].get(name, {}), entry, needed=["dice"]):
            yield f"test.json {name} {line}"
    images = [{(row["protocol"], row["stem"]): row for row in one.read_test_images()} for one in (before, now)]
    if count := sum(images[0].get(key) != row for key, row in images[1].items()):
        yield f"test_images.csv: {count} of {len(images[1])} rows"
    if (before.checkpoints / BEST).exists():
        weights, largest = load_weights(now.checkpoints / BEST), 2 * (now.checkpoints / BEST).stat().st_size
        there = load_weights(before.checkpoints / BEST, largest)
        equal = (
            key in there and is_like(there[key], weights[key]) and torch.equal(there[key], weights[key])
            for key in weights
        )
        if count := len(weights) - sum(equal):
            yield f"best.pt: {count} of {len(weights)} tensors"


def _otherwise(before: Mapping[str, Any], now: Mapping[str, Any], needed: Sequence[str] = ()) -> Iterator[str]:
    """A line for each key that both have with another value, or that is `needed` and was not there before."""
    for key, value in now.items():
        if (key in before or key in needed) and before.get(key) != value:
            yield one_line(f"{key}: {shown(before.get(key))} before, {shown(value)} now")


def _made_with(record: RunRecord) -> dict[str, Any]:
    """What run.json and the kept provenance tell of code, packages, device and machine, by dotted name."""
    run = record.read() or {}
    kept = read_provenance(record.folder.absolute().parent, run.get("provenance"))
    if kept is None:
        return _flat(run)
    packages = {f"packages.{name}": version for name, _, version in (one.partition("==") for one in kept.packages)}
    return _flat(run) | kept.model_dump(include={"patch", "cuda", "cudnn", "driver"}) | packages


def _flat(run: Mapping[str, Any], keys: Sequence[str] = MADE_WITH) -> dict[str, Any]:
    found = {key: run[key] if isinstance(run.get(key), dict) else {"": run.get(key)} for key in keys}
    return {f"{key}.{name}".rstrip("."): value for key, part in found.items() for name, value in part.items()}


def _scores_text(run: Mapping[str, Any]) -> str:
    return f"test Dice {run.get('scores', {}).get('test_dice')}, best epoch {run.get('best_epoch')}"
