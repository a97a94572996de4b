"""Sentences and cells of a report."""

import re

import numpy as np
import pytest

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.effects import factor_effects, seed_plan
from src.analysis.claims.ranking import settings_scores
from src.analysis.claims.verdicts import judge
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.page import terminal_text
from src.analysis.report.report import make_report
from src.analysis.report.sentences import (
    answer_sentences,
    best_setting_sentences,
    conditions_text,
    effect_sentences,
    verdict_counts_text,
)
from src.analysis.report.tables import (
    claim_rows,
    comparison_rows,
    effect_columns,
    extreme_images,
    group_columns,
    needs_reason,
    plan_columns,
    run_columns,
    settings_columns,
)
from tests.analysis import sweeps
from tests.analysis.recorded import finish, replicates


def known(*folders):
    records = load_records(folders)
    return records, settings_of(records)


def constant(sweep, scheduler, *dice, **facts):
    """A run for each of `dice`, the same for both of its images."""
    for seed, value in enumerate(dice):
        finish(sweep, f"scheduler={scheduler}", dice=[value, value], seed=seed, **facts)


@pytest.fixture
def three(tmp_path):
    """OneCycle 0.8, cosine 0.7 and constant 0.6, each with seeds that differ by 0.01; seconds a run: 70."""
    for scheduler, mean in (("onecycle", 0.8), ("cosine", 0.7), ("constant", 0.6)):
        constant(tmp_path, scheduler, mean - 0.01, mean, mean + 0.01)
    return tmp_path


# the standard error of a mean of three is 0.01 / sqrt(3), and Student's quantile with 2 degrees of freedom 4.303;
# of a difference sqrt(2) times that, with 4 degrees of freedom 2.776
def test_the_table_of_settings(three):
    records, settings = known(three)
    assert settings_columns(settings_scores(records, settings), settings) == {
        "scheduler": ["onecycle", "cosine", "constant"],
        "seeds": ["3", "3", "3"],
        "test Dice": ["0.8000 ± 0.0248", "0.7000 ± 0.0248", "0.6000 ± 0.0248"],
        "test IoU": ["0.6667 ± 0.0345", "0.5385 ± 0.0294", "0.4286 ± 0.0253"],
        "median": ["0.8000", "0.7000", "0.6000"],
        "std": ["0.0000"] * 3,
        "min": ["0.7900", "0.6900", "0.5900"],
        "max": ["0.8100", "0.7100", "0.6100"],
        "points behind the best [95 %]": ["", "10.00 [7.73, 12.27]", "20.00 [17.73, 22.27]"],
        "time per run": ["1m 10s"] * 3,
        "reported Dice": [""] * 3,
    }


def test_what_was_reported_stands_beside_where_there_is_something(three):
    records, settings = known(three)
    printed = [
        {"setting": {"scheduler": "cosine"}, "numbers": {"test_dice": 0.9209}},
        {"setting": {"scheduler": "constant"}, "numbers": {"test_dice": [0.9226, 0.9242]}},
    ]
    claim = {"says": "x", "test": {"type": "level", "measure": "test_dice", "side": {}, "at_least": 0}}
    file = ClaimFile.model_validate(
        {"source": "me", "where": {}, "reported_with": {}, "printed": printed, "claims": {"X": claim}}
    )
    assert settings_columns(settings_scores(records, settings, [file]), settings)["reported Dice"] == [
        "",
        "0.9209",
        "0.9226 to 0.9242",
    ]


def test_unfinished_runs_show_in_the_number_of_seeds(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0}, {"seed": 1})
    records, settings = known(tmp_path)
    table = settings_columns(settings_scores(records, settings), settings)
    assert {name: cells for name, (cells,) in table.items()} == {
        "setting": "all runs",
        "seeds": "0 of 2",
        **dict.fromkeys(["test Dice", "test IoU", "median", "std", "min", "max"], "-"),
        "points behind the best [95 %]": "-",
        "time per run": "-",
        "reported Dice": "",
    }


