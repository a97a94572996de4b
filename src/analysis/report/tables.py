"""The tables of a report: every number as a reader sees it, for the page, Markdown, LaTeX, CSV and the terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from src.analysis.claims.comparison import Comparison
from src.analysis.claims.effects import Effect
from src.analysis.claims.verdicts import Verdict
from src.analysis.claims.wording import arms_text, effect_text, interval_text, listed, p_text
from src.analysis.records.loading import Records
from src.analysis.records.matching import Setting
from src.analysis.records.searches import OF_A_SEARCH, TAKEN_OVER
from src.analysis.statistics.estimates import MOST_SEEDS, improvement
from src.analysis.statistics.metrics import METRICS
from src.base.record import breed_of, species_of
from src.display.text import MISSING, Columns, cell_texts, collapse_whitespace, human_seconds, score_text, setting_text

MOST_SAMPLES = 4  # of a comparison, whose seeds are listed one by one: an interaction has four
MOST_IMAGES = 10  # best and worst ones listed
MOST_NAMES = 10  # in one sentence
MOST_CONTEXTS = 10  # of a claim's hypothesis, listed on the page
POINTS = 100  # a Dice or IoU of 1 in points
EXCLUDED = ("failed", "interrupted", "unreadable")  # statuses


def settings_columns(scores: pd.DataFrame, settings: Sequence[Setting]) -> Columns:
    """The table of settings: its factors, report A's Table 1 with intervals, and the distance of each to the best."""
    rows = scores.to_dict("records")
    failed = {"failed": [failures_cell(row) for row in rows]} if scores["failed"].any() else {}
    return {
        **factor_columns(scores["setting"], settings),
        "seeds": [
            f"{row['n']} of {row['n'] + row['unfinished']}" if row["unfinished"] else str(row["n"]) for row in rows
        ],
        **failed,
        "test Dice": [with_interval(row["mean"], row["low"], row["high"]) for row in rows],
        "points behind the best [95 %]": [behind_cell(row) for row in rows],
        "test IoU": [with_interval(row["iou"], row["iou_low"], row["iou_high"]) for row in rows],
        **{name: cell_texts(scores[name], score_text) for name in ("median", "std", "min", "max")},
        "time per run": cell_texts(60 * scores["minutes"], human_seconds),
        "reported Dice": [
            " to ".join(score_text(row[end]) for end in ("reported", "reported_to") if not pd.isna(row[end]))
            for row in rows
        ],
    }


def factor_columns(labels: Iterable[str], settings: Sequence[Setting]) -> Columns:
    """A column for each factor with its level in the settings of these `labels`; `setting` if they do not differ."""
    by_label = {one.label: one for one in settings}
    rows = [by_label[label] for label in labels]
    names = dict.fromkeys(name for one in rows for name in (*one.labels, *one.null_labels))
    return {name: [_level(one, name) for one in rows] for name in names} or {"setting": [one.label for one in rows]}


def _level(setting: Setting, factor: str) -> str:
    """`unet`, `0.001`, `off` for null, `-` where the setting lacks it: its label without the name of the factor."""
    name = "data" if factor == "fingerprint" else factor.rpartition(".")[2]
    text = setting.labels.get(factor, MISSING).removeprefix(f"{name} ")
    return "off" if factor in setting.null_labels else text


def ranking_columns(scores: pd.DataFrame) -> Columns:
    """The settings that are compared with each other, their letters, and how often each is the first."""
    rows = scores[scores["letters"].notna()]
    return {
        "setting": list(rows["setting"]),
        "letters": list(rows["letters"]),
        "first": [f"{100 * share:.0f} %" for share in rows["first"]],
    }


