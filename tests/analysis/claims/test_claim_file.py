"""Claims as data: how each type of statement becomes hypotheses, and what is said of a file that is wrong."""

import math
from pathlib import Path

import pytest
import yaml

from src.analysis.claims.claim_file import TYPES, ClaimFile, read_claims
from src.analysis.claims.comparison import Comparison
from src.analysis.claims.wording import region_text
from src.analysis.report.options import CLAIMS
from src.analysis.statistics.metrics import CURVES, METRICS, STRETCHES
from src.base.errors import ConfigError

A, B, C, D = ({"model": name} for name in "abcd")


def hypotheses_of(test, **of_file):
    content = {
        "source": "me",
        "where": {},
        "reported_with": {},
        "claims": {"X": {"says": "so", "test": test}},
        **of_file,
    }
    return ClaimFile.model_validate(content).hypotheses("X")


def only(test, **of_file):
    (hypothesis,) = hypotheses_of(test, **of_file)
    return hypothesis


def test_a_difference_lies_above_zero():
    hypothesis = only({"type": "difference", "measure": "test_dice", "higher": A, "lower": B, "reported": [0.93, 0.92]})
    assert (hypothesis.arms, hypothesis.weights) == ((A, B), (1.0, -1.0))
    assert (hypothesis.confirming, hypothesis.contradicting) == ((0.0, math.inf), [(-math.inf, 0.0)])
    assert hypothesis.to_display(hypothesis.reported) == pytest.approx(1.0)  # point


def test_a_difference_of_costs_is_a_factor():
    hypothesis = only(
        {
            "type": "difference",
            "measure": "train_seconds",
            "higher": A,
            "lower": B,
            "at_least": 1.25,
            "reported": [30, 16],
        }
    )
    assert hypothesis.confirming == (math.log(1.25), math.inf) and hypothesis.contradicting == [
        (-math.inf, math.log(1.25))
    ]
    assert hypothesis.to_display(hypothesis.reported) == pytest.approx(1.875)
    assert region_text(Comparison(hypothesis, ())) == "above 1.25 times"


def test_equivalence_lies_within_the_margin_and_its_reverse_beyond_it_on_either_side():
    hypothesis = only({"type": "equivalence", "measure": "test_dice", "sides": [A, B]})
    assert hypothesis.confirming == (-0.005, 0.005) and hypothesis.contradicting == [
        (-math.inf, -0.005),
        (0.005, math.inf),
    ]
    assert region_text(Comparison(hypothesis, ())) == "between −0.5 and 0.5"


def test_a_negative_bound_means_not_worse_by_more():
    hypothesis = only({"type": "difference", "measure": "test_dice", "higher": A, "lower": B, "at_least": -0.01})
    assert hypothesis.confirming == (-0.01, math.inf) and hypothesis.contradicting == [(-math.inf, -0.01)]


def test_an_interaction_is_a_difference_of_differences():
    hypothesis = only({"type": "interaction", "measure": "test_dice", "larger_gain": [A, B], "smaller_gain": [C, D]})
    assert (hypothesis.arms, hypothesis.weights) == ((A, B, C, D), (1.0, -1.0, -1.0, 1.0))


@pytest.mark.parametrize(
    ("rule", "inside"), [("turns_upward", (0.05, math.inf)), ("does_not_turn_upward", (-math.inf, 0.05))]
)
def test_a_curve_rises_by_more_than_five_per_cent_or_does_not(rule, inside):
    hypothesis = only({"type": "curve", "rule": rule, "after": 0.5, "side": A})
    assert (hypothesis.arms, hypothesis.weights, hypothesis.confirming) == ((A,), (1.0,), inside)
    assert hypothesis.metric.description == "rise of validation loss after 50% of the run"
    assert region_text(Comparison(hypothesis, ())) == ("above 5" if rule == "turns_upward" else "below 5")


def test_a_level_is_reached():
    hypothesis = only({"type": "level", "measure": "train_accuracy_end", "side": A, "at_least": 0.94})
    assert hypothesis.confirming == (0.94, math.inf) and region_text(Comparison(hypothesis, ())) == "above 94"


def test_what_holds_for_a_file_or_a_whole_holds_for_every_part():
    part = {
        "type": "difference",
        "measure": "test_dice",
        "where": {"data": "d"},
        "higher": A,
        "lower": {"loss": "focal", **B},
    }
    whole = {"type": "all_of", "where": {"scheduler": "s"}, "may_differ": ["trainer.epochs"], "parts": [part, part]}
    first, second = hypotheses_of(whole, where={"loss": "bce", "scheduler": "t"})
    assert first == second and first.may_differ == ("trainer.epochs",)
    shared = {"loss": "bce", "scheduler": "s", "data": "d"}  # what stands closer to the side wins
    assert first.arms == ({**shared, **A}, {**shared, "loss": "focal", **B})


