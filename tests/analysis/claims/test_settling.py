"""Questions that are settled: what each look sees, what its verdict is, and which seeds come next."""

import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.settled import (
    answers_lines,
    asked_of,
    check_rules,
    keep_rules,
    read_rules,
    settled_answers,
    settled_sentence,
    with_answers,
)
from src.analysis.claims.settling import (
    Rules,
    beaten,
    leader,
    next_seeds,
    questions_on_best,
    questions_on_claims,
    settle,
)
from src.analysis.claims.verdicts import judge
from src.analysis.records.loading import load_records, no_records
from src.analysis.records.matching import planned_settings, settings_of
from src.base.errors import ConfigError
from tests.analysis.looks import Drawn
from tests.analysis.recorded import config_of, fail, finish, replicates

ONE, COS = {"scheduler": "onecycle"}, {"scheduler": "cosine"}
LARGER = {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": COS}
SMALLER = {"type": "difference", "measure": "test_dice", "higher": COS, "lower": ONE}


def file_of(**tests):
    claims = {name: {"says": name, "test": test} for name, test in tests.items()}
    return ClaimFile.model_validate({"source": "me", "where": {"model": "unet"}, "reported_with": {}, "claims": claims})


def asked(sweep, file=None, first_seed=0, margin=0.005):
    """Records, questions and rules about the settings of a sweep."""
    records = load_records([sweep])
    settings = settings_of(records)
    names = {one.config_id: one.label for one in settings}
    questions = questions_on_best(names) if file is None else questions_on_claims(file, settings)[0]
    return records, questions, Rules(asked=asked_of(file), settings=names, first_seed=first_seed, margin=margin)


def statuses(sweep, **tests):
    return {answer.question.name: (answer.status, answer.look) for answer in settle(*asked(sweep, file_of(**tests)))}


def test_a_difference_holds_or_is_reversed_at_the_first_look_that_shows_it(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", mean=0.85, seeds=4)
    replicates(tmp_path, "scheduler=cosine", mean=0.80, seeds=4)
    assert statuses(tmp_path, larger=LARGER, smaller=SMALLER) == {"larger": ("holds", 0), "smaller": ("reversed", 0)}


@pytest.mark.long
def test_settings_that_differ_by_less_than_the_margin_are_equivalent(tmp_path):
    for scheduler in ("onecycle", "cosine"):
        replicates(tmp_path, f"scheduler={scheduler}", seeds=5, spread=0.0005)
    answers = statuses(tmp_path, larger=LARGER, at_least={**LARGER, "at_least": 0.001})
    assert answers["larger"][0] == "equivalent"
    assert answers["at_least"][0] != "equivalent"  # its bound is another than 0
    assert [one.status for one in settle(*asked(tmp_path, margin=1e-5))] == ["undecided"]


def test_a_look_sees_the_first_seeds_only_and_not_whatever_else_exists(tmp_path):
    """Only seed 3 has a difference, and the look at 5 seeds is not there yet."""
    for seed in range(4):
        for scheduler, high in (("onecycle", 0.9), ("cosine", 0.5)):
            dice = np.full(10, 0.7 + 0.01 * seed * (1 if scheduler == "cosine" else -1) if seed < 3 else high)
            finish(tmp_path, f"scheduler={scheduler}", dice=dice + np.arange(10) / 100, seed=seed)
    (answer,) = settle(*asked(tmp_path, file_of(larger=LARGER)))
    assert answer.look == 0 and answer.results[0][0].seeds == (3, 3) and answer.status == "undecided"
    assert settle(*asked(tmp_path, first_seed=1))[0].results[0][0].seeds == (3, 3)


def images_of(*steps):
    """Dice of 20 images for each seed, (seeds, images), in thousandths; a step is 0.00005 of a seed's mean."""
    return (
        np.array([(np.linspace(500, 900, 20).round() + (np.arange(20) < step % 20) + step // 20) for step in steps])
        / 1000
    )


def test_a_verdict_stays_whatever_later_seeds_say(tmp_path):
    """The 5 seeds alone would say equivalent, and more clearly than the first 3 say that it holds."""
    better, worse = images_of(60, 73, 47, 18, 22), images_of(0, 7, -7, 1, -1)
    assert Drawn((better, worse), 0.0).at(1).status == "equivalent"
    for seed in range(5):
        finish(tmp_path, "scheduler=onecycle", dice=better[seed], seed=seed)
        finish(tmp_path, "scheduler=cosine", dice=worse[seed], seed=seed)
    assert statuses(tmp_path, larger=LARGER) == {"larger": ("holds", 0)}


def test_a_difference_that_is_shown_is_told_also_within_the_margin():
    better, worse = images_of(40, 42, 38), images_of(0, 1, -1)
    assert Drawn((better, worse), 0.0).at(0).status == "holds"
    assert Drawn((worse, better), 0.0).at(0).status == "reversed"
    assert Drawn((worse, worse[::-1]), 0.0).at(0).status == "equivalent"


def test_each_question_has_its_share_of_the_errors():
    arms = images_of(60, 73, 47), images_of(0, 7, -7)
    alone, of_ten = (Drawn(arms, 0.0, questions=number).at(0) for number in (1, 10))
    assert (alone.status, of_ten.status) == ("holds", "undecided")
    assert of_ten.p_adjusted == pytest.approx(10 * alone.p_adjusted)


def test_after_the_last_look_nothing_more_is_asked_for(tmp_path, monkeypatch):
    for module in ("claims.settling", "claims.settled", "statistics.sequential"):
        monkeypatch.setattr(f"src.analysis.{module}.LADDER", (3,))
    for scheduler in ("onecycle", "cosine"):
        replicates(tmp_path, f"scheduler={scheduler}", seeds=3)
    records, questions, rules = asked(tmp_path)
    answers = settle(records, questions, rules)
    assert answers[0].status == "undecided" and next_seeds(answers, records, rules, 60) == {}
    assert "more runs than anyone has" in answers_lines(answers, records, rules)[1]


def test_rules_from_a_file_are_checked_and_their_names_are_one_line():
    rules = {"asked": "best", "settings": {"a": "x\ny\x1b[31m"}, "first_seed": 0, "margin": 0.005}
    assert Rules.model_validate(rules).settings == {"a": "x y\\x1b[31m"}
    for wrong in ({"margin": 1.0}, {"margin": 0.0}, {"first_seed": -1}):
        with pytest.raises(ValidationError):
            Rules.model_validate(rules | wrong)


def test_intervals_and_p_values_allow_for_the_looks(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", seeds=3)
    replicates(tmp_path, "scheduler=cosine", seeds=3)
    (answer,) = settle(*asked(tmp_path, file_of(larger=LARGER)))
    (comparison,) = answer.results[0]
    assert comparison.confidence == pytest.approx(1 - 0.05 * 0.16)
    raw = min(comparison.p_confirming, comparison.p_contradicting, comparison.estimate.p_within(-0.005, 0.005))
    assert answer.p_adjusted == pytest.approx(min(1, raw / 0.16))


def test_curves_single_images_and_missing_settings_are_left_out_with_the_reason(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", seeds=3)
    curve = {"type": "curve", "rule": "turns_upward", "after": 0.5, "side": ONE}
    worst = {"type": "level", "measure": "test_dice_min", "side": ONE, "at_most": 0.01}
    file = file_of(curve=curve, worst=worst, larger=LARGER, level={**worst, "measure": "test_dice"})
    questions, left_out = questions_on_claims(file, settings_of(load_records([tmp_path])))
    assert [question.name for question in questions] == ["level"]
    assert [line.partition(",")[0] for line in left_out] == [
        "curve: is about the shape of a curve",
        "worst: is about a single image",
        "larger: not all of its settings are in this sweep",
    ]


@pytest.mark.long
def test_the_next_seeds_are_those_of_the_first_look_then_of_what_is_undecided_within_the_budget(tmp_path):
    rules = Rules(asked="best", settings=dict.fromkeys("abc", "x"), first_seed=0, margin=0.005)
    answers = settle(no_records(), questions_on_best(rules.settings), rules)
    assert next_seeds(answers, no_records(), rules, 9) == {"a": 3, "b": 3, "c": 3}
    replicates(tmp_path, "scheduler=onecycle", mean=0.85, seeds=3, spread=0.004)
    replicates(tmp_path, "scheduler=poly", mean=0.845, seeds=3, spread=0.004)
    replicates(tmp_path, "scheduler=cosine", mean=0.70, seeds=3, spread=0.004)
    records, questions, rules = asked(tmp_path)
    answers = settle(records, questions, rules)
    lost = beaten(answers)
    assert {rules.settings[one] for one in lost} == {"cosine"} and rules.settings[
        leader(answers, records, rules)
    ] != "cosine"
    assert next_seeds(answers, records, rules, 60) == dict.fromkeys(set(rules.settings) - lost, 5)
    assert next_seeds(answers, records, rules, 12) == {}  # 9 exist, and the next look takes 4
    assert answers_lines(answers, records, rules)[0].endswith("worse: cosine; undecided: poly") or "onecycle" in lost


def test_a_question_that_no_seeds_decide_gets_none(tmp_path):
    for scheduler in ("onecycle", "cosine"):
        for seed in range(3):
            finish(tmp_path, f"scheduler={scheduler}", dice=np.arange(10) / 20, seed=seed)
    records, questions, rules = asked(tmp_path)
    answers = settle(records, questions, rules)
    assert "identical" in answers[0].problem and next_seeds(answers, records, rules, 60) == {}


def test_failed_runs_have_ended_and_more_seeds_are_asked_for(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", mean=0.85, seeds=3)
    replicates(tmp_path, "scheduler=cosine", mean=0.80, seeds=2)
    fail(tmp_path, "scheduler=cosine", seed=2)
    records, questions, rules = asked(tmp_path)
    (answer,) = answers = settle(records, questions, rules)
    assert (answer.look, answer.status, answer.problem) == (0, "undecided", None)
    assert next_seeds(answers, records, rules, 60) == dict.fromkeys(rules.settings, 5)


def test_other_rules_and_runs_that_were_judged_before_are_refused(tmp_path):
    replicates(tmp_path / "a", "scheduler=onecycle", seeds=3)
    replicates(tmp_path / "a", "scheduler=cosine", seeds=3)
    records, _, rules = asked(tmp_path / "a")
    check_rules(tmp_path / "a", rules, records)
    keep_rules(tmp_path / "a", rules)
    check_rules(tmp_path / "a", rules.model_copy(update={"settings": dict.fromkeys(rules.settings, "y")}), records)
    with pytest.raises(ConfigError, match=r"by other rules \(margin=0.005\); keep those, or take new seeds"):
        check_rules(tmp_path / "a", rules.model_copy(update={"margin": 0.01}), records)
    look = '{"time": "2999-01-01T00:00:00+00:00", "runs": 3, "digest": "x"}\n'
    (tmp_path / "a" / "looks.jsonl").write_text(look)
    check_rules(tmp_path / "a", rules, records)  # a look after settling began
    (tmp_path / "a" / "looks.jsonl").unlink()
    (tmp_path / "a" / "settle.json").unlink()
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # as runs of one sweep are reused in another
    (tmp_path / "b" / "looks.jsonl").write_text(look)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(ConfigError, match="6 runs had been judged by other"):
        patched.setattr("src.analysis.claims.settled._now", lambda: "2999-02-01T00:00:00+00:00")
        check_rules(tmp_path / "a", rules, records)
    check_rules(tmp_path / "a", rules.model_copy(update={"first_seed": 3}), records)


def test_an_aggregation_has_the_settled_verdicts(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", seeds=5, spread=0.0005)
    replicates(tmp_path, "scheduler=cosine", seeds=5, spread=0.0005)
    file = file_of(larger=LARGER, missing={**LARGER, "where": {"model": "none"}})
    records, _, rules = asked(tmp_path, file)
    assert settled_answers(None, records, file) == [] and settled_sentence(None, []) is None
    keep_rules(tmp_path, rules)
    answers = settled_answers(read_rules(tmp_path), records, file)
    verdicts = with_answers(judge(records, settings_of(records), file), answers)
    assert [one.status for one in verdicts] == ["equivalent", "undecided"]
    assert "over all looks and questions" in verdicts[0].reason
    assert settled_sentence(rules, answers).endswith("Equivalent means a difference within 0.5 points.")
    assert answers_lines(answers, records, rules)[0].startswith("larger: equivalent within 0.5 points, look")
    assert settled_answers(rules, records, None) == []
    (tmp_path / "settle.json").write_text("[]")
    with pytest.raises(ValueError, match=r"is not what src\.settle keeps"):
        read_rules(tmp_path)


def test_config_of_settings_has_the_values_of_recorded_ones(tmp_path):
    replicates(tmp_path, "scheduler=onecycle", seeds=1)
    (recorded,) = settings_of(load_records([tmp_path]))
    config = config_of("scheduler=onecycle").model_dump(mode="json")
    (planned,) = planned_settings({"c": (config, recorded.values["fingerprint"])})
    assert {**planned.values, "train_images": 90} == recorded.values