def effect_columns(effects: Sequence[Effect]) -> Columns:
    """A row per effect of a factor: the difference, its interval, its verdict and notes."""
    rows = [comparison_row(effect.comparison) for effect in effects]
    return {
        "comparison": [f"{'' if effect.is_main else '  of these: '}{effect.name}" for effect in effects],
        "points": [row["effect"].partition(" ")[0] or MISSING for row in rows],
        "95 % interval": [row["interval"] or MISSING for row in rows],
        "seeds": [row["seeds"] for row in rows],
        "first wins, %": [_wins(effect.comparison) for effect in effects],
        "r of seeds": cell_texts(
            (effect.comparison.correlation_of_seeds for effect in effects), "{:.2f}".format, missing=""
        ),
        "p (Holm)": [p_text(effect.p_adjusted) if effect.is_main else "" for effect in effects],
        "verdict": [effect_verdict(effect) for effect in effects],
        "note": [row["notes"] for row in rows],
    }


def effect_verdict(effect: Effect) -> str:
    """`onecycle is better`, `undecided`, `no verdict`, by part if it differs between them; empty for a part."""
    if not effect.is_main:
        return ""
    if effect.comparison.problem:
        return "no verdict"
    better, worse, undecided = (
        listed(effect.contexts_where(status), MOST_NAMES).replace("; ", " and ")
        for status in ("better", "worse", "undecided")
    )
    if effect.depends and (better or worse) and not (effect.status != "undecided" and effect.is_everywhere):
        where = [f"{effect.first} is better with {better}" if better else ""]
        where.append(f"{effect.second} is better with {worse}" if worse else "")
        where.append(f"undecided with {undecided}" if undecided else "")
        return "; ".join(filter(None, where))
    if effect.status == "undecided":
        return "undecided" + (", but it depends on the context" if effect.depends else "")
    verdict = f"{effect.first if effect.status == 'better' else effect.second} is better"
    return verdict if effect.is_everywhere else f"{verdict} on average"


def plan_columns(plan: pd.DataFrame, units: str = "test images") -> Columns:
    """The seeds that each comparison would need, and the fewest `units`."""
    rows = plan.to_dict("records")
    return {
        "comparison": list(plan["comparison"]),
        "seeds now": [str(row["seeds"]) for row in rows],
        "for these images": [_seeds_and_hours(row, "these") for row in rows],
        "for new images": [_seeds_and_hours(row, "new") for row in rows],
        f"minimum {units}": cell_texts(plan["images"], lambda images: f"{int(images):,}"),
    }


def extreme_images(records: Records, settings: Sequence[Setting]) -> dict[str, Columns]:
    """The hardest and the easiest test images, by mean Dice over all settings, for the data with most runs."""
    runs: dict[Any, list[str]] = {}
    for setting in settings:
        runs.setdefault(setting.values["fingerprint"], []).extend(setting.folders)
    folders = max(runs.values(), key=len, default=[])
    if not folders:
        return {}
    dice = records.per_image(folders, "dice")
    scores = {"mean Dice": dice.mean(axis=0), "worst run": dice.min(axis=0), "best run": dice.max(axis=0)}
    table = pd.DataFrame({"image": records.stems(folders[0]), **scores}).sort_values("mean Dice", kind="stable")
    return {
        end: {"image": list(rows["image"]), **{name: cell_texts(rows[name], score_text) for name in scores}}
        for end, rows in (("worst", table.head(MOST_IMAGES)), ("best", table.iloc[::-1].head(MOST_IMAGES)))
    }


def group_columns(records: Records, settings: Sequence[Setting], scores: pd.DataFrame) -> Columns:
    """Mean Dice by group of test images for the best setting and the next on its data, the hardest groups first.

    Of Oxford-IIIT Pet species too, and breeds if there are no other groups; empty for other data without groups.
    """
    known = {(one.label, one.values["fingerprint"]): one for one in settings if one.folders}
    ranked = [known[key] for key in zip(scores["setting"], scores["data"], strict=True) if key in known]
    shown = [one for one in ranked if one.values["fingerprint"] == ranked[0].values["fingerprint"]][:2]
    species = [species_of] if shown and shown[0].meets({"data.kind": "oxford_pet"}) else []
    if not shown or not (records.groups or species):
        return {}
    dice = pd.DataFrame({one.label: records.per_image(one.folders, "dice").mean(axis=0) for one in shown})
    stems = records.stems(shown[0].folders[0])
    by_group = [
        dice.groupby([of(stem) for stem in stems])
        for of in (*species, records.groups.get if records.groups else breed_of)
    ]
    parts = [own.mean().assign(images=own.size()).sort_values(shown[0].label, kind="stable") for own in by_group]
    table = pd.concat(parts)
    return {
        "group": cell_texts(table.index, setting_text),
        "images": [f"{count:,}" for count in table["images"]],
        **{one.label: cell_texts(table[one.label], score_text) for one in shown},
    }