@pytest.mark.parametrize("path", sorted(CLAIMS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_claims_of_the_reports_can_be_read(path):
    file = read_claims(path)
    assert all(file.hypotheses(name) for name in file.claims)
    assert all(claim.says and claim.reported for claim in file.claims.values())


def test_every_claim_of_the_reports_is_there():
    files = {path.stem: read_claims(path) for path in CLAIMS.glob("*.yaml")}
    names = {name.removesuffix("_size").removesuffix("_throughout") for file in files.values() for name in file.claims}
    wanted = {"A": 11, "B": 6, "C": 2, "D": 11, "E": 9}
    assert names == {f"{report}{number}" for report, count in wanted.items() for number in range(1, count + 1)}
    sized = {name for file in files.values() for name in file.claims if "_" in name}
    assert sized == {"A4_size", "A5_throughout", "A7_size"}  # stronger readings of a claim


def test_everything_that_is_wrong_in_a_file_is_said_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    difference = {"type": "difference", "measure": "test_dise", "higher": A, "lower": B, "least": 3}
    content = {"source": "me", "where": {}, "reported_with": {}, "claims": {"X": {"test": difference}}}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as raised:
        read_claims(path)
    missing, measure, unknown = raised.value.problems
    assert missing == f"{path}: claims.X.says: field required"
    assert measure.startswith(f"{path}: claims.X.test.measure: got 'test_dise'; allowed: test_dice, ")
    assert unknown == f"{path}: claims.X.test.least: unknown key (got 3)"


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "\x00"])
def test_a_file_that_holds_no_claims(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: "):
        read_claims(path)
    with pytest.raises(ConfigError, match="cannot be read as claims"):
        read_claims(Path(tmp_path / "absent.yaml"))


def test_the_documentation_names_every_type_and_every_measure():
    text = (CLAIMS.parents[1] / "docs" / "claims.md").read_text()
    suffixes = {f"{curve}_{when}": f"_{when}" for curve in CURVES for when in (*STRETCHES, "best") if when != "end"}
    names = [suffixes.get(name, name) for name in (*METRICS, *TYPES)]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_example_of_the_documentation_can_be_read(tmp_path):
    text = (CLAIMS.parents[1] / "docs" / "claims.md").read_text()
    path = tmp_path / "my_claims.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert [hypothesis.may_differ for hypothesis in read_claims(path).hypotheses("deeper")] == [("trainer.batch_size",)]


LEVEL = {"type": "level", "measure": "test_dice", "side": A, "at_least": 0.5}


def test_a_level_is_one_bound_from_below_or_from_above():
    from_above = {key: value for key, value in LEVEL.items() if key != "at_least"} | {"at_most": 0.5}
    hypothesis = only(from_above)
    assert (hypothesis.confirming, hypothesis.contradicting) == ((-math.inf, 0.5), [(0.5, math.inf)])
    for bounds in ({}, {"at_least": 0.1, "at_most": 0.5}):
        with pytest.raises(ValueError, match="one of at_least and at_most"):
            hypotheses_of({"type": "level", "measure": "test_dice", "side": A, **bounds})


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({**LEVEL, "measure": "train_seconds"}, "costs are compared as a ratio"),
        ({"type": "equivalence", "measure": "valid_loss_end", "sides": [A, B]}, "margin: missing; only Dice, IoU and"),
        (
            {"type": "difference", "measure": "peak_memory", "higher": A, "lower": B, "reported": [0, 7]},
            "at_least and reported must be above 0 for a cost",
        ),
        (
            {**LEVEL, "side": {"optimizer.lr": "1e-3"}},
            "optimizer.lr: YAML reads 1e-3 as text; write it with a point, as 1.0e-03",
        ),
        ({**LEVEL, "side": {"modell": "unet"}}, "modell: unknown section; allowed: model, loss, optimizer"),
        ({**LEVEL, "may_differ": ["batch_size"]}, "batch_size: unknown section; allowed: model, loss, optimizer"),
    ],
)
def test_a_statement_that_cannot_be_meant(tmp_path, test, said):
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump(
            {"source": "me", "where": {}, "reported_with": {}, "claims": {"X": {"says": "so", "test": test}}}
        )
    )
    with pytest.raises(ConfigError) as raised:
        read_claims(path)
    assert len(raised.value.problems) == 1 and said in raised.value.problems[0]
