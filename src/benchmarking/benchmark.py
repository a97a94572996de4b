"""A whole benchmark: data path and each network on one device, into benchmark.json and as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from src.base.config import RunConfig, Section, UserPath
from src.base.environment import PROJECT, checkout_at, git_state, machine, versions
from src.base.files import write_json
from src.base.runtime import Numerics, device_name, pick_device
from src.benchmarking.baseline_loop import load_make_step
from src.benchmarking.measurements import measure_data_path, measure_network
from src.data.open_data import open_verified
from src.training.build import build_pair_reader

SCHEMA = 2
PER_CORE, STEPS = "images_per_second_and_core", "step_seconds"
LOOPS = {
    "bare": "bare step",
    "memory": "our loop, batch in memory",
    "loop": "our loop",
    "reports": "the reports' loop",
    "baseline": "the baseline's step",
}


class BenchmarkOptions(Section):
    """See conf/benchmark.yaml."""

    output: UserPath
    networks: list[str] = Field(min_length=1)
    repeats: int = Field(ge=1)
    steps: int | None = Field(ge=1)
    images: int = Field(ge=1)
    baseline: UserPath | None


def run_benchmark(options: BenchmarkOptions, configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Measures what the configs, one for each network, describe; returns and writes what was found.

    Raises ValueError for data that are missing or too few.
    """
    config = configs[0]
    if options.baseline:
        load_make_step(options.baseline)  # a script that cannot be used is refused before any work
    splits, digest = open_verified(config.data)
    read_pair = build_pair_reader(config, splits, digest)
    numerics = Numerics(pick_device(config.device), config.numerics)
    numerics.set_up(Path(config.data.cache_dir))
    networks = {
        one.model["name"]: measure_network(
            one, splits, read_pair, numerics, options.steps, options.repeats, options.baseline
        )
        for one in configs
    }
    first = next(iter(networks.values()))
    found = {
        "schema": SCHEMA,
        "device": device_name(numerics.device),
        "machine": {key: value for key, value in machine().items() if key != "host"},  # to be published
        "versions": versions(),
        "git": git_state(checkout_at(PROJECT)),
        "numerics": config.numerics.model_dump(),
        "data": config.data.name,
        "repeats": options.repeats,
        "baseline": options.baseline,
        "data_path": measure_data_path(config, splits, read_pair, options.images, options.repeats),
        "loop": {key: first[key] for key in ("overhead_over_bare_step", "overhead_with_data", "step_seconds")},
        "networks": networks,
    }
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmark.json", found)
    return found


def summary(found: Mapping[str, Any]) -> list[str]:
    """A line for each time in benchmark.json, as median (smallest to largest), and one for each comparison."""
    data_path = found["data_path"]
    lines = [f"data path, {way}: {_range(speed)} images/s and core" for way, speed in data_path[PER_CORE].items()]
    lines.append(f"data path: {data_path['ratio_to_reports']:.1f} times the reports' on one core")
    for name, network in found["networks"].items():
        for way, times in network[STEPS].items():
            memory = network["peak_memory_bytes"][way]
            in_memory = "" if memory is None else f", {memory / 1e9:.2f} GB"
            lines.append(f"{name}, {LOOPS[way]}: {_range(times, 1000)} ms a step{in_memory}")
        ratio = network["ratio_to_baseline"]
        lines.append(
            f"{name}: {network['images_per_second']:.1f} images/s "
            f"({network['operations_a_second'] / 1e12:.2f} TFLOP/s), "
            f"{network['ratio_to_reports']:.2f} times the reports' loop; "
            + (f"{ratio:.2f} times the baseline's step; " if ratio else "")
            + f"{network['overhead_over_bare_step']:+.1%} over the bare step, "
            f"{network['waiting_for_data']:.1%} waiting for data"
        )
    return lines


def _range(spread: Mapping[str, float], factor: float = 1) -> str:
    median, low, high = (factor * spread[key] for key in ("median", "min", "max"))
    return f"{median:.1f} ({low:.1f} to {high:.1f})"
