"""Turns runs into an answer: `python -m src.aggregate sweep=multirun_outputs/demo`, several as `a,b` or as a glob.

Prints verdicts and the table of settings, and writes a report, by default into `<sweep>/report`: index.html, report.md,
table.csv, table.tex and figures. Keys: conf/aggregate.yaml. Exit code 0: written; 1: a folder is no sweep, or a key is
wrong; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError
from src.cli.hydra_entry import command
from src.cli.overrides import forcing_values, plain_values, quoting_values, refusal

PATHS = ("sweep", "output", "claim_files")


@command("aggregate")
def main(composed: DictConfig) -> None:
    """Check, load, judge, write, say what was found."""
    # pandas, scipy and matplotlib take a second to import: --help must not wait for them
    from src.analysis.report.options import AggregateOptions
    from src.analysis.report.report import make_report, told, write_report
    from src.base.config import parse_section

    try:
        options = parse_section(AggregateOptions, _given(composed))
        sweeps = options.sweeps()
        folder = options.folder(sweeps)
        report = make_report(sweeps, options.claims(), options.protocol, options.detect / 100, options.on_any_data)
        print(told(report), flush=True)  # before the figures, which take seconds
        print(f"report: {write_report(report, folder)}")
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))


def _given(composed: DictConfig) -> dict[str, Any]:
    if OmegaConf.is_missing(composed, "sweep"):
        raise ConfigError(["sweep: missing; it takes a folder of runs, for example sweep=multirun_outputs/demo"])
    return plain_values(composed)


def aggregate() -> None:
    """The command: what is typed is put right for Hydra, then `main` runs."""
    sys.argv[1:] = forcing_values(quoting_values(sys.argv[1:], PATHS))
    main()


if __name__ == "__main__":
    aggregate()