def run_columns(runs: pd.DataFrame) -> Columns:
    """A row for each run, with why it did not finish or is excluded; of trials no test Dice, which chooses none."""
    test_dice = runs["test_dice"].mask(runs["left_out"].isin([OF_A_SEARCH, TAKEN_OVER]))
    return {
        "run": cell_texts(runs["run_id"], setting_text),
        "sweep": list(runs["sweep"]),
        "status": list(runs["status"]),
        "reason": cell_texts(runs["left_out"].fillna(runs["error"]), collapse_whitespace, missing=""),
        "test Dice": cell_texts(test_dice, score_text),
        "valid Dice": cell_texts(runs["valid_dice"], score_text),
        "best epoch": cell_texts(runs["best_epoch"], str),
        "epochs": cell_texts(runs["epoch"], str),
        "time": cell_texts(runs["seconds"], human_seconds),
    }


def needs_reason(runs: pd.DataFrame) -> pd.Series:
    """Whether each run did not finish, cannot be read or is excluded; trials have their search's section."""
    return (runs["status"].isin(EXCLUDED) | runs["left_out"].notna()) & ~runs["left_out"].isin([OF_A_SEARCH])


def printed_columns(printed: pd.DataFrame) -> Columns:
    """What a report printed and what the runs gave; `printed` of printed_beside_measured, of one source."""
    rows = printed.to_dict("records")
    return {
        "setting": list(printed["setting"]),
        "metric": [METRICS[row["metric"]].description for row in rows],
        "printed": [
            " to ".join(dict.fromkeys(_plain(row["metric"], row[end]) for end in ("printed", "printed_to")))
            for row in rows
        ],
        "here": [MISSING if pd.isna(row["here"]) else _plain(row["metric"], row["here"]) for row in rows],
        "95 % interval": [
            "" if pd.isna(row["low"]) else " to ".join(_plain(row["metric"], row[end]) for end in ("low", "high"))
            for row in rows
        ],
        "seeds": [str(row["seeds"]) for row in rows],
        "other conditions": list(printed["other_conditions"]),
    }


def _plain(metric: str, value: float) -> str:
    """A value of the records in its unit: `0.9291`, `30m 00s`, `14.5 GB`."""
    unit = METRICS[metric].unit
    if unit == "s":
        return human_seconds(value)
    return f"{value / 1e9:.1f} GB" if unit == "bytes" else score_text(value)


