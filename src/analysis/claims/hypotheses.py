"""The hypothesis types of claim files: the keys of each, and the contrasts that test it."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from src.analysis.claims.comparison import Hypothesis, Region
from src.analysis.records.matching import DATA_FACTS
from src.analysis.statistics.metrics import METRICS, valid_loss_rise
from src.base.config import Section
from src.base.identity import CHOICE_SECTIONS

DIFFERENCE = (1.0, -1.0)  # weights
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


MetricName = Annotated[str, AfterValidator(_known), Field(alias="measure")]
ScoreName = Annotated[str, AfterValidator(_known), AfterValidator(_no_cost), Field(alias="measure")]
Side = Annotated[dict[str, Any], AfterValidator(_valid_side)]


class HypothesisType(Section):
    """The keys of all types: `where` applies to every side; `may_differ` names config values that may differ too."""

    where: Side = Field(default_factory=dict)
    may_differ: list[str] = Field(default_factory=list)

    def _hypothesis(
        self,
        metric: str,
        sides: Sequence[Side],
        weights: tuple[float, ...],
        confirming: Region,
        *contradicting: Region,
        reported: float | None = None,
    ) -> Hypothesis:
        arms = tuple({**self.where, **side} for side in sides)
        may_differ = tuple(self.may_differ)
        return Hypothesis(METRICS[metric], arms, weights, confirming, contradicting, may_differ, reported)


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
        reported = None
        if self.reported is not None:
            first, second = self.reported
            reported = math.log(first / second) if cost else first - second
        above, below = (low, math.inf), (-math.inf, low)
        return [self._hypothesis(self.metric, (self.higher, self.lower), DIFFERENCE, above, below, reported=reported)]


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
        """One: the difference is within the margin; beyond it, on either side, contradicts."""
        margin = self.margin
        beyond = ((margin, math.inf), (-math.inf, -margin))
        return [self._hypothesis(self.metric, self.sides, DIFFERENCE, (-margin, margin), *beyond)]


class Interaction(HypothesisType):
    """The gain from the second to the first side of `larger_gain` exceeds that of `smaller_gain`."""

    type: Literal["interaction"]
    metric: MetricName
    larger_gain: tuple[Side, Side]
    smaller_gain: tuple[Side, Side]

    def hypotheses(self) -> list[Hypothesis]:
        """One: the difference of the two differences is above zero."""
        sides, weights = (*self.larger_gain, *self.smaller_gain), (1.0, -1.0, -1.0, 1.0)
        return [self._hypothesis(self.metric, sides, weights, (0.0, math.inf), (-math.inf, 0.0))]


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
        up, not_up = (TOLERANCE, math.inf), (-math.inf, TOLERANCE)
        confirming, contradicting = (up, not_up) if self.rule == "turns_upward" else (not_up, up)
        arms = ({**self.where, **self.side},)
        return [Hypothesis(valid_loss_rise(self.after), arms, (1.0,), confirming, (contradicting,))]


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
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None, "validated"
        above, below = (bound, math.inf), (-math.inf, bound)
        confirming, contradicting = (below, above) if self.at_least is None else (above, below)
        return [self._hypothesis(self.metric, (self.side,), (1.0,), confirming, contradicting)]


class AllOf(HypothesisType):
    """Every one of `parts` holds."""

    type: Literal["all_of"]
    parts: list["AnyHypothesisType"] = Field(min_length=1)

    def hypotheses(self) -> list[Hypothesis]:
        """Those of all parts."""
        shared = [
            part.model_copy(
                update={"where": {**self.where, **part.where}, "may_differ": [*self.may_differ, *part.may_differ]}
            )
            for part in self.parts
        ]
        return [hypothesis for part in shared for hypothesis in part.hypotheses()]


AnyHypothesisType = Annotated[
    Difference | Equivalence | Interaction | CurveTrend | Level | AllOf, Field(discriminator="type")
]
