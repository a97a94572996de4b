"""`python -m src.publish` into each tracker, and read back from it with the tracker's own reader where it has one."""

import json
import shlex
import struct
from functools import partial

import pytest
from PIL import Image

import src.publish
from src.base.record import RunRecord
from src.publishing import publishing
from src.publishing.entries import ANSWER, Entry, Labels, _flat
from src.publishing.folders import Folders
from src.publishing.mlflow_store import MlflowStore
from tests.analysis.recorded import fail, finish
from tests.sweep.test_launch import contents

CURVES = {"valid_dice": [0.25, 0.5, 0.75], "train_loss": [3.0, 2.0, 1.0]}
SHORT = "trainer.epochs=3"


@pytest.fixture
def publish(here):
    return partial(here, src.publish.publish)


@pytest.fixture
def sweep(tmp_path):
    """A finished run with labels, pictures and texts; one that failed."""
    folder = tmp_path / "pilot"
    record = finish(folder, SHORT, dice=[0.5, 0.75], curves=CURVES)
    Image.new("RGB", (4, 2)).save(record.folder / "examples.jpg")
    with record.locked():
        record.update(tags=["thesis"], notes="a first look")
    fail(folder, SHORT, seed=1)
    return folder


def runs_of(sweep):
    """The folders of the finished run and of the failed one."""
    files = sorted(sweep.glob("unet*/run.json"), key=lambda file: '"failed"' in file.read_text())
    return [file.parent for file in files]


def read_tensorboard(folder, run_id):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "mirrors" / "tensorboard" / folder.name / run_id))
    events.Reload()
    tags = events.Tags()
    points = {(name, one.step): one.value for name in tags["scalars"] for one in events.Scalars(name)}
    texts = {name: events.Tensors(name)[0].tensor_proto.string_val for name in tags["tensors"]}
    params = {name for name in texts if name.startswith("_hparams_")}
    assert len(params) == (run_id != ANSWER) and tags["images"] == ["examples"] * ("examples" in tags["images"])
    return points, {name.removesuffix("/text_summary"): str(text[0], "utf8") for name, text in texts.items() if text}


def read_mlflow(folder, run_id):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mirrors/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name(folder.name).experiment_id
    (run,) = [run for run in client.search_runs([experiment]) if run.data.tags["segsweep.run"] == run_id]
    histories = [client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
    if run_id != ANSWER:
        assert run.data.params["optimizer.lr"] == "0.001" and run.data.params["trainer.epochs"] == "3"
        assert run.info.status == run.data.tags["status"].upper()
    points = [((one.key, one.step), one.value) for history in histories for one in history]
    assert len(points) == len(dict(points))  # nothing twice
    return dict(points), {**run.data.tags, "notes": run.data.tags.get("mlflow.note.content")}


def read_wandb(folder, run_id):
    from wandb.proto import wandb_internal_pb2

    (file,) = (folder / "mirrors" / "wandb" / folder.name / run_id / "wandb").glob("offline-run-*/*.wandb")
    data, position, content, points, texts = file.read_bytes(), 7, b"", {}, {}
    while position + 7 <= len(data):  # LevelDB's log: blocks of 32 KiB, each part of a record after 7 bytes
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, size, kind = struct.unpack("<IHB", data[position : position + 7])
        content += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record.FromString(content)
            content = b""
            rows = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            points |= {(name, rows["_step"]): value for name, value in rows.items() if name[0] != "_"}
            texts |= {(one.key or one.nested_key[0]): json.loads(one.value_json) for one in record.summary.update}
            if record.WhichOneof("record_type") == "run":
                texts |= {"tags": ", ".join(record.run.tags), "notes": record.run.notes}
    return points, texts


@pytest.mark.parametrize(
    ("to", "read"),
    [
        ("tensorboard", read_tensorboard),
        pytest.param("mlflow", read_mlflow, marks=pytest.mark.long),
        pytest.param("wandb", read_wandb, marks=pytest.mark.long),
    ],
)
def test_a_tracker_shows_what_the_records_hold_and_later_calls_add_what_is_new(publish, sweep, to, read):
    pytest.importorskip(to)
    done, failed = runs_of(sweep)
    before = contents(done)
    first = publish(f"sweep={sweep}", f"to={to}")
    assert first.returncode == 0 and "2 runs and the answer, 3 of them new or changed" in first.stdout, first
    points, texts = read(sweep, done.name)
    assert [points["valid_dice", epoch] for epoch in (1, 2, 3)] == [0.25, 0.5, 0.75]
    assert points["test/headline/dice/mean", 3] == 0.625 and points["best_epoch", 3] == 1
    assert (texts["status"], texts["tags"], texts["notes"]) == ("finished", "thesis", "a first look")
    assert "NonFiniteLoss" in read(sweep, failed.name)[1]["error"] and read(sweep, failed.name)[0] == {}
    assert read(sweep, ANSWER)[1]["answer"].startswith("Best")
    assert contents(done) == before

    again = publish(f"sweep={sweep}", f"to={to}")
    assert again.returncode == 0 and " 0 of them new or changed" in again.stdout
    assert read(sweep, done.name) == (points, texts)

    record = RunRecord(failed)
    for epochs in ([1, 2], [1, 2, 3], [1]):  # tried again, and resumed from an older checkpoint
        with record.locked():
            record.update(status="running", error=None)
            record.write_epochs([{"epoch": epoch, "valid_dice": epoch / 4} for epoch in epochs])
            later = publish(f"sweep={sweep}", f"to={to}")
        assert later.returncode == 0 and " 0 of them new or changed" not in later.stdout
        points, texts = read(sweep, failed.name)
        assert points == {("valid_dice", epoch): epoch / 4 for epoch in epochs}
        assert texts["status"] == "running" and "error" not in texts


def test_broken_records_are_published_as_such_and_named_with_exit_code_1(publish, sweep, monkeypatch):
    published = {}
    monkeypatch.setattr(publishing, "find_spec", lambda package: package)
    monkeypatch.setattr(publishing, "_open", lambda *_: lambda entry: published.update({entry.name: entry}) is None)
    done, failed = runs_of(sweep)
    (done / "test_images.csv").write_text("other")
    (done / "examples.jpg").write_text("no picture")
    (failed / "run.json").write_text("{")
    ended = publish(f"sweep={sweep}", "to=wandb")
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert sorted(line.split(": ")[1] for line in ended.stderr.splitlines()) == sorted([done.name, failed.name])
    assert published[failed.name].status == "unreadable" and published[failed.name].params["trainer.epochs"] == 3
    excluded = published[done.name]
    assert "test_images.csv cannot be used" in excluded.texts["excluded"] and excluded.picture is None
    names = {name for name, _, _ in excluded.points}
    assert "valid_dice" in names and not any(name.startswith("test/") for name in names)


def test_one_run_that_cannot_be_published_stops_no_other(publish, sweep, monkeypatch):
    published = []
    monkeypatch.setattr(publishing, "find_spec", lambda package: package)
    monkeypatch.setattr(publishing, "_open", lambda *_: lambda entry: published.append(entry) is None)
    done, failed = runs_of(sweep)
    scores = json.loads((done / "test.json").read_text())
    scores["protocols"]["more"] = dict.fromkeys(map(str, range(2_001)), 1)
    (done / "test.json").write_text(json.dumps(scores))
    failed.rename(sweep / ANSWER)
    ended = publish(f"sweep={sweep}", "to=wandb", f"output={sweep}/it's")
    assert ended.returncode == 1 and [entry.name for entry in published] == [done.name, ANSWER]
    assert shlex.split(ended.stdout)[-1] == f"{sweep}/it's/*/*/wandb/offline-run-*"
    assert ("best_epoch", 3, 1.0) in published[0].points and published[1].texts["answer"].startswith("Best")
    named = ["answer: is the name of the sweep's own entry", f"{done.name}: more than 2,000 values"]
    assert all(f"broken: {line}" in ended.stderr for line in named)


@pytest.mark.parametrize("name", ["a?b", "50%"])
def test_a_folder_that_the_address_of_a_database_would_change_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="choose another output"):
        MlflowStore(str(tmp_path / name), "pilot")


