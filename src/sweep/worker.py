"""Runs one composed config, which comes as JSON on standard input; launchers start it, not users.

It may wait for it: a launcher starts the process of its next run while another run trains, which hides the imports.

Exit code 0: finished; 1: refused or failed; 75: another process holds this run; 128 + n: stopped by signal n.
`--parent=<pid>`: stop, leaving a checkpoint, when that process is gone.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time

BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later
PATIENCE = 10.0  # seconds between the request to stop and the end


def main() -> None:
    """Import, read, check again (a message is data), run."""
    faulthandler.enable()
    # submitit's signal, which SLURM may send to all processes of a job, is handled by our parent
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    parent = next((int(word.split("=")[1]) for word in sys.argv[1:] if word.startswith("--parent=")), None)
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    from src.base.record import RunBusy
    from src.training.checks import checked
    from src.training.run import run

    for module in ("albumentations", "torch._dynamo"):  # which the first transform and optimizer import
        importlib.import_module(module)
    text = sys.stdin.read()
    if not text:
        sys.exit("no run came")  # the launcher has none left, or has ended
    message = json.loads(text)
    try:
        outcome = run(checked(message["config"]), message["sweep"], message["overrides"])
    except RunBusy as error:
        print(error, file=sys.stderr)
        sys.exit(BUSY)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    sys.exit(outcome.exit_code)


def _follow(parent: int) -> None:
    """Ends this process soon after `parent` has ended: no job outlives its sweep unseen."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
