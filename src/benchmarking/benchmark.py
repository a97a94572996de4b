"""A whole benchmark: data path and each network on one device, into benchmark.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.benchmarking.data_path import measure_data_path
from src.benchmarking.options import BenchmarkOptions
from src.benchmarking.steps import measure_network
from src.config import RunConfig
from src.data.cache import open_cache
from src.data.dataset import load_size
from src.data.splits import open_audited
from src.environment import git_state, machine, versions
from src.files import write_json
from src.runtime import Numerics, device_name, pick_device
from src.training.finished import PROJECT

SCHEMA = 1


def run_benchmark(options: BenchmarkOptions, configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Measures what the configs, one for each network, say; returns and writes what was found.

    Raises ValueError when the data are not there or too few.
    """
    config = configs[0]
    splits, digest = open_audited(config.data)
    sizes = {config.data.image_size, load_size(config.data.image_size, config.augmentation)}
    cache = Path(config.data.cache)
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
