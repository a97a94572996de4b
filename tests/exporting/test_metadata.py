import json
import re

import pytest

from src.data.images import ImageReader
from src.exporting.metadata import describe, read_facts
from src.prediction.load_model import read_config


def test_a_run_without_scores_is_described_without_them(run_copy):
    change(run_copy, status="interrupted", scores={}, best_epoch=None)
    told = describe(read_facts(run_copy), read_config(run_copy), ImageReader())["run"]
    assert (told["status"], told["test_dice"], told["best_epoch"]) == ("interrupted", None, None)


def test_the_description_survives_json_and_names_no_machine(run_copy):
    run = json.loads((run_copy / "run.json").read_text())
    described = describe(read_facts(run_copy), read_config(run_copy), ImageReader())
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert set(described["run"]) == {"run_id", "config_id", "status", "best_epoch", "test_dice"}
    assert described["run"]["test_dice"] == run["scores"]["test_dice"]
    assert str(run_copy.parent) not in json.dumps(described)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"run_id": "../../elsewhere"}, r"run\.json: run_id: got '\.\./\.\./elsewhere'"),
        ({"run_id": ".."}, r"run\.json: run_id: got '\.\.'"),
        ({"best_epoch": "x", "scores": 1}, r"run\.json: .*best_epoch: got 'x'.*scores: got 1"),
    ],
)
def test_a_record_that_says_nonsense_is_refused(run_copy, facts, said):
    change(run_copy, **facts)
    with pytest.raises(ValueError, match=said):
        read_facts(run_copy)


@pytest.mark.parametrize(("text", "said"), [("[]", "is not what a run records"), ("{", "is not valid JSON")])
def test_a_record_that_cannot_be_read_is_refused(run_copy, text, said):
    (run_copy / "run.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{re.escape(str(run_copy))}/run\.json: {said}"):
        read_facts(run_copy)


def test_a_folder_without_a_record_is_refused(run_copy):
    (run_copy / "run.json").unlink()
    with pytest.raises(ValueError, match=r"has no run\.json"):
        read_facts(run_copy)


def change(run, **facts):
    file = run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))
