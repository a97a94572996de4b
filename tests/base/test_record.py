"""A run's folder explains itself, says truly how the run stands, and has one writer."""

import logging
import os
import signal

import pytest

from src.base import locks
from src.base.files import replacing
from src.base.record import STORY, RunBusy, RunLost, RunRecord, failure_kind
from tests.analysis.sweeps import another_process, is_stopped
from tests.sweep.test_launch import wait_for

FACTS = {"run_id": "unet-seed0-c0", "config_id": "c1", "choices": {"model": "unet"}, "seed": 0}
IMAGE = {"stem": "a", "dice": 0.5, "iou": 1 / 3, "tp": 1, "fp": 1, "fn": 1}


@pytest.fixture
def record(tmp_path):
    return RunRecord(tmp_path / "sweep" / "unet-seed0-c0")


def test_a_run_from_beginning_to_end(record):
    assert record.status() is None and record.read() is None
    with record.locked():
        record.begin(FACTS, {"seed": 0}, ["seed=0"])
        assert record.status() == "running"
        record.append_epoch({"epoch": 1, "valid_dice": 0.5})
        record.append_epoch({"epoch": 2, "valid_dice": 0.75})
        record.write_test("headline", {"dice": {"mean": 0.5}}, [IMAGE])
        record.end("finished", scores={"test_dice": 0.5}, best_epoch=2)
    run = record.read()
    assert {key: run[key] for key in ("schema", "run_id", "status", "scores", "best_epoch", "error")} == {
        "schema": 2,
        "run_id": "unet-seed0-c0",
        "status": "finished",
        "scores": {"test_dice": 0.5},
        "best_epoch": 2,
        "error": None,
    }
    assert run["seconds"] >= 0 and run["started"] <= run["finished"]
    assert [row["valid_dice"] for row in record.read_epochs()] == [0.5, 0.75]
    assert {file.name for file in record.folder.iterdir()} == {
        "run.json",
        "config.yaml",
        "overrides.yaml",
        "epochs.jsonl",
        "test.json",
        "test_images.csv",
        "checkpoints",
    }


def test_seconds_add_up_over_attempts_and_only_whoever_works_counts_them(record):
    record.begin(FACTS, {}, [])
    record.update(seconds=100.0)  # as if it had worked that long
    RunRecord(record.folder).end("interrupted")  # said by somebody who looks on
    assert record.read()["seconds"] == 100.0
    second = RunRecord(record.folder)
    second.begin(FACTS, {}, [])
    second.end("finished")
    assert 100.0 <= second.read()["seconds"] < 110.0


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("NonFiniteLoss: training loss is nan from batch 2 of epoch 2 on (lr 0.0005)", "own"),
        ("training diverged: the loss is nan", "own"),
        ("ValueError: Expected more than 1 value per channel when training", "own"),
        (None, "own"),
        ("OutOfMemoryError: out of memory with trainer.batch_size=4 at data.image_size=32", "lost"),
        ("CannotWrite: last.pt cannot be written: No space left on device; make room", "lost"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'a.jpg'", "lost"),
        ("killed by SIGKILL (by hand, by a scheduler, or by the system because memory ran out)", "lost"),
        ("RuntimeError: DataLoader worker (pid(s) 12) exited unexpectedly", "lost"),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes", "lost"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "lost"),
        ("SLURM job 7 ended as OUT_OF_MEMORY without an answer", "lost"),
        ("ended with exit code 1", "lost"),  # before it could record why: the run records what its own code raises
        ("AcceleratorError: CUDA error: uncorrectable ECC error encountered", "lost"),
    ],
)
def test_a_failure_is_the_runs_own_or_that_of_its_machine(record, reason, kind):
    record.begin(FACTS, {}, [])
    record.end("failed", error=reason)
    assert record.read()["failure_kind"] == kind == failure_kind(reason)


def test_a_run_that_finishes_after_failing_keeps_how_it_failed(record):
    record.begin(FACTS, {}, [])
    assert "attempts" not in record.read()
    record.end("failed", error="NonFiniteLoss: " + 1000 * "x")
    ended = record.read()["finished"]
    for _ in range(2):  # the second attempt is killed, and leaves no reason
        RunRecord(record.folder).begin(FACTS, {}, [])
    record.end("finished")
    (attempt,) = record.read()["attempts"]
    assert attempt == {"finished": ended, "failure_kind": "own", "error": ("NonFiniteLoss: " + 1000 * "x")[:500]}
    assert record.read()["error"] is None and "failure_kind" not in record.read()


