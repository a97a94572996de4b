"""Stopping on request: after a signal the loop ends its step, then stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, the polite end sent by schedulers and process managers, and SLURM's warning before its time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """The run was stopped by the signal `signal_number`. It can be resumed."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")


class StopRequest:
    """Remembers the first signal that came; a second Ctrl-C stops at once, without a checkpoint.

    The other signals may come any number of times: a scheduler sends them to all processes of a job, and repeats them.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catches SIGNALS inside the block; outside the main thread, where Python allows no handlers, does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number = number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
