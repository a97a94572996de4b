"""Seeded damage to the files of runs: aggregate and status name what they leave out, and never fall over."""

import json
import os
import random
import resource
import shutil
import signal
from contextlib import contextmanager

import pytest

import src.aggregate
import src.status
from src.analysis.records.loading import load_records
from src.analysis.status.sweep_status import write_summary
from src.display.text import markdown_text
from tests.analysis.recorded import replicates

BATCHES = 60
SOUND = 6  # runs of it that are not damaged
VICTIMS = 10  # runs of a sweep that are damaged, each in its own way
PATIENCE = 60  # seconds for what takes one or two
MOST_MEMORY = 10**6  # KiB that the damage may take beside the work itself
FILES = ("run.json", "config.yaml", "overrides.yaml", "epochs.jsonl", "test.json", "test_images.csv")
NAMES = (
    "",
    "a/b",
    "../x",
    "folder",
    "status",
    "seed",
    "left_out",
    "\x1b[5m",
    "\n",
    "optimizer.lr",
    "x" * 300,
    "$\\frac{$",
)
VALUES = (
    *(None, True, -1, 0, 1.5, 1e308, -1e308, 10**400, float("nan"), float("inf"), 2**62),
    *("", "1", "text", "2024-13-45", "../..", "=1+1", "<img src=x>", "\x1b[2J", "\ud800", "a\nb", "é" * 10_000, "\0"),
    *([], {}, [[]], {"a": {"b": [1]}}, [1, "2", None], {"": ""}),
)
TEXTS = (
    *(
        "",
        "\n",
        "null",
        "[]",
        "{}",
        "5",
        '"text"',
        "\ufeff{}",
        "\x00" * 100,
        "{" * 100_000,
        "[" * 100_000,
        '{"a":' * 50_000,
    ),
    "a: &a [1]\nb: &b [*a, *a]\n"
    + "".join(f"c{n}: &c{n} [{', '.join([f'*c{n - 1}' if n else '*b'] * 9)}]\n" for n in range(10)),
    *(
        "&a [*a]",
        "!!python/object/apply:os.system [id]",
        "a: 2024-13-45",
        "a: !!set {b, c}",
        "? [1]\n: 2",
        "a: " + "9" * 5000,
    ),
    "protocol,stem,dice,iou,tp,fp,fn\n" + "headline,a,0.5,0.5,1,1,1\n" * 3,
    'protocol,stem,dice,iou,tp,fp,fn\nheadline,"a,0.5',
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two settings of 3 sound runs each, and VICTIMS more runs of the first."""
    sweep = tmp_path_factory.mktemp("sound") / "sweep"
    replicates(sweep, "model=unet", seeds=3 + VICTIMS, images=4)
    replicates(sweep, "model=resnet34_unet", seeds=3, images=4)
    return sweep


class NoEnd(BaseException):
    """Not a TimeoutError, which passes for one of the disk's."""


@contextmanager
def patience(seconds):
    def give_up(*_):
        raise NoEnd(f"after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def places(value, path=()):
    """Every place in a JSON value, from the outside in."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def another_value(draw, text):
    """JSON, or one of its lines, with a value changed, taken away, or under another name."""
    lines = text.splitlines() if "\n{" in text else [text]
    number = draw.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except ValueError:
        return text + draw.choice(TEXTS)
    *outer, last = draw.choice([place for place in places(value) if place] or [("",)])
    part = value
    for key in outer:
        part = part[key]
    if draw.random() < 0.2 and isinstance(part, dict):
        part[draw.choice(NAMES)] = part.pop(last, None)
    elif draw.random() < 0.2 and isinstance(part, dict):
        part.pop(last, None)
    elif isinstance(part, dict | list):
        part[last] = draw.choice(VALUES)
    lines[number] = json.dumps(value)
    return "\n".join(lines) + "\n"


def another_cell(draw, text):
    """A table with a cell changed; of other texts a word."""
    parts = text.replace("\n", ",\n,").split(",")
    parts[draw.randrange(len(parts))] = draw.choice([str(value) for value in VALUES if value != "\ud800"])
    return ",".join(parts).replace(",\n,", "\n")


def other_lines(draw, text):
    lines = text.splitlines(keepends=True)
    changed = draw.choice(
        [lines * 2, lines[::-1], lines[1:], lines[:-1], [*lines, *lines[-1:]], draw.sample(lines, len(lines))]
    )
    return "".join(changed)


def other_bytes(draw, path):
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 3, 30])):
        content[draw.randrange(len(content)) if content else 0 :][:1] = draw.randbytes(1)
        if content:
            content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content[: draw.randrange(len(content) + 1)] if draw.random() < 0.5 else content)


def something_else(draw, path):
    """Another thing than a file in its place."""
    path.unlink()
    kind = draw.choice(["nothing", "pipe", "folder", "loop", "nowhere", "endless", "huge", "full"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("loop", "nowhere", "endless", "full"):
        path.symlink_to({"loop": path.name, "nowhere": "/nowhere", "endless": "/dev/zero", "full": "/dev/full"}[kind])
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(10**11)  # of which the disk has nothing


def another_folder(draw, folder):
    """The whole run under a name of another kind, or a link, or locked by something strange."""
    kind = draw.choice(["bytes", "escape", "link", "empty", "lock"])
    if kind == "bytes":
        folder.rename(folder.with_name(os.fsdecode(b"run-\xff\xfe")))
    elif kind == "escape":
        folder.rename(folder.with_name("run\x1b[5m\n=1+1<b>"))
    elif kind == "link":
        shutil.rmtree(folder)
        folder.symlink_to(folder.name)
    elif kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    else:
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "status": "running"}))
        for ending in ("lock", "lock.heartbeat"):
            (folder.parent / ".locks" / f"{folder.name}.{ending}").write_text("")
            something_else(draw, folder.parent / ".locks" / f"{folder.name}.{ending}")


def damage(draw, folder):
    """One change of the run in `folder`."""
    path = folder / draw.choice(FILES)
    if draw.random() < 0.06:
        another_folder(draw, folder)
        return
    change = draw.choice([another_value, another_value, another_cell, other_lines, other_bytes, something_else, None])
    if change in (other_bytes, something_else):
        change(draw, path)
    elif change is None:
        path.write_text(draw.choice(TEXTS))
    else:
        path.write_text(change(draw, path.read_text()), errors="surrogatepass")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "batch", [pytest.param(number, marks=[pytest.mark.long] * (number > 0)) for number in range(BATCHES)]
)
def test_no_damage_to_a_run_ends_the_report_on_the_others(here, sound, tmp_path, monkeypatch, batch):
    draw = random.Random(batch)
    sweep = tmp_path / "sweep"
    shutil.copytree(sound, sweep)
    (sweep / "plan.json").write_text(another_value(draw, json.dumps(a_plan(sweep))))
    victims = sorted(sweep.glob("unet-*"), key=lambda folder: int(folder.name.split("seed")[1].split("-")[0]))[3:]
    assert len(victims) == VICTIMS
    for folder in victims:
        damage(draw, folder)
    if batch % 5 != 1:
        monkeypatch.setattr("src.analysis.report.page.pictures_of", lambda *_: [])  # they take most of the time
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with patience(PATIENCE):
        records = load_records([sweep])  # first, since a run may seem to be running for half a minute, and not later
        told = here(src.aggregate.aggregate, f"sweep={sweep}", "claim_files=null", f"output={tmp_path}/report")
        shown = here(src.status.status, f"sweep={sweep}")
        write_summary(sweep)
    for done in (told, shown):
        assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done
        assert done.stderr == "" and not [sign for sign in done.stdout if not sign.isprintable() and sign != "\n"]
    runs = records.runs[records.runs["status"].ne("planned")].set_index("run_id")
    begun = {path.name for path in sweep.iterdir() if path.is_dir() and path.name[0] != "."}
    assert begun <= set(runs.index)
    # a heartbeat that cannot be read may be another host's
    left_out = runs[~runs["included"] & runs["status"].ne("running")]
    assert not left_out["left_out"].fillna(left_out["error"]).isna().any()
    text = (tmp_path / "report" / "report.md").read_text()
    assert [name for name in left_out.index if name.isprintable() and markdown_text(name) not in text] == []
    # a damaged seed or choice may make a run the double of a sound one: then neither counts
    doubled = left_out["left_out"].fillna("").str.startswith("runs with the same config and seed").sum()
    assert runs["included"].sum() >= SOUND - doubled
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


def a_plan(sweep):
    """What was planned: the runs that are there, and one that has not begun."""
    runs = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/run.json"))]
    entries = [{key: run[key] for key in ("run_id", "config_id", "choices", "seed")} | {"epochs": 6} for run in runs]
    later = {**entries[0], "run_id": "unet-later", "config_id": "c", "seed": 99, "values": {"optimizer.lr": 0.5}}
    return {"schema": 1, "commands": [["-m", "seed=0,99"]], "runs": [*entries, later]}
