"""Trains and scores one run, or with -m a sweep of runs: `python -m src.train model=resnet34_unet scheduler=onecycle`.

Every key of conf/train.yaml and of its groups can be given as `key=value`; `--help` lists the groups. The record of a
run lies in `<output>/<sweep>/<run_id>`. Exit code 0: finished; 1: refused or failed; 130, 143, 138: stopped by SIGINT,
SIGTERM, SIGUSR1 (the same command resumes).
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/train.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import logging
import sys
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command, network_names
from src.cli.overrides import check_by_model, plain_values, strip_plus, sweep_name, task_overrides


@hydra_command("train")
def train(composed: DictConfig) -> int:
    """One run: check, train, print how it ended. A sweep goes to its launcher instead, see hydra_plugins."""
    # torch takes seconds to import: --help, --cfg and typos must not wait for it
    from tqdm.contrib.logging import logging_redirect_tqdm

    from src.base.record import RunRecord
    from src.training.checks import checked
    from src.training.reuse import add_labels, note_of_old_runs
    from src.training.run import run

    plain, overrides = plain_values(composed), task_overrides(HydraConfig.get())
    check_by_model(plain, overrides, network_names(GlobalHydra.instance().config_loader()))
    config = checked(plain)
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    sweep = sweep_name(config.sweep.name, experiment, "single")
    if (note := note_of_old_runs(Path(config.output) / sweep)) is not None:
        print(note, file=sys.stderr)
    root = logging.getLogger()
    with logging_redirect_tqdm([root] if root.handlers else []):  # it would add a handler where there is none
        outcome = run(config, sweep, strip_plus(overrides))
    if outcome.signal_number is not None:
        print(f"interrupted: {outcome.folder}; the same command resumes", file=sys.stderr)
    elif outcome.status == "failed":
        print(f"failed: {outcome.error}; the traceback is in {outcome.folder / 'train.log'}", file=sys.stderr)
    else:
        labels = "" if outcome.ran else add_labels(RunRecord(outcome.folder), config, strip_plus(overrides))
        how = "finished" if outcome.ran else "already finished, nothing to do"
        print(f"{how}: test Dice {outcome.scores['test_dice']:.4f}, {outcome.folder}{labels}")
    return outcome.exit_code


if __name__ == "__main__":
    train()
