"""Shows the state of a sweep's runs: `python -m src.status sweep=multirun_outputs/demo`; or, with run=, one run.

Reads records only, so it changes nothing and needs no right to write; `watch=true` refreshes. Keys: conf/status.yaml.
Exit code 0: shown; 1: the folder is not a sweep, or a key is wrong; 130: Ctrl-C, which ends a watch.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/status.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import shutil
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig
from pydantic import Field

from src.base.config import Section
from src.base.errors import ConfigError
from src.cli.console import clear_screen
from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = "sweep: missing; it takes the folder of a sweep, for example sweep=multirun_outputs/demo; or run=<its folder>"


class StatusOptions(Section):
    """See conf/status.yaml. `interval`: seconds."""

    sweep: str | None = Field(min_length=1)
    run: str | None = Field(min_length=1)
    watch: bool
    interval: float = Field(gt=0)


@hydra_command("status", paths=("sweep", "run"))
def status(config: DictConfig) -> None:
    """Check, then look once or again and again."""
    options = parse_options(StatusOptions, config, {})
    if options.run is not None:
        if options.sweep is not None or options.watch:
            raise ConfigError(["run: got it beside sweep or watch, which are about a sweep; give one of them"])
        from src.analysis.status.run_status import run_text

        print(run_text(Path(options.run)))
        return
    if options.sweep is None:
        raise ConfigError([NEEDED])
    look(Path(options.sweep), options.interval if options.watch else None)


def look(sweep: Path, interval: float | None) -> None:
    """Prints the state of `sweep`; with an `interval`, every so many seconds until no run is running or planned.

    On a terminal each look replaces the one before, and only what fits is shown until the last.
    """
    # pandas takes a while to import, for which --help and typos must not wait
    from src.analysis.records.files import read_commands
    from src.analysis.records.runs import load_runs
    from src.analysis.status.sweep_status import has_ended, status_text

    on_terminal = interval is not None and sys.stdout.isatty()
    while True:
        size = shutil.get_terminal_size(fallback=(120, 24))
        runs = load_runs(sweep)
        last = interval is None or has_ended(runs)
        text = status_text(runs, size.columns, size.lines - 4 if on_terminal and not last else None)
        if on_terminal:
            clear_screen()
        print(f"{sweep} at {datetime.now():%H:%M:%S}\n\n{text}\n" if interval else text, flush=True)
        if interval is None or last:
            break
        time.sleep(interval)
    if commands := read_commands(sweep):
        print("\n".join(["", "launched by", *commands]))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends a watch
    status()
