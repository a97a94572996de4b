"""Measures how fast this machine trains: `python -m src.benchmark`, with drawn images unless real photos are there.

Prints the times and writes `benchmark.json` into `output`. Keys: conf/benchmark.yaml, and every key of a run. Exit
code 0: measured; 1: not, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/benchmark.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import sys
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig

from src.cli.hydra_entry import as_config_errors, hydra_command
from src.cli.overrides import force_overrides, is_for_hydra, parse_arguments, parse_options, plain_values

OWN = ("output", "networks", "repeats", "steps", "images", "baseline")
DRAWN = ["data=synthetic", "data.size=500", "data.test=1"]  # about the size of the real photos
DRAWN_KEYS = {"data.size", "data.test", "data.trainval", "data.seed"}
SMALL = ["size=small", "data.image_size=128", "trainer.batch_size=8", "data.workers=1"]
FULL = ["trainer=report_a", "numerics=fast"]


def benchmark() -> None:
    """The command; keys of a run are set aside, since the benchmark's own config does not have them."""
    _, flags, overrides = parse_arguments(sys.argv[1:])
    of_runs = [override for override in overrides if _is_of_runs(override)]
    sys.argv[1:] = [*flags, *(override for override in overrides if override not in of_runs)]

    @hydra_command("benchmark", paths=("output", "baseline"))
    def main(config: DictConfig) -> None:
        measure(config, of_runs)

    main()


def _is_of_runs(argument: str) -> bool:
    key, equals, _ = argument.partition("=")
    return not is_for_hydra(argument) and (key.startswith("~") or (bool(equals) and key.lstrip("+") not in OWN))


def _has_data(of_runs: list[str]) -> bool:
    """Whether the runs name their data, or the photos of Oxford-IIIT Pet are where they are looked for."""
    from src.data.sources.oxford_pet import missing_files

    keys = {override.partition("=")[0] for override in of_runs}
    if keys & {"data", "data.root"}:
        return True
    return not keys & DRAWN_KEYS and not missing_files(Path(compose("train")["data"]["root"]))


def measure(config: DictConfig, of_runs: list[str]) -> None:
    """Check, measure, print."""
    # torch takes seconds to import: --help must not wait for it
    import torch

    from src.benchmarking.benchmark import BenchmarkOptions, run_benchmark, summary
    from src.training.checks import checked

    options = parse_options(BenchmarkOptions, config, {})
    on_cpu = not torch.cuda.is_available() or "device=cpu" in of_runs
    with as_config_errors(of_runs):
        usual = [] if _has_data(of_runs) else [*DRAWN, f"data.trainval={160 if on_cpu else 1500}"]
        usual += SMALL if on_cpu else FULL
        runs = [compose("train", force_overrides([*usual, *of_runs, f"model={name}"])) for name in options.networks]
    found = run_benchmark(options, [checked(plain_values(run)) for run in runs])
    print("\n".join(summary(found)))
    print(f"written: {options.output}/benchmark.json")


if __name__ == "__main__":
    benchmark()
