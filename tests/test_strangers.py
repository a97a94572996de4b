"""Runs that anybody may have written or damaged: evaluate, inference and export answer in lines, and never wrongly."""

import copy
import csv
import json
import random
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from src.base.config import RunConfig
from src.base.identity import identify
from src.evaluate import evaluate
from src.export import export
from src.inference import inference
from src.repeat import repeat

NASTY = [None, True, -1, 0, 1, 0.5, 1e308, 2**62, "", "x" * 3000, "\x1b[5m", "../..", [], {}, [1, [2]], {"mean": "x"}]
NASTY += [{"a/b": {}}, "0" * 64, "é", ["unet", None]]
FILES = ("run.json", "config.yaml", "test.json", "test_images.csv", "epochs.jsonl", "checkpoints/best.pt")
SECONDS = 60  # after which an answer counts as none; the longest is an export of 5 s


@pytest.fixture(scope="module")
def photo(trained_run):
    return next(Path(yaml.safe_load((trained_run / "config.yaml").read_text())["data"]["root"]).glob("20-6-*/images/*"))


@pytest.fixture
def commands(here, run_copy, photo, tmp_path):
    """What each command does with the run, as functions without arguments."""
    run = f"run={run_copy}"
    masks, model, scores = (tmp_path / name for name in ("masks", "net.pt2", "evaluation"))
    return {
        "inference": partial(here, inference, run, f"input={photo}", f"output={masks}", "device=cpu", "overwrite=true"),
        "evaluate": partial(here, evaluate, run, "device=cpu", "images=0", "workers=0", f"output={scores}"),
        "repeat": partial(here, repeat, run, f"output={tmp_path}/again"),
        "export": partial(here, export, run, "format=torch_export", f"output={model}", "overwrite=true"),
    }


def within_time(command):
    """What `command` answers. Fails where that takes longer than SECONDS."""

    def give_up(*_):
        raise AssertionError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        return command()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_shapes_that_no_evaluation_writes_are_named_and_stay(run_copy, commands):
    path = run_copy / "test.json"
    sound = path.read_text()
    entry = json.loads(sound)["protocols"]["headline"]
    for content in (
        [],
        {},
        {"protocols": []},
        {"protocols": {"headline": 1}},
        {"protocols": {"headline": {**entry, "dice": 0.5}}},
        {"protocols": {"headline": {**entry, "dice": {"mean": "0.5"}}}},
        {"protocols": {"headline": {**entry, "border": "nowhere"}}},
        {"protocols": {"headline": {**entry, "pooled_dice": None}}},
    ):
        path.write_text(json.dumps(content))
        done = commands["evaluate"]()
        assert done.returncode == 1 and str(path) in done.stderr and len(done.stderr.splitlines()) == 1, done
        assert path.read_text() == json.dumps(content)
    path.write_text(sound)
    assert commands["evaluate"]().returncode == 0


@pytest.mark.parametrize("count", [8, pytest.param(500, marks=pytest.mark.long)])
def test_damage_to_any_file_is_answered_in_lines_and_never_gives_another_answer(
    run_copy, trained_run, commands, tmp_path, count
):
    """One change at a time, drawn: of bytes, of values in their place, of the config together with the id for it."""
    draw = random.Random(count)
    assert commands["inference"]().returncode == 0
    mask = next((tmp_path / "masks").glob("*.mask.png"))
    sound = mask.read_bytes()
    refused = 0
    for number in range(count):
        shutil.rmtree(run_copy)
        shutil.copytree(trained_run, run_copy)
        file, name = run_copy / draw.choice(FILES), draw.choice(["inference"] * 4 + ["evaluate", "export", "repeat"])
        how = draw.choice([damage, change, change, change_with_id])
        told = f"{number}: {how.__name__} {file.name} {name}"
        known = how(file, draw)
        done = within_time(commands[name])
        said = done.stdout + done.stderr
        assert done.returncode in (0, 1) and "Traceback" not in said and "\x1b" not in said, f"{told}: {done}"
        assert max(map(len, said.splitlines()), default=0) < 2000 and len(said.splitlines()) < 60, told
        if done.returncode == 0 and name == "inference" and known:
            assert mask.read_bytes() == sound, told
        refused += done.returncode
    assert count / 5 < refused < count


def damage(file, draw):
    """Bytes flipped, cut off, doubled or zeroed."""
    content = bytearray(file.read_bytes())
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice([1, 1, 4, 100, 10_000]))
    match draw.choice(["flip", "cut", "double", "zero"]):
        case "flip":
            content[start] ^= 1 << draw.randrange(8)
        case "cut":
            del content[start:]
        case "double":
            content[start:start] = content[start:end]
        case "zero":
            content[start:end] = bytes(end - start)
    replace(file, bytes(content))
    return True


def change(file, draw):
    """A value in its place replaced by another, removed, or joined by another."""
    if file.suffix == ".json":
        replace(file, json.dumps(changed(json.loads(file.read_text()), draw)).encode())
    elif file.suffix == ".yaml":
        replace(file, yaml.safe_dump(changed(yaml.safe_load(file.read_text()), draw)).encode())
    elif file.suffix == ".jsonl":
        rows = changed([json.loads(line) for line in file.read_text().splitlines()], draw)
        replace(file, "".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows])).encode())
    elif file.suffix == ".csv":
        rows = list(csv.reader(file.read_text().splitlines()))
        draw.choice(rows)[draw.randrange(7)] = str(draw.choice(NASTY))
        replace(file, "".join(",".join(row) + "\n" for row in rows).encode())
    else:
        content = torch.load(file, weights_only=True)
        name = draw.choice(list(content["model"]))
        value = content["model"][name]
        others = [value.to(torch.int16), value.to(torch.complex64), value[None], value.flatten()[:1], value.to_sparse()]
        others += ["x", None, [value], torch.full_like(value.float(), torch.nan)]
        if draw.random() < 0.3:
            content = changed({key: item for key, item in content.items() if key != "model"}, draw)
        else:
            content["model"][draw.choice([name, name, "other"])] = draw.choice(others)
        file.unlink()
        torch.save(content, file)
    return True


def change_with_id(file, draw):
    """A value of the config, and the id that belongs to such a config: what a stranger may hand over."""
    folder = next(parent for parent in file.parents if (parent / "run.json").exists())
    change(folder / "config.yaml", draw)
    try:
        config = RunConfig.model_validate(yaml.safe_load((folder / "config.yaml").read_text()))
        record = json.loads((folder / "run.json").read_text())
        replace(
            folder / "run.json",
            json.dumps({**record, "run_id": identify(config, record["data"]["fingerprint"]).run_id}).encode(),
        )
    except (ValueError, KeyError, TypeError):
        pass  # such a config has no id
    return False


def changed(value, draw):
    """`value` with something nasty somewhere within."""
    value, inner = copy.deepcopy(value), []
    parents = [value] if isinstance(value, dict | list) and value else []
    while parents:
        one = parents.pop()
        places = list(one) if isinstance(one, dict) else list(range(len(one)))
        inner += [(one, place) for place in places]
        parents += [one[place] for place in places if isinstance(one[place], dict | list) and one[place]]
    if not inner or draw.random() < 0.02:
        return draw.choice(NASTY)
    parent, place = draw.choice(inner)
    if isinstance(parent, dict) and draw.random() < 0.2:
        del parent[place]
    elif isinstance(parent, dict) and draw.random() < 0.1:
        parent["another"] = draw.choice(NASTY)
    else:
        parent[place] = draw.choice(NASTY)
    return value


def replace(file, content):
    file.unlink()
    file.write_bytes(content)
