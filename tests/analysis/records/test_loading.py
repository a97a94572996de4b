"""Runs, epochs and test images of one sweep or several, and which runs count."""

import os
import shutil

import numpy as np
import pytest

from src.analysis.records.loading import find_sweeps, load_records
from tests.analysis import sweeps
from tests.analysis.recorded import finish


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "sweep"


def left_out(*folders):
    runs = load_records(folders).runs
    return {(row.sweep.rpartition("/")[2], row.seed): row.left_out for row in runs.itertuples() if not row.included}


def test_three_tidy_tables(sweep):
    first, second = (finish(sweep, dice=[0.5, 0.75], seed=seed, curves={"valid_dice": [0.25, 0.5]}) for seed in (0, 1))
    records = load_records([sweep])
    assert list(records.runs["folder"]) == [str(first.folder), str(second.folder)] and records.runs["included"].all()
    run = records.runs.iloc[0]
    assert (run["train_seconds"], run["images_per_second"], run["peak_memory_bytes"]) == (20.0, 9.0, 10**9)
    assert (run["exclusive"], run["device"], run["train_images"]) == (True, "NVIDIA H200", 90)
    assert records.epochs[["folder", "epoch", "valid_dice"]].values.tolist()[:2] == [
        [str(first.folder), 1, 0.25],
        [str(first.folder), 2, 0.5],
    ]
    assert records.images[["folder", "stem", "dice", "tp", "fp", "fn"]].values.tolist() == [
        [str(record.folder), stem, dice, 1000 * dice, 1000 - 1000 * dice, 1000 - 1000 * dice]
        for record in (first, second)
        for stem, dice in (("Pet_0", 0.5), ("Pet_1", 0.75))
    ]


def test_scores_of_images_line_up_whatever_their_order_in_the_files(sweep):
    first, second = finish(sweep, dice=[0.1, 0.2, 0.3], seed=0), finish(sweep, dice=[0.4, 0.5, 0.6], seed=1)
    table = second.folder / "test_images.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(rows)]) + "\n")
    records = load_records([sweep])
    folders = [str(first.folder), str(second.folder)]
    assert records.per_image(folders, "dice").tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert records.stems(folders[1]) == ["Pet_0", "Pet_1", "Pet_2"]


def test_a_run_that_was_scored_on_other_images_than_most_does_not_count(sweep):
    for seed, dice in enumerate([[0.1, 0.2, 0.3], [0.1, 0.2], [0.1, 0.2]]):
        finish(sweep, dice=dice, seed=seed)
    finish(sweep, "model=resnet34_unet", dice=[0.1, 0.2, 0.3], fingerprint="other data")
    reason = "was scored on 3 test images, most runs on its data on 2 other ones"
    assert left_out(sweep) == {("sweep", 0): reason}


def test_where_as_many_runs_were_scored_on_each_of_two_sets_of_images_there_is_no_majority(sweep):
    for seed, dice in enumerate([[0.1, 0.2, 0.3], [0.1, 0.2]]):
        finish(sweep, dice=dice, seed=seed)
    reason = "was scored on other test images than as many runs on its data, so none of them is included"
    assert left_out(sweep) == {("sweep", 0): reason, ("sweep", 1): reason}


def test_a_run_in_two_sweeps_counts_once_whichever_is_named_first(tmp_path):
    record = finish(tmp_path / "b", dice=[0.5], seed=0)
    shutil.copytree(record.folder, tmp_path / "a" / record.folder.name, copy_function=os.link)
    finish(tmp_path / "a", dice=[0.6], seed=1)
    said = {("b", 0): f"the same run is included from {tmp_path}/a already"}
    assert left_out(tmp_path / "b", tmp_path / "a") == left_out(tmp_path / "a", tmp_path / "b") == said


