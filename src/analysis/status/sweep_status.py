"""The status of a sweep: a line for each run, the number that have ended, the time left; and the files at its end."""

import itertools
import textwrap
from pathlib import Path

import pandas as pd

from src.analysis.records.runs import load_runs, shared_and_differing
from src.base.files import write_text
from src.display.text import (
    cell_texts,
    collapse_whitespace,
    count_text,
    human_seconds,
    mapping_text,
    markdown_table,
    markdown_text,
    plain_table,
    score_text,
    setting_text,
    shortened,
    status_counts_text,
    write_csv,
)

# the order in which runs are shown if a screen does not have room for all
URGENCY = ("running", "failed", "unreadable", "interrupted", "finished", "pruned", "planned")
UNFINISHED = ("failed", "interrupted", "unreadable")
RIGHT = ("seed", "epoch", "valid Dice", "test Dice", "time")
CHOICE_WIDTH = 6  # characters of a choice that are kept, however narrow the terminal
INDENT = "    "


def status_text(runs: pd.DataFrame, width: int, height: int | None = None) -> str:
    """`runs` (of load_runs) as text of `width` characters: a table, the counts, and the time left.

    At most `height` lines, if given: the most urgent runs, and the number of the others.
    """
    shared, differing = shared_and_differing(runs)
    head = [*textwrap.wrap(f"all with {mapping_text(shared)}", width), ""] if shared else []
    tail = ["", *(part for line in _closing(runs) for part in textwrap.wrap(line, width))]
    right = [*RIGHT, *(name for name in differing if pd.api.types.is_numeric_dtype(runs[name]))]
    names, *rows = plain_table(_columns(runs, differing), right, dict.fromkeys(differing, CHOICE_WIDTH), width)
    blocks = [[row, *reason] for row, reason in zip(rows, _reason_lines(runs, width), strict=True)]
    if height is not None:
        room = height - len(head) - len(tail) - 2  # the column names, and the line about the other runs
        blocks = _most_urgent(blocks, list(runs["status"]), room)
    left_out = len(runs) - len(blocks)
    more = [f"… and {left_out} more"] if left_out else []
    return "\n".join([*head, names, *(line for block in blocks for line in block), *more, *tail])


def write_summary(sweep: Path) -> Path:
    """Writes `<sweep>/summary.md` (counts, and the runs that did not finish) and `summary.csv` (a row per run).

    Returns the path of the first. Raises ValueError for a folder that is not a sweep.
    """
    runs = load_runs(sweep)
    write_csv(sweep / "summary.csv", runs)
    shared, _ = shared_and_differing(runs)
    all_with = f", all with {markdown_text(mapping_text(shared))}" if shared else ""
    parts = [f"# {markdown_text(sweep.absolute().name)}"]
    parts.append(f"{count_text(len(runs), 'run')}{all_with}: {status_counts_text(runs)}.")
    unfinished = runs[runs["status"].isin(UNFINISHED)]
    if len(unfinished):
        columns = {
            "run": list(unfinished["run_id"]),
            "status": list(unfinished["status"]),
            "epoch": _epoch_texts(unfinished),
            "reason": _reasons(unfinished),
        }
        parts += ["## Not finished", markdown_table(columns, right=["epoch"])]
    path = sweep / "summary.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def has_ended(runs: pd.DataFrame) -> bool:
    """Whether no run is running or planned."""
    return not runs["status"].isin(["running", "planned"]).any()


def seconds_left(runs: pd.DataFrame) -> float | None:
    """Estimated seconds until every running and planned run has ended; None if unknown.

    An epoch of a run is assumed to cost as much as its own so far, else those of the same model, else those of all
    running and finished runs. The work is shared by as many processes as are running; a single run is not shared.
    """
    measured = runs[runs["status"].isin(["running", "finished"]) & runs["epoch"].gt(0).fillna(False)]
    waiting = runs[runs["status"].isin(["running", "planned"])]
    remaining = (waiting["epochs"] - waiting["epoch"]).clip(lower=0).astype("Float64")
    processes = int(runs["status"].eq("running").sum())
    if measured.empty or remaining.isna().any() or not processes:
        return None
    total = measured["seconds"].sum() / measured["epoch"].sum()
    seconds_per_epoch = (measured["seconds"] / measured["epoch"]).reindex(waiting.index)
    if "model" in runs:
        sums = measured.groupby("model")[["seconds", "epoch"]].sum()
        seconds_per_epoch = seconds_per_epoch.fillna(waiting["model"].map(sums["seconds"] / sums["epoch"]))
    left = remaining * seconds_per_epoch.fillna(total)
    return float(max(left.sum() / processes, left.max()))


def _closing(runs: pd.DataFrame) -> list[str]:
    """The lines below the table."""
    lines = [f"{count_text(len(runs), 'run')}: {status_counts_text(runs)}"]
    if not has_ended(runs):
        seconds = seconds_left(runs)
        unknown = "unknown" if runs["status"].eq("running").any() else "unknown, no run is running"
        lines.append(f"time left: {unknown if seconds is None else 'about ' + human_seconds(seconds)}")
    elif runs["status"].isin(["interrupted", "failed"]).any():
        lines.append("the same command resumes interrupted and failed runs from their last checkpoint")
    return lines


def _most_urgent(blocks: list[list[str]], statuses: list[str], room: int) -> list[list[str]]:
    """The blocks of the most urgent runs that fit together into `room` lines, in their order."""
    by_urgency = sorted(range(len(blocks)), key=lambda number: URGENCY.index(statuses[number]))
    lines = itertools.accumulate(len(blocks[number]) for number in by_urgency)
    fitting = {number for number, used in zip(by_urgency, lines, strict=True) if used <= room}
    return [block for number, block in enumerate(blocks) if number in fitting]


def _columns(runs: pd.DataFrame, differing: list[str]) -> dict[str, list[str]]:
    return {name: cell_texts(runs[name], setting_text) for name in [*differing, "seed"]} | {
        "status": list(runs["status"]),
        "epoch": _epoch_texts(runs),
        "valid Dice": cell_texts(runs["valid_dice"], score_text),
        "test Dice": cell_texts(runs["test_dice"], score_text),
        "time": cell_texts(runs["seconds"], human_seconds),
    }


def _epoch_texts(runs: pd.DataFrame) -> list[str]:
    """Finished epochs of all: `12/50`."""
    finished, total = (cell_texts(runs[name], str, "?") for name in ("epoch", "epochs"))
    return [f"{done}/{of}" for done, of in zip(finished, total, strict=True)]


def _reasons(runs: pd.DataFrame) -> list[str]:
    return cell_texts(runs["error"], collapse_whitespace, missing="")


def _reason_lines(runs: pd.DataFrame, width: int) -> list[list[str]]:
    """For each run the lines below its row: its folder, if nothing else names the run, and the reason of its status."""
    lines = [
        [collapse_whitespace(run_id) if unnamed else "", reason]
        for run_id, unnamed, reason in zip(runs["run_id"], runs["config_id"].isna(), _reasons(runs), strict=True)
    ]
    return [[INDENT + shortened(text, width - len(INDENT)) for text in pair if text] for pair in lines]
