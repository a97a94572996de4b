"""Removes checkpoints that finished runs can do without: `python -m src.clean sweep=multirun_outputs/demo keep=best`.

Says what would go and how much space that frees; `go=true` removes it. Records stay, and each says what was removed.
Keys: conf/clean.yaml. Exit code 0: said or removed; 1: not, or not all since a
record is broken, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/clean.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {
    "sweep": "the folder of a sweep, for example sweep=multirun_outputs/demo",
    "keep": "best, weights or records: what stays",
}


@hydra_command("clean", paths=("sweep",))
def clean(config: DictConfig) -> None:
    """Check, look, remove, say what."""
    # pandas takes a while to import, for which --help must not wait
    from src.sweep import cleaning

    for line in cleaning.clean(parse_options(cleaning.CleanOptions, config, NEEDED)):
        print(line, flush=True)


if __name__ == "__main__":
    clean()
