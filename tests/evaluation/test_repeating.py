"""`python -m src.repeat`: the same run once more, elsewhere, and what is not equal is named."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml

from src.base.record import RunRecord
from src.evaluation import repeating
from src.repeat import repeat
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.run import Outcome


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def again(here, run_copy, tmp_path):
    return partial(here, repeat, f"run={run_copy}", f"output={tmp_path}/again")


def test_a_run_is_repeated_to_the_bit_elsewhere_as_often_as_asked(again, run_copy, tmp_path):
    before = contents(run_copy)
    said = again()
    assert said.returncode == 0, said.stderr
    assert said.stdout.endswith("nothing has started; go=true repeats it\n") and not (tmp_path / "again").exists()
    first = tmp_path / "again" / f"{run_copy.parent.name}-1" / "repeat" / run_copy.name
    assert f"again in   {first}\n" in said.stdout
    done = again("go=true")
    assert done.returncode == 0, done.stderr
    scores = RunRecord(run_copy).read()["scores"]
    assert f"equal to the bit: {len(scores)} scores, all epochs, all test images and the weights\n" in done.stdout
    assert RunRecord(first).read()["scores"] == scores and contents(run_copy) == before
    second = tmp_path / "again" / f"{run_copy.parent.name}-2" / "repeat" / run_copy.name
    assert f"again in   {second}\n" in again().stdout


@pytest.fixture
def instead(monkeypatch, trained_run):
    """Puts a copy of the trained run where the repeated one would be trained."""

    def copied(config, sweep, overrides):
        folder = Path(config.output) / sweep / trained_run.name
        return Outcome(Path(shutil.copytree(trained_run, folder)), "finished", {})

    monkeypatch.setattr(repeating, "run", copied)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def in_scores(run):
    edit(run / "run.json", scores=RunRecord(run).read()["scores"] | {"test_dice": 0.125})


def in_epochs(run):
    rows = [row | {"train_loss": 7.0} for row in RunRecord(run).read_epochs()[:1]]
    (run / "epochs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def without_its_numbers(run):
    (run / "epochs.jsonl").write_text("{}\n{}\n")
    edit(run / "test.json", protocols={})
    edit(run / "run.json", scores={})


def in_images(run):
    path = run / "test_images.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))


def in_weights(run):
    best = load_checkpoint(run / "checkpoints" / "best.pt")
    next(iter(best["model"].values())).add_(1)
    save_checkpoint(run / "checkpoints" / "best.pt", best)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (in_scores, ["scores.test_dice: 0.125 before, "]),
        (in_epochs, ["epochs: 1 before, 2 now", "epoch 1, the first that differs: train_loss: 7.0 before, "]),
        (
            without_its_numbers,
            [
                "scores.valid_dice: None before",
                "scores.test_dice: None before",
                "epoch 1, the first that differs: train_loss: None before",
                "test.json headline dice: None before",
            ],
        ),
        (in_images, ["test_images.csv: 2 of 6 rows"]),
        (in_weights, ["best.pt: 1 of "]),
    ],
)
def test_what_is_not_equal_is_named_with_what_it_was_made_with(again, instead, run_copy, change, lines):
    change(run_copy)
    versions = RunRecord(run_copy).read()["versions"]
    edit(run_copy / "run.json", versions=versions | {"numpy": "1.0"}, later="key")
    done = again("go=true")
    assert done.returncode == 1 and done.stderr == "not equal to the bit, though numerics.deterministic is true\n", done
    differs = [line for line in done.stdout.splitlines() if line.startswith("differs    ")][1:]
    assert len(differs) == len(lines) and all(map(str.startswith, differs, [f"differs    {line}" for line in lines]))
    assert f"made with  versions.numpy: '1.0' before, '{versions['numpy']}' now\n" in done.stdout


def test_weights_that_were_removed_are_not_compared(again, instead, run_copy):
    shutil.rmtree(run_copy / "checkpoints")
    assert "all test images; the weights of the first run are not there" in again("go=true").stdout


def other_data(run):
    facts = RunRecord(run).read()
    edit(run / "run.json", data=facts["data"] | {"fingerprint": "0" * 64})


def other_config(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"seed": 5}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda run: edit(run / "run.json", status="failed"),
            "has schema 2 and status failed; only a finished run of schema 2 is repeated",
        ),
        (lambda run: edit(run / "run.json", schema=1), "has schema 1 and status finished; only a finished"),
        (lambda run: (run / "run.json").unlink(), "has schema None and status None; only a finished"),
        (other_data, "is the config of the run"),
        (other_config, "is the config of the run"),
        (lambda run: (run / "test.json").write_text("[]"), "test.json: is not what a run records"),
        (lambda run: (run / "epochs.jsonl").write_text("{\n"), "epochs.jsonl: is not valid JSON"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_a_line(again, run_copy, tmp_path, change, said):
    change(run_copy)
    done = again("go=true")
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done
    assert not (tmp_path / "again").exists()
