"""Scores a finished run under every protocol: `python -m src.evaluate run=multirun_outputs/single/<run_id>`.

Prints the protocol table; adds the scores to the run's record (`test.json`, `test_images.csv`), where nothing that
stands there is changed; writes table, calibration and pictures of the worst, median and best images into
`<run>/evaluation/<split>`. Keys: conf/evaluate.yaml. Exit code 0: written; 1: not, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import shutil
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError
from src.cli.hydra_entry import command
from src.cli.overrides import forcing_values, plain_values, quoting_values, refusal

PATHS = ("run", "root", "output", "cache")


@command("evaluate")
def main(composed: DictConfig) -> None:
    """Check, predict, score, write, say what came out."""
    # torch takes seconds to import: --help must not wait for it
    from src.base.config import parse_section
    from src.base.record import RunBusy
    from src.display.tables import plain_table
    from src.evaluation.evaluation import EvaluateOptions, evaluate_run
    from src.evaluation.protocol_table import RIGHT, table_columns, table_notes

    try:
        done = evaluate_run(parse_section(EvaluateOptions, _given(composed)))
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))
    except RunBusy as error:
        sys.exit(str(error))
    width = shutil.get_terminal_size((160, 24)).columns
    print("\n".join(plain_table(table_columns(done.entries), RIGHT, {"protocol": 12}, width)), end="\n\n")
    print("\n".join(table_notes(done.entries)), end="\n\n")
    print(f"written: {done.folder}")


def _given(composed: DictConfig) -> dict[str, Any]:
    if OmegaConf.is_missing(composed, "run"):
        raise ConfigError(
            ["run: missing; it takes the folder of a finished run, for example run=multirun_outputs/demo/…"]
        )
    return plain_values(composed)


def evaluate() -> None:
    """The command: what is typed is put right for Hydra, then `main` runs."""
    sys.argv[1:] = forcing_values(quoting_values(sys.argv[1:], PATHS))
    main()


if __name__ == "__main__":
    evaluate()
