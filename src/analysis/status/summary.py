"""What a sweep gave: the scores of each setting over its seeds, and the reason of every run that did not finish."""

from pathlib import Path

import pandas as pd

from src.analysis.records.runs import load_runs
from src.analysis.records.setting_names import tell_apart
from src.base.files import write_text
from src.display.tables import markdown_table, markdown_text, write_csv
from src.display.text import (
    by_status,
    counted,
    epoch_texts,
    named,
    reason_texts,
    score_texts,
    setting_texts,
    time_texts,
)

TROUBLE = ("failed", "interrupted", "unreadable")
SCORES = {
    "test_dice_mean": "test Dice",
    "test_dice_min": "min",
    "test_dice_max": "max",
    "valid_dice_mean": "valid Dice",
}


def write_summary(sweep: Path) -> Path:
    """Writes `<sweep>/summary.md` and, with a row for each run, `<sweep>/summary.csv`; returns the path of the first.

    Raises ValueError for a folder that is no sweep.
    """
    runs = load_runs(sweep)
    write_csv(sweep / "summary.csv", runs)
    path = sweep / "summary.md"
    write_text(path, summary_text(runs, sweep.absolute().name))
    return path


def summary_text(runs: pd.DataFrame, title: str) -> str:
    """`runs` (of load_runs) as Markdown: how many stand how, the settings best first, what did not finish and why."""
    shared, _ = tell_apart(runs)
    all_with = f", all with {markdown_text(named(shared))}" if shared else ""
    parts = [f"# {markdown_text(title)}", f"{counted(runs)}{all_with}.\n{by_status(runs)}."]
    settings = settings_table(runs)
    if len(settings):
        parts += ["## Settings", _explanation(settings), _settings_text(settings)]
    trouble = runs[runs["status"].isin(TROUBLE)]
    if len(trouble):
        parts += ["## Not finished", _trouble_text(trouble)]
    return "\n\n".join(parts) + "\n"


def settings_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, best mean test Dice first: its ids, what tells it apart, its runs and the scores of them.

    Columns: config_id, fingerprint, what differs between settings, `runs` (of any status), `finished` (with a test
    Dice), mean, min and max of test_dice over the finished, and their means of valid_dice and seconds. Runs on other
    data are another setting; one that has not begun, so that its data are unknown, counts with the first of its id.
    """
    known = runs.dropna(subset="config_id")
    data = known["fingerprint"].fillna(known.groupby("config_id")["fingerprint"].transform("first"))
    finished = known["status"] == "finished"
    scores = {name: known[name].where(finished) for name in ("test_dice", "valid_dice", "seconds")}
    groups = known.assign(fingerprint=data, **scores).groupby(["config_id", "fingerprint"], dropna=False, sort=False)
    _, differing = tell_apart(runs)
    table = groups.agg(
        **{name: (name, "first") for name in differing if name != "config_id"},
        runs=("run_id", "count"),
        finished=("test_dice", "count"),
        test_dice_mean=("test_dice", "mean"),
        test_dice_min=("test_dice", "min"),
        test_dice_max=("test_dice", "max"),
        valid_dice_mean=("valid_dice", "mean"),
        seconds_mean=("seconds", "mean"),
    ).reset_index()
    return table.sort_values("test_dice_mean", ascending=False, kind="stable", ignore_index=True)


def _settings_text(settings: pd.DataFrame) -> str:
    differing = list(settings.columns)[2 : list(settings.columns).index("runs")]
    columns = {name: setting_texts(settings[name]) for name in differing}
    columns["finished"] = [f"{row.finished} of {row.runs}" for row in settings.itertuples()]
    columns |= {heading: score_texts(settings[name]) for name, heading in SCORES.items()}
    columns["time"] = time_texts(settings["seconds_mean"])
    if settings["fingerprint"].nunique() > 1:
        columns["data"] = setting_texts(settings["fingerprint"].str[:12])
    columns["config"] = list(settings["config_id"])
    numeric = [name for name in differing if pd.api.types.is_numeric_dtype(settings[name])]
    return markdown_table(columns, right=[*numeric, "finished", *SCORES.values(), "time"])


def _explanation(settings: pd.DataFrame) -> str:
    lines = [
        "Test Dice (the headline of docs/record.md), valid Dice (of the best epoch) and time worked are means over"
    ]
    lines.append("the finished seeds; min and max are of the test Dice. Best mean first.")
    if settings["fingerprint"].nunique() > 1:
        lines.append("Runs on different data are never pooled; `data` is how their fingerprints begin.")
    return "\n".join(lines)


def _trouble_text(runs: pd.DataFrame) -> str:
    columns = {
        "run": list(runs["run_id"]),
        "status": list(runs["status"]),
        "epoch": epoch_texts(runs),
        "reason": reason_texts(runs),
    }
    return markdown_table(columns, right=["epoch"])
