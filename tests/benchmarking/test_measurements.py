import time

import pytest

from src.benchmarking.measurements import forward_operations, interleaved_seconds, median_ratio, spread
from src.training.checks import checked


@pytest.mark.parametrize(("network", "multiply_adds"), [("unet", 48.17e9), ("resnet34_unet", 7.44e9)])
def test_operations_are_two_for_each_multiply_add_of_the_reports_networks(composed, network, multiply_adds):
    found = forward_operations(checked(composed(f"model={network}", "device=cpu")))
    assert found == pytest.approx(2 * multiply_adds, rel=1e-3)


def test_scoring_twice_is_no_work_of_training(composed):
    plain, twice = (
        forward_operations(checked(composed("model.width=8", "device=cpu", *more)))
        for more in ((), ("trainer.flip_tta=true",))
    )
    assert plain == twice


def test_work_is_done_in_turns_and_the_first_round_does_not_count():
    done: list[str] = []

    def doing(name: str, units: int):
        return lambda: done.append(name) or units

    found = interleaved_seconds({"a": doing("a", 1), "b": doing("b", 2)}, repeats=2, what="test")
    assert done == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 2, "b": 2}


def test_seconds_are_of_one_unit():
    def sleep() -> int:
        time.sleep(0.05)
        return 10

    (seconds,) = interleaved_seconds({"sleep": sleep}, repeats=1, what="test")["sleep"]
    assert 0.005 <= seconds < 0.05  # not the 0.05 of all ten


def test_what_both_met_in_a_turn_cancels_out():
    # twice as long in each turn, the second of which was slow for both; in the fourth only one was slow
    assert median_ratio([2.0, 6.0, 2.0, 2.0, 2.0], [1.0, 3.0, 1.0, 4.0, 1.0]) == 2.0


def test_spread_by_hand():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}
    assert spread([1.0, 2.0])["median"] == pytest.approx(1.5)