def test_one_protocol_never_overwrites_another(record):
    record.begin(FACTS, {}, [])
    record.write_test("headline", {"dice": 1}, [IMAGE])
    record.write_test("border_ignore", {"dice": 2}, [IMAGE, {**IMAGE, "stem": "b"}])
    record.write_test("headline", {"dice": 3}, [{**IMAGE, "stem": "c"}])
    assert [(row["protocol"], row["stem"]) for row in record.read_test_images()] == [
        ("border_ignore", "a"),
        ("border_ignore", "b"),
        ("headline", "c"),
    ]
    assert '"border_ignore"' in (record.folder / "test.json").read_text()


def test_scores_that_are_added_change_nothing_that_stands_there(record):
    record.begin(FACTS, {}, [])
    record.write_test("headline", {"dice": 1}, [IMAGE])
    other = {**IMAGE, "dice": 0.25}
    record.add_scores("test", {"headline": ({"dice": 2, "recall": 3}, [other]), "native": ({"dice": 4}, [other])})
    assert record.read_scores("test") == {"headline": {"dice": 1, "recall": 3}, "native": {"dice": 4}}
    assert [(row["protocol"], row["dice"]) for row in record.read_test_images()] == [
        ("headline", "0.5"),
        ("native", "0.25"),
    ]
    record.add_scores("valid", {"headline": ({"dice": 5}, [IMAGE])})
    assert record.read_scores("valid") == {"headline": {"dice": 5}} and len(record.read_test_images("valid")) == 1
    assert len(record.read_test_images()) == 2 and (record.folder / "valid_images.csv").exists()


def test_a_line_that_was_cut_off_is_no_epoch(record):
    record.begin(FACTS, {}, [])
    record.append_epoch({"epoch": 1})
    with record.epochs_file.open("a") as file:
        file.write('{"epoch": 2, "tra')
    assert record.read_epochs() == [{"epoch": 1}]
    record.write_epochs([{"epoch": 1}])
    record.append_epoch({"epoch": 2})
    assert record.read_epochs() == [{"epoch": 1}, {"epoch": 2}]


def writing(record, first=""):
    """Code of a process that does `first`, begins the run of `record` and then is at work on it until it is killed."""
    return f"""
        {first}
        from src.base.record import RunRecord
        record = RunRecord(Path({str(record.folder)!r}))
        with record.locked():
            record.begin({FACTS!r}, {{}}, [])
            print("holding", flush=True)
            input()
    """


# As on a file system that keeps locks to one machine, so that only the heartbeat shows.
ON_ANOTHER_MACHINE = """
        from src.base import locks
        locks.HOST, locks.PERIOD, everywhere = "another machine", 0.2, locks.FileLock
        locks.FileLock = lambda file: everywhere(f"{file} of another machine")
"""


def test_a_run_has_one_writer_and_a_dead_writer_is_none(record):
    with another_process(writing(record)) as other:
        with pytest.raises(RunBusy, match="another process"), record.locked():
            pass
        assert record.status() == "running"
        other.send_signal(signal.SIGKILL)
    assert record.status() == "interrupted"
    with record.locked():
        started = record.read()["started"]
        record.begin(FACTS, {}, [])
        assert record.read()["started"] == started
        assert record.status() == "running"


def test_a_run_at_work_on_another_machine_is_running_and_has_its_writer(record, monkeypatch):
    monkeypatch.setattr(locks, "PERIOD", 0.2)
    monkeypatch.setattr(locks, "SILENCE", 2.0)
    with another_process(writing(record, ON_ANOTHER_MACHINE.strip())) as other:
        assert record.status() == "running"
        with pytest.raises(RunBusy, match=f"another process is working on .*process {other.pid} on"), record.locked():
            pass
        other.kill()
    with record.locked():  # once it has been silent for long enough
        assert record.status() == "running"  # held by us now
    assert record.status() == "interrupted"


def test_asking_changes_nothing_in_the_folder(record):
    with record.locked():
        record.begin(FACTS, {}, [])
        record.end("finished", scores={})
    before = {file: file.stat().st_mtime_ns for file in [record.folder, *record.folder.rglob("*")]}
    with record.locked():
        assert record.status() == "finished"
    assert {file: file.stat().st_mtime_ns for file in [record.folder, *record.folder.rglob("*")]} == before