def test_the_answer(three):
    constant(three, "poly", 0.805, 0.79, 0.799)
    constant(three, "plateau", 0.5)
    records, settings = known(three)
    assert best_setting_sentences(settings_scores(records, settings)) == [
        "Best mean test Dice: onecycle with 0.8000 ± 0.0248 (3 seeds).",
        # the seeds of poly differ by 0.0075, and Student's quantile with 3.7 degrees of freedom is 2.86
        "It is not significantly better than the next, poly (by 0.20 points [−1.87, 2.27]).",
        "As the best of 4 its 95 % interval is 0.7488 to 0.8248; first in 67 % of resamples.",
        "It is better than cosine (by 10.00 points); constant (by 20.00 points).",
        "No verdict on settings with fewer than 3 seeds: plateau.",
    ]


def test_the_answer_for_each_data_set(tmp_path):
    for data in ("aaaaaaaaaa", "bbbbbbbbbb"):
        constant(tmp_path / data, "cosine", 0.7, fingerprint=data)
    records, settings = known(tmp_path / "aaaaaaaaaa", tmp_path / "bbbbbbbbbb")
    assert sorted(best_setting_sentences(settings_scores(records, settings))) == [
        "Best mean test Dice: data aaaaaaaa with 0.7000 (1 seed).",
        "Best mean test Dice: data bbbbbbbb with 0.7000 (1 seed).",
        "No verdict on settings with fewer than 3 seeds: data aaaaaaaa.",
        "No verdict on settings with fewer than 3 seeds: data bbbbbbbb.",
    ]


