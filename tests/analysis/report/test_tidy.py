"""The tables for pandas: numbers stay numbers, in one unit, and every run is in them."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.report import tidy
from src.analysis.report.report import make_report
from src.display.text import write_csv
from tests.analysis.recorded import fail, finish
from tests.conftest import PROJECT

CHOICES = ["unet", "bce", "adamw", "onecycle", "flip_jitter", "synthetic"]
CLAIMS = ClaimFile.model_validate(
    {
        "source": "me",
        "where": {},
        "reported_with": {},
        "claims": {
            "quality": {
                "says": "OneCycle is better",
                "test": {
                    "type": "difference",
                    "measure": "test_dice",
                    "higher": {"scheduler": "onecycle"},
                    "lower": {"scheduler": "cosine"},
                    "reported": [0.9, 0.8],
                },
            },
            "time": {
                "says": "OneCycle takes twice as long",
                "test": {
                    "type": "difference",
                    "measure": "train_seconds",
                    "higher": {"scheduler": "onecycle"},
                    "lower": {"scheduler": "cosine"},
                    "at_least": 1.5,
                },
            },
        },
    }
)


def constant(sweep, scheduler, *dice, seconds=10.0, **facts):
    """A run for each of `dice`, the same for both of its images; seeds take 1 % more time from one to the next."""
    for seed, value in enumerate(dice):
        finish(sweep, f"scheduler={scheduler}", dice=[value] * 2, seed=seed, seconds=seconds * 1.01**seed, **facts)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """OneCycle around 0.8, cosine 0.1 worse, also with another learning rate and mixup; a failed and a broken run."""
    sweep = tmp_path_factory.mktemp("tidy") / "sweep"
    constant(sweep, "onecycle", 0.79, 0.80, 0.81, seconds=20.0)
    constant(sweep, "cosine", 0.69, 0.70, 0.71)
    finish(sweep, "scheduler=cosine", "optimizer.lr=0.01", dice=[0.5, 0.75])
    finish(sweep, "scheduler=cosine", "mix=mixup", dice=[0.25, 0.25])
    fail(sweep, "scheduler=poly", reason="=RuntimeError: a − b")
    (sweep / "broken").mkdir()
    (sweep / "broken" / "run.json").write_text("{")
    return sweep


@pytest.fixture(scope="module")
def report(sweep):
    return make_report([sweep], [CLAIMS])


@pytest.fixture(scope="module")
def read(report, tmp_path_factory):
    """Every table as pandas reads it from its file without being told anything."""
    folder = tmp_path_factory.mktemp("files")
    for name, table in tidy.tidy_tables(report):
        write_csv(folder / name, table)
    return {path.name: pd.read_csv(path) for path in folder.iterdir()}


def test_every_run_is_a_row_with_its_factors_and_what_became_of_it(read, sweep):
    runs = read["runs.csv"].set_index("run_id")
    assert len(runs) == 10
    assert runs["status"].value_counts().to_dict() == {"finished": 8, "failed": 1, "unreadable": 1}
    best = runs[runs["test_dice"].eq(0.81)].iloc[0]
    assert best[["model", "loss", "optimizer", "scheduler", "augmentation", "data"]].tolist() == CHOICES
    assert (best["setting"], best["mix"], best["optimizer.lr"], best["seed"]) == ("onecycle, lr 0.001", "off", 0.001, 2)
    assert best["seconds"] == pytest.approx(140 * 1.01**2)
    assert (best["included"], best["folder"]) == (True, f"{sweep}/{best.name}")
    failed, broken = runs[runs["status"].eq("failed")].iloc[0], runs.loc["broken"]
    assert (failed["scheduler"], failed["failure_kind"]) == ("poly", "own")
    assert failed["reason"] == "'=RuntimeError: a − b"  # text of a record, which a spreadsheet must not compute
    assert "is not valid JSON" in broken["reason"] and math.isnan(broken["seed"])


def test_epochs_and_images_name_their_run(read, report):
    epochs, images = read["epochs.csv"], read["images.csv.gz"]
    assert epochs.groupby("run_id").size().tolist() == [6] * 8  # none of the failed run is on record
    assert set(epochs["setting"]) == set(report.scores["setting"]) - {"poly, lr 0.001"}
    assert len(images) == 8 * 2
    own = images[images["setting"].eq("cosine, lr 0.01")]
    assert own[["seed", "stem", "dice", "tp", "fp", "fn"]].values.tolist() == [
        [0, "Pet_0", 0.5, 500, 500, 500],
        [0, "Pet_1", 0.75, 750, 250, 250],
    ]
    pd.testing.assert_series_equal(images["iou"], tidy.images(report, tidy.runs(report))["iou"], check_exact=True)


# the standard error of a difference of means of three seeds that differ by 0.01 is 0.01 * sqrt(2 / 3), with 4 degrees
# of freedom, and Student's quantile then 2.776
SE = 0.01 * math.sqrt(2 / 3)


def test_settings_have_their_factors_and_dice_in_0_to_1(read):
    settings = read["settings.csv"].set_index("setting")
    assert list(settings.index) == [
        "onecycle, lr 0.001",
        "cosine, lr 0.001",
        "cosine, lr 0.01",
        "cosine, mixup, lr 0.001",
        "poly, lr 0.001",
    ]
    cosine = settings.loc["cosine, lr 0.001"]
    assert (cosine["scheduler"], cosine["optimizer.lr"], cosine["seeds"]) == ("cosine", 0.001, 3)
    assert cosine[["mean", "behind", "behind_low"]].tolist() == pytest.approx([0.7, 0.1, 0.1 - 2.776 * SE], abs=1e-5)
    assert cosine["seconds"] == pytest.approx(70 * (1 + 1.01 + 1.01**2) / 3)


def test_a_comparison_has_its_numbers_and_its_sides(read):
    (row,) = (
        read["comparisons.csv"].query("factor == 'scheduler' and not first.str.contains('poly')").to_dict("records")
    )
    sign = 1 if row["first"] == "onecycle" else -1
    assert row["comparison"].startswith(f"scheduler: {row['first']} - {row['second']}")
    assert row["estimate"] == pytest.approx(sign * 0.1) and row["se"] == pytest.approx(SE)
    assert row["df"] == pytest.approx(4)
    assert (row["low"], row["high"]) == pytest.approx((sign * 0.1 - 2.776 * SE, sign * 0.1 + 2.776 * SE), abs=1e-5)
    assert (row["seeds_first"], row["seeds_second"], row["images"]) == (3, 3, 2)
    (other, *_) = read["comparisons.csv"].query("factor == 'scheduler' and first == 'poly'").to_dict("records")
    assert (other["seeds_first"], other["failed_first"], other["failed_second"]) == (0, 1, 0)
    sizes = sorted(abs(row[name]) for name in ("hedges_g_low", "hedges_g", "hedges_g_high"))
    assert sizes == pytest.approx([3.2, 8.0, 16.9], abs=0.05)  # 0.1 / 0.01, times 1 - 3 / 15
    assert row["scope"] == "new seeds and new images" and row["p"] <= row["p_adjusted"] < 0.05


def test_a_verdict_has_the_numbers_of_its_comparison_and_a_cost_is_a_ratio(read):
    rows = read["verdicts.csv"].query("seeds_first == 3").set_index("claim").to_dict("index")
    quality, time = rows["quality"], rows["time"]
    assert quality["comparison"] == "onecycle - cosine (lr 0.001)" and quality["source"] == "me"
    assert (quality["verdict"], quality["estimate"]) == ("holds", pytest.approx(0.1))
    assert quality["reported"] == pytest.approx(0.1)
    assert time["verdict"] == "holds" and time["estimate"] == pytest.approx(2.0) and 1.9 < time["low"] < 2
    assert time["comparison"] == "onecycle / cosine (lr 0.001)"


def test_numbers_are_read_as_numbers_and_names_and_signs_are_ascii(read):
    texts = {
        *("run_id", "setting", "config_id", "model", "loss", "optimizer", "scheduler", "augmentation", "data", "mix"),
        *("fingerprint", "status", "failure_kind", "reason", "exclusive", "device", "sweep", "folder", "stem"),
        *("letters", "comparison", "factor", "first", "second", "context", "metric", "scope", "verdict", "note"),
        *("source", "claim"),
    }
    for file, table in read.items():
        if file == "printed.csv":
            continue
        for name, column in table.items():
            known = name in texts or not column.notna().any()
            assert known or pd.api.types.is_numeric_dtype(column), (file, name, column.dtype)
            assert name.isascii()
    for file in ("comparisons.csv", "verdicts.csv"):
        assert read[file].to_csv().isascii()


def test_two_sweeps_with_different_data_never_pool(tmp_path):
    for number, scale in enumerate((1.0, 0.5)):
        for scheduler, mean in (("cosine", 0.7), ("onecycle", 0.8)):
            dice = [scale * (mean + step) for step in (-0.01, 0, 0.01)]
            constant(tmp_path / str(number), scheduler, *dice, fingerprint=f"{number}" * 64)
    report = make_report([tmp_path / "0", tmp_path / "1"])
    settings, effects = tidy.settings(report, tidy.runs(report)), tidy.comparisons(report.effects)
    assert settings.groupby("fingerprint")["seeds"].sum().tolist() == [6, 6]
    means = settings.set_index("setting")["mean"].to_dict()
    assert means == pytest.approx(
        {"onecycle, data 00000000": 0.8, "cosine, data 00000000": 0.7}
        | {"onecycle, data 11111111": 0.4, "cosine, data 11111111": 0.35}
    )
    assert sorted(zip(effects["fingerprint"].str[0], effects["estimate"].abs().round(6), strict=True)) == [
        ("0", 0.1),
        ("1", 0.05),
    ]
    assert tidy.runs(report).groupby(["setting", "fingerprint"]).size().tolist() == [3] * 4


def test_a_sweep_of_which_nothing_is_known_has_all_tables(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    tables = dict(tidy.tidy_tables(make_report([tmp_path])))
    assert [len(table) for table in tables.values()] == [1, 0, 0, 0, 0, 0, 0]
    assert list(tables["images.csv.gz"]) == ["run_id", "setting", "seed", "stem", "dice", "iou", "tp", "fp", "fn"]


def test_the_same_images_give_the_same_file(report, tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        write_csv(tmp_path / name, tidy.images(report, tidy.runs(report)))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_a_table_is_written_again_only_if_a_cell_differs_or_its_file_is_not_the_same(report, tmp_path):
    folder, fresh = tmp_path / "again", tmp_path / "fresh"

    def written_again(shown=report):
        before = {path.name: path.stat().st_ino for path in folder.glob("*.csv*")}
        tidy.write_tables(shown, folder)
        return sorted(path.name for path in folder.glob("*.csv*") if before.get(path.name) != path.stat().st_ino)

    folder.mkdir()
    fresh.mkdir()
    assert len(written_again()) == 7
    assert written_again() == []
    (folder / "runs.csv").write_bytes((folder / "runs.csv").read_bytes())  # touched, whatever it holds
    (folder / "settings.csv").unlink()
    run, scores = next(iter(report.records.scores.items()))
    other = replace(report.records, scores={**report.records.scores, run: scores.assign(tp=scores["tp"] + [0, 1])})
    epochs = report.records.epochs.assign(lr=np.nextafter(report.records.epochs["lr"], 1))
    changed = replace(report, records=replace(other, epochs=epochs))
    assert written_again(changed) == ["epochs.csv", "images.csv.gz", "runs.csv", "settings.csv"]
    tidy.write_tables(changed, fresh)
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in fresh.glob("*.csv*"))


def test_tables_that_differ_in_their_files_have_different_checksums():
    columns = [
        *([0.1, 0.3], [0.1, 0.30000000000000004], [0.3, 0.1], [0.1, None], [0, 3], [-0.0, 3.0], [True, False]),
        *(["a", "b"], ["a", "b "], ["a", None], ["a", "None"], ["a", "nan"], ["a\udcff", "b"], ["a\\udcff", "b"]),
    ]
    tables = [pd.DataFrame({"x": column}) for column in columns]
    tables += [pd.DataFrame({"x": [1, None]}, dtype="Int64"), pd.DataFrame({"y": [0.1, 0.3]}), pd.DataFrame({"x": []})]
    assert len({tidy._checksum(table) for table in tables}) == len(tables)


def test_groups_of_images_are_a_column(report):
    grouped = replace(report.records, groups={"Pet_0": "a", "Pet_1": "b"})
    assert tidy.images(replace(report, records=grouped), tidy.runs(report))["group"].tolist() == ["a", "b"] * 8


def test_each_column_is_documented(report):
    text = (PROJECT / "docs" / "aggregation.md").read_text()
    documented = set(re.findall(r"`([\w.]+)`", text.partition("## The tables")[2].partition("\n## ")[0]))
    for name, table in tidy.tidy_tables(report):
        assert name in documented
        assert set(table) - documented - {"optimizer.lr", "mix"} == set(), name
