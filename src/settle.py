"""Adds seeds until questions are decided: `python -m src.settle experiment=report_a/all budget=60`.

Takes every group and key of a sweep but `seed`, and the keys of conf/settle.yaml. Trains rounds of seeds as
`python -m src.train` does, looks at the records after each, and prints the answers; all looks together err in at most
5 % in the worlds that docs/statistics.md promises. Exit code 0: all is decided that the budget can decide; 1: refused,
or runs were lost; 130, 143, 138: stopped by a signal. The same command resumes.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/settle.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from typing import Any, Literal

from omegaconf import DictConfig
from pydantic import Field

from src.base.config import Section
from src.base.errors import ConfigError
from src.cli.hydra_entry import hydra_command

NEEDED = {"budget": "the runs of the sweep, those that exist included, for example budget=60"}


class SettleOptions(Section):
    """See conf/settle.yaml."""

    budget: int = Field(gt=0)
    claim_files: str | None
    goal: Literal["best"]
    margin: float = Field(gt=0, lt=1)
    first_seed: int = Field(ge=0)
    dry_run: bool


KEYS = tuple(SettleOptions.model_fields)


@hydra_command("settle", paths=("claim_files",))
def settle(config: DictConfig) -> Any:
    """Called for a single run only; a sweep, which settling is, reads the keys in hydra_plugins/segsweep/settler.py."""
    raise ConfigError(["hydra.mode: got RUN; settling is a sweep"])


if __name__ == "__main__":
    settle()
