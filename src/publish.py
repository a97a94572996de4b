"""Copies a sweep into a tracker, offline: `python -m src.publish sweep=multirun_outputs/demo to=tensorboard`.

Reads records and never changes one; the same call again adds what is new. Keys: conf/publish.yaml. Exit code 0: all
runs are there; 1: the tracker is missing or refuses, or a record is broken, which is named; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/publish.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {
    "sweep": "a folder of runs, for example sweep=multirun_outputs/demo",
    "to": "tensorboard, mlflow or wandb",
}


@hydra_command("publish", paths=("sweep", "output", "claim_files", "cluster"))
def publish(config: DictConfig) -> None:
    """Check, read, copy, print what was copied."""
    # pandas takes a while to import, for which --help and typos must not wait
    from src.publishing.publishing import PublishOptions, publish_sweeps

    publish_sweeps(parse_options(PublishOptions, config, NEEDED))


if __name__ == "__main__":
    publish()
