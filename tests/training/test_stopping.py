"""Signals that ask a run to stop."""

import signal

import pytest

from src.training.stopping import Interrupted, StopRequest


def test_a_scheduler_may_ask_any_number_of_times():
    stop = StopRequest()
    with stop.listening():
        stop.check()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR1, signal.SIGINT):
            signal.raise_signal(number)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        stop.check()


def test_a_second_ctrl_c_does_not_wait():
    stop = StopRequest()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
