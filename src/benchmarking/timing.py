"""Interleaved timing: what is compared takes turns, so that a slowdown of the machine affects all variants alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

Work = Callable[[], int]  # does its work and returns how many units (images, steps) that was


def interleaved_seconds(
    work: Mapping[str, Work], repeats: int, what: str, wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds a unit of each of `work`, `repeats` times, in turns after one round that does not count.

    `wait`: returns once the device is done.
    """
    found: dict[str, list[float]] = {name: [] for name in work}
    for repeat in tqdm(range(repeats + 1), what, unit="turn", disable=None, leave=False):
        for name, do in work.items():
            started = time.perf_counter()
            units = do()
            wait()
            if repeat > 0:
                found[name].append((time.perf_counter() - started) / units)
    return found


def spread(values: list[float]) -> dict[str, Any]:
    """Median, smallest and largest of `values`, and the values themselves, in the order in which they came."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def median_ratio(first: list[float], second: list[float]) -> float:
    """The median over turns of `first` / `second`: what slowed both in a turn cancels out."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))
