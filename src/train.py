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
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.base.config import RunConfig, problems_of
from src.base.errors import ConfigError
from src.base.identity import identify
from src.cli.hydra_entry import hydra_command
from src.cli.overrides import (
    CONF,
    check_by_model,
    network_names,
    plain_values,
    source_folders,
    strip_plus,
    sweep_name,
    task_overrides,
)

BUILT = re.compile(r"\+*(model|loss|optimizer|scheduler|augmentation)\b")


@hydra_command("train")
def train(composed: DictConfig) -> float:
    """One run: check, train, print how it ended; returns the best validation Dice, between 0 and 1.

    Launchers of other programs call it for each run of a sweep, those of hydra_plugins/segsweep start processes.
    """
    hydra = HydraConfig.get()
    plain, overrides = plain_values(composed), strip_plus(task_overrides(hydra))
    folders = source_folders(hydra)
    if OmegaConf.select(composed, "trainer.by_model"):
        check_by_model(plain, overrides, network_names(folders))
    only_typed = folders == [CONF] and not any(map(BUILT.match, overrides))  # our own options have no other problems
    if only_typed and (problems := problems_of(RunConfig, plain)):
        raise ConfigError(problems)
    in_sweep = hydra.mode == RunMode.MULTIRUN  # of a launcher that is not ours
    experiment = hydra.runtime.choices.get("experiment")
    is_named = not in_sweep and _named_early(plain, experiment)
    # torch takes seconds to import: --help, --cfg and typos must not wait for it
    from tqdm.contrib.logging import logging_redirect_tqdm

    from src.base.record import RunRecord
    from src.sweep.plan import write_plan
    from src.training.checks import checked
    from src.training.reuse import add_labels, note_of_old_runs
    from src.training.run import run

    config = checked(plain)
    if in_sweep and "joblib" in str(OmegaConf.select(hydra.launcher, "_target_")):
        if config.data.workers and hydra.job.num == 0:
            print("data.workers: 0 for each run, since joblib runs as many as there are cores", file=sys.stderr)
        config = config.model_copy(update={"data": config.data.model_copy(update={"workers": 0})})
    sweep = sweep_name(config.sweep.name, experiment, "adhoc" if in_sweep else "single")
    if in_sweep and not config.sweep.retry_failed:
        raise ConfigError(
            ["sweep.retry_failed: got false; this launcher repeats failed runs, hydra/launcher=local not"]
        )
    if in_sweep:
        write_plan([], Path(config.output) / sweep)
    if (note := note_of_old_runs(Path(config.output) / sweep)) is not None:
        print(note, file=sys.stderr)
    root = logging.getLogger()
    with logging_redirect_tqdm([root] if root.handlers else []):  # it would add a handler where there is none
        outcome = run(config, sweep, overrides, None if is_named else _name)
    outcome.check_finished()
    labels = "" if outcome.ran else add_labels(RunRecord(outcome.folder), config, overrides)
    how = "finished" if outcome.ran else "already finished, nothing to do"
    print(f"{how}: test Dice {outcome.scores['test_dice']:.4f}, {outcome.folder}{labels}")
    return outcome.scores["valid_dice"]


def _named_early(plain: dict[str, Any], experiment: str | None) -> bool:
    """Names the run before the imports and checks that take seconds; False for a mistake or data not verified yet."""
    from src.data.open_data import open_verified
    from src.training.checkpoint import init_digest
    from src.training.checks import checked

    with suppress(ValueError, OSError):
        config = checked(plain, tried=False)
        _, fingerprint = open_verified(config.data, make=False, known=True)
        identity = identify(config, fingerprint, init_digest(config))
        _name(Path(config.output) / sweep_name(config.sweep.name, experiment, "single") / identity.run_id)
        return True
    return False


def _name(folder: Path) -> None:
    print(f"run {folder.name} in {folder.parent}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    train()
