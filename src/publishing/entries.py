"""What trackers show of a sweep, read from its records: an entry for each run, and one for the answer."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict

from src.analysis.records.files import Text, read_config
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.searches import OF_A_SEARCH, TAKEN_OVER
from src.analysis.report.provenance import read_picture
from src.analysis.report.report import Report
from src.analysis.report.sentences import answer_sentences
from src.analysis.report.tables import claim_rows
from src.base.config import Section, parse_section
from src.base.record import EXAMPLES, RunRecord

ANSWER = "answer"  # the entry of the sweep as a whole
MOST_VALUES = 2_000  # of a config or of scores; a run has about 100
LONGEST_NAME = 250  # characters of the name of a value, of MLflow
Point = tuple[str, int, float]  # the name of a number, its epoch, its value


class Labels(Section):
    """What users add to run.json."""

    model_config = ConfigDict(extra="ignore")

    tags: tuple[Text, ...] = ()
    notes: Text = ""


@dataclass(frozen=True)
class Entry:
    """What a tracker shows of one run, or of the sweep.

    `params`: the config, by dotted key; `points`: the curves of epochs.jsonl and, at the last epoch, the scores of a
    finished run, in the order of epochs; `texts`: by title; `picture`: a JPEG of test images.
    """

    name: str
    status: str
    params: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    labels: Labels = field(default_factory=Labels)
    texts: Mapping[str, str] = field(default_factory=dict)
    picture: bytes | None = None

    @cached_property
    def digest(self) -> str:
        """Changes whenever anything of the entry does."""
        values = [self.status, dict(self.params), self.points, self.labels.model_dump(), dict(self.texts)]
        return hashlib.sha256(json.dumps(values).encode(errors="replace") + (self.picture or b"")).hexdigest()


def entries_of(report: Report, problems: list[str]) -> Iterator[Entry]:
    """An entry for each run that has begun, then the answer; what is broken is added to `problems` by name.

    A broken run has an entry of what can be read of it. Scores on test images are only in those of included runs.
    """
    for run in report.records.runs.to_dict("records"):
        reason = run["error"] if run["status"] == "unreadable" else run["left_out"]
        if run["run_id"] == ANSWER:
            problems.append(f"{ANSWER}: is the name of the sweep's own entry; give the folder of this run another name")
            continue
        if not pd.isna(reason) and reason not in (OF_A_SEARCH, TAKEN_OVER) and pd.isna(run.get("debug")):
            problems.append(f"{run['run_id']}: {reason}")
        if (Path(run["folder"]) / "run.json").exists():
            yield _entry(run, report, problems)
    claims = [(file.source, row) for file, verdicts in report.verdicts for row in claim_rows(verdicts)]
    texts = {f"{source} {row['name']}": f"{row['verdict']}: {row['says']} {row['reason']}" for source, row in claims}
    yield Entry(ANSWER, "finished", texts={"answer": "\n".join(answer_sentences(report)), **texts})


def _entry(run: Mapping[Any, Any], report: Report, problems: list[str]) -> Entry:
    record = RunRecord(Path(run["folder"]))

    def read(what: Callable[[RunRecord], Any], otherwise: Any) -> Any:
        try:
            return what(record)
        except (OSError, ValueError) as error:
            if not any(problem.startswith(f"{run['run_id']}: ") for problem in problems):
                problems.append(f"{run['run_id']}: {error}")
            return otherwise

    points = _curves(report, run["folder"])
    if run["included"]:
        costs = {name: run[name] for name in ("best_epoch", "seconds") if not pd.isna(run[name])}
        scores = read(lambda record: _flat({**costs, "test": record.read_scores("test")}, "/"), costs)
        points += [(name, int(run["epoch"]), float(score)) for name, score in scores.items() if _is_number(score)]
    texts = {"status": run["status"], "error": run["error"], "excluded": run["left_out"]}
    return Entry(
        run["run_id"],
        run["status"],
        read(_params, {}),
        tuple(points),
        read(_labels, Labels()),
        {title: str(text) for title, text in texts.items() if not pd.isna(text)},
        read(_picture, None),
    )


def _params(record: RunRecord) -> dict[str, bool | int | float | str]:
    config = _flat(read_config(record.folder, KeptReads()), ".")
    return {key: value if isinstance(value, str | int | float) else json.dumps(value) for key, value in config.items()}


def _labels(record: RunRecord) -> Labels:
    return parse_section(Labels, record.read() or {})


def _picture(record: RunRecord) -> bytes | None:
    path = record.folder / EXAMPLES
    return read_picture(path)[0] if path.exists() else None


def _curves(report: Report, folder: str) -> list[Point]:
    try:
        curves = report.records.curve(folder)
    except KeyError:  # no epoch has ended
        return []
    epochs = [int(epoch) for epoch in curves.pop("epoch")]
    return [
        (name, epoch, float(values[row]))
        for row, epoch in enumerate(epochs)
        for name, values in curves.items()
        if not pd.isna(values[row])
    ]


def _flat(values: Mapping[str, Any], sign: str, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, the keys joined by `sign`, in letters that every tracker takes.

    A name that is too long ends with its digest, so that no other has the same.
    Raises ValueError for too many.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + (re.sub(r"[^\w-]+", "_", key)[:100] or "_")
        if len(name) > LONGEST_NAME:
            name = f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        flat |= _flat(value, sign, name + sign) if isinstance(value, dict) and value else {name: value}
    if len(flat) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    return flat


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
