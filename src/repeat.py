"""Repeats a finished run from its record: `python -m src.repeat run=multirun_outputs/demo/<run_id>`.

Says what would be done again and what is not as it was; `go=true` trains it in another folder and compares scores,
epochs, test images and weights. Keys: conf/repeat.yaml. Exit code 0: said, or equal, or equal bits are not promised;
1: refused, failed, or other bits in exact mode; 130, 143, 138: stopped by SIGINT, SIGTERM, SIGUSR1.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/repeat.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {"run": "the folder of a finished run, for example run=multirun_outputs/demo/…"}


@hydra_command("repeat", paths=("run", "output", "root", "cache"))
def repeat(config: DictConfig) -> None:
    """Check, say, do it again, compare."""
    # torch takes seconds to import: --help must not wait for it
    from src.evaluation import repeating

    options = parse_options(repeating.RepeatOptions, config, NEEDED)
    plan = repeating.plan_repetition(options)
    for line in repeating.intention(plan):
        print(line, flush=True)
    if not options.go:
        print("nothing has started; go=true repeats it")
        return
    for line in repeating.repeat(plan):
        print(line, flush=True)


if __name__ == "__main__":
    repeat()
