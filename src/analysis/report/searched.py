"""The searches of sweeps in words and numbers: what they chose, and what was confirmed on new seeds."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from src.analysis.claims.comparison import compare_settings
from src.analysis.claims.effects import Effect
from src.analysis.claims.ranking import BETTER
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.records.searches import Search
from src.analysis.statistics.estimates import holm
from src.display.text import Columns, cell_texts, count_text, score_text, setting_text

MOST_CHOSEN = 5  # trials that a table lists, unless more are confirmed
PARTS = 4  # of a range of numbers, each with as many trials
CHOSEN = """\
Each trial is one run with one seed, and the best validation Dice of many is too high: it is chosen, not confirmed. So \
trials count as no seed of their settings: their test scores enter no result."""
CONFIRMED = """\
Confirmed are the differences below: at full length, on seeds {seeds}, which no trial had, against the config without \
the searched values; intervals are 95 %, p is Holm-adjusted over these settings."""
UNCONFIRMED = "Nothing is confirmed yet: hydra.sweeper.confirm=3 trains the three best settings again on new seeds."


def searches_of(records: Records) -> Iterator[tuple[str, Search, pd.DataFrame]]:
    """The name of each search with trials that have ended, the search, and these trials.

    A row for each: its values, then `number` (from 1), `status`, and `dice`, the best validation Dice until its end.
    """
    best = records.runs.set_index(["sweep", "run_id"])["valid_dice"]
    for sweep, searches in records.searches.items():
        for name, search in searches.items():
            rows = [
                {
                    **trial.values,
                    "number": number,
                    "status": trial.status,
                    "dice": best.get((str(sweep), trial.run_id)) if trial.valid_dice is None else trial.valid_dice,
                }
                for number, trial in enumerate(search.trials, start=1)
            ]
            trials = pd.DataFrame([row for row in rows if row["status"] != "running" and pd.notna(row["dice"])])
            if len(trials):
                yield name, search, trials.astype({"dice": float})


def search_text(search: Search) -> str:
    """What was searched, and which numbers are chosen and which confirmed."""
    counts = Counter(trial.status for trial in search.trials)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    seeds = search.confirm and ", ".join(map(str, search.confirm.seeds))
    confirmed = CONFIRMED.format(seeds=seeds) if seeds else UNCONFIRMED
    return f"{count_text(len(search.trials), 'trial')}: {statuses}. {CHOSEN}\n\n{confirmed}"


def chosen_columns(search: Search, trials: pd.DataFrame) -> Columns:
    """The best trials, with the values that were searched."""
    number = max(MOST_CHOSEN, len(search.confirm.settings) if search.confirm else 0)
    rows = trials[trials["status"] == "finished"].sort_values("dice", ascending=False, kind="stable").head(number)
    return {
        "trial": cell_texts(rows["number"], str),
        **{name: cell_texts(rows[name], setting_text) for name in _searched(trials)},
        "validation Dice, chosen": cell_texts(rows["dice"], score_text),
    }


def confirmed_effects(records: Records, settings: Sequence[Setting], search: Search) -> list[Effect]:
    """Each confirmed setting against the baseline, on the seeds that confirm; p adjusted by Holm."""
    if search.confirm is None:
        return []
    known = {one.config_id: one for one in settings}
    baseline = known.get(search.confirm.baseline)
    others = [known[one] for one in search.confirm.settings if one in known and one != search.confirm.baseline]
    if baseline is None:
        return []
    effects = []
    for setting in others:
        arms = setting, baseline
        folders = [
            [folder for folder, seed in zip(arm.folders, arm.seeds, strict=True) if seed in search.confirm.seeds]
            for arm in arms
        ]
        comparison = compare_settings(records, arms, BETTER, folders)
        effects.append(Effect("confirmed", setting.label, baseline.label, "", comparison))
    adjusted = holm([effect.p for effect in effects])
    return [effect.adjusted(p) for effect, p in zip(effects, adjusted, strict=True)]


def levels_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The searched values as texts; of numbers with many values the part of their range, each with as many trials."""
    return pd.DataFrame({name: _levels(trials[name]) for name in _searched(trials)})


def importance_columns(trials: pd.DataFrame) -> Columns:
    """For each searched key the share of the variance of the trials' ranks between its levels, less what chance gives.

    That is ε² of the Kruskal-Wallis test; negative values are 0. No rows if no level of any key has several trials.
    """
    ranks, shares = trials["dice"].rank(), {}
    for name, levels in levels_of(trials).items():
        between = ranks.groupby(levels).transform("mean").var(ddof=0) / (ranks.var(ddof=0) or 1.0)
        free = len(ranks) - levels.nunique()
        shares[str(name)] = max(0.0, 1 - (1 - between) * (len(ranks) - 1) / free) if free > 0 else np.nan
    if np.isnan(list(shares.values())).all():
        return {}
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return {
        "key": list(ordered),
        "share of the variance": cell_texts(ordered.values(), lambda share: f"{100 * share:.0f} %"),
    }


def _searched(trials: pd.DataFrame) -> list[str]:
    return [str(name) for name in trials if name not in ("number", "status", "dice")]


def _levels(values: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= PARTS:
        return values.map(setting_text)
    number = np.searchsorted(np.quantile(values, np.arange(1, PARTS) / PARTS), values)
    grouped = values.groupby(number)
    return pd.Series(number, values.index).map(grouped.agg(_range_text))


def _range_text(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{value:.3g}" for value in (values.min(), values.max())))
