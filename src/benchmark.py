"""Measures how fast this machine trains: `python -m src.benchmark`, or with real photos `… data=oxford_pet`.

Prints a table and writes `benchmark.json` into `output`. Keys: conf/benchmark.yaml, and every key of a run. Exit code
0: measured; 1: not, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import shutil
import sys

from hydra import compose
from omegaconf import DictConfig

from src.base.errors import ConfigError
from src.cli.hydra_entry import command, not_taken, one_line_each
from src.cli.overrides import forcing_values, plain_values, quoting_values, refusal

OWN = ("output", "networks", "repeats", "steps", "images")
DRAWN = ["data=synthetic", "data.size=500", "data.test=1"]  # about the size of the real photos
SMALL = ["size=small", "data.image_size=128", "trainer.batch_size=8", "data.workers=1"]
FULL = ["trainer=report_a", "numerics=fast"]


def benchmark() -> None:
    """The command: keys of a run are kept apart from the benchmark's own, then `main` runs."""
    given = sys.argv[1:]
    own = [argument for argument in given if argument.startswith("-") or argument.partition("=")[0] in OWN]
    of_runs = [argument for argument in given if argument not in own]
    sys.argv[1:] = forcing_values(quoting_values(own, ("output",)))

    @command("benchmark")
    def main(composed: DictConfig) -> None:
        measure(composed, of_runs)

    main()


def measure(composed: DictConfig, of_runs: list[str]) -> None:
    """Check, measure, print."""
    # torch takes seconds to import: --help must not wait for it
    import torch

    from src.base.config import parse_section
    from src.benchmarking.benchmark import BenchmarkOptions, run_benchmark, summary
    from src.training.checks import checked

    on_cpu = not torch.cuda.is_available() or "device=cpu" in of_runs
    drawn = (
        []
        if any(given.startswith("data=") for given in of_runs)
        else [*DRAWN, f"data.trainval={160 if on_cpu else 1500}"]
    )
    usual = [*drawn, *(SMALL if on_cpu else FULL)]
    try:
        options = parse_section(BenchmarkOptions, plain_values(composed))
        if problems := not_taken(of_runs):
            raise ConfigError(problems)
        with one_line_each(of_runs):
            runs = [compose("train", forcing_values([*usual, *of_runs, f"model={name}"])) for name in options.networks]
        found = run_benchmark(options, [checked(plain_values(run)) for run in runs])
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))
    print("\n".join(summary(found, shutil.get_terminal_size((160, 24)).columns)), end="\n\n")
    print(f"written: {options.output}/benchmark.json")


if __name__ == "__main__":
    benchmark()
