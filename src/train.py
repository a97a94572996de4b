"""Trains and scores one run, or with -m a sweep of runs: `python -m src.train model=resnet34_unet scheduler=onecycle`.

Every key of conf/train.yaml and of its groups can be given as `key=value`; `--help` lists the groups. The record of a
run lies in `<output>/<sweep>/<run_id>`. Exit code 0: finished; 1: refused or failed; 130, 143, 138: stopped by SIGINT,
SIGTERM, SIGUSR1 (the same command goes on from there).
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import signal
import sys
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.base.errors import ConfigError
from src.cli.hydra_entry import command, network_names
from src.cli.overrides import (
    check_by_model,
    check_groups,
    forcing_values,
    plain_values,
    refusal,
    sweep_name,
    task_overrides,
    typed,
)


@command("train")
def main(composed: DictConfig) -> None:
    """One run: check, train, say how it ended."""
    # torch takes seconds to import: --help, --cfg and typos must not wait for it
    from tqdm.contrib.logging import logging_redirect_tqdm

    from src.base.record import RunBusy, RunLost, RunRecord
    from src.training.checks import checked
    from src.training.labels import add_labels
    from src.training.reuse import note_of_old_runs
    from src.training.run import run

    try:
        plain, overrides = plain_values(composed), task_overrides(HydraConfig.get())
        check_by_model(composed, plain, overrides, network_names(GlobalHydra.instance().config_loader()))
        config = checked(plain)
        experiment = HydraConfig.get().runtime.choices.get("experiment")
        sweep = sweep_name(config.sweep.name, experiment, "single")
        if (note := note_of_old_runs(Path(config.output) / sweep)) is not None:
            print(note, file=sys.stderr)
        with logging_redirect_tqdm():
            outcome = run(config, sweep, typed(overrides))
        labels = "" if outcome.ran else add_labels(RunRecord(outcome.folder), config, typed(overrides))
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))
    except RunLost as error:
        print(f"interrupted: {error}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except RunBusy as error:
        sys.exit(str(error))
    if outcome.signal_number is not None:
        print(f"interrupted: {outcome.folder}; the same command goes on from here", file=sys.stderr)
        sys.exit(outcome.exit_code)
    if outcome.status == "failed":
        sys.exit(f"failed: {outcome.error}; the full story is in {outcome.folder / 'train.log'}")
    said = "finished" if outcome.ran else "finished before, nothing to do"
    print(f"{said}: test Dice {outcome.scores['test_dice']:.4f}, {outcome.folder}{labels}")


def train() -> None:
    """The command: what is typed is put right for Hydra, then `main` runs once, or the launcher runs a sweep."""
    try:
        check_groups(sys.argv[1:])
    except ConfigError as error:
        sys.exit(refusal(error))
    sys.argv[1:] = forcing_values(sys.argv[1:])
    main()


if __name__ == "__main__":
    train()
