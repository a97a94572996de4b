"""How a sweep stands: a line for each run, how many have ended, and how long the others may take."""

import textwrap

import pandas as pd

from src.analysis.settings import tell_apart
from src.analysis.tables import human_seconds, one_line, plain_table

ORDER = ("finished", "running", "planned", "interrupted", "failed", "unreadable")  # in which statuses are counted
# what to look at first, where a screen has no room for all
ATTENTION = ("running", "failed", "unreadable", "interrupted", "finished", "planned")
RIGHT = ("seed", "epoch", "valid Dice", "test Dice", "time")
REASON_WIDTH, CHOICE_WIDTH = 20, 6  # characters that stay, however narrow the terminal is


def progress(runs: pd.DataFrame, width: int, height: int | None = None) -> str:
    """`runs` (of load_runs) as text of `width` characters: a table, the total, and the time left.

    At most `height` lines, where given: then the runs that matter most at this moment, and how many are not shown.
    """
    shared, differing = tell_apart(runs)
    said = "all with " + ", ".join(f"{name} {value}" for name, value in shared.items()) if shared else "nothing shared"
    head = textwrap.wrap(f"{counted(runs)}, {said}", width)
    tail = _tail(runs, width)
    shown, left_out = _most_wanted(runs, None if height is None else height - len(head) - len(tail) - 5)
    floors = {**{name: min(len(name), CHOICE_WIDTH) for name in differing}, "reason": REASON_WIDTH}
    table = plain_table(_cells(shown, differing), [*RIGHT, *_numeric(runs, differing)], floors, width)
    more = [f"… and {left_out} more runs"] if left_out else []
    return "\n".join([*head, "", *table, *more, "", *tail])


def has_ended(runs: pd.DataFrame) -> bool:
    """Whether no run is at work or waits."""
    return not runs["status"].isin(["running", "planned"]).any()


def counted(runs: pd.DataFrame) -> str:
    """The number of `runs`, in words."""
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}"


def counts_by_status(runs: pd.DataFrame) -> str:
    """How many of `runs` stand how, such as `3 finished, 1 failed`."""
    counts = runs["status"].value_counts()
    return ", ".join(f"{counts[status]} {status}" for status in ORDER if status in counts)


def seconds_left(runs: pd.DataFrame) -> float | None:
    """About how long until every running and planned run has ended, in seconds; None where nothing is known.

    A run's remaining epochs cost what its own took so far, else those of the same model, else those of all running and
    finished runs. The work is shared by as many runs as are at work now, but no run is shared.
    """
    measured = runs[runs["status"].isin(["running", "finished"]) & (runs["epoch"] > 0).fillna(False)]
    waiting = runs[runs["status"].isin(["running", "planned"])]
    remaining = (waiting["epochs"] - waiting["epoch"]).clip(lower=0).astype("float64")
    running = int((runs["status"] == "running").sum())
    if measured.empty or remaining.isna().any() or not running:
        return None
    pace = measured["seconds"] / measured["epoch"].astype("float64")  # seconds an epoch
    models = measured.groupby("model")[["seconds", "epoch"]].sum() if "model" in runs else pd.DataFrame()
    of_model = waiting["model"].map(models["seconds"] / models["epoch"]) if len(models) else float("nan")
    of_all = measured["seconds"].sum() / float(measured["epoch"].sum())
    left = remaining * pace.reindex(waiting.index).fillna(of_model).fillna(of_all)
    return float(max(left.sum() / running, left.max()))


def _tail(runs: pd.DataFrame, width: int) -> list[str]:
    lines = [f"{counted(runs)}: {counts_by_status(runs)}"]
    if not has_ended(runs):
        seconds = seconds_left(runs)
        lines.append(f"time left: {'unknown' if seconds is None else 'about ' + human_seconds(seconds)}")
    elif runs["status"].isin(["interrupted", "failed"]).any():
        lines.append("interrupted and failed runs go on from their last checkpoint when the same command is given again")
    return [part for line in lines for part in textwrap.wrap(line, width)]


def _most_wanted(runs: pd.DataFrame, room: int | None) -> tuple[pd.DataFrame, int]:
    """The runs to show in `room` lines, in their order, and the number of those left out."""
    if room is None or len(runs) <= room:
        return runs, 0
    urgency = runs["status"].map(ATTENTION.index).sort_values(kind="stable")
    shown = runs.loc[sorted(urgency.index[: max(room, 1)])]
    return shown, len(runs) - len(shown)


def _cells(runs: pd.DataFrame, differing: list[str]) -> pd.DataFrame:
    """The texts of the table; a column that says nothing is left out."""
    cells = pd.DataFrame(index=runs.index)
    for name in [*differing, "seed"]:
        cells[name] = text_of(runs[name])
    cells["status"] = runs["status"]
    epochs = runs["epochs"].astype("string").fillna("?")
    cells["epoch"] = (runs["epoch"].astype("string").fillna("?") + "/" + epochs).replace("?/?", "-")
    cells["valid Dice"] = runs["valid_dice"].map("{:.4f}".format, na_action="ignore").fillna("-")
    cells["test Dice"] = runs["test_dice"].map("{:.4f}".format, na_action="ignore").fillna("-")
    cells["time"] = runs["seconds"].map(human_seconds, na_action="ignore").fillna("-")
    reasons = [_reason(run) for run in runs[["run_id", "config_id", "error"]].itertuples()]
    return cells.assign(reason=reasons) if any(reasons) else cells


def text_of(column: pd.Series) -> pd.Series:
    """The values of a setting as text: numbers as short as they go, `-` where there is none."""
    if pd.api.types.is_numeric_dtype(column):
        column = column.map("{:g}".format, na_action="ignore")
    return column.astype("object").fillna("-").astype("string")


def _numeric(runs: pd.DataFrame, names: list[str]) -> list[str]:
    return [name for name in names if pd.api.types.is_numeric_dtype(runs[name])]


def _reason(run: tuple) -> str:
    return ""
