"""Which settings can be compared: alike in everything but what a hypothesis is about."""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from src.analysis.records.loading import Records
from src.analysis.records.runs import comparable, config_values, section_of, shared_and_differing
from src.base.identity import BUILT_SECTIONS, CHOICE_SECTIONS, NAMED_IN_RUN_ID
from src.display.text import value_text

Filter = Mapping[str, Any]  # names of choices and dotted config values with what they must be, a list for any of them
# a network is replaced as a whole, but a narrow one is not compared with a wide one
KEPT_EQUAL = ("model.width",)
DATA_FACTS = ("fingerprint", "train_images")  # of the data, besides their config


@dataclass(frozen=True)
class Setting:
    """One config trained on one data set, and its runs.

    `labels`: the text of each value that distinguishes it from the other settings, by name; `null_labels`: the texts of
    those that are null in this one. `values`: every choice (`model`) and config value (`optimizer.lr`) that affects a
    result, the fingerprint of the data and the number of training images. `folders`: of its included runs;
    `unfinished`: the number of seeds with other runs only. `failures`: the number of seeds that failed by their own
    fault, `failed_before`: the folders of those that finished in a later attempt; `counts_failures`: whether verdicts
    take them into account. `seeds`: of `folders`; `pairs_seeds`: whether a comparison pairs them. `units`: what is
    sampled, images or groups of them.
    """

    config_id: str
    labels: Mapping[str, str]
    values: Mapping[str, Any]
    folders: tuple[str, ...]
    unfinished: int
    null_labels: Mapping[str, str] = field(default_factory=dict)
    failures: int = 0
    failed_before: tuple[str, ...] = ()
    counts_failures: bool = True
    seeds: tuple[int, ...] = ()
    pairs_seeds: bool = False
    units: str = "images"

    @property
    def tried(self) -> int:
        """The number of seeds that finished or failed by their own fault, without those that were lost."""
        return len(self.folders) - len(self.failed_before) + self.failures

    @property
    def has_failures(self) -> bool:
        """Whether failed runs count in verdicts."""
        return self.failures > 0 and self.counts_failures

    @property
    def label(self) -> str:
        """A short name: `unet, none, lr 0.0001`."""
        return ", ".join(self.labels.values()) or ", ".join(self.null_labels.values()) or "all runs"

    def meets(self, wanted: Filter) -> bool:
        """Whether every key of `wanted` has the given value, or one of the given list."""
        for key, value in wanted.items():
            own, one = self.comparable.get(key), comparable(value)
            if own != one and not (isinstance(one, tuple) and isinstance(value, list) and own in one):
                return False
        return True

    @cached_property
    def comparable(self) -> Mapping[str, Hashable]:
        """`values`, equal where they mean the same."""
        return {key: comparable(value) for key, value in self.values.items()}


def settings_of(records: Records, counts_failures: bool = True, pairs_seeds: bool = False) -> list[Setting]:
    """Every setting with a known config, in the order of the runs.

    Trials of a search count for none, whatever their status. Runs whose data are not known yet are counted with the
    other runs of their config. `counts_failures`: whether runs
    that failed by their own fault count in verdicts; `pairs_seeds`: whether comparisons pair equal seeds.
    """
    runs = records.candidates
    data = runs["fingerprint"].fillna(runs.groupby("config_id")["fingerprint"].transform("first"))
    runs = runs.assign(fingerprint=data)
    shown = differing_columns(runs)
    values_of = _with_absent_keys({setting: _values_of(config) for setting, config in records.configs.items()})
    settings = []
    groups: dict[tuple[str, str | None], list[dict[Hashable, Any]]] = {}
    for row in runs.astype(object).where(runs.notna(), None).to_dict("records"):  # each group as a frame takes 4 ms
        groups.setdefault((row["config_id"], row["fingerprint"]), []).append(row)
    for (config_id, _), own in groups.items():
        first = own[0]
        values = dict(values_of.get(str(config_id), {}))
        values |= {name: next((row[name] for row in own if row[name] is not None), None) for name in DATA_FACTS}
        counted = [row for row in own if row["included"]]
        seeds = [row["seed"] for row in counted]
        others = {
            row["seed"]
            for row in own
            if not row["included"] and row["seed"] is not None and (row["left_out"] is None or row["seed"] not in seeds)
        }
        failed = {row["seed"] for row in own if row["failure_kind"] == "own"} - {None}
        settings.append(
            Setting(
                str(config_id),
                {name: value_text(name, first[name]) for name in shown if first[name] is not None},
                values,
                tuple(row["folder"] for row in counted),
                len(others),
                {name: value_text(name, None) for name in shown if "." in name and first[name] is None},
                len(failed),
                tuple(row["folder"] for row in counted if row["seed"] in failed),
                counts_failures,
                tuple(seeds),
                pairs_seeds,
                "groups" if records.groups else "images",
            )
        )
    return settings


