"""Looks at a sweep: every aggregation of finished runs that no earlier one had, and what looking again costs."""

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, TypeAdapter
from scipy.special import ndtri

from src.analysis.statistics.estimates import LEVEL
from src.base.files import read_regular, write_text

LOOKS = "looks.jsonl"  # in a sweep's folder
LARGEST = 100_000  # bytes that are read of it: about 1,000 looks, which take seconds
NODES, LEAST_STEP = 256, 1.001  # so many nodes are too far apart for a look at even fewer new runs


_nodes_and_weights = cache(np.polynomial.legendre.leggauss)  # by their number; takes longer than all else here


class Look(BaseModel):
    """`runs`: of a setting, the mean over settings; `digest`: of the ids of all runs; `time`: UTC."""

    time: str
    runs: float = Field(gt=0, allow_inf_nan=False)
    digest: str


_LINES = TypeAdapter(list[Look])


def keep_looks(included: pd.DataFrame, otherwise: Path) -> tuple[list[float], list[str]]:
    """Adds this look to those of each sweep of `included` runs, unless an earlier one was at the same runs.

    Returns the runs of a setting at each look, up to this one, of the sweep that was looked at most often, and what a
    user must know. Where a sweep cannot be written its looks are kept in the folder `otherwise`.
    """
    histories, notes = [[]], []  # type: list[list[float]], list[str]
    for sweep, runs in included.groupby(included["folder"].map(lambda folder: Path(folder).parent), sort=True):
        try:
            of_sweep = hashlib.sha256(str(sweep.absolute()).encode(errors="replace")).hexdigest()[:8]
            files = sweep / LOOKS, otherwise / f"{of_sweep}-{LOOKS}"
            looks = list({look.digest: look for file in files for look in read_looks(file)}.values())
            digest = hashlib.sha256(json.dumps(sorted(runs["run_id"])).encode()).hexdigest()[:16]
            if all(look.digest != digest for look in looks):
                number = len(runs) / runs["config_id"].nunique()
                looks.append(Look(time=datetime.now(UTC).isoformat(timespec="seconds"), runs=number, digest=digest))
                notes += _save(looks, *files)
            histories.append([look.runs for look in looks])
        except (OSError, ValueError) as error:
            notes.append(f"Earlier looks at {sweep} are not counted: {error}".partition("\n")[0])
    return max(histories, key=error_over_looks), notes


def error_over_looks(runs: Sequence[float]) -> float:
    """The chance that a test at 5 % finds a difference that does not exist at one or more of several looks.

    `runs`: of a setting at each look; a look at no more runs than an earlier one, or hardly more, adds nothing. By the
    recursive integration of P. Armitage, C. K. McPherson and B. C. Rowe, J. R. Stat. Soc. A 132 (1969), for a known
    variance.
    """
    nodes, weights = _nodes_and_weights(NODES)
    inside, at, density, before = 1.0, np.zeros(1), np.ones(1), 0.0  # of the sum of the differences, at the start 0
    for number in runs:
        if number <= before * LEAST_STEP:
            continue
        edge = -ndtri(LEVEL / 2) * np.sqrt(number)  # where the test finds a difference
        reached = nodes * edge
        spread = math.sqrt(number - before)
        distance = (reached[:, None] - at[None, :]) / spread
        density = np.exp(-(distance**2) / 2) @ density / (spread * math.sqrt(2 * math.pi))
        inside = float(density @ weights * edge)
        at, density, before = reached, density * weights * edge, number
    return 1 - inside


def looks_sentence(runs: Sequence[float]) -> str | None:
    """What several looks cost; None if they cost nothing."""
    error = error_over_looks(runs)
    if error < 1.05 * LEVEL:
        return None
    seeds = ", ".join(f"{number:.3g}" for number in runs)
    return (
        f"Look {len(runs)} at these runs (seeds of a setting at each look: {seeds}): the chance that one of the looks "
        f"finds a difference that does not exist is {error:.1%}, not {LEVEL:.0%}."
    )


def read_looks(file: Path) -> list[Look]:
    """The looks in `file`; none if it does not exist. Raises ValueError for a damaged one."""
    if not file.exists():
        return []
    lines = read_regular(file, LARGEST).decode().splitlines()
    try:
        return _LINES.validate_json(f"[{','.join(lines)}]")
    except ValueError as error:
        raise ValueError(f"{file} is damaged; move it away") from error


def _save(looks: Sequence[Look], file: Path, otherwise: Path) -> list[str]:
    """Writes `looks` to `file`, or to `otherwise`, which is said."""
    text = "".join(f"{look.model_dump_json()}\n" for look in looks)
    try:
        write_text(file, text)
        return []
    except OSError:
        otherwise.parent.mkdir(parents=True, exist_ok=True)
        write_text(otherwise, text)
        return [f"{file} cannot be written; looks at these runs are kept in {otherwise}."]
