"""Compares two runs, or two settings of a sweep: `python -m src.compare <sweep>/<run_id> <sweep>/<run_id>`.

Prints what differs in their configs, the difference of their scores with its interval, and the images that differ most;
writes the same with curves and pictures as a page. Keys: conf/compare.yaml. Exit code 0: written; 1: not, and why;
130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/compare.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()


from omegaconf import DictConfig
from pydantic import Field

from src.base.config import PackageName, Section, UserPath
from src.base.errors import one_line
from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

WAYS = "the folder of a run, <sweep>/<label of a setting>, or with sweep=<folder> a label"
NEEDED = {"a": WAYS, "b": WAYS}


class CompareOptions(Section):
    """See conf/compare.yaml."""

    a: str = Field(min_length=1)
    b: str = Field(min_length=1)
    sweep: UserPath | None
    output: UserPath | None
    protocol: str
    images: int = Field(ge=0, le=20)
    root: UserPath | None
    cache: UserPath
    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    allow_targets: tuple[PackageName, ...] = ()


@hydra_command("compare", paths=("a", "b", "sweep", "output", "root", "cache"), words=("a", "b"))
def compare(config: DictConfig) -> None:
    """Check, load, compare, print, predict the images that differ most, write the page."""
    # pandas, scipy and matplotlib take a second to import: --help must not wait for them
    from src.analysis.report.pair_page import PICTURE, page_folder, pair_text, write_pair
    from src.analysis.report.pairs import find_pair

    options = parse_options(CompareOptions, config, NEEDED)
    pair = find_pair((options.a, options.b), options.sweep, options.protocol)
    folder = page_folder(pair, options.output)
    print(pair_text(pair), flush=True)  # before the pictures, which take seconds
    why_not = "images=0"
    if options.images:
        from src.evaluation.side_by_side import draw_side_by_side  # imports torch

        where = options.model_dump(include={"root", "cache", "device", "allow_targets"})
        try:
            draw_side_by_side(pair.typical_runs, pair.largest(options.images), folder / PICTURE, **where)
            why_not = ""
        except (ValueError, OSError) as error:
            why_not = one_line(str(error))
    print(f"page: {write_pair(pair, folder, why_not)}")


if __name__ == "__main__":
    compare()
