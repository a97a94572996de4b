"""What a report says of a search: chosen is not confirmed."""

import json

import pandas as pd
import pytest

from src.analysis.records.searches import read_searches
from src.analysis.report.figures import pictures_of
from src.analysis.report.report import make_report
from src.analysis.report.searched import chosen_columns, confirmed_effects, importance_columns, searches_of
from src.analysis.report.sections import sections_of
from tests.analysis.recorded import finish

IMAGES = 6


def dice(mean, seed):
    return [mean + 0.01 * (image - 2.5) + 0.002 * seed for image in range(IMAGES)]


@pytest.fixture
def sweep(tmp_path):
    """Four trials of seed 0, of which the best, lr 0.01, is confirmed on the seeds 1 to 3 beside lr 0.001."""
    rates = (0.001, 0.01, 0.02, 0.03)
    trials, ids = [], []
    for lr, valid in zip(rates, (0.5, 0.9, 0.8, 0.7), strict=True):
        record = finish(
            tmp_path / "sweep", f"optimizer.lr={lr}", dice=dice(0.99, 0), curves={"valid_dice": [valid] * 2}
        )
        run = record.read()
        ids.append(run["config_id"])
        known = {"run_id": run["run_id"], "config_id": run["config_id"], "pruned_after_epoch": None}
        trials.append({"values": {"optimizer.lr": lr}, "status": "finished", "valid_dice": valid, **known})
    for seed in (1, 2, 3):
        finish(tmp_path / "sweep", "optimizer.lr=0.001", dice=dice(0.5, seed), seed=seed)
        finish(tmp_path / "sweep", "optimizer.lr=0.01", dice=dice(0.7, -seed), seed=seed)
    confirm = {"seeds": [1, 2, 3], "settings": [ids[1]], "baseline": ids[0]}
    content = {"schema": 1, "searches": {"mine": {"trials": trials, "confirm": confirm}}}
    (tmp_path / "sweep/search.json").write_text(json.dumps(content))
    return tmp_path / "sweep"


def test_the_best_setting_is_judged_on_the_seeds_that_confirm_it(sweep):
    report = make_report([sweep])
    (search,) = read_searches(sweep).values()
    (effect,) = confirmed_effects(report.records, report.settings, search)
    # means over the seeds 1 to 3: 0.7 - 0.004 and 0.5 + 0.004
    assert effect.comparison.estimate.value == pytest.approx(0.192) and effect.status == "better"
    assert effect.comparison.seeds == (3, 3)
    ((_, _, trials),) = searches_of(report.records)
    chosen = chosen_columns(search, trials)
    assert chosen["optimizer.lr"] == ["0.01", "0.02", "0.03", "0.001"]
    assert chosen["validation Dice, chosen"] == ["0.9000", "0.8000", "0.7000", "0.5000"]


def test_the_page_says_what_is_chosen_and_what_is_confirmed(sweep):
    report = make_report([sweep])
    pictures = pictures_of(report.records, report.settings, report.scores, report.effects)
    drawn = [picture.figure() for picture in pictures if picture.section == "search_1"]
    (section,) = [one for one in sections_of(report, pictures, sweep) if one.id == "search_1"]
    assert len(drawn) == 2 and section.title == "Search mine"
    assert section.text.startswith("4 trials: 4 finished. Each trial is one run with one seed, and the best validation")
    # the page leaves out what each key explains, since no two trials share a level
    assert [table.caption.partition(":")[0] for table in section.tables] == ["Best trials", "Confirmed on new seeds"]
    (runs,) = [one.tables[0].columns for one in sections_of(report, pictures, sweep) if one.id == "runs"]
    assert [cell for cell in runs["test Dice"] if cell.startswith("0.9")] == [] and runs["test Dice"].count("-") == 4
    assert "Confirmed are the differences below: at full length, on seeds 1, 2, 3, which no trial had" in section.text
    assert report.scores["mean"].max() < 0.9  # the trials have 0.99 on the test images


def test_a_key_that_decides_the_dice_explains_all_of_it_and_another_one_nothing():
    rows = [("a", "c", 0.1), ("a", "d", 0.1), ("b", "c", 0.9), ("b", "d", 0.9)]
    table = pd.DataFrame(rows, columns=["first", "second", "dice"]).assign(number=range(4), status="finished")
    assert importance_columns(table) == {"key": ["first", "second"], "share of the variance": ["100 %", "0 %"]}
