"""From records to answers: reads run folders with pandas, never torch. In Python begin with `load`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.analysis.sweep import Sweep


def load(
    folder: str | Path,
    *more: str | Path,
    protocol: str = "headline",
    min_effect: float = 0.002,
    counts_failures: bool = True,
    pairs_seeds: bool = False,
    group_of: Callable[[str], str | None] | None = None,
) -> "Sweep":
    """The runs in one folder or several (globs too) with all results, as `python -m src.aggregate` computes them.

    Nothing is written, so it does not count as a look at the runs. `protocol`: how test images were scored;
    `min_effect`: the Dice difference that `plan` is for; `counts_failures`, `pairs_seeds`, `group_of`: the options
    failures, pair and cluster of the command. Raises ValueError for a folder that is not a sweep.
    """
    # pandas, scipy and matplotlib take a second to import: a command's --help must not wait for them
    from src.analysis.records.loading import find_sweeps
    from src.analysis.report.report import make_report
    from src.analysis.sweep import Sweep

    return Sweep(
        make_report(
            find_sweeps([str(folder), *map(str, more)]),
            protocol=protocol,
            min_effect=min_effect,
            counts_failures=counts_failures,
            pairs_seeds=pairs_seeds,
            group_of=group_of,
        )
    )