def planned_settings(configs: Mapping[str, tuple[Mapping[str, Any], str]]) -> list[Setting]:
    """Settings without runs, by config_id of a config and the fingerprint of its data, as if each had a run."""
    values_of = _with_absent_keys({setting: _values_of(config) for setting, (config, _) in configs.items()})
    return [
        Setting(setting, {}, {**values_of[setting], "fingerprint": data, "train_images": None}, (setting,), 0)
        for setting, (_, data) in configs.items()
    ]


def differing_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that distinguish the settings of `runs`, with the data if they differ."""
    _, differing = shared_and_differing(runs)
    if runs["fingerprint"].nunique() <= 1:
        return differing
    names = [*(name for name in differing if name != "config_id"), "fingerprint"]
    suffices = runs.groupby(names, dropna=False)["config_id"].nunique().max() <= 1
    return names if suffices else [*names, "config_id"]


def matched(
    settings: Sequence[Setting], arms: Sequence[Filter], may_differ: Sequence[str] = ()
) -> list[tuple[Setting, ...]]:
    """Every choice of one setting per filter in `arms` whose other values are equal.

    The others are all but the keys in which the arms differ (the name of a group stands for its whole section) and
    `may_differ`. If several arms have variants of one of these (two learning rates of each optimizer), equal variants
    are matched if possible. Only settings with included runs, or with failures that count.
    """
    differing = {key for arm in arms for key in arm if any(other.get(key) != arm[key] for other in arms)}
    free = differing | set(may_differ)
    keys = set().union(*(setting.values for setting in settings))
    equal = {key for key in keys if not (_is_free(key, free) or _is_only_a_name(key))}
    groups: dict[Hashable, list[list[Setting]]] = {}
    for number, arm in enumerate(arms):
        for setting in settings:
            if (setting.folders or setting.has_failures) and setting.meets(arm):
                groups.setdefault(_rest(setting, equal), [[] for _ in arms])[number].append(setting)
    return [choice for group in groups.values() for choice in _with_equal_variants(group)]


def also_differing(settings: Sequence[Setting], named: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """The values, besides the keys in `named`, that all compared `settings` have and that differ.

    In a section that is replaced as a whole these are single numbers, such as an optimizer's learning rate; those of an
    augmentation are what is compared.
    """
    found = {}
    for key in sorted(_differing_keys(settings) - set(named)):
        section = key.partition(".")[0]
        is_compared = section in named and (section not in BUILT_SECTIONS or key.endswith("_target_"))
        if not is_compared:
            found[key] = tuple(setting.values[key] for setting in settings)
    return found


def _with_equal_variants(group: Sequence[Sequence[Setting]]) -> list[tuple[Setting, ...]]:
    """The combinations of `group`, a list of settings per arm, in which arms with the same variants agree."""
    arms_of: dict[str, list[int]] = {}  # those that have variants of a value
    for number, arm in enumerate(group):
        for key in _differing_keys(arm):
            arms_of.setdefault(key, []).append(number)
    combinations = list(itertools.product(*group))
    alike = [
        choice
        for choice in combinations
        if all(len({choice[number].comparable[key] for number in arms}) == 1 for key, arms in arms_of.items())
    ]
    return alike or combinations


def _differing_keys(settings: Sequence[Setting]) -> set[str]:
    """The keys that all `settings` have with different values, and that are not only names."""
    pairs = [setting.comparable.items() for setting in settings]
    differing = {key for key, _ in set().union(*pairs).difference(set(pairs[0]).intersection(*pairs))} if pairs else ()
    return {key for key in differing if not _is_only_a_name(key) and all(key in setting.values for setting in settings)}


def _values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The name of each choice and every config value; empty without a config."""
    names = {section: section_of(config, section).get("name") for section in CHOICE_SECTIONS}
    return {section: name for section, name in names.items() if isinstance(name, str)} | config_values(config)


def _with_absent_keys(settings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`settings`, values by config_id, with null for every key that others of the same kind have.

    Records that are older than a key lack it, which means null, as in the run's id.
    """
    keys: dict[tuple[str, ...], dict[str, None]] = {}
    for values in settings.values():
        for key in values:
            keys.setdefault(_kind(values, key), {})[key] = None
    return {
        setting: {key: None for kind in {_kind(values, key) for key in values} for key in keys[kind]} | values
        for setting, values in settings.items()
    }


def _kind(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The section of `key` and its kind: sections of one kind have the same keys."""
    section = key.partition(".")[0]
    return section, str(values.get(f"{section}._target_")), str(values.get(f"{section}.kind"))


def _rest(setting: Setting, equal: set[str]) -> Hashable:
    """The values of `setting` that must be equal, without null: records older than a key lack it."""
    return frozenset((key, value) for key, value in setting.comparable.items() if value is not None and key in equal)


def _is_free(key: str, free: set[str]) -> bool:
    section = key.partition(".")[0]
    return key in free or (section in free and key not in KEPT_EQUAL)


def _is_only_a_name(key: str) -> bool:
    """Whether `key` is a name that does not affect results: `trainer=default` may equal `trainer=report_a`."""
    return key in CHOICE_SECTIONS and key not in NAMED_IN_RUN_ID
