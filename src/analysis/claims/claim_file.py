"""Claim files: what authors claim about settings, as data in conf/claims/*.yaml, with the hypotheses that test it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from src.analysis.claims.comparison import ABOVE, DIFFERENCE, Hypothesis, Region
from src.analysis.records.matching import DATA_FACTS, Setting
from src.analysis.statistics.metrics import METRICS, Metric, valid_loss_rise
from src.base.config import Section
from src.base.errors import ConfigError, shown
from src.base.files import read_yaml
from src.base.identity import CHOICE_SECTIONS

MARGIN = 0.005  # half a Dice point: smaller differences do not matter to users of masks; for Dice, IoU and accuracy
TOLERANCE = 0.05  # relative: a validation loss that rises by less has not turned upward
TYPES = ("difference", "equivalence", "interaction", "curve", "level", "all_of")


def _known(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"allowed: {', '.join(METRICS)}")
    return name


def _no_cost(name: str) -> str:
    if METRICS[name].cost:
        raise ValueError("costs are compared as a ratio: use the type difference with at_least")
    return name


def _valid_side(side: dict[str, Any]) -> dict[str, Any]:
    """Refuses keys of unknown sections, and numbers that YAML reads as text."""
    for key, value in side.items():
        if key.partition(".")[0] not in (*CHOICE_SECTIONS, *DATA_FACTS, "init_from"):
            raise ValueError(f"{key}: unknown section; allowed: {', '.join(CHOICE_SECTIONS)}")
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
            raise ValueError(f"{key}: YAML reads {value} as text; write it with a point, as {float(value):.1e}")
    return side


def _valid_names(names: list[str]) -> list[str]:
    return list(_valid_side(dict.fromkeys(names)))


KnownMetric = Annotated[str, AfterValidator(_known)]
MetricName = Annotated[KnownMetric, Field(alias="measure")]
ScoreName = Annotated[KnownMetric, AfterValidator(_no_cost), Field(alias="measure")]
Side = Annotated[dict[str, Any], AfterValidator(_valid_side)]


class HypothesisType(Section):
    """The keys of all types: `where` applies to every side; `may_differ` names config values that may differ too."""

    where: Side = Field(default_factory=dict)
    may_differ: Annotated[list[str], AfterValidator(_valid_names)] = Field(default_factory=list)

    def _hypothesis(
        self, metric: Metric, sides: Sequence[Side], weights: tuple[float, ...], confirming: Region = ABOVE
    ) -> Hypothesis:
        arms = tuple({**self.where, **side} for side in sides)
        return Hypothesis(metric, arms, weights, confirming, tuple(self.may_differ))


class Difference(HypothesisType):
    """The metric is larger for `higher` than for `lower`, by `at_least`; a cost is `at_least` times as large.

    A negative `at_least` means "not worse by more than that". `reported`: the numbers that were printed for the two.
    """

    type: Literal["difference"]
    metric: MetricName
    higher: Side
    lower: Side
    at_least: float | None = None
    reported: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _costs_are_positive(self) -> "Difference":
        numbers = [*(self.reported or ()), *([] if self.at_least is None else [self.at_least])]
        if METRICS[self.metric].cost and min(numbers, default=1) <= 0:
            raise ValueError("at_least and reported must be above 0 for a cost")
        return self

    def hypotheses(self) -> list[Hypothesis]:
        """One: the difference is above zero or `at_least`."""
        cost, least = METRICS[self.metric].cost, self.at_least
        low = 0.0 if least is None else math.log(least) if cost else least
        hypothesis = self._hypothesis(METRICS[self.metric], (self.higher, self.lower), DIFFERENCE, (low, math.inf))
        if self.reported is None:
            return [hypothesis]
        first, second = self.reported
        return [replace(hypothesis, reported=math.log(first / second) if cost else first - second)]


class Equivalence(HypothesisType):
    """The metric differs by less than `margin` between the two `sides`."""

    type: Literal["equivalence"]
    metric: ScoreName
    sides: tuple[Side, Side]
    margin: float = Field(default=MARGIN, gt=0)

    @model_validator(mode="after")
    def _has_a_margin(self) -> "Equivalence":
        if "margin" not in self.model_fields_set and METRICS[self.metric].unit != "points":
            raise ValueError(f"margin: missing; only Dice, IoU and accuracy have a default ({MARGIN})")
        return self

    def hypotheses(self) -> list[Hypothesis]:
        """One: the difference is within the margin."""
        return [self._hypothesis(METRICS[self.metric], self.sides, DIFFERENCE, (-self.margin, self.margin))]


class Interaction(HypothesisType):
    """The gain from the second to the first side of `larger_gain` exceeds that of `smaller_gain`."""

    type: Literal["interaction"]
    metric: MetricName
    larger_gain: tuple[Side, Side]
    smaller_gain: tuple[Side, Side]

    def hypotheses(self) -> list[Hypothesis]:
        """One: the difference of the two differences is above zero."""
        sides = *self.larger_gain, *self.smaller_gain
        return [self._hypothesis(METRICS[self.metric], sides, (1.0, -1.0, -1.0, 1.0))]


class CurveTrend(HypothesisType):
    """Validation loss of `side` turns upward after the share `after` of the run, or does not.

    Upward: at the end it is more than 5 % above its level there.
    """

    type: Literal["curve"]
    rule: Literal["turns_upward", "does_not_turn_upward"]
    side: Side
    after: float = Field(gt=0, le=0.9)  # what follows is compared with the last tenth

    def hypotheses(self) -> list[Hypothesis]:
        """One: the rise of the loss is above or below 5 %."""
        region = (TOLERANCE, math.inf) if self.rule == "turns_upward" else (-math.inf, TOLERANCE)
        return [self._hypothesis(valid_loss_rise(self.after), (self.side,), (1.0,), region)]


class Level(HypothesisType):
    """The metric of `side` is at least `at_least`, or at most `at_most`."""

    type: Literal["level"]
    metric: ScoreName
    side: Side
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> "Level":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a level takes one of at_least and at_most")
        return self

    def hypotheses(self) -> list[Hypothesis]:
        """One: the mean is above the level, or below it."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return [self._hypothesis(METRICS[self.metric], (self.side,), (1.0,), (low, high))]


