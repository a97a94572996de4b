"""Measuring in turns: what is compared is done one after the other, again and again, so that a slow moment hits all."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm


def in_turns(work: Mapping[str, Callable[[], int]], repeats: int, what: str) -> dict[str, list[float]]:
    """Seconds a unit of each of `work`, `repeats` times, in turns after one round that does not count.

    A callable does its work, waits until it is really done, and returns how many units (images, steps) that was.
    """
    found: dict[str, list[float]] = {name: [] for name in work}
    for repeat in tqdm(range(repeats + 1), what, unit="turn", disable=None, leave=False):
        for name, do in work.items():
            started = time.perf_counter()
            units = do()
            seconds = (time.perf_counter() - started) / units
            if repeat > 0:
                found[name].append(seconds)
    return found


def spread(values: list[float]) -> dict[str, Any]:
    """Median, smallest and largest of `values`, and the values themselves, in the order in which they came."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def ratio_in_turns(first: list[float], second: list[float]) -> float:
    """The median over turns of `first` / `second`: what both met in a turn cancels out."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))
