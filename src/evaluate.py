"""Scores a finished run under every protocol: `python -m src.evaluate run=multirun_outputs/single/<run_id>`.

Prints the protocol table; adds the scores to the run's record (`test.json`, `test_images.csv`), whose other entries
stay as they are; writes table, calibration and pictures of the worst, median and best images into
`<run>/evaluation/<split>`. Keys: conf/evaluate.yaml. Exit code 0: written; 1: not, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/evaluate.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import shutil

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {"run": "the folder of a finished run, for example run=multirun_outputs/demo/…"}


@hydra_command("evaluate", paths=("run", "root", "output", "cache"))
def evaluate(config: DictConfig) -> None:
    """Check, predict, score, write, print the table."""
    # torch takes seconds to import: --help must not wait for it
    from src.display.text import plain_table
    from src.evaluation.evaluation import EvaluateOptions, evaluate_run
    from src.evaluation.protocol_table import RIGHT, table_columns, table_notes

    entries, folder = evaluate_run(parse_options(EvaluateOptions, config, NEEDED))
    width = shutil.get_terminal_size((160, 24)).columns
    print("\n".join(plain_table(table_columns(entries), RIGHT, {"protocol": 12}, width)), end="\n\n")
    print("\n".join(table_notes(entries)), end="\n\n")
    print(f"written: {folder}")


if __name__ == "__main__":
    evaluate()