def claim_rows(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """For each claim its name, verdict, words, reason, and what was published."""
    return [
        {
            "name": verdict.name,
            "verdict": verdict.status,
            "says": f"{verdict.claim.says}{_scope_text(verdict)}",
            "reason": verdict.reason,
            "as tested": verdict.claim.as_tested,
            "reported": verdict.claim.reported,
            "p (Holm)": p_text(verdict.p_adjusted) if any(not one.problem for one in verdict.comparisons) else "",
        }
        for verdict in verdicts
    ]


def _scope_text(verdict: Verdict) -> str:
    """That a verdict holds for the test images only, if it needs more of them than their mean; else empty."""
    is_narrow = any(one.hypothesis.metric.of_images is not None for one in verdict.comparisons)
    return " [for these test images only]" if is_narrow and verdict.status != "undecided" else ""


def comparison_rows(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """A row for each of the first comparisons with runs of a claim's hypothesis; `part`: its number, if several."""
    return [
        {
            "claim": verdict.name,
            "part": str(number) if len(verdict.results) > 1 else "",
            "metric": one.hypothesis.metric.description,
            "comparison": arms_text(one),
            **comparison_row(one),
        }
        for verdict in verdicts
        for number, contexts in enumerate(verdict.results, start=1)
        for one in [one for one in contexts if one.display_values is not None][:MOST_CONTEXTS]
    ]


def comparison_row(comparison: Comparison) -> dict[str, str]:
    """The effect with its interval, what both cover, and what was reported."""
    hypothesis, metric, values = comparison.hypothesis, comparison.hypothesis.metric, comparison.display_values
    reported = hypothesis.reported
    return {
        "effect": "" if values is None else effect_text(metric, values[0]),
        "interval": "" if values is None else interval_text(metric, *values[1:]),
        "seeds": _seeds_text(comparison.merged().seeds if comparison.samples else ()),
        "images": f"{comparison.images:,} {comparison.units}" if comparison.images else "",
        "scope": comparison.scope,
        "reported": "" if reported is None else effect_text(metric, hypothesis.to_display(reported)),
        "notes": "; ".join(filter(None, [*comparison.notes, comparison.problem])),
    }


def _wins(comparison: Comparison) -> str:
    """`98 [80, 100]`: how often, in percent, a run of the first setting beats one of the second, by Hedges' g."""
    if math.isnan(comparison.hedges_g[0]):
        return MISSING
    share, low, high = (100 * improvement(size) for size in comparison.hedges_g)
    return f"{share:.0f} [{low:.0f}, {high:.0f}]"


def with_interval(value: float, low: float, high: float) -> str:
    """A score and half the width of its interval; both ends where one is the bound of the score itself."""
    if pd.isna(value):
        return MISSING
    if low <= 0 or high >= 1:
        return f"{score_text(value)} [{score_text(low)}, {score_text(high)}]"
    return score_text(value) + ("" if pd.isna(high) else f" ± {high - value:.4f}")


def failures_cell(row: Mapping[Any, Any]) -> str:
    """`7 of 10 (35 to 93 %)`: the seeds that failed by their own fault, and the interval of their share."""
    if not row["tried"]:
        return MISSING
    return f"{row['failed']} of {row['tried']} ({100 * row['failed_low']:.0f} to {100 * row['failed_high']:.0f} %)"


def _seeds_text(seeds: Sequence[int]) -> str:
    """The seeds of each sample, `5 + 4`; of a mean over many contexts the fewest and the most: `4 to 5 each`."""
    if len(seeds) <= MOST_SAMPLES:
        return " + ".join(map(str, seeds))
    return f"{' to '.join(map(str, sorted({min(seeds), max(seeds)})))} each"


def behind_cell(row: Mapping[Any, Any]) -> str:
    """`10.00 [9.43, 10.57]`: points behind the best with their interval; empty for the best itself."""
    if pd.isna(row["behind"]):
        return MISSING if row["n"] == 0 else ""
    text = f"{POINTS * row['behind']:.2f}"
    if not pd.isna(row["behind_low"]):
        text += f" [{POINTS * row['behind_low']:.2f}, {POINTS * row['behind_high']:.2f}]"
    return text.replace("-", "−")


def _seeds_and_hours(row: Mapping[Any, Any], scope: str) -> str:
    """`17 (11 to 52), 0.5 h more`: the seeds needed, their range, and the hours to the first number."""
    seeds, low, high = (_seeds_needed(row[f"{scope}_{name}"]) for name in ("images", "low", "high"))
    if pd.isna(row[f"{scope}_images"]):
        return seeds if pd.isna(row[f"{scope}_low"]) else f"{seeds} (from {low})"
    return f"{seeds} ({low} to {high}), {row[f'{scope}_hours']:.1f} h more"


def _seeds_needed(seeds: float) -> str:
    return f"more than {MOST_SEEDS:,}" if pd.isna(seeds) else f"{int(seeds):,}"
