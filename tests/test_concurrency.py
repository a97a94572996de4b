"""Eight processes that want the same thing at the same moment: one does it, nothing is written twice or in between."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from src.base.record import RunRecord
from src.data.datasets import FileReader
from src.data.sources.oxford_pet import open_oxford_pet
from src.prediction.load_model import read_config
from tests.conftest import PROJECT

AT_ONCE = 8
# One program that imports everything once; its processes begin each thing at the same moment and write what they got.
PROGRAM = """
import json, logging, os, sys, traceback
from pathlib import Path
from src.base.config import RunConfig
from src.data import cache
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.sources import synthetic
from src.base.identity import identify
from src.base.record import RunBusy
from src.sweep.process import Job
from src.sweep.plan import write_plan
from src.training.run import run

config, folder, count = RunConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
logging.basicConfig(level=logging.WARNING)

def run_it(number):
    try:
        outcome = run(config, "sweep", [])
        return ["did it" if outcome.ran else "finished before", outcome.status]
    except RunBusy as busy:
        return ["busy", str(busy)]

def draw(number):
    drawn, made = [], synthetic._draw_all
    synthetic._draw_all = lambda *arguments: (drawn.append(1), made(*arguments))
    found = synthetic.make_synthetic(folder / "drawn", 12, 4, 48, 0)
    return [len(drawn), len(list(found.rglob("*.png")))]

def decode(number):
    made, make = [], cache._make
    cache._make = lambda *arguments: (made.append(1), make(*arguments))
    splits = open_oxford_pet(folder / "drawn" / "12-4-48-0")
    read = cache.open_cache(splits, "f", [32], folder / "cache")
    return [len(made), int(read(splits.test[0], 32)[0].sum())]

def plan(number):
    seeded = config.model_copy(update={"seed": number})
    write_plan([Job(seeded, [], "sweep", identify(seeded, "f"), "f")], folder / "planned")
    return number

said = {}
for thing in (run_it, draw, decode, plan):
    gate, opened = os.pipe()
    pids = []
    for number in range(count):
        pids.append(os.fork())
        if not pids[-1]:
            try:
                os.close(opened)
                os.read(gate, 1)  # ends when the parent closes its end
                answer = thing(number)
            except BaseException:
                answer = traceback.format_exc()
            (folder / f"{thing.__name__} {number}").write_text(json.dumps(answer))
            os._exit(0)
    os.close(gate)
    os.close(opened)
    for pid in pids:
        os.waitpid(pid, 0)
    said[thing.__name__] = [json.loads((folder / f"{thing.__name__} {number}").read_text()) for number in range(count)]
print(json.dumps(said))
"""


pytestmark = pytest.mark.long  # several whole processes at once


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("at once")


@pytest.fixture(scope="module")
def said(folder: Path, trained_run: Path) -> dict[str, list]:
    """What each of the eight processes got of each thing."""
    config = read_config(trained_run).model_copy(update={"output": str(folder / "runs")})
    command = [sys.executable, "-c", PROGRAM, config.model_dump_json(), str(folder), str(AT_ONCE)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_of_them_does_the_run_and_the_others_say_why_not(said, folder, trained_run):
    ends = Counter(end for end, _ in said["run_it"])
    assert ends["did it"] == 1 and ends["busy"] + ends["finished before"] == AT_ONCE - 1, said["run_it"]
    assert all("another process is working on" in words for end, words in said["run_it"] if end == "busy")
    (run,) = (RunRecord(file.parent) for file in folder.glob("runs/sweep/*/run.json"))
    alone = RunRecord(trained_run)
    assert run.status() == "finished" and run.read()["scores"] == alone.read()["scores"]
    assert [row["epoch"] for row in run.read_epochs()] == [1, 2]
    assert run.read_test_images() == alone.read_test_images()
    assert (run.folder / "train.log").read_text().count("epoch 1/2") == 1
    assert not list(run.folder.rglob(".*")) and not list(run.folder.parent.glob(".locks/*.heartbeat"))


def test_one_of_them_draws_the_data_and_all_find_them_whole(said):
    assert sorted(said["draw"]) == [[0, 16]] * (AT_ONCE - 1) + [[1, 16]]


def test_one_of_them_decodes_the_images_and_all_read_the_same(said, folder):
    splits = open_oxford_pet(folder / "drawn" / "12-4-48-0")
    pixels = int(FileReader(splits.decoder)(splits.test[0], 32)[0].sum())
    assert sorted(said["decode"]) == [[0, pixels]] * (AT_ONCE - 1) + [[1, pixels]]


def test_what_each_of_them_plans_is_in_the_plan(said, folder):
    assert said["plan"] == list(range(AT_ONCE))
    planned = json.loads((folder / "planned" / "plan.json").read_text())["runs"]
    assert sorted(run["seed"] for run in planned) == list(range(AT_ONCE))
