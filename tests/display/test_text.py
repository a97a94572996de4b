"""Durations, numbers and reasons as people read them."""

import pandas as pd
import pytest

from src.display.text import (
    cell_texts,
    collapse_whitespace,
    human_seconds,
    score_text,
    setting_text,
    status_counts_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (242, "4m 02s"),
        (3600, "1h 00m"),
        (3900, "1h 05m"),
        (86400, "1d 00h"),
        (183600, "2d 03h"),
    ],
)
def test_durations(seconds, text):
    assert human_seconds(seconds) == text


def test_numbers_are_as_short_as_they_go_and_what_is_missing_is_a_dash():
    assert cell_texts([0.001, 1e-5, 16.0, None], setting_text) == ["0.001", "1e-05", "16", "-"]
    assert cell_texts(pd.Series([4294967295, None], dtype="Int64"), setting_text) == ["4294967295", "-"]
    assert cell_texts(["unet", None, True], setting_text) == ["unet", "-", "True"]
    assert cell_texts(pd.Series([0.92345, None]), score_text) == ["0.9234", "-"]


def test_counts_stand_in_the_order_of_a_run_s_life():
    statuses = ["failed", "planned", "finished", "planned", "unreadable"]
    assert status_counts_text(pd.DataFrame({"status": statuses})) == "1 finished, 2 planned, 1 failed, 1 unreadable"


def test_a_reason_is_one_line_that_leaves_the_terminal_alone():
    assert (
        collapse_whitespace("RuntimeError:\n  CUDA \x1b[31mout of\tmemory\r\n")
        == "RuntimeError: CUDA \\x1b[31mout of memory"
    )
