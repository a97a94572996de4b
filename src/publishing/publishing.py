"""Sweeps copied into a tracker: each is read, and every entry is offered to the tracker."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator

from src.analysis.report.options import AggregateOptions
from src.base.errors import ConfigError, Ended, cut, one_line
from src.base.files import refuse_links
from src.base.locks import HostAwareLock
from src.display.text import count_text
from src.publishing.entries import Entry, entries_of
from src.publishing.folders import Folders, write_events, write_offline_run
from src.publishing.mlflow_store import DATABASE, MlflowStore

LOOK = {
    "tensorboard": "tensorboard --logdir {}",
    "mlflow": f"mlflow ui --backend-store-uri sqlite:///{{}}/{DATABASE}",
    "wandb": "wandb sync {}/*/*/wandb/offline-run-*",
}


class PublishOptions(AggregateOptions):
    """See conf/publish.yaml."""

    to: Literal["tensorboard", "mlflow", "wandb"]

    @field_validator("to")
    @classmethod
    def _takes_the_output(cls, to: str, others: ValidationInfo) -> str:
        output = others.data.get("output") or ""
        if "://" in output and not (to == "mlflow" and output.startswith("http")):
            raise ValueError(f"output={output} is not a folder; only mlflow takes a server, as http://host:5000")
        return to

    @property
    def is_address(self) -> bool:
        """Whether `output` is a server, not a folder."""
        return "://" in (self.output or "")

    def place(self, sweep: Path) -> str:
        """The folder or address of the copy of `sweep`. Raises ValueError for a link in it: it may come from others."""
        if self.output is not None:
            return self.output
        refuse_links(sweep / "mirrors")
        return str(sweep / "mirrors" / self.to)


def publish_sweeps(options: PublishOptions) -> None:
    """Copies each sweep and prints how much of it was new. Raises Ended, naming them, if records are broken."""
    if find_spec(options.to) is None:
        raise ConfigError([f"to: {options.to} is not installed here; pip install '.[{options.to}]'"])
    problems: list[str] = []
    for sweep in options.sweeps():
        place = options.place(sweep)
        report, notes = options.report([sweep], sweep / "report")
        for note in notes:
            print(note, file=sys.stderr)
        with ExitStack() as stack:
            if not options.is_address:
                stack.enter_context(HostAwareLock(Path(place) / ".lock").held(wait=True))
            stack.enter_context(_refusals(options.to))
            publish = _open(options.to, place, sweep.resolve().name)
            added = [publish(entry) for entry in entries_of(report, problems)]
        runs = count_text(len(added) - 1, "run")
        look = f"see {place}" if options.is_address else LOOK[options.to].format(shlex.quote(place))
        print(f"{sweep}: {runs} and the answer, {sum(added)} of them new or changed; {look}")
    if problems:
        raise Ended("\n".join(one_line(f"broken: {problem}") for problem in problems))


@contextmanager
def _refusals(tracker: str) -> Iterator[None]:
    """Raises ValueError with the reason in one line for an exception of `tracker` or of what it talks through."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in (tracker, "requests", "sqlalchemy"):
            raise
        raise ValueError(f"{tracker} refuses it, and no run is touched: {cut(one_line(str(error)))}") from error


def _open(to: str, place: str, sweep: str) -> Callable[[Entry], bool]:
    """What copies an entry of `sweep` to `place`, and returns whether it was new or had changed."""
    if to == "mlflow":
        return MlflowStore(place, sweep).publish
    return Folders(place, sweep, write_events if to == "tensorboard" else write_offline_run).publish
