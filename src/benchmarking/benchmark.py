"""A whole benchmark: data path and each network on one device, into benchmark.json and as text."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from src.base.config import RunConfig, Section
from src.base.environment import PROJECT, git_state, machine, versions
from src.base.files import write_json
from src.base.runtime import Numerics, device_name, pick_device
from src.benchmarking.measurements import measure_data_path, measure_network
from src.data.cache import open_cache
from src.data.datasets import load_size
from src.data.open_data import open_verified
from src.display.tables import plain_table

SCHEMA = 1
TIMES = ("median", "min", "max")
LOOPS = {"bare": "bare step", "memory": "our loop, batch in memory", "loop": "our loop", "reports": "the reports' loop"}


class BenchmarkOptions(Section):
    """See conf/benchmark.yaml."""

    output: str = Field(min_length=1)
    networks: list[str] = Field(min_length=1)
    repeats: int = Field(ge=1)
    steps: int = Field(ge=1)
    images: int = Field(ge=1)


def run_benchmark(options: BenchmarkOptions, configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Measures what the configs, one for each network, describe; returns and writes what was found.

    Raises ValueError for data that are missing or too few.
    """
    config = configs[0]
    splits, digest = open_verified(config.data)
    sizes = {config.data.image_size, load_size(config.data.image_size, config.augmentation)}
    cache = Path(config.data.cache_dir)
    read_pair = open_cache(splits, digest, sorted(sizes), cache)
    numerics = Numerics(pick_device(config.device), config.numerics)
    numerics.set_up(cache)
    networks = {
        one.model["name"]: measure_network(one, splits, read_pair, numerics, options.steps, options.repeats)
        for one in configs
    }
    first = next(iter(networks.values()))
    found = {
        "schema": SCHEMA,
        "device": device_name(numerics.device),
        "machine": {key: value for key, value in machine().items() if key != "host"},  # to be published
        "versions": versions(),
        "git": git_state(PROJECT),
        "numerics": config.numerics.model_dump(),
        "data": config.data.name,
        "repeats": options.repeats,
        "data_path": measure_data_path(config, splits, read_pair, options.images, options.repeats),
        "loop": {key: first[key] for key in ("overhead_over_bare_step", "overhead_with_data", "step_seconds")},
        "networks": networks,
    }
    folder = Path(options.output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmark.json", found)
    return found


def summary(found: Mapping[str, Any], width: int) -> list[str]:
    """Lines of at most `width` characters: a table of benchmark.json, and a sentence for each comparison."""
    rows = list(_rows(found))
    columns = {name: [row[number] for row in rows] for number, name in enumerate(("measured", *TIMES))}
    sentences = [f"Data path: {found['data_path']['ratio_to_reports']:.1f} times the reports' on one core."]
    for name, network in found["networks"].items():
        memory = network["peak_memory_bytes"]
        sentences.append(
            f"{name}: {network['images_per_second']:.1f} images/s ({network['operations_a_second'] / 1e12:.2f} TFLOP/s"
            + (f", {memory / 1e9:.2f} GB), " if memory else "), ")
            + f"{network['ratio_to_reports']:.2f} times the reports' loop; "
            f"{network['overhead_over_bare_step']:+.1%} over the bare step, "
            f"{network['waiting_for_data']:.1%} waiting for data."
        )
    return [*plain_table(columns, TIMES, {"measured": 20}, width), "", *sentences]


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for way, times in found["data_path"]["images_per_second_and_core"].items():
        name = {"ours": "ours", "reports": "the reports'"}[way]
        yield f"data path, {name}: images/s and core", *(f"{times[key]:.0f}" for key in TIMES)
    for name, network in found["networks"].items():
        for way, times in network["step_seconds"].items():
            yield f"{name}, {LOOPS[way]}: ms a step", *(f"{1000 * times[key]:.1f}" for key in TIMES)
