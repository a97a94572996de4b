import time

import pytest
import torch

from src.benchmarking.measurements import StepClock, forward_operations, measure_in_turns, median_ratio, spread
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


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_work_is_done_in_turns_and_the_first_round_does_not_count():
    seconds = iter(range(100))
    done: list[str] = []

    def preparing(name: str):
        return lambda: lambda: done.append(name) or next(seconds)

    found, memory = measure_in_turns({"a": preparing("a"), "b": preparing("b")}, 2, "test", CPU)
    assert done == ["a", "b"] * 3
    assert found == {"a": [2, 4], "b": [3, 5]} and memory == {"a": None, "b": None}


def test_the_memory_of_each_way_is_its_own(monkeypatch):
    class Memory:
        """Bytes on the device as torch.cuda counts them."""

        now = peak = 100  # taken by other work

        def take(self, kept: int, most: int) -> None:
            self.now += kept
            self.peak = max(self.peak, self.now + most)

        def reset(self, device: torch.device) -> None:
            self.peak = self.now

    memory = Memory()
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: memory.now)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: memory.peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", memory.reset)

    def preparing(weights: int, activations: int):
        def prepare():
            memory.take(weights, 0)
            return lambda: memory.take(0, activations) or 1.0

        return prepare

    ways = {"large": preparing(1000, 5000), "small": preparing(10, 20)}
    assert measure_in_turns(ways, 1, "test", CUDA)[1] == {"large": 6000, "small": 30}


def test_a_step_is_timed_from_full_speed_on_and_after_the_device_is_done(monkeypatch):
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = StepClock(lead=2, steps=4, device=CUDA)
    for done, moment in enumerate([7.0, 9.0, 10.0, 11.0, 12.0, 15.0], start=1):  # workers start during the first two
        now[0] = moment
        clock.tick(done)
    now[0] = 99.0  # and end
    assert clock.seconds() == (15 - 9) / 4 and waited == [CUDA, CUDA]


def test_steps_of_several_batches_are_timed_as_batches(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", iter([3.0, 11.0]).__next__)
    clock = StepClock(lead=1, steps=5, device=CPU)
    for done in (2, 4, 6):
        clock.tick(done)
    assert clock.seconds() == (11 - 3) / (6 - 2)


def test_what_both_met_in_a_turn_cancels_out():
    # twice as long in each turn, the second of which was slow for both; in the fourth only one was slow
    assert median_ratio([2.0, 6.0, 2.0, 2.0, 2.0], [1.0, 3.0, 1.0, 4.0, 1.0]) == 2.0


def test_spread_by_hand():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}
    assert spread([1.0, 2.0])["median"] == pytest.approx(1.5)
