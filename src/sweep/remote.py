"""A job away from the launcher: what a cluster calls where there is room, and what that does when it has to leave."""

import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from src.sweep.job import Job
from src.sweep.process import JobProcess

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass
class RemoteJob:
    """`job` as a process of a cluster does it, in a process of its own as on the launcher's machine.

    It is pickled there and called here: in `folder`, the launcher's working folder, which all machines must see under
    the same path, with `environment` beside the cluster's own.
    """

    job: Job
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: JobProcess | None = field(default=None, init=False)
    _goes_on_later: bool = field(default=False, init=False)

    def __call__(self) -> str:
        """Does the job; returns the status of the run, or `busy`.

        SIGINT, SIGTERM and SIGUSR1 to this process leave a checkpoint, then end it with exit code 128 + n. If this
        process is lost, the run sees it, leaves a checkpoint and ends too.
        """
        os.chdir(self.folder)
        before = {number: signal.signal(number, self._end) for number in ENDS}
        try:
            self._process = JobProcess(self.job, self.environment)
            while not self._process.has_ended():
                time.sleep(0.2)  # awake now and then: what Ray sends as SIGINT would not wake us from a longer wait
            return self._process.finish()
        except SystemExit:  # from a signal's handler, ours or that of submitit
            if self._process is not None:
                self._process.finish(stopped=True)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def checkpoint(self) -> Any:
        """What submitit is to queue again; the run leaves the checkpoint from which that goes on.

        submitit calls this when its own signal came: time is nearly up, or the machine is wanted for something else.
        """
        from submitit.helpers import DelayedSubmission

        self._goes_on_later = True
        self._stop()
        return DelayedSubmission(replace(self))

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._goes_on_later:  # else the job is being queued again, which needs this process
            self._stop()
            sys.exit(128 + number)

    def _stop(self) -> None:
        """Has the run end with a checkpoint, however long that takes: the cluster's patience is the limit."""
        if self._process is None:
            return
        self._process.stop()
        while not self._process.has_ended():
            time.sleep(0.05)
