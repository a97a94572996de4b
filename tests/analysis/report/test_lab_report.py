"""The draft of a lab report: what the records know, under the task sheet's headings, and marks for the author."""

import os
import shlex

import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.analysis.report.figures import Picture
from src.analysis.report.lab_report import (
    execution_lines,
    network_lines,
    preprocessing_lines,
    training_columns,
)
from src.analysis.report.page import write_report
from src.analysis.report.provenance import SHEET
from src.analysis.report.report import make_report
from tests.analysis.recorded import finish


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(Picture, "figure", lambda picture: Figure((1, 1)))  # others test what they show
    for augmentation in ("none", "offline_copies"):
        for seed in range(3):
            record = finish(
                tmp_path / "mine",
                f"augmentation={augmentation}",
                "mix=cutmix",
                dice=[0.5, 0.6 + 0.01 * seed],
                seed=seed,
            )
            record.update(parameters=485817)
    return tmp_path / "mine"


def test_networks_are_described_by_their_files_and_by_what_the_runs_counted(sweep):
    (line,) = network_lines(make_report([sweep]))
    assert line.startswith("unet: Report A (and E, which gives no details). 31,037,633 parameters;")
    assert "U-Net: Convolutional Networks" in line and line.endswith(" In these runs 485,817 at width 8.")


def test_preprocessing_is_put_into_words(sweep):
    data, *augmentations = preprocessing_lines(make_report([sweep]))
    assert data.startswith("Data synthetic: 90 train, 10 valid, 2 test images, each resized to 64 x 64 (pil_bilinear;")
    none, copies = sorted(augmentations, key=len)
    assert none == ("Augmentation none: none. Images of a batch are mixed by cutmix (alpha 1.0).")
    assert copies.startswith(
        "Augmentation offline_copies: none; 3 fixed copies of each training image: HorizontalFlip (p 0.5); "
        "OneOf {Rotate (limit [-30, 30], p 1.0); RandomResizedCrop ("
    )


def test_each_setting_stands_with_what_it_was_trained_with(sweep):
    columns = training_columns(make_report([sweep]))
    assert columns["setting"] == ["none", "offline_copies"] and columns["lr"] == ["0.001", "0.001"]
    assert columns["epochs"] == ["6", "6"] and columns["seeds"] == ["3", "3"]


def test_the_commands_repeat_the_runs_with_their_seeds(sweep):
    lines = execution_lines(make_report([sweep]))
    assert lines[0] == "make setup"
    assert lines[2:4] == ["python -m src.prepare data=synthetic", "python -m src.summary model=unet"]
    assert "python -m src.train -m augmentation=none mix=cutmix seed=0,1,2" in lines
    assert lines[-1] == f"python -m src.aggregate sweep={sweep}"
    assert any(line.startswith(f"python -m src.inference run={sweep}/unet-") for line in lines)


def test_the_draft_has_the_headings_of_the_task_sheet_and_marks_what_is_the_authors(sweep, tmp_path):
    write_report(make_report([sweep]), tmp_path / "report")
    text = (tmp_path / "report" / "lab_report.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings[:4] == ["Implementation details", "Data preprocessing", "Analysis of the results", "Settings"]
    assert headings[-2:] == ["Execution steps", "Discussion"]
    assert "Curves" in headings
    assert text.count("author") == 7  # the name, the implementation, the preprocessing, four questions
    assert "figures/phases_accuracy.svg" in text and (tmp_path / "report/figures/phases_accuracy.svg").exists()


def test_a_draft_is_replaced_until_its_author_changes_it(sweep, tmp_path):
    draft = tmp_path / "report" / "lab_report.md"
    write_report(make_report([sweep]), tmp_path / "report")
    first = draft.read_text()
    finish(sweep, "augmentation=color", "mix=cutmix", dice=[0.5, 0.6])
    write_report(make_report([sweep]), tmp_path / "report")
    assert draft.read_text() != first and "color" in draft.read_text()
    draft.write_text(draft.read_text() + "What I think of it.")
    finish(sweep, "augmentation=strong", "mix=cutmix", dice=[0.5, 0.6])
    write_report(make_report([sweep]), tmp_path / "report")
    assert draft.read_text().endswith("What I think of it.") and "strong" not in draft.read_text()


def test_a_name_of_a_folder_is_no_shell_command(tmp_path):
    finish(tmp_path / "my $(touch sweep)", dice=[0.5, 0.6])
    *_, aggregate = execution_lines(make_report([tmp_path / "my $(touch sweep)"]))
    assert shlex.split(aggregate)[-1] == f"sweep={tmp_path}/my $(touch sweep)" and "'" in aggregate


def test_the_pictures_of_an_evaluated_run_are_in_the_draft_and_without_them_how_to_make_them(sweep, tmp_path):
    write_report(make_report([sweep]), tmp_path / "report")
    draft = (tmp_path / "report" / "lab_report.md").read_text()
    assert "run python -m src.evaluate run=" in draft.replace("\\", "")
    for run in sweep.glob("unet-*"):
        (run / SHEET).parent.mkdir(parents=True)
        Image.new("RGB", (300, 200), "red").save(run / SHEET)
    write_report(make_report([sweep]), tmp_path / "report")
    assert "](figures/examples_1.jpg)" in (tmp_path / "report" / "lab_report.md").read_text()
    assert Image.open(tmp_path / "report" / "figures" / "examples_1.jpg").size == (300, 200)


def test_a_pipe_in_place_of_the_draft_is_refused(sweep, tmp_path):
    (tmp_path / "report").mkdir()
    os.mkfifo(tmp_path / "report" / "lab_report.md")
    with pytest.raises(ValueError, match="regular file"):
        write_report(make_report([sweep]), tmp_path / "report")


def test_what_strangers_wrote_into_a_config_is_text(sweep):
    (folder,) = sweep.glob("*-offline_copies-seed0-*")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("transforms: []", "transforms: [3, {a: 1}]"))
    assert preprocessing_lines(make_report([sweep]))
