"""An MLflow store, local or on a server: an experiment for each sweep, a run for each entry."""

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from src.base.record import EXAMPLES
from src.display.text import shortened
from src.publishing.entries import Entry, Point

NAME, DIGEST = "segsweep.run", "segsweep.digest"  # tags by which an entry is found again
DATABASE = "mlflow.db"
MOST_RUNS = 50_000  # that MLflow lists at once
LONGEST, BATCH = 5_000, 100  # characters of a value, and values of one call, that every version takes
STATES = {
    "finished": "FINISHED",
    "interrupted": "KILLED",
    "pruned": "KILLED",
}  # of those that have ended; others are FAILED


class MlflowStore:
    """The experiment `sweep` at an address, or in the folder `place`."""

    def __init__(self, place: str, sweep: str) -> None:
        """Raises ValueError for a folder whose name the address of its database cannot hold."""
        is_address = "://" in place
        if not is_address and re.search(r"[?%]", place):
            raise ValueError(
                f"{place}: MLflow's database cannot be in a folder with ? or %; choose another output=<folder>"
            )
        # no usage reports; a server that is down is not asked for minutes
        for name, value in (("DISABLE_TELEMETRY", "true"), ("HTTP_REQUEST_MAX_RETRIES", "1")):
            os.environ.setdefault(f"MLFLOW_{name}", value)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        artifacts = None if is_address else (Path(place) / "artifacts").absolute().as_uri()
        self._client = MlflowClient(place if is_address else f"sqlite:///{Path(place) / DATABASE}")
        known = self._client.get_experiment_by_name(sweep)
        self._experiment = known.experiment_id if known else self._client.create_experiment(sweep, artifacts)
        runs = self._client.search_runs([self._experiment], max_results=MOST_RUNS)
        self._runs = {run.data.tags.get(NAME): run for run in runs}

    def publish(self, entry: Entry) -> bool:
        """Whether `entry` was new or had changed.

        An entry that has only grown is added to. MLflow cannot shorten a curve, so where something has gone or is
        another value, a new run replaces the old one, which is deleted.
        """
        known = self._runs.get(entry.name)
        if known is not None and known.data.tags.get(DIGEST) == entry.digest:
            return False
        self._add(entry, known)
        return True

    def _add(self, entry: Entry, known: Any) -> None:
        """Makes the run `known`, or another one, hold all of `entry`; the digest comes last, in case it is stopped."""
        from mlflow.entities import Metric, Param, RunTag

        params = {key: shortened(str(value), LONGEST) for key, value in entry.params.items()}
        published = self._published(known) if known else set()
        if known and not (published <= set(entry.points) and known.data.params.items() <= params.items()):
            self._client.delete_run(known.info.run_id)
            known, published = None, set()
        run = known or self._client.create_run(self._experiment, tags={NAME: entry.name}, run_name=entry.name)
        client, run_id, tags = self._client, run.info.run_id, _tags(entry)
        for part in _parts([Param(*one) for one in params.items() - run.data.params.items()]):
            client.log_batch(run_id, params=part)
        now = int(1_000 * time.time())
        new = [point for point in entry.points if point not in published]
        for part in _parts([Metric(name, value, now, epoch) for name, epoch, value in new]):
            client.log_batch(run_id, metrics=part)
        for title in run.data.tags.keys() - tags.keys():
            if not title.startswith(("mlflow.", NAME)):
                client.delete_tag(run_id, title)
        for part in _parts([RunTag(*one) for one in tags.items()]):
            client.log_batch(run_id, tags=part)
        if entry.picture:
            with tempfile.TemporaryDirectory() as folder:
                picture = Path(folder) / EXAMPLES
                picture.write_bytes(entry.picture)
                client.log_artifact(run_id, str(picture))
        if entry.status == "running":
            client.update_run(run_id, "RUNNING")
        else:
            client.set_terminated(run_id, STATES.get(entry.status, "FAILED"))
        client.set_tag(run_id, DIGEST, entry.digest)

    def _published(self, run: Any) -> set[Point]:
        histories = [self._client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
        return {(one.key, one.step, one.value) for history in histories for one in history}


def _tags(entry: Entry) -> dict[str, str]:
    """Texts, tags and notes, under names that MLflow takes."""
    texts = {**entry.texts, "tags": ", ".join(entry.labels.tags), "mlflow.note.content": entry.labels.notes}
    return {re.sub(r"[^\w./ -]", "_", title)[:250]: shortened(text, LONGEST) for title, text in texts.items() if text}


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + BATCH] for start in range(0, len(values), BATCH))
