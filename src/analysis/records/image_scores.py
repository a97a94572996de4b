"""The scores of test images of many runs: files that look complete are parsed together, all others one by one."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from src.analysis.records.kept_reads import Columns, KeptReads
from src.base.errors import one_line, unquoted
from src.base.files import read_regular
from src.base.record import HEADLINE, LARGEST_IMAGES, TEST_IMAGE_COLUMNS

NUMBERS = {"dice": "float64", "iou": "float64", "tp": "int64", "fp": "int64", "fn": "int64"}  # of each test image
LARGEST = {"dice": 1, "iou": 1, "tp": 10**12, "fp": 10**12, "fn": 10**12}
HEADER = ",".join(TEST_IMAGE_COLUMNS).encode()
BATCH = 10_000_000  # bytes of files that are parsed at once
Orders = dict[tuple[str, ...], tuple[list[int], pd.Index]]
ROUNDING = 1e-9  # a mean of scores as text against the mean that the run itself took


def read_tables(paths: Sequence[Path], kept: KeptReads) -> Iterator[Columns | Exception]:
    """The needed columns of each test_images.csv, or why it cannot be read."""
    known = {path: kept.find(path) for path in paths}
    tables = _read_tables([path for path, columns in known.items() if columns is None])
    for path, columns in known.items():
        table = columns or next(tables)
        if columns is None and not isinstance(table, Exception):
            kept.add(path, table)
        yield table


def _read_tables(paths: Sequence[Path]) -> Iterator[Columns | Exception]:
    """Files that look complete are parsed many at a time: most of what one takes does not depend on its rows."""
    batch: list[bytes | Exception] = []
    size = 0
    for path in paths:
        try:
            batch.append(content := read_regular(path, LARGEST_IMAGES))
            size += len(content)
        except (ValueError, OSError) as error:
            batch.append(error)
        if size > BATCH:
            yield from _parse_batch(batch)
            batch, size = [], 0
    yield from _parse_batch(batch)


def _parse_batch(batch: Sequence[bytes | Exception]) -> Iterator[Columns | Exception]:
    rows = [one.count(b"\n") - 1 if isinstance(one, bytes) and _looks_complete(one) else 0 for one in batch]
    bodies = [
        one[len(HEADER) :].strip(b"\r\n")
        for one, count in zip(batch, rows, strict=True)
        if count and isinstance(one, bytes)
    ]
    together: Columns = {}
    with suppress(ValueError):
        together = _parse(b"\n".join([HEADER, *bodies]))  # a shorter line fails
    is_whole = bool(together) and len(together["stem"]) == sum(rows)  # empty lines are left out
    end = 0
    for content, count in zip(batch, rows, strict=True):
        end += count
        try:
            if isinstance(content, Exception):
                yield content
            elif is_whole and count:
                yield {name: values[end - count : end] for name, values in together.items()}
            else:
                yield _parse(content)
        except ValueError as error:
            yield error


def _looks_complete(content: bytes) -> bool:
    """Whether every line ends, and has the columns that a run writes, if a longer one does not hide a shorter one."""
    return (
        content.startswith((HEADER + b"\n", HEADER + b"\r\n"))
        and content.endswith(b"\n")
        and content.count(b",") == content.count(b"\n") * HEADER.count(b",")
        and content.count(b"\r") == content.count(b"\r\n")
        and b'"' not in content
    )


def _parse(content: bytes) -> Columns:
    """The needed columns of a test_images.csv. Raises ValueError."""
    try:
        with np.errstate(invalid="ignore"):
            table = pd.read_csv(
                io.BytesIO(content),
                usecols=["protocol", "stem", *NUMBERS],
                dtype={"protocol": "category", "stem": "object", **NUMBERS},
                keep_default_na=False,  # an image may be called NA
                na_values={column: [""] for column in NUMBERS},
            )
    except Exception as error:  # a parser raises nearly anything on a damaged file, such as OverflowError
        raise ValueError(str(error)) from error
    return {str(name): column.to_numpy() for name, column in table.items()}


def read_groups(path: Path) -> dict[str, str]:
    """The group of each stem in a CSV file. Raises ValueError for one that cannot be read or lists a stem twice."""
    try:
        content = io.BytesIO(read_regular(path, LARGEST_IMAGES))
        table = pd.read_csv(content, usecols=["stem", "group"], dtype="str", keep_default_na=False)
    except Exception as error:  # as in _parse
        allowed = "null, breed, or the path of a CSV file with the columns stem and group"
        raise ValueError(f"cluster: got {str(path)!r}, which cannot be read; allowed: {allowed} ({error})") from error
    stems = table["stem"].map(unquoted)
    if stems.duplicated().any():
        raise ValueError(f"cluster: {path} lists {one_line(stems[stems.duplicated()].iloc[0])} twice")
    return dict(zip(stems, table["group"].map(unquoted), strict=True))


def checked_scores(table: Columns | Exception, protocol: str, test_dice: float, orders: Orders) -> pd.DataFrame:
    """The rows of one protocol by sorted stem; `orders`: of `_order`, by the stems as they are in a file.

    Raises ValueError for a file that is broken or contradicts `test_dice` of run.json.
    """
    if isinstance(table, Exception):
        raise table
    chosen = table["protocol"] == protocol
    if not chosen.any():
        raise ValueError(
            f"protocol {protocol!r} is missing; it has {', '.join(pd.unique(table['protocol'])) or 'none'}"
        )
    images = {name: values[chosen] for name, values in table.items()}
    for column, most in LARGEST.items():
        values = images[column]
        wrong = ~((values >= 0) & (values <= most))
        if wrong.any():
            value = "empty" if np.isnan(values).any() else f"{values[wrong][0]}"
            raise ValueError(f"the {column} of {one_line(images['stem'][wrong][0])} is {value}; allowed: 0 to {most}")
    stems = tuple(images["stem"])
    if stems not in orders:
        orders[stems] = _order(stems)
    order, index = orders[stems]
    mean = images["dice"].mean()
    if protocol == HEADLINE and abs(mean - test_dice) > ROUNDING:
        raise ValueError(f"its mean Dice is {mean:.6f}, but that in run.json is {test_dice:.6f}")
    return pd.DataFrame({column: images[column][order] for column in NUMBERS}, index=index)


def _order(stems: Sequence[str]) -> tuple[list[int], pd.Index]:
    """The order in which the images' names are sorted, and the sorted names. Raises ValueError for one listed twice."""
    names = [sys.intern(unquoted(stem)) for stem in stems]  # all runs share the names
    if len(set(names)) < len(names):
        raise ValueError("an image is listed twice")
    order = sorted(range(len(names)), key=names.__getitem__)
    return order, pd.Index([names[number] for number in order], name="stem")
