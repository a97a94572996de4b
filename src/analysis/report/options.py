"""The options of an aggregation, and the folders and claim files that they name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from src.analysis.claims.claim_file import ClaimFile, read_claims
from src.analysis.claims.looks import keep_looks
from src.analysis.records.image_scores import read_groups
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.loading import find_sweeps
from src.analysis.report.report import Report, make_report
from src.base.config import Section, UserPath
from src.base.errors import ConfigError
from src.base.files import refuse_links
from src.base.record import breed_of

CLAIMS = Path(__file__).resolve().parents[3] / "conf" / "claims"


class AggregateOptions(Section):
    """See conf/aggregate.yaml. `detect`: the smallest effect for the power analysis, in Dice points."""

    sweep: str
    output: UserPath | None
    claim_files: str | None
    protocol: str
    detect: float = Field(gt=0, le=100)
    failures: Literal["count", "exclude"]
    cluster: str | None
    pair: Literal["seed"] | None

    @field_validator("sweep")
    @classmethod
    def _names_a_folder(cls, text: str) -> str:
        if not _listed(text):
            raise ValueError("it takes a folder of runs, for example sweep=multirun_outputs/demo")
        return text

    def sweeps(self) -> list[Path]:
        """The folders that `sweep` names. Raises ValueError for a glob without a match."""
        return find_sweeps(_listed(self.sweep))

    def folder(self, sweeps: list[Path]) -> Path:
        """Where the report of `sweeps` is written. Raises ValueError if that is a link.

        A sweep may come from others; a link that `output` names is the user's.
        """
        if self.output is not None:
            return Path(self.output)
        folder = sweeps[0] / "report" if len(sweeps) == 1 else sweeps[0].parent / "report"
        refuse_links(folder)
        return folder

    def group_of(self) -> Callable[[str], str | None] | None:
        """The group of a test image by its stem; None if images are the sample. Raises ValueError for a wrong file."""
        if self.cluster is None:
            return None
        return breed_of if self.cluster == "breed" else read_groups(Path(self.cluster)).get

    def claims(self) -> list[ClaimFile]:
        """The claims to judge. Raises ConfigError with every file that is missing or wrong."""
        if self.claim_files is None:
            return []
        return claims_named(None if self.claim_files == "auto" else _listed(self.claim_files) or [self.claim_files])

    def report(self, sweeps: list[Path], folder: Path, kept: KeptReads | None = None) -> tuple[Report, list[str]]:
        """The results for `sweeps`, which count as a look at them, and what a user must know about earlier looks.

        `folder`: where looks are kept if a sweep cannot be written; `kept`: of make_report.
        """
        report = make_report(
            sweeps,
            self.claims(),
            self.protocol,
            self.detect / 100,
            self.claim_files != "auto",  # claims that are named are judged with runs on any data
            self.failures == "count",
            kept,
            self.group_of(),
            self.pair == "seed",
        )
        looks, notes = keep_looks(report.records.included, folder)
        return replace(report, looks=tuple(looks)), notes


def claims_named(names: Sequence[str] | None) -> list[ClaimFile]:
    """The claims of files, each a name in conf/claims (None: all of them) or a path. Raises ConfigError for others."""
    known = {path.stem: path for path in sorted(CLAIMS.glob("*.yaml"))}
    names = list(known) if names is None else names
    allowed = f"allowed: auto, null, {', '.join(known)}, or the path of a YAML file"
    missing = [name for name in names if name not in known and not Path(name).is_file()]
    if missing:
        raise ConfigError([f"claim_files: got {name!r}; {allowed}" for name in missing])
    return [read_claims(known.get(name, Path(name))) for name in names]


def _listed(text: str) -> list[str]:
    """`a,b` or `[a,b]` as two names, unless a file or folder has that name."""
    if text.strip() and os.path.exists(text):  # noqa: PTH110, since Path.exists raises for a list that is too long
        return [text]
    return [name.strip() for name in text.removeprefix("[").removesuffix("]").split(",") if name.strip()]
