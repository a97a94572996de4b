"""Claims as data: what somebody says about settings, in conf/claims/*.yaml, as questions that runs can answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from src.analysis.claims.hypotheses import TYPES, AnyStatement, Side
from src.analysis.records.matching import Setting
from src.analysis.statistics.comparison import Question
from src.base.config import Section
from src.base.errors import ConfigError, shown
from src.base.files import read_yaml


class Claim(Section):
    """One claim: what its authors say, how we read that where it leaves something open, what they printed, the test."""

    says: str
    as_tested: str = ""
    reported: str = ""
    test: AnyStatement


class Printed(Section):
    """What a report printed for a `setting`: Dice in [0, 1], hours of training."""

    setting: Side
    test_dice: float = Field(ge=0, le=1)
    test_dice_to: float | None = Field(default=None, ge=0, le=1)  # where it printed a range
    median: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    minutes: float | None = None


class ClaimFile(Section):
    """The claims of one source.

    `where`: what holds for all its settings, and must for the runs that are asked. `reported_with`: what else they had
    when it was reported; runs with other values are asked too, and it is said.
    """

    source: str
    where: Side
    reported_with: Side
    printed: list[Printed] = Field(default_factory=list)
    claims: dict[str, Claim] = Field(min_length=1)

    def on_its_data(self, settings: Sequence[Setting]) -> list[Setting]:
        """Those of `settings` on the kind of data that it was reported with, all where it does not say."""
        kind = self.reported_with.get("data.kind")
        return [setting for setting in settings if kind is None or setting.meets({"data.kind": kind})]

    def questions(self, name: str) -> list[Question]:
        """The questions of one claim, with what holds for the whole file in them."""
        test = self.claims[name].test
        return test.model_copy(update={"where": {**self.where, **test.where}}).questions()


def read_claims(path: Path) -> ClaimFile:
    """The claims in the YAML file `path`. Raises ConfigError with everything that is wrong in it."""
    try:
        return ClaimFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError([f"{path}: {_line(detail)}" for detail in error.errors(include_url=False)]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read as claims: {error}"]) from error


def _line(detail: Mapping[str, Any]) -> str:
    """One problem: where, what is wrong, what was got. The type of a statement, which pydantic puts in, is left out."""
    key = ".".join(str(part) for part in detail["loc"] if part not in TYPES) or "the file"
    if detail["type"] == "missing":
        return f"{key}: missing"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key (got {shown(detail['input'])})"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: got {shown(detail['input'])}; {message[0].lower()}{message[1:]}"