def test_there_is_no_answer_without_a_finished_run(tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    records, settings = known(tmp_path)
    assert best_setting_sentences(settings_scores(records, settings)) == []


def rows_of(sweep, scale, **tests):
    claims = {name: {"says": f"{name}!", "reported": "nothing much", "test": test} for name, test in tests.items()}
    file = ClaimFile.model_validate({"source": "Report Z", "where": {}, "reported_with": scale, "claims": claims})
    records, settings = known(sweep)
    verdicts = judge(records, settings, file)
    parts = comparison_rows(verdicts)
    rows = {row["name"]: row for row in claim_rows(verdicts)}
    return (
        file,
        verdicts,
        {name: {**row, "parts": [p for p in parts if p["claim"] == name]} for name, row in rows.items()},
    )


ONE, COS, CON = ({"scheduler": name} for name in ("onecycle", "cosine", "constant"))


def test_a_claim_and_its_comparison(three):
    test = {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": COS, "reported": [0.93, 0.92]}
    _, verdicts, rows = rows_of(three, {}, A=test)
    row = rows["A"]
    assert (row["says"], row["verdict"], row["reason"], row["p (Holm)"]) == ("A!", "holds", "", "< 0.001")
    assert row["reported"] == "nothing much"
    assert row["parts"] == [
        {
            "claim": "A",
            "part": "",
            "metric": "test Dice",
            "comparison": "onecycle − cosine",
            "effect": "+10.00 points",
            "interval": "+7.73 to +12.27",
            "seeds": "3 + 3",
            "images": "2 images",
            "scope": "new seeds and new images",
            "reported": "+1.00 points",
            "notes": "",
        }
    ]
    assert verdict_counts_text(verdicts) == "1 holds"


def test_what_all_sides_share_stands_in_brackets(tmp_path):
    for scheduler in ("onecycle", "cosine"):
        for lr in ("0.1", "0.01"):
            replicates(tmp_path, f"scheduler={scheduler}", f"optimizer.lr={lr}")
    difference = {"type": "difference", "measure": "train_seconds", "higher": ONE, "lower": COS}
    gains = [[{"scheduler": name, "optimizer.lr": lr} for name in ("onecycle", "cosine")] for lr in (0.1, 0.01)]
    interaction = {"type": "interaction", "measure": "test_dice", "larger_gain": gains[0], "smaller_gain": gains[1]}
    level = {"type": "level", "measure": "test_dice", "side": {**ONE, "optimizer.lr": 0.1}, "at_least": 0.5}
    _, _, rows = rows_of(tmp_path, {}, D=difference, I=interaction, L=level)
    assert [part["comparison"] for part in rows["D"]["parts"]] == [
        "onecycle ÷ cosine (lr 0.01)",
        "onecycle ÷ cosine (lr 0.1)",
    ]
    assert rows["D"]["parts"][0]["effect"] == "1 times" and rows["D"]["parts"][0]["notes"].startswith(
        "on NVIDIA H200; "
    )
    (part,) = rows["I"]["parts"]
    assert part["comparison"] == "(onecycle, lr 0.1 − cosine, lr 0.1) − (onecycle, lr 0.01 − cosine, lr 0.01)"
    assert part["seeds"] == "3 + 3 + 3 + 3"
    assert rows["L"]["parts"][0]["comparison"] == "onecycle, lr 0.1"


def test_a_claim_without_runs(three):
    test = {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": {"scheduler": "poly"}}
    _, verdicts, rows = rows_of(three, {}, A=test)
    assert (rows["A"]["verdict"], rows["A"]["p (Holm)"]) == ("undecided", "")
    assert rows["A"]["reason"] == "runs missing: none finished with scheduler poly"
    assert verdict_counts_text(verdicts) == "1 undecided"


def test_reasons_that_begin_alike_are_said_once(three):
    parts = [
        {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": {"scheduler": name}}
        for name in ("poly", "plateau")
    ]
    _, _, rows = rows_of(three, {}, A={"type": "all_of", "parts": parts})
    assert (
        rows["A"]["reason"] == "runs missing: none finished with scheduler poly; none finished with scheduler plateau"
    )


def test_in_what_the_runs_are_not_of_the_reported_size(three):
    test = {"type": "difference", "measure": "test_dice", "higher": ONE, "lower": COS}
    scale = {"model.width": 64, "trainer.epochs": 6, "train_images": 3312}
    file, verdicts, _ = rows_of(three, scale, A=test)
    assert conditions_text(file, verdicts) == (
        "Conditions differ from Report Z: model.width 8 (reported: 64); train_images 90 (reported: 3312)."
    )


def test_the_table_of_effects(three):
    records, settings = known(three)
    columns = effect_columns(factor_effects(records, settings, ["scheduler"]))
    assert columns == {
        "comparison": [
            "scheduler: cosine − constant",
            "scheduler: onecycle − constant",
            "scheduler: onecycle − cosine",
        ],
        "points": ["+10.00", "+20.00", "+10.00"],
        "95 % interval": ["+7.73 to +12.27", "+17.73 to +22.27", "+7.73 to +12.27"],
        "seeds": ["3 + 3"] * 3,
        "first wins, %": ["100 [99, 100]", "100 [100, 100]", "100 [99, 100]"],
        "r of seeds": ["1.00"] * 3,
        "p (Holm)": ["< 0.001"] * 3,
        "verdict": ["cosine is better", "onecycle is better", "onecycle is better"],
        "note": ["", "", ""],
    }


def test_what_is_settled_is_said_in_the_answer(three):
    replicates(three, "scheduler=cosine", "optimizer.lr=0.5", mean=0.7, spread=0.05)
    records, settings = known(three)
    assert effect_sentences(factor_effects(records, settings, ["scheduler"])) == [
        "cosine beats constant by 10.00 points [7.73, 12.27] (lr 0.001).",
        "onecycle beats constant by 20.00 points [17.73, 22.27] (lr 0.001).",
        "onecycle beats cosine by 10.00 points [7.73, 12.27] (lr 0.001).",
    ]


def test_the_answer_tells_what_each_factor_does_and_over_what(tmp_path):
    for model, mean in (("unet", 0.8), ("resnet34_unet", 0.7)):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", mean=mean)
    first, second, best, *_ = answer_sentences(make_report([tmp_path]))
    assert re.fullmatch(
        r"unet beats resnet34_unet by 9\.\d\d points \[9\.\d\d, 10\.\d\d\] over both schedulers\.", first
    )
    assert second.startswith("onecycle and cosine do not differ significantly over both networks (onecycle − cosine: ")
    assert best.startswith("Best mean test Dice: unet, ")


def test_a_factor_of_several_contexts_names_what_they_combine(tmp_path):
    for model in ("unet", "resnet34_unet"):
        for scheduler in ("cosine", "onecycle"):
            for lr, mean in (("0.1", 0.7), ("0.01", 0.8)):
                replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", f"optimizer.lr={lr}", mean=mean)
    records, settings = known(tmp_path)
    (sentence,) = effect_sentences(factor_effects(records, settings, ["optimizer.lr"]))
    assert sentence.startswith("lr 0.01 beats lr 0.1 by ")
    assert sentence.endswith(" over all 4 combinations of model, scheduler.")


def test_the_table_of_seeds(tmp_path):
    for scheduler in ("constant", "cosine"):
        constant(tmp_path, scheduler, 0.69, 0.7, 0.71)
    records, settings = known(tmp_path)
    effects = factor_effects(records, settings, ["scheduler"])
    assert plan_columns(seed_plan(records, effects, min_effect=0.01)) == {
        "comparison": ["scheduler: cosine − constant"],
        "seeds now": ["3"],
        # 28 runs of 70 s; with 4 degrees of freedom the variance may well be 0.51 to 3.76 times the one seen
        "for these images": ["17 (10 to 61), 0.5 h more"],
        "for new images": ["17 (10 to 61), 0.5 h more"],
        "minimum test images": ["-"],
    }
    assert plan_columns(seed_plan(records, effects, min_effect=0.0001))["for these images"] == ["more than 1,000"]


def test_a_difference_that_is_found_is_not_planned(three):
    records, settings = known(three)
    assert seed_plan(records, factor_effects(records, settings, ["scheduler"])).empty


def test_the_hardest_and_the_easiest_images(tmp_path):
    for seed, dice in enumerate([[0.2, 0.9, 0.5], [0.4, 0.9, 0.3]]):
        finish(tmp_path, dice=dice, seed=seed)
    assert extreme_images(*known(tmp_path))["worst"] == {
        "image": ["Pet_0", "Pet_2", "Pet_1"],
        "mean Dice": ["0.3000", "0.4000", "0.9000"],
        "worst run": ["0.2000", "0.3000", "0.9000"],
        "best run": ["0.4000", "0.5000", "0.9000"],
    }
    assert extreme_images(*known(tmp_path))["best"]["image"] == ["Pet_1", "Pet_2", "Pet_0"]


def test_runs_that_do_not_count_and_why(tmp_path):
    finish(tmp_path, "debug=one_batch", dice=[0.5])
    sweeps.fail(tmp_path, "CUDA\nout of memory")
    sweeps.fail(tmp_path, "stopped by SIGTERM", "interrupted", seed=1)
    records, _ = known(tmp_path)
    columns = run_columns(records.runs[needs_reason(records.runs)])
    assert dict(zip(columns["status"], columns["reason"], strict=True)) == {
        "finished": "a debug run: it saw only a few batches",
        "failed": "CUDA out of memory",
        "interrupted": "stopped by SIGTERM",
    }


def test_a_mean_that_hides_opposite_effects_says_so(tmp_path):
    for model, sign in (("unet", 1), ("resnet34_unet", -1)):
        for scheduler, gain in (("cosine", 0.0), ("onecycle", 0.05 * sign + 0.02)):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", mean=0.7 + gain, seeds=4)
    records, settings = known(tmp_path)
    word, *_ = effect_columns(factor_effects(records, settings, ["scheduler"]))["verdict"]
    assert word == "onecycle is better with unet; cosine is better with resnet34_unet"


def test_a_terminal_gets_the_columns_that_matter_most(three, monkeypatch):
    report = make_report([three])
    for columns in (200, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = terminal_text(report).strip().splitlines()
        assert re.split(" {2,}", lines[-4]) == [
            *("scheduler", "seeds", "test Dice", "points behind the best [95 %]", "time per run")
        ]
        assert max(map(len, lines[-4:])) <= 88


def verdicts_over_contexts(sweep, **gains):
    """What is said of onecycle over cosine, where it gains this much with each network."""
    for model, gain in gains.items():
        for scheduler, more in (("cosine", 0.0), ("onecycle", gain)):
            replicates(sweep, f"model={model}", f"scheduler={scheduler}", mean=0.7 + more, seeds=4)
    records, settings = known(sweep)
    return factor_effects(records, settings, ["scheduler"])


def test_an_effect_in_one_context_of_three_is_said_of_that_context(tmp_path):
    mean, *_ = found = verdicts_over_contexts(tmp_path, unet=0.06, resnet34_unet=0.0, unet_bias=0.0)
    (sentence,) = effect_sentences(found)
    assert sentence.endswith(": onecycle is better with unet; undecided with resnet34_unet and unet_bias.")
    assert mean.depends and mean.status == "better" and not mean.is_everywhere


def test_an_effect_that_each_context_shows_needs_no_contexts(tmp_path):
    assert effect_columns(verdicts_over_contexts(tmp_path, unet=0.04, resnet34_unet=0.03))["verdict"] == [
        "onecycle is better",
        "",
        "",
    ]


def test_an_effect_that_only_the_mean_shows_is_one_on_average(tmp_path):
    for model, noise in (("unet", 0.0), ("resnet34_unet", 0.04)):
        for scheduler, gain in (("cosine", 0.0), ("onecycle", 0.05)):
            for seed, offset in enumerate((-1.0, -0.3, 0.3, 1.0)):
                dice = 0.7 + gain + (noise + 0.002) * offset * (1 if scheduler == "cosine" else 0.9)
                finish(tmp_path, f"model={model}", f"scheduler={scheduler}", dice=[dice, dice - 0.1], seed=seed)
    records, settings = known(tmp_path)
    mean, *parts = factor_effects(records, settings, ["scheduler"])
    assert [part.status for part in parts] == ["undecided", "better"] and mean.p_adjusted < 0.05
    assert effect_columns([mean])["verdict"] == ["onecycle is better on average"]


def test_a_verdict_on_more_than_a_mean_says_that_it_is_for_these_images(three):
    tests = {"M": {"type": "difference", "measure": "test_dice_median", "higher": ONE, "lower": COS}}
    _, _, rows = rows_of(three, {}, **tests, D={**tests["M"], "measure": "test_dice"})
    assert (rows["M"]["says"], rows["D"]["says"]) == ("M! [for these test images only]", "D!")


def test_dice_of_oxford_pets_by_species_and_breed(tmp_path):
    stems = {"Pet_0": "Abyssinian_1", "Pet_1": "Abyssinian_2", "Pet_2": "beagle_1", "Pet_3": "Bengal_7"}
    for scheduler, less in (("cosine", 0.0), ("onecycle", 0.1), ("constant", 0.3)):
        for seed in range(3):
            dice = np.array([0.9, 0.7, 0.6, 0.5]) - less
            record = finish(tmp_path, "data=oxford_pet", f"scheduler={scheduler}", dice=dice, seed=seed)
            table = record.folder / "test_images.csv"
            table.write_text(re.sub(r"Pet_\d", lambda found: stems[found[0]], table.read_text()))
    records, settings = known(tmp_path)
    assert group_columns(records, settings, settings_scores(records, settings)) == {
        "group": ["dog", "cat", "Bengal", "beagle", "Abyssinian"],
        "images": ["1", "3", "1", "1", "2"],
        "cosine": ["0.6000", "0.7000", "0.5000", "0.6000", "0.8000"],
        "onecycle": ["0.5000", "0.6000", "0.4000", "0.5000", "0.7000"],
    }


def test_images_of_other_data_have_no_groups(three):
    records, settings = known(three)
    assert group_columns(records, settings, settings_scores(records, settings)) == {}