@pytest.mark.parametrize("dice", [[0.25, 0.25], [0.75, 0.25]], ids=["another mean", "the same mean of others"])
def test_runs_that_should_be_one_and_disagree_are_named_and_none_counts(tmp_path, dice):
    folders = [finish(tmp_path / name, dice=own).folder for name, own in (("a", [0.5, 0.5]), ("b", dice))]
    finish(tmp_path / "b", dice=[0.5, 0.5], seed=1)
    both = left_out(tmp_path / "a", tmp_path / "b")
    assert both == left_out(tmp_path / "b", tmp_path / "a") and set(both) == {("a", 0), ("b", 0)}
    scores = f"0.500000 in {folders[0]}, {np.mean(dice):.6f} in {folders[1]}"
    reason = f"runs with the same config and seed have different scores, so none is included: {scores}"
    assert set(both.values()) == {reason}


def test_two_that_agree_with_each_other_and_not_with_a_third_do_not_count_either(tmp_path):
    for name, dice in (("a", 0.5), ("b", 0.5), ("c", 0.25)):
        finish(tmp_path / name, dice=[dice])
    assert len(left_out(*(tmp_path / name for name in "abc"))) == 3


def test_a_copy_that_is_broken_takes_nothing_from_the_one_that_is_sound(tmp_path):
    for name in "ab":
        finish(tmp_path / name, dice=[0.5])
    (broken,) = (tmp_path / "a").glob("*/test_images.csv")
    broken.unlink()
    ((run, reason),) = left_out(tmp_path / "a", tmp_path / "b").items()
    assert run == ("a", 0) and reason.startswith("test_images.csv cannot be used: ")


def test_a_renamed_copy_of_a_run_counts_once_too(tmp_path):
    record = finish(tmp_path / "a", dice=[0.5], seed=0)
    shutil.copytree(record.folder, tmp_path / "b" / "renamed")
    assert left_out(tmp_path / "a", tmp_path / "b") == {("b", 0): f"the same run is included from {tmp_path}/a already"}


def test_the_same_run_on_other_data_is_another(tmp_path):
    finish(tmp_path / "a", dice=[0.5], fingerprint="d1")
    finish(tmp_path / "b", dice=[0.25], fingerprint="d2")
    assert left_out(tmp_path / "a", tmp_path / "b") == {}


def test_a_debug_run_does_not_count(sweep):
    finish(sweep, "debug=one_batch", dice=[0.5])
    assert left_out(sweep) == {("sweep", 0): "a debug run: it saw only a few batches"}


def test_runs_that_did_not_finish_are_rows_that_do_not_count(sweep):
    sweeps.plan(sweep, {"seed": 4})
    sweeps.fail(sweep, "boom", seed=1)
    records = load_records([sweep])
    assert dict(zip(records.runs["status"], records.runs["included"], strict=True)) == {
        "failed": False,
        "planned": False,
    }
    assert not records.scores and records.included.empty


@pytest.mark.parametrize(
    "rows",
    [
        "headline,Pet_0,0.5,0.3,1,1,1\n\nheadline,Pet_1,0.5,0.3,1,1,1,,,,,,\n",
        "headline,Pet_0,0.5,0.3,1,1,1,9\nheadline,Pet_1,0.5,0.3,1,1\n",
        "headline,Pet_0,0.5,0.3,1,1,x\nheadline,Pet_1,0.5,0.3,1,1,1\n",
        "headline,Pet_0,0.5,0.3,1,1,1\rheadline,Pet_1,0.5,0.3,1,1,1\n",
    ],
    ids=["an empty line beside a longer one", "a shorter line beside a longer one", "a text", "other ends of lines"],
)
def test_a_damaged_file_changes_nothing_in_those_that_are_parsed_with_it(sweep, rows):
    folders = [finish(sweep, dice=[0.25, 0.75], seed=seed).folder for seed in range(3)]
    (folders[1] / "test_images.csv").write_text(HEADER + rows, newline="")
    records = load_records([sweep])
    intact = [str(folders[0]), str(folders[2])]
    assert records.per_image(intact, "dice").tolist() == [[0.25, 0.75]] * 2
    assert [records.stems(folder) for folder in intact] == [["Pet_0", "Pet_1"]] * 2