@pytest.mark.parametrize(
    "content", ["[]\n", "1\n", "{\n{}\n", "{}\n" * 100_001, "[" * 100_000 + "\n", '{"epoch": 1e999}\n']
)
def test_epochs_that_no_run_writes_are_refused_by_name(record, content):
    record.begin(FACTS, {}, [])
    record.epochs_file.write_text(content)
    with pytest.raises(ValueError, match=r"epochs\.jsonl: "):
        record.read_epochs()


@pytest.mark.parametrize(
    "content", [b"", b"stem\na\n", b"protocol,stem,dice,iou,tp,fp,fn\na,b\n", b"\xff\n", b'"' + b"x" * 200_000 + b'"\n']
)
def test_test_images_that_no_run_writes_are_refused_by_name_and_stay(record, content):
    record.begin(FACTS, {}, [])
    path = record.folder / "test_images.csv"
    path.write_bytes(content)
    if content:
        with pytest.raises(ValueError, match=r"test_images\.csv: is not a table of test images"):
            record.add_scores("test", {"native": ({"dice": 4}, [IMAGE])})
        assert path.read_bytes() == content and not (record.folder / "test.json").exists()


def test_rows_of_a_protocol_that_was_not_recorded_are_written_anew(record):
    record.begin(FACTS, {}, [])
    added = {"native": ({"dice": 4}, [IMAGE])}
    record.add_scores("test", added)
    before = (record.folder / "test_images.csv").read_bytes()
    (record.folder / "test.json").unlink()  # as a crash between the two leaves it
    record.add_scores("test", added)
    assert (record.folder / "test_images.csv").read_bytes() == before


def lose(record):
    """As if another machine had taken the run over just now."""
    (heartbeat,) = record.folder.parent.glob(".locks/*.heartbeat")
    heartbeat.unlink()
    heartbeat.write_text('{"host": "another", "name": "fast", "pid": 7, "token": "theirs", "beat": "1"}')


