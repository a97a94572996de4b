"""Shows how the runs of a sweep stand, at work or ended: `python -m src.status sweep=multirun_outputs/demo watch=true`.

Reads records only, so it changes nothing and needs no right to write. Keys: conf/status.yaml. Exit code 0: shown; 1:
the folder is no sweep, or a key is wrong; 130: Ctrl-C, which is how a watch ends before the runs do.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import shutil
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.base.errors import shown
from src.cli.console import clear_screen
from src.cli.hydra_entry import command
from src.cli.overrides import forcing_values, plain_values, refusal

KEYS = ("sweep", "watch", "interval")


@command("status")
def main(composed: DictConfig) -> None:
    """Check, then look once or again and again."""
    problems = _problems(composed)
    if problems:
        sys.exit("\n".join(problems))
    options = plain_values(composed)
    try:
        look(Path(str(options["sweep"])), options["interval"] if options["watch"] else None)
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))


def look(sweep: Path, interval: float | None) -> None:
    """Prints how `sweep` stands; with an `interval`, every so many seconds until no run is at work or waits.

    On a terminal each look takes the place of the one before, and only what fits is shown until the last.
    """
    # pandas takes a while to import: --help and typos must not wait for it
    from src.analysis.records.runs import load_runs
    from src.analysis.status.progress import has_ended, progress

    on_terminal = interval is not None and sys.stdout.isatty()
    while True:
        size = shutil.get_terminal_size(fallback=(120, 24))
        runs = load_runs(sweep)
        last = interval is None or has_ended(runs)
        text = progress(runs, size.columns, size.lines - 3 if on_terminal and not last else None)
        if on_terminal:
            clear_screen()
        print(_headed(text, sweep, on_terminal) if interval else text, flush=True)
        if interval is None or last:
            return
        time.sleep(interval)


def _headed(text: str, sweep: Path, on_terminal: bool) -> str:
    """One look of several: in place of the one before, or below it with an empty line between."""
    title = f"{sweep} at {datetime.now():%H:%M:%S}"
    return f"{title}\n\n{text}" if on_terminal else f"{title}\n\n{text}\n"


def _problems(composed: DictConfig) -> list[str]:
    """One line for each key that is missing, unknown or wrong."""
    problems = [f"{key}: unknown key; allowed: {', '.join(KEYS)}" for key in map(str, composed) if key not in KEYS]
    it_takes = "it takes the folder of a sweep, for example sweep=multirun_outputs/demo"
    if OmegaConf.is_missing(composed, "sweep"):
        problems.append(f"sweep: missing; {it_takes}")
    elif not isinstance(sweep := composed["sweep"], str | int | float) or not str(sweep).strip():
        problems.append(f"sweep: got {shown(sweep)}; {it_takes}")
    watch: Any = composed["watch"]
    interval: Any = composed["interval"]
    if not isinstance(watch, bool):
        problems.append(f"watch: got {watch!r}; allowed: true, false")
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < float("inf"):
        problems.append(f"interval: got {interval!r}; it takes a number of seconds above 0")
    return problems


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this quietly
    sys.argv[1:] = forcing_values(sys.argv[1:])
    main()