HEADER = "protocol,stem,dice,iou,tp,fp,fn\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "No columns to parse"),
        ("protocol,stem\nheadline,a\n", "Usecols do not match"),
        (HEADER, "protocol 'headline' is missing; it has none"),
        (HEADER + "other,a,0.5,0.3,1,1,1\n", "protocol 'headline' is missing; it has other"),
        (HEADER + "headline,a,0.5,0.3,1,1,1\nheadline,a,0.5,0.3,1,1,1\n", "an image is listed twice"),
        (HEADER + "headline,a,1.5,0.3,1,1,1\n", "the dice of a is 1.5; allowed: 0 to 1"),
        (HEADER + "headline,a,0.5,,1,1,1\n", "the iou of a is empty; allowed: 0 to 1"),
        (HEADER + "headline,a,0.5,inf,1,1,1\n", "the iou of a is inf; allowed: 0 to 1"),
        (HEADER + "headline,a,0.5,0.3,-1,1,1\n", "the tp of a is -1; allowed: 0 to 1000000000000"),
        (HEADER + f"headline,a,0.5,0.3,{10**400},1,1\n", "test_images.csv cannot be used: "),
        (HEADER + "headline,a,,0.3,1,1,1\n", "the dice of a is empty; allowed: 0 to 1"),
        (HEADER + "headline,a,high,0.3,1,1,1\n", "could not convert string to float"),
        (HEADER + "headline,a,0.5,0.3\n", "Integer column has NA"),
        (HEADER + "headline,a,0.25,0.3,1,1,1\n", "its mean Dice is 0.250000, but that in run.json is 0.500000"),
    ],
)
def test_images_that_cannot_be_trusted_take_their_run_out_and_say_why(sweep, content, reason):
    finish(sweep, dice=[0.75], seed=1)
    table = finish(sweep, dice=[0.5], seed=0).folder / "test_images.csv"
    table.unlink() if content is None else table.write_text(content)
    ((run, said),) = left_out(sweep).items()
    assert run == ("sweep", 0) and said.startswith("test_images.csv cannot be used: ") and reason in said


def test_another_protocol_is_read_under_its_name(sweep):
    record = finish(sweep, dice=[0.5])
    row = {"stem": "Pet_0", "dice": 0.25, "iou": 0.125, "tp": 1, "fp": 1, "fn": 1}
    with record.locked():
        record.write_test("border_ignore", {}, [row])
    assert load_records([sweep], "border_ignore").per_image([str(record.folder)], "dice") == np.array([[0.25]])
    assert load_records([sweep]).per_image([str(record.folder)], "dice") == np.array([[0.5]])
    with pytest.raises(ValueError, match=r"^protocol: got 'border'; .* allowed: border_ignore, headline$"):
        load_records([sweep], "border")


def test_an_image_may_have_any_name(sweep):
    record = finish(sweep, dice=[0.5, 0.5])
    table = record.folder / "test_images.csv"
    table.write_text(table.read_text().replace("Pet_0", "NA").replace("Pet_1", '"ü, ""1"" <b>"'))
    assert load_records([sweep]).stems(str(record.folder)) == ["NA", 'ü, "1" <b>']


def test_sweeps_are_found_by_name_and_by_glob_each_once(tmp_path, monkeypatch):
    finish(tmp_path / "report_a", dice=[0.5])
    sweeps.plan(tmp_path / "report_b", {"seed": 0})
    (tmp_path / "report_c").mkdir()  # no sweep
    assert find_sweeps([f"{tmp_path}/report_*"]) == [tmp_path / "report_a", tmp_path / "report_b"]
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in find_sweeps(["report_b", f"{tmp_path}/report_*"])] == [
        "report_b",
        f"{tmp_path}/report_a",
    ]
    with pytest.raises(ValueError, match=r"demo\*: does not match any folder of runs; expected <folder>/"):
        find_sweeps(["demo*"])


def test_a_folder_that_looks_like_a_pattern_is_taken_as_it_is(tmp_path):
    finish(tmp_path / "a[1]", dice=[0.5])
    assert find_sweeps([f"{tmp_path}/a[1]"]) == [tmp_path / "a[1]"]