def test_joined_names_that_are_too_long_stay_different():
    names = [*_flat({"x" * 99: {"y" * 99: {"z" * 99: {"a": 1, "b": 2}}}}, "/"), *_flat({"short": {"name": 1}}, "/")]
    assert len(set(names)) == 3 and names[2] == "short/name"
    assert all(len(name) <= 250 and name.startswith("x" * 99 + "/" + "y" * 99) for name in names[:2])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["to=paper"], "to: got 'paper'; input should be 'tensorboard', 'mlflow' or 'wandb'"),
        (["to=wandb", "output=http://host"], "output=http://host is not a folder; only mlflow takes a server"),
        (["to=mlflow"], "to: mlflow is not installed here; pip install '.[mlflow]'"),
    ],
)
def test_what_cannot_be_published_to_is_refused_in_one_line(publish, sweep, monkeypatch, options, said):
    monkeypatch.setattr(publishing, "find_spec", lambda package: None)
    refused = publish(f"sweep={sweep}", *options)
    assert refused.returncode == 1 and said in refused.stderr and len(refused.stderr.splitlines()) == 2
    assert not (sweep / "mirrors").exists()


@pytest.mark.long
def test_a_server_that_is_down_ends_in_one_line(publish, sweep):
    pytest.importorskip("mlflow")
    refused = publish(f"sweep={sweep}", "to=mlflow", "output=http://localhost:1")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "mlflow refuses it, and no run is touched: API request to http://localhost:1" in refused.stderr


def test_a_folder_is_made_again_for_a_change_only_and_never_one_of_others(tmp_path):
    written = []

    def write(folder, sweep, entry):
        written.append(entry.status)
        (folder / f"{entry.status}.txt").touch()

    folders = Folders(str(tmp_path), "pilot", write)
    added = [folders.publish(Entry("run", status)) for status in ("running", "running", "finished")]
    assert (added, written) == ([True, False, True], ["running", "finished"])
    assert {file.name for file in (tmp_path / "pilot" / "run").iterdir()} == {"finished.txt", ".segsweep"}
    (tmp_path / "pilot" / "other").mkdir()
    with pytest.raises(ValueError, match="other: was not made by this command"):
        folders.publish(Entry("other", "running"))
    assert list((tmp_path / "pilot").iterdir()) and not list((tmp_path / "pilot" / "other").iterdir())


def test_a_digest_changes_with_everything_of_an_entry():
    parts = {
        "status": "failed",
        "params": {"lr": 1},
        "points": (("dice", 1, 0.5),),
        "labels": Labels(notes="x"),
        "texts": {"error": "x"},
        "picture": b"x",
    }
    entries = [Entry("run", "finished"), *(Entry(**{"name": "run", "status": "x", key: parts[key]}) for key in parts)]
    assert len({entry.digest for entry in entries}) == len(entries)