WRITES = {
    "begin": lambda record: record.begin(FACTS, {"seed": 1}, ["seed=1"]),
    "update": lambda record: record.update(best_epoch=2),
    "end": lambda record: record.end("failed", error="of the old one"),
    "write_epochs": lambda record: record.write_epochs([]),
    "append_epoch": lambda record: record.append_epoch({"epoch": 2}),
    "write_test": lambda record: record.write_test("headline", {"dice": 0}, []),
    "add_scores": lambda record: record.add_scores("test", {"native": ({"dice": 0}, [IMAGE])}),
    "add_to_log": lambda record: record.add_to_log("its last words"),
    "another exception": lambda record: [][0],
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_who_lost_a_run_writes_nothing_more_into_it(record, write):
    with pytest.raises(RunLost, match="was taken over by another process"), record.locked():
        record.begin(FACTS, {"seed": 0}, ["seed=0"])
        record.append_epoch({"epoch": 1})
        record.write_test("headline", {"dice": 1}, [IMAGE])
        lose(record)
        before = {file: file.read_bytes() for file in record.folder.parent.rglob("*") if file.is_file()}
        write(record)
    # not the other one's heartbeat either
    assert {file: file.read_bytes() for file in record.folder.parent.rglob("*") if file.is_file()} == before


def test_who_lost_a_run_logs_nothing_more_into_it(record):
    with record.locked():
        record.begin(FACTS, {}, [])
        with record.logging():
            logging.getLogger("src").info("before")
            lose(record)
            logging.getLogger("src").error("after")
    assert "before" in record.log_file.read_text() and "after" not in record.log_file.read_text()


def test_a_line_that_cannot_be_formatted_or_encoded_does_not_end_the_run(record, capsys):
    with record.locked():
        record.begin(FACTS, {}, [])
        with record.logging():
            handler = logging.getLogger(STORY).handlers[-1]  # alone: pytest's own raise such errors
            for message, arguments in (("%d epochs", ("three",)), ("a file \udce4.png", ())):
                handler.handle(logging.LogRecord(STORY, logging.INFO, "file.py", 1, message, arguments, None))
    assert "--- Logging error ---" in capsys.readouterr().err
    assert record.log_file.read_text().endswith("INFO a file \\udce4.png\n")


def test_a_write_that_was_under_way_lands_nowhere_once_another_process_has_the_run(record, monkeypatch):
    """Stopped at the worst moments: with the temporary file written, and after the last look before the rename."""
    with pytest.raises(RunLost), record.locked():
        record.begin(FACTS, {}, [])
        with replacing(record.run_file, check=record.check) as temporary:
            temporary.write_text("the old one's")
            lose(record)
    assert record.read()["status"] == "running"  # and not what the old one wrote
    successor, looks = RunRecord(record.folder), []
    (record.folder.parent / ".locks" / f"{record.folder.name}.lock.heartbeat").unlink()

    def look_then_lose():
        record.check()
        looks.append(1)
        if len(looks) == 2:  # the first is before anything is written
            lose(record)
            monkeypatch.setattr(successor._lock, "_file", record.folder / "a lock of another machine")
            monkeypatch.setattr(successor._lock, "_heartbeat", record.folder / "its heartbeat")
            with successor.locked():
                successor.end("finished")

    with pytest.raises(RunLost), record.locked(), replacing(record.run_file, check=look_then_lose) as temporary:
        temporary.write_text("the old one's")
    assert record.read()["status"] == "finished" and not list(record.folder.glob(".*.tmp"))


def test_a_file_that_was_open_when_the_run_was_lost_is_not_the_successors(record):
    with record.locked():
        record.begin(FACTS, {}, [])
        record.append_epoch({"epoch": 1})
        with record.logging(), record.epochs_file.open("a") as epochs:
            logging.getLogger("src").info("before")
            successor = RunRecord(record.folder)
            successor.write_epochs([{"epoch": 1}])
            with successor.logging():
                epochs.write('{"epoch": 2}\n')
                epochs.flush()
    assert record.read_epochs() == [{"epoch": 1}] and "before" in record.log_file.read_text()


def test_a_process_that_is_stopped_and_wakes_up_leaves_the_run_to_its_successor(record, monkeypatch):
    monkeypatch.setattr(locks, "PERIOD", 0.2)
    monkeypatch.setattr(locks, "SILENCE", 1.0)
    monkeypatch.setattr(locks, "SETTLED", 0.2)
    at_work = f"""
        {ON_ANOTHER_MACHINE.strip()}
        from src.base.record import RunRecord
        record = RunRecord(Path({str(record.folder)!r}))
        with record.locked():
            record.begin({FACTS!r}, {{}}, [])
            record.write_epochs([])
            print("holding", flush=True)
            for epoch in range(1, 100_000):
                record.append_epoch({{"epoch": epoch, "of": "the old one"}})
                record.update(best_epoch=epoch)
    """
    with another_process(at_work) as other:
        wait_for(lambda: len(record.read_epochs()) > 3)
        os.kill(other.pid, signal.SIGSTOP)
        wait_for(lambda: is_stopped(other.pid))
        with record.locked():
            record.begin(FACTS, {}, [])
            record.write_epochs([{"epoch": 1}])
            os.kill(other.pid, signal.SIGCONT)
            assert other.wait(timeout=20) == 1
            record.append_epoch({"epoch": 2})
            assert record.status() == "running" and record.read()["best_epoch"] is None
            record.end("finished")
    assert record.read_epochs() == [{"epoch": 1}, {"epoch": 2}] and record.status() == "finished"
    assert not list(record.folder.parent.rglob(".*.tmp"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "{}"),
        ("run.json", "[]"),
        ("run.json", "3"),
        ("run.json", '{"schema": 1, "status": "finished", "data": null}'),
        ("run.json", '{"schema": 1, "status": "running", "seconds": "soon"}'),
        ("run.json", '{"schema": 1, "status": "running", "seconds": 1e999}'),
        ("run.json", '{"schema": 1, "status": "finished", "scores": []}'),
        ("run.json", '{"schema": 1, "status": "finished", "scores": {"test_dice": null}}'),
        ("run.json", '{"schema": 1, "status": {"a": 1}}'),
        ("run.json", '{"schema": 3, "status": "finished"}'),
        ("run.json", '{"schema": 1, "status": "done"}'),
        ("test.json", "[]"),
        ("test.json", "{}"),
        ("test.json", '{"protocols": [1]}'),
        ("test.json", '{"protocols": {"headline": 1}}'),
    ],
)
def test_what_is_not_the_record_of_a_run_is_refused_by_name(record, name, content):
    record.begin(FACTS, {}, [])
    (record.folder / name).write_text(content)
    read = {
        "run.json": record.read_now,
        "test.json": lambda: record.read_scores("test"),
    }
    with pytest.raises(ValueError, match=f"{name}: ") as refusal:
        read[name]()
    assert "\n" not in str(refusal.value)
