"""The one table that a benchmark prints."""

from collections.abc import Mapping
from typing import Any

from src.analysis.tables import Columns

RIGHT = ("median", "from", "to")


def table_columns(found: Mapping[str, Any]) -> Columns:
    """What was measured, a row each, from benchmark.json: the median over turns, and from where to where they went."""
    rows = _data_path(found["data_path"])
    for name, network in found["networks"].items():
        rows += _network(name, network)
    return {column: [row[number] for row in rows] for number, column in enumerate(("measured", "median", "from", "to"))}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What follows from the table."""
    data, stages = found["data_path"], found["data_path"]["stages"]
    said = [
        f"Data path: {data['ratio_to_reports']:.1f} times the reports' on one core; of what stays, "
        f"{stages[0]['stage']} takes {stages[0]['share']:.0%} ({stages[0]['milliseconds']:.2f} ms an image)."
    ]
    for name, network in found["networks"].items():
        memory = network["peak_memory_bytes"]
        said.append(
            f"{name}: {network['images_per_second']:.1f} images/s, {network['ratio_to_reports']:.2f} times the "
            f"reports' loop; {network['overhead_over_bare_step']:+.1%} over the bare step, "
            f"{network['waiting_for_data']:.1%} waiting for data, {network['utilisation']:.0%} of the device's "
            "matrix product" + (f", {memory / 1e9:.2f} GB." if memory else ".")
        )
    return said


def _data_path(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    ways = data["images_per_second_and_core"]
    return [
        (f"data path, {words}: images/s and core", *(f"{ways[way][key]:.0f}" for key in ("median", "min", "max")))
        for way, words in (("ours", "ours"), ("reports", "the reports'"))
    ]


def _network(name: str, network: Mapping[str, Any]) -> list[tuple[str, ...]]:
    words = {
        "bare": "bare step",
        "memory": "our loop, batch in memory",
        "loop": "our loop",
        "reports": "the reports' loop",
    }
    return [
        (f"{name}, {said}: ms a step", *(f"{1000 * times[key]:.1f}" for key in ("median", "min", "max")))
        for way, said in words.items()
        if (times := network["step_seconds"][way])
    ]
