"""Progress of a running sweep on standard error: a live line on a terminal, a line for each event elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from src.sweep.process import Job

BAR = "{percentage:3.0f}%|{bar:20}| {elapsed}, {remaining} left{postfix}"
EVERY = 1.0  # seconds between two looks at the records of the running jobs


class Progress:
    """Counts how jobs ended and prints each event."""

    def __init__(self, jobs: int) -> None:
        self.counts: Counter[str] = Counter()
        self._jobs = jobs
        self._bar = tqdm(total=jobs, bar_format=BAR, disable=None, dynamic_ncols=True, smoothing=0)
        self._looked = 0.0

    def started(self, job: Job) -> None:
        """A process has started `job`."""
        self._say(f"started      {job.identity.run_id}")

    def ended(self, job: Job, status: str) -> None:
        """The process of `job` has ended; `status` is that of the run, or `busy`."""
        self.counts[status] += 1
        run = job.record.read() or {}
        if status == "finished":
            how = f"test Dice {run['scores']['test_dice']:.4f}, {run['seconds']:.0f} s"
        elif status == "busy":
            how = "another process is working on it"
        else:
            how = str(run.get("error"))
        self._say(f"{status:<12} {job.identity.run_id}: {how}")

    def show(self, running: Sequence[Job]) -> None:
        """Updates the live line, about once a second."""
        if self._bar.disable or time.monotonic() - self._looked < EVERY:
            return
        self._looked = time.monotonic()
        epochs = [(job, _epochs(job)) for job in running]
        states = ", ".join(_state(*entry) for entry in epochs[:3]) + (", …" if len(running) > 3 else "")
        ended, failed = self.counts.total(), self.counts["failed"]
        waiting = self._jobs - ended - len(running)
        counts = f"{ended - failed} done, {failed} failed, {waiting} waiting, {len(running)} running"
        self._bar.set_postfix_str(f"{counts}: {states}", refresh=False)
        # epochs count as fractions of a run, so that the time left is known before the first one ends
        self._bar.n = ended + sum(len(rows) / job.config.trainer.epochs for job, rows in epochs)
        self._bar.refresh()

    def close(self) -> None:
        """Ends the live line."""
        self._bar.close()

    def _say(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr)


def _epochs(job: Job) -> list[dict[str, Any]]:
    """The recorded epochs; none if an earlier attempt left a broken file, which the run replaces."""
    try:
        return job.record.read_epochs()
    except (ValueError, OSError):
        return []


def _state(job: Job, epochs: Sequence[Mapping[str, Any]]) -> str:
    best = f" Dice {max(row['valid_dice'] for row in epochs):.3f}" if epochs else ""
    return f"{job.config.model['name']} {len(epochs)}/{job.config.trainer.epochs}{best}"
