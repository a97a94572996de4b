"""The evaluate command, from what is typed to what stands in the run's folder afterwards."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.base.record import RunRecord
from src.evaluate import evaluate


@pytest.fixture
def data(run_copy: Path) -> Path:
    """The folder of the data set that the run was trained on."""
    config = (run_copy / "config.yaml").read_text()
    return next(Path(line.split(": ")[1]) for line in config.splitlines() if line.startswith("  root:"))


def protocols(run: Path, split: str = "test") -> dict:
    return json.loads((run / f"{split}.json").read_text())["protocols"]


def table(run: Path) -> list[dict[str, str]]:
    with (run / "test_images.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_under_every_protocol(here, run_copy):
    before, rows_before = protocols(run_copy)["headline"], table(run_copy)
    done = here(evaluate, f"run={run_copy}", "device=cpu", "images=1", "styles=[panels,report_a,report_d]")
    assert done.returncode == 0, done.stderr
    folder = run_copy / "evaluation" / "test"
    assert f"written: {folder}" in done.stdout and "by the protocol alone" in done.stdout
    after = protocols(run_copy)
    assert list(after) == [
        "headline",
        "border_background",
        "border_ignore",
        "native",
        "native_border_background",
        "native_border_ignore",
    ]
    # what training wrote stands as it was, and what it had not measured is beside it
    assert {key: after["headline"][key] for key in before} == before
    assert after["headline"]["boundary_f"]["mean"] >= 0 and after["headline"]["calibration_error"] >= 0
    assert set(after["headline"]["by_species"]) == {"cat", "dog"}
    assert table(run_copy)[: len(rows_before)] == rows_before
    assert len(table(run_copy)) == 6 * len(rows_before)
    pictures = {path.name for path in (folder / "gallery").iterdir()}
    assert len(pictures) == 3 * 3 and {name.split("_")[0] for name in pictures} == {"worst", "median", "best"}
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width == 1280
    assert "| headline " in (folder / "protocols.md").read_text() and (folder / "calibration.svg").exists()


def test_the_headline_comes_out_bit_for_bit(here, run_copy):
    predictor = protocols(run_copy)["headline"]
    for name in ("test.json", "test_images.csv"):
        (run_copy / name).unlink()  # so that nothing is there that could stay
    assert here(evaluate, f"run={run_copy}", "device=cpu", "images=0").returncode == 0
    found = protocols(run_copy)["headline"]
    for key in ("dice", "iou", "pooled_dice", "accuracy", "dice_batch_flattened", "batch_size"):
        assert found[key] == predictor[key]


@pytest.mark.long
def test_every_way_to_predict_has_entries_and_a_folder_of_its_own(here, run_copy):
    for asked in ([], ["tta=flips"], ["threshold=valid"], ["threshold=0.3", "tta=hflip"], ["split=valid"]):
        done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0", *asked)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (run_copy / "evaluation").iterdir()} == {
        "test",
        "test_flips",
        "test_threshold_valid",
        "test_hflip_threshold_0.3",
        "valid",
    }
    assert len(protocols(run_copy)) == 4 * 6
    assert protocols(run_copy)["threshold_valid"]["threshold_chosen_on"] == "valid"
    assert [name for name in protocols(run_copy, "valid") if "border" not in name] == ["headline", "native"]
    assert all(row["protocol"] in protocols(run_copy) for row in table(run_copy))


@pytest.mark.long
def test_asked_again_nothing_is_counted_twice(here, run_copy):
    here(evaluate, f"run={run_copy}", "device=cpu", "images=0")
    first = {name: (run_copy / name).read_bytes() for name in ("test.json", "test_images.csv")}
    assert here(evaluate, f"run={run_copy}", "device=cpu", "images=0").returncode == 0
    assert {name: (run_copy / name).read_bytes() for name in first} == first


def test_a_record_that_says_something_else_stays_and_the_difference_is_told(here, run_copy):
    entries = protocols(run_copy)
    entries["headline"]["dice"]["mean"] += 0.01
    (run_copy / "test.json").write_text(json.dumps({"schema": 1, "protocols": entries}))
    done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0")
    assert "headline: the record has mean Dice" in done.stdout + done.stderr
    assert protocols(run_copy)["headline"]["dice"] == entries["headline"]["dice"]


def test_an_output_that_cannot_be_a_folder_is_refused_before_anything_is_recorded(here, run_copy):
    before = (run_copy / "test.json").read_bytes()
    done = here(evaluate, f"run={run_copy}", "device=cpu", f"output={run_copy}/run.json")
    assert done.returncode == 1 and f"{run_copy}/run.json is not a folder" in done.stderr
    assert (run_copy / "test.json").read_bytes() == before


def test_data_that_moved_are_found_by_root_and_others_are_refused(here, run_copy, data, tmp_path):
    shutil.copytree(data, tmp_path / "moved, = (1)")
    config = (run_copy / "config.yaml").read_text()
    (run_copy / "config.yaml").write_text(config.replace(str(data), str(tmp_path / "nowhere")))
    done = here(evaluate, f"run={run_copy}", "device=cpu")
    assert done.returncode == 1 and "no synthetic data in" in done.stderr and "root=" in done.stderr
    assert not (tmp_path / "nowhere").exists()  # nothing is drawn because a run's config says where
    done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0", f"root={tmp_path}/moved, = (1)")
    assert done.returncode == 0, done.stderr
    image = next((tmp_path / "moved, = (1)").glob("*/images/*.jpg"))
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0", f"root={tmp_path}/moved, = (1)")
    assert done.returncode == 1 and "was trained on data with fingerprint" in done.stderr


def test_the_first_images_of_the_split_are_drawn_on_demand(here, run_copy):
    done = here(evaluate, f"run={run_copy}", "device=cpu", "examples=first:4", "styles=[report_d]")
    assert done.returncode == 0, done.stderr
    stems = [row["stem"] for row in table(run_copy)][:4]
    drawn = sorted(path.name for path in (run_copy / "evaluation" / "test" / "gallery").iterdir())
    assert drawn == [f"first_{rank:02}_{stem}_report_d.png" for rank, stem in enumerate(stems, start=1)]
    refused = here(evaluate, f"run={run_copy}", "device=cpu", "examples=first")
    assert refused.returncode == 1 and "examples: got 'first'" in refused.stderr


def test_mistakes_get_a_line_and_change_nothing(here, run_copy, tmp_path):
    def refused(*arguments: str) -> str:
        done = here(evaluate, *arguments)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    assert "run: missing; it takes the folder" in refused()
    assert "is not the folder of a run" in refused(f"run={tmp_path}/none")
    said = refused(f"run={run_copy}", "split=all", "tta=rotate", "threshold=2", "imagez=1")
    assert all(key in said for key in ("split: got 'all'", "tta: got 'rotate'", "threshold", "imagez: unknown key"))
    said = refused("run=~no-such-user/x", *(f"{key}=~no-such-user" for key in ("root", "output", "cache")))
    assert said.count("got '~no-such-user") == said.count("this user does not exist") == 4
    assert "on the images it is chosen on" in refused(f"run={run_copy}", "split=valid", "threshold=valid")
    assert "device: got 'cuda:7'" in refused(f"run={run_copy}", "device=cuda:7")
    assert {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()} == before


def test_a_run_that_is_not_finished_or_is_at_work_is_refused(here, run_copy):
    record = RunRecord(run_copy)
    with record.locked():
        done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0")
        assert done.returncode == 1 and "another process is working on" in done.stderr
        record.end("failed", error="x")
    done = here(evaluate, f"run={run_copy}", "device=cpu", "images=0")
    assert done.returncode == 1 and "is failed; only finished runs are evaluated" in done.stderr


def test_two_output_channels_are_evaluated_too(here, two_channel_run, tmp_path):
    run = Path(shutil.copytree(two_channel_run, tmp_path / "copied" / two_channel_run.name))
    before = protocols(run)["headline"]["dice"]
    assert here(evaluate, f"run={run}", "device=cpu", "images=1").returncode == 0
    assert protocols(run)["headline"]["dice"] == before


@pytest.mark.long
def test_the_command_as_a_process_on_a_folder_with_an_odd_name(command, run_copy, tmp_path):
    odd = Path(shutil.copytree(run_copy, tmp_path / "a=b, it's (1)" / run_copy.name))
    done = command("evaluate", f"run={odd}", "device=cpu", "images=0")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (odd / "evaluation" / "test" / "protocols.md").exists()


def test_pictures_and_cards_are_not_written_through_a_link(here, run_copy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run_copy / "evaluation").mkdir()
    (run_copy / "evaluation" / "test").symlink_to(tmp_path / "elsewhere")
    refused = here(evaluate, f"run={run_copy}", "device=cpu")
    said = (
        f"{run_copy}/evaluation/test: is a symbolic link to {tmp_path}/elsewhere, where nothing is written; remove it\n"
    )
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", said)
    assert [*(tmp_path / "elsewhere").iterdir()] == [] and list(protocols(run_copy)) == ["headline"]
