"""How a sweep stands: a line for each run, how many have ended, and how long the others may take."""

import itertools
import textwrap

import pandas as pd

from src.analysis.records.setting_names import tell_apart
from src.display.tables import plain_table, shortened
from src.display.text import (
    by_status,
    counted,
    epoch_texts,
    human_seconds,
    named,
    one_line,
    reason_texts,
    score_texts,
    setting_texts,
    time_texts,
)

# what to look at first, where a screen has no room for all
URGENCY = ("running", "failed", "unreadable", "interrupted", "finished", "planned")
RIGHT = ("seed", "epoch", "valid Dice", "test Dice", "time")
CHOICE_WIDTH = 6  # characters of a choice that stay, however narrow the terminal is
INDENT = "    "


def progress(runs: pd.DataFrame, width: int, height: int | None = None) -> str:
    """`runs` (of load_runs) as text of `width` characters: a table, the total, and the time left.

    At most `height` lines, where given: then the runs that matter most at this moment, and how many are not shown.
    """
    shared, differing = tell_apart(runs)
    head = [*textwrap.wrap(f"all with {named(shared)}", width), ""] if shared else []
    tail = ["", *(part for line in _closing(runs) for part in textwrap.wrap(line, width))]
    right = [*RIGHT, *(name for name in differing if pd.api.types.is_numeric_dtype(runs[name]))]
    names, *rows = plain_table(_columns(runs, differing), right, dict.fromkeys(differing, CHOICE_WIDTH), width)
    blocks = [[row, *why] for row, why in zip(rows, _reasons(runs, width), strict=True)]
    if height is not None:
        room = height - len(head) - len(tail) - 2  # the names of the columns, and what is said of runs not shown
        blocks = _most_urgent(blocks, list(runs["status"]), room)
    left_out = len(runs) - len(blocks)
    more = [f"… and {left_out} more"] if left_out else []
    return "\n".join([*head, names, *(line for block in blocks for line in block), *more, *tail])


def has_ended(runs: pd.DataFrame) -> bool:
    """Whether no run is at work or waits."""
    return not runs["status"].isin(["running", "planned"]).any()


def seconds_left(runs: pd.DataFrame) -> float | None:
    """About how long until every running and planned run has ended, in seconds; None where nothing is known.

    An epoch of a run is taken to cost what its own have cost, else those of the same model, else those of all running
    and finished runs. The work is shared by as many processes as are at work now, a single run by none.
    """
    measured = runs[runs["status"].isin(["running", "finished"]) & runs["epoch"].gt(0).fillna(False)]
    waiting = runs[runs["status"].isin(["running", "planned"])]
    remaining = (waiting["epochs"] - waiting["epoch"]).clip(lower=0).astype("Float64")
    processes = int(runs["status"].eq("running").sum())
    if measured.empty or remaining.isna().any() or not processes:
        return None
    total = measured["seconds"].sum() / measured["epoch"].sum()
    seconds_an_epoch = (measured["seconds"] / measured["epoch"]).reindex(waiting.index)
    if "model" in runs:
        sums = measured.groupby("model")[["seconds", "epoch"]].sum()
        seconds_an_epoch = seconds_an_epoch.fillna(waiting["model"].map(sums["seconds"] / sums["epoch"]))
    left = remaining * seconds_an_epoch.fillna(total)
    return float(max(left.sum() / processes, left.max()))


def _closing(runs: pd.DataFrame) -> list[str]:
    """The lines below the table."""
    lines = [f"{counted(runs)}: {by_status(runs)}"]
    if not has_ended(runs):
        seconds = seconds_left(runs)
        unknown = "unknown" if runs["status"].eq("running").any() else "unknown, no run is at work"
        lines.append(f"time left: {unknown if seconds is None else 'about ' + human_seconds(seconds)}")
    elif runs["status"].isin(["interrupted", "failed"]).any():
        lines.append("the same command as before goes on with interrupted and failed runs from their last checkpoint")
    return lines


def _most_urgent(blocks: list[list[str]], statuses: list[str], room: int) -> list[list[str]]:
    """The blocks of the most urgent runs that together fit into `room` lines, in the order they had."""
    by_urgency = sorted(range(len(blocks)), key=lambda number: URGENCY.index(statuses[number]))
    lines = itertools.accumulate(len(blocks[number]) for number in by_urgency)
    fitting = {number for number, used in zip(by_urgency, lines, strict=True) if used <= room}
    return [block for number, block in enumerate(blocks) if number in fitting]


def _columns(runs: pd.DataFrame, differing: list[str]) -> dict[str, list[str]]:
    return {name: setting_texts(runs[name]) for name in [*differing, "seed"]} | {
        "status": list(runs["status"]),
        "epoch": epoch_texts(runs),
        "valid Dice": score_texts(runs["valid_dice"]),
        "test Dice": score_texts(runs["test_dice"]),
        "time": time_texts(runs["seconds"]),
    }


def _reasons(runs: pd.DataFrame, width: int) -> list[list[str]]:
    """For each run the lines below its row: its folder, where nothing else says which run it is, and its reason."""
    unknown = runs["config_id"].isna()
    lines = [
        [one_line(run_id) if nameless else "", reason]
        for run_id, nameless, reason in zip(runs["run_id"], unknown, reason_texts(runs), strict=True)
    ]
    return [[INDENT + shortened(text, width - len(INDENT)) for text in pair if text] for pair in lines]