class AllOf(HypothesisType):
    """Every one of `parts` holds."""

    type: Literal["all_of"]
    parts: list["AnyHypothesisType"] = Field(min_length=1)

    def hypotheses(self) -> list[Hypothesis]:
        """Those of all parts."""
        found = []
        for part in self.parts:
            shared = {"where": {**self.where, **part.where}, "may_differ": [*self.may_differ, *part.may_differ]}
            found += part.model_copy(update=shared).hypotheses()
        return found


AnyHypothesisType = Annotated[
    Difference | Equivalence | Interaction | CurveTrend | Level | AllOf, Field(discriminator="type")
]


class Claim(Section):
    """One claim: the authors' words, our reading if they are ambiguous, the published numbers, and the test."""

    says: str
    as_tested: str = ""
    reported: str = ""
    test: AnyHypothesisType


Ends = Annotated[Region, BeforeValidator(lambda given: given if isinstance(given, list) else (given, given))]


class Printed(Section):
    """What a report printed for a `setting`: both ends of a range, or a number, for each metric.

    Dice, IoU and accuracy are in [0, 1], times in seconds, memory in bytes.
    """

    setting: Side
    numbers: dict[KnownMetric, Ends] = Field(min_length=1)

    @field_validator("numbers")
    @classmethod
    def _possible(cls, numbers: dict[str, Region]) -> dict[str, Region]:
        for name, (first, last) in numbers.items():
            most = 1 if METRICS[name].unit == "points" else math.inf
            if not 0 <= first <= last <= most:
                raise ValueError(f"{name}: allowed are 0 to {most:g}, the lower end of a range first")
        return numbers


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
        raise ConfigError([f"cannot be read as claims: {error}"]) from error


def _line(detail: Mapping[str, Any]) -> str:
    """One problem: the key, what was got, what is allowed. pydantic's part for the hypothesis type is left out."""
    key = ".".join(str(part) for part in detail["loc"] if part not in TYPES) or "the file"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key (got {shown(detail['input'])})"
    got = "" if detail["type"] == "missing" else f"got {shown(detail['input'])}; "
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {got}{message[0].lower()}{message[1:]}"
