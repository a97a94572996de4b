"""The types of statements about settings: what each must be told, and the questions it comes to."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from src.analysis.records.matching import DATA_FACTS
from src.analysis.statistics.comparison import Question, Region
from src.analysis.statistics.metrics import MEASURES, valid_loss_rise
from src.base.config import Section
from src.base.identity import CHOICE_SECTIONS

ABOVE_ZERO: Region = (0.0, math.inf)
BELOW_ZERO: Region = (-math.inf, 0.0)
MARGIN = 0.005  # half a Dice point: a smaller difference is none to a user of masks; for Dice and IoU only
TOLERANCE = 0.05  # relative: a validation loss that rises by less has not turned upward
TYPES = (
    "difference",
    "equivalence",
    "non_inferiority",
    "ordering",
    "interaction",
    "curve",
    "level",
    "all_of",
)


def _known(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"allowed: {', '.join(MEASURES)}")
    return name


def _no_cost(name: str) -> str:
    if MEASURES[name].cost:
        raise ValueError("a cost is compared as how many times one is the other: take a difference with at_least")
    return name


def _known_side(side: dict[str, Any]) -> dict[str, Any]:
    """Refuses what no setting can meet: a section there is none of, a number that YAML reads as a text."""
    for key, value in side.items():
        if key.partition(".")[0] not in (*CHOICE_SECTIONS, *DATA_FACTS, "init_from"):
            raise ValueError(f"{key}: there is no such section; allowed: {', '.join(CHOICE_SECTIONS)}")
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
            raise ValueError(f"{key}: YAML takes {value} for a text; write it with a point, as {float(value):.1e}")
    return side


MeasureName = Annotated[str, AfterValidator(_known)]
ScoreName = Annotated[MeasureName, AfterValidator(_no_cost)]
Side = Annotated[dict[str, Any], AfterValidator(_known_side)]


class Statement(Section):
    """What all types of claims share: `where`, what holds for all sides, and `may_differ`, config values that may
    differ between them beside what the claim names; a verdict says so where they do.
    """

    where: Side = Field(default_factory=dict)
    may_differ: list[str] = Field(default_factory=list)

    def _question(
        self,
        measure: str,
        sides: Sequence[Side],
        weights: Sequence[float],
        inside: Region,
        *opposite: Region,
        reported: float | None = None,
    ) -> Question:
        full = tuple({**self.where, **side} for side in sides)
        return Question(
            MEASURES[measure], full, tuple(weights), inside, opposite, tuple(self.may_differ), reported=reported
        )


class Difference(Statement):
    """`measure` is larger for `higher` than for `lower`; a cost at least `at_least` times as large.

    `reported`: the numbers that were printed for the two.
    """

    type: Literal["difference"]
    measure: MeasureName
    higher: Side
    lower: Side
    at_least: float | None = Field(default=None, gt=0)
    reported: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _costs_are_above_zero(self) -> "Difference":
        if self.reported is not None and MEASURES[self.measure].cost and min(self.reported) <= 0:
            raise ValueError("a cost that was reported is above 0")
        return self

    def questions(self) -> list[Question]:
        """One: the difference lies above zero, or above what it is said to be at least; the reverse, that below."""
        cost, least = MEASURES[self.measure].cost, self.at_least
        low = 0.0 if least is None else math.log(least) if cost else least
        reported = None
        if self.reported is not None:
            first, second = self.reported
            reported = math.log(first / second) if cost else first - second
        sides = (self.higher, self.lower)
        below = (-math.inf, low)
        return [self._question(self.measure, sides, (1.0, -1.0), (low, math.inf), below, reported=reported)]


class WithMargin(Statement):
    """A statement about differences below a `margin`, which only scores have a usual one of."""

    measure: ScoreName
    margin: float = Field(default=MARGIN, gt=0)

    @model_validator(mode="after")
    def _margin_is_stated(self) -> "WithMargin":
        if "margin" not in self.model_fields_set and MEASURES[self.measure].unit != "points":
            raise ValueError(f"margin: missing; only Dice, IoU and accuracy have a usual one ({MARGIN})")
        return self


class Equivalence(WithMargin):
    """`measure` differs by less than `margin` between the two `sides`."""

    type: Literal["equivalence"]
    sides: tuple[Side, Side]

    def questions(self) -> list[Question]:
        """One: the difference lies within the margin; the reverse is one beyond it, to either side."""
        beyond: tuple[Region, Region] = ((self.margin, math.inf), (-math.inf, -self.margin))
        return [self._question(self.measure, self.sides, (1.0, -1.0), (-self.margin, self.margin), *beyond)]


class NonInferiority(WithMargin):
    """`measure` of `side` is larger than that of `reference`, or smaller by less than `margin`."""

    type: Literal["non_inferiority"]
    side: Side
    reference: Side

    def questions(self) -> list[Question]:
        """One: the difference lies above minus the margin."""
        sides, low = (self.side, self.reference), -self.margin
        return [self._question(self.measure, sides, (1.0, -1.0), (low, math.inf), (-math.inf, low))]


class Ordering(Statement):
    """`measure` falls from each of the sides to the next."""

    type: Literal["ordering"]
    measure: MeasureName
    from_high_to_low: list[Side] = Field(min_length=2)

    def questions(self) -> list[Question]:
        """One for each two neighbours."""
        neighbours = zip(self.from_high_to_low, self.from_high_to_low[1:], strict=False)
        return [self._question(self.measure, sides, (1.0, -1.0), ABOVE_ZERO, BELOW_ZERO) for sides in neighbours]


class Interaction(Statement):
    """`measure` gains more from the second to the first side of `larger_gain` than from those of `smaller_gain`."""

    type: Literal["interaction"]
    measure: MeasureName
    larger_gain: tuple[Side, Side]
    smaller_gain: tuple[Side, Side]

    def questions(self) -> list[Question]:
        """One about the difference of two differences."""
        sides = (*self.larger_gain, *self.smaller_gain)
        return [self._question(self.measure, sides, (1.0, -1.0, -1.0, 1.0), ABOVE_ZERO, BELOW_ZERO)]


class Turn(Statement):
    """Validation loss of `side` turns upward, or does not, after the share `after` of the run.

    Upward: at the end it is more than 5 % above its level there.
    """

    type: Literal["curve"]
    rule: Literal["turns_upward", "does_not_turn_upward"]
    side: Side
    after: float = Field(gt=0, le=0.9)  # what follows is compared with the last tenth

    def questions(self) -> list[Question]:
        """One about the rise of the loss."""
        up, not_up = (TOLERANCE, math.inf), (-math.inf, TOLERANCE)
        inside, opposite = (up, not_up) if self.rule == "turns_upward" else (not_up, up)
        side = ({**self.where, **self.side},)
        return [Question(valid_loss_rise(self.after), side, (1.0,), inside, (opposite,))]


class Level(Statement):
    """`measure` of `side` is at least `at_least`, or at most `at_most`."""

    type: Literal["level"]
    measure: ScoreName
    side: Side
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Level":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a level takes one of at_least and at_most")
        return self

    def questions(self) -> list[Question]:
        """One: the mean lies above the level, or below it."""
        if self.at_least is not None:
            inside, opposite = (self.at_least, math.inf), (-math.inf, self.at_least)
        else:
            assert self.at_most is not None, "validated"
            inside, opposite = (-math.inf, self.at_most), (self.at_most, math.inf)
        return [self._question(self.measure, (self.side,), (1.0,), inside, opposite)]


class AllOf(Statement):
    """Every one of `parts` is right."""

    type: Literal["all_of"]
    parts: list["AnyStatement"] = Field(min_length=1)

    def questions(self) -> list[Question]:
        """Those of all parts."""
        shared = [
            part.model_copy(
                update={"where": {**self.where, **part.where}, "may_differ": [*self.may_differ, *part.may_differ]}
            )
            for part in self.parts
        ]
        return [question for part in shared for question in part.questions()]


AnyStatement = Annotated[
    Difference | Equivalence | NonInferiority | Ordering | Interaction | Turn | Level | AllOf,
    Field(discriminator="type"),
]
