"""Prints what the runs of a sweep gave: `python -m src.aggregate sweep=multirun_outputs/demo`."""

import sys
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig

from src.analysis.runs import load_runs
from src.command_line import CONF, plain_values

CHOICES = ["model", "loss", "optimizer", "scheduler", "augmentation", "data", "trainer", "numerics", "seed"]
SCORES = ["valid_dice", "test_dice", "test_iou", "seconds"]


@hydra.main(config_path=str(CONF), config_name="aggregate", version_base="1.3")
def main(composed: DictConfig) -> None:
    """Load, print."""
    try:
        runs = load_runs(Path(plain_values(composed)["sweep"]))
    except ValueError as error:
        sys.exit(str(error))
    print(summary_table(runs))


def summary_table(runs: pd.DataFrame) -> str:
    """The choices that differ between `runs`, their status and scores as text; best test Dice first."""
    differing = [name for name in CHOICES if name in runs and runs[name].nunique(dropna=False) > 1]
    shared = [f"{name} {runs[name].iloc[0]}" for name in CHOICES if name in runs and name not in differing]
    columns = [*differing, "status", *(name for name in SCORES if name in runs)]
    ordered = runs.sort_values("test_dice", ascending=False) if "test_dice" in runs else runs
    table = ordered[columns].to_string(index=False, float_format="{:.4f}".format, na_rep="-")
    return f"{len(runs)} runs, all with {', '.join(shared)}\n\n{table}"


if __name__ == "__main__":
    main()
