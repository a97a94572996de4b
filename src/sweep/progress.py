"""Progress of a running sweep on standard error: how many have ended, and a line for each event."""

import sys

from src.base.progress import ProgressBar
from src.sweep.process import Job


class Progress:
    """Counts the jobs that have ended and prints each event; `src.status watch=true` shows the epochs of the others."""

    def __init__(self, jobs: int) -> None:
        self._bar = ProgressBar(total=jobs, desc="runs", unit="run", dynamic_ncols=True, smoothing=0)

    def started(self, job: Job) -> None:
        """A process has started `job`."""
        self.say(f"started      {job.title}")

    def ended(self, job: Job, status: str) -> None:
        """The process of `job` has ended; `status` is that of the run, or `busy`."""
        run = job.record.read() or {}
        if status == "finished":
            how = f"test Dice {run['scores']['test_dice']:.4f}, {run['seconds']:.0f} s"
        elif status == "busy":
            how = "another process is working on it"
        else:
            how = str(run.get("error"))
        self._bar.update()
        self.say(f"{status:<12} {job.title}: {how}")

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(line, file=sys.stderr)
