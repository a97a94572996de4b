"""Claim files: what authors claim about settings, as data in conf/claims/*.yaml, with the hypotheses that test it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from src.analysis.claims.comparison import Hypothesis
from src.analysis.claims.hypotheses import TYPES, AnyHypothesisType, Side
from src.analysis.records.matching import Setting
from src.base.config import Section
from src.base.errors import ConfigError, shown
from src.base.files import read_yaml


class Claim(Section):
    """One claim: the authors' words, our reading if they are ambiguous, the published numbers, and the test."""

    says: str
    as_tested: str = ""
    reported: str = ""
    test: AnyHypothesisType


class Printed(Section):
    """What a report printed for a `setting`: Dice in [0, 1], `test_dice_to` the end of a range, minutes of training."""

    setting: Side
    test_dice: float = Field(ge=0, le=1)
    test_dice_to: float | None = Field(default=None, ge=0, le=1)
    median: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    minutes: float | None = None


class ClaimFile(Section):
    """The claims of one source.

    `where`: applies to every side of every claim. `reported_with`: the other conditions of the report; runs with other
    values are judged too, and the report notes them.
    """

    source: str
    where: Side
    reported_with: Side
    printed: list[Printed] = Field(default_factory=list)
    claims: dict[str, Claim] = Field(min_length=1)

    def on_its_data(self, settings: Sequence[Setting]) -> list[Setting]:
        """Those of `settings` on the kind of data of the report; all if it names none."""
        kind = self.reported_with.get("data.kind")
        return [setting for setting in settings if kind is None or setting.meets({"data.kind": kind})]

    def hypotheses(self, name: str) -> list[Hypothesis]:
        """The hypotheses of one claim, with the file's `where` in them."""
        test = self.claims[name].test
        return test.model_copy(update={"where": {**self.where, **test.where}}).hypotheses()


def read_claims(path: Path) -> ClaimFile:
    """The claims in the YAML file `path`. Raises ConfigError with all that is wrong in it."""
    try:
        return ClaimFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError([f"{path}: {_line(detail)}" for detail in error.errors(include_url=False)]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read as claims: {error}"]) from error


def _line(detail: Mapping[str, Any]) -> str:
    """One problem: the key, what was got, what is allowed. pydantic's part for the hypothesis type is left out."""
    key = ".".join(str(part) for part in detail["loc"] if part not in TYPES) or "the file"
    if detail["type"] == "missing":
        return f"{key}: missing"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key (got {shown(detail['input'])})"
    if detail["type"] == "union_tag_invalid":
        return f"{key}.type: got {shown(detail['ctx']['tag'])}; allowed: {', '.join(TYPES)}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: got {shown(detail['input'])}; {message[0].lower()}{message[1:]}"
