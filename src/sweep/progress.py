"""Progress of a running sweep on standard error: how many have ended, and a line for each event."""

import sys

from src.base.progress import ProgressBar
from src.sweep.process import Job


class Progress:
    """Counts the jobs that have ended and prints each event; `src.status watch=true` shows the epochs of the others.

    `split`: whose Dice is printed. A search overrides `more` and `gives_up`: it has jobs to come, and stops some early.
    """

    split = "test"

    def __init__(self, jobs: int) -> None:
        self._bar = ProgressBar(total=jobs, desc="runs", unit="run", dynamic_ncols=True, smoothing=0)

    def started(self, job: Job) -> None:
        """A process has started `job`."""
        self.say(f"started      {job.title}")

    def ended(self, job: Job, status: str) -> None:
        """The process of `job` has ended; `status` is that of the run, or `busy`."""
        run = job.record.read() or {}
        if status == "finished":
            how = f"{self.split} Dice {run['scores'][f'{self.split}_dice']:.4f}, {run['seconds']:.0f} s"
        elif status == "busy":
            how = "another process is working on it"
        else:
            how = str(run.get("error"))
        self._bar.update()
        self.say(f"{status:<12} {job.title}: {how}")

    def more(self) -> list[Job]:
        """Further jobs to start now; asked for when no job waits."""
        return []

    def to_come(self) -> int:
        """How many jobs `more` may still give."""
        return 0

    def gives_up(self, job: Job) -> bool:
        """Whether a running `job` is to be stopped now."""
        return False

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(line, file=sys.stderr)
