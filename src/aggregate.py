"""Turns runs into an answer: `python -m src.aggregate sweep=multirun_outputs/demo`, several as `a,b` or as a glob.

Prints verdicts and the table of settings, and writes a report, by default into `<sweep>/report`: index.html, report.md,
tables (CSV, LaTeX) and figures. Keys: conf/aggregate.yaml. Exit code 0: written; 1: not, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    import gc
    import os
    import sys

    gc.set_threshold(50_000, 20, 20)  # tables leave few cycles to look for
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of such small matrices others would only wait
    if not __package__:  # `python src/aggregate.py`
        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import sys

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {"sweep": "a folder of runs, for example sweep=multirun_outputs/demo"}


@hydra_command("aggregate", paths=("sweep", "output", "claim_files", "cluster"))
def aggregate(config: DictConfig) -> None:
    """Check, load, judge, print the answer, write the report."""
    # pandas, scipy and matplotlib take a second to import: --help must not wait for them
    from src.analysis.records.kept_reads import KeptReads
    from src.analysis.report.options import AggregateOptions
    from src.analysis.report.page import terminal_text, write_report

    options = parse_options(AggregateOptions, config, NEEDED)
    sweeps = options.sweeps()
    folder = options.folder(sweeps)
    report, notes = options.report(sweeps, folder, KeptReads(sweeps, folder))
    for note in notes:
        print(note, file=sys.stderr)
    print(terminal_text(report), flush=True)  # before the figures, which take seconds
    print(f"report: {write_report(report, folder)}")


if __name__ == "__main__":
    aggregate()
