"""Prints what a sweep gave, the text of its summary.md: `python -m src.aggregate sweep=multirun_outputs/demo`.

Exit code 0: printed; 1: the folder is no sweep.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, plain_values


@hydra.main(config_path=str(CONF), config_name="aggregate", version_base="1.3")
def main(composed: DictConfig) -> None:
    """Load, print."""
    # pandas takes a while to import: --help must not wait for it
    from src.analysis.runs import load_runs
    from src.analysis.summary import summary_text

    try:
        sweep = Path(str(plain_values(composed)["sweep"]))
        print(summary_text(load_runs(sweep), sweep.absolute().name), end="")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
