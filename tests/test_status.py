"""`python -m src.status` as a user meets it: real processes, while real runs begin and end."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from src.analysis.records.runs import load_runs
from src.analysis.status.sweep_status import status_text
from src.base.record import RunRecord
from src.status import status
from tests.analysis.sweeps import another_process, begin, fail, finish, holding, plan
from tests.conftest import PROJECT

PASTED = "python -m src.train -m 'notes='\"'\"'a b'\"'\"''"
TRAINS = """
    from src.base.record import RunRecord
    from tests.analysis.sweeps import facts_of
    print("ready", flush=True)
    input()
    record = RunRecord(Path({sweep!r}) / facts_of(seed=1)["run_id"])
    with record.locked():
        record.begin(facts_of(seed=1), {{}}, [])
        for epoch in range(1, 5):
            record.append_epoch({{"epoch": epoch}})
            record.update(scores={{"valid_dice": 0.5}})
        record.end("finished", scores={{"valid_dice": 0.5, "test_dice": 0.75}})
"""


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "demo"
    plan(folder, {"seed": 0}, {"seed": 1})
    finish(folder, 0.625, seed=0)
    return folder


@contextmanager
def watching(sweep, stdout=subprocess.PIPE):
    """The command with watch=true, at work until the block ends at the latest."""
    arguments = ["status", f"sweep={sweep}", "watch=true", "interval=0.1"]
    command = [sys.executable, "-m", f"src.{arguments[0]}", *arguments[1:]]
    with subprocess.Popen(command, cwd=PROJECT, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process, words):
    """What `process` prints, up to the line with `words`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"it ended without {words!r}:\n{''.join(lines)}\n{process.stderr.read()}")


def test_it_prints_what_the_records_say_and_changes_nothing(command, sweep):
    fail(sweep, "NonFiniteLoss: training loss is nan", seed=2, done=1)
    with another_process(holding(begin(sweep, seed=3, done=2))):
        files = [
            path for path in (sweep, *sweep.rglob("*")) if path.suffix != ".heartbeat"
        ]  # that of the other process
        before = {path: path.stat().st_mtime_ns for path in files}
        shown = command("status", f"sweep={sweep}", COLUMNS="100")
        assert {path: path.stat().st_mtime_ns for path in files} == before
        assert {path for path in (sweep, *sweep.rglob("*")) if path.suffix != ".heartbeat"} == set(files)
        assert shown.stdout == status_text(load_runs(sweep), width=100) + "\n"
    assert shown.returncode == 0 and shown.stderr == ""
    assert "4 runs: 1 finished, 1 running, 1 planned, 1 failed\ntime left: about" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_what_launched_a_sweep_is_printed_for_a_shell(here, sweep):
    plan(sweep, {"seed": 0}, commands=[["-m", "seed=0,1"], ["-m", "notes='a b'"]])
    said = here(status, f"sweep={sweep}").stdout
    assert said.endswith(f"\n\nlaunched by\npython -m src.train -m seed=0,1\n{PASTED}\n")
    assert shlex.split(PASTED)[-1] == "notes='a b'"


def test_one_run_is_told_with_what_it_was_made_with(here, trained_run, tmp_path):
    done = here(status, f"run={trained_run}")
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert lines["status"].split()[1] == "finished" and "test_dice 0." in lines["scores"]
    assert "packages" in lines["made with"] and lines["code"].split()[1] in ("commit", "not")
    assert lines["provenance"].endswith(f"{RunRecord(trained_run).read()['provenance']}.json")
    assert lines["again"].endswith(f"python -m src.repeat run={trained_run}")
    refused = here(status, f"run={tmp_path}")
    assert refused.returncode == 1 and "is not the folder of a run, it has no run.json" in refused.stderr
    assert "run: got it beside sweep or watch" in here(status, f"run={trained_run}", "watch=true").stderr


def test_watching_shows_the_run_that_ends_meanwhile_and_then_stops(sweep):
    with another_process(TRAINS.format(sweep=str(sweep))) as other, watching(sweep) as process:
        first = lines_until(process, "time left")
        assert "2 runs: 1 finished, 1 planned\n" in first
        other.stdin.write("\n")
        other.stdin.flush()
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""
    assert rest.rstrip().endswith("2 runs: 2 finished") and "0.7500" in rest
    assert f"{sweep} at " in first[0] and "\x1b" not in "".join(first) + rest


def test_ctrl_c_ends_a_watch_in_a_word(sweep):
    with watching(sweep) as process:
        lines_until(process, "time left")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_on_a_terminal_each_look_takes_the_place_of_the_one_before(sweep):
    ours, its = pty.openpty()
    with another_process(TRAINS.format(sweep=str(sweep))) as other, watching(sweep, stdout=its) as process:
        os.close(its)
        seen = b""
        while seen.count(b"time left") < 2:
            seen += os.read(ours, 4096)
        other.stdin.write("\n")
        other.stdin.flush()
        seen += read_to_the_end(ours)
        assert process.wait(timeout=60) == 0
    looks = seen.decode().split("\x1b[H\x1b[J")
    assert looks[0] == "" and len(looks) >= 4
    assert "1 planned" in looks[1] and looks[-1].rstrip().endswith("2 runs: 2 finished")


def read_to_the_end(terminal):
    """What is still printed on `terminal`, until nobody has it open."""
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # on Linux, the end of a terminal
            return seen


def test_a_reader_that_has_seen_enough_is_no_error(sweep):
    with watching(sweep) as process:
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.returncode == -signal.SIGPIPE and process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep={folder}"], ["{folder}: does not hold runs; expected <folder>/<run_id>/run.json"]),
        (["sweep={folder}/nothing"], ["{folder}/nothing: is not a folder; expected"]),
        (
            [],
            [
                "the config cannot be used:",
                "sweep: missing; it takes the folder of a sweep, for example sweep=multirun_outputs/",
            ],
        ),
        (
            ["sweep={folder}", "watch=perhaps", "interval=0", "wach=true"],
            [
                "the config cannot be used:",
                "watch: got 'perhaps'; input should be a valid boolean",
                "interval: got 0; input should be greater than 0",
                "wach: unknown key (got True); did you mean 'watch'? allowed: interval, run, sweep, watch",
            ],
        ),
    ],
)
def test_a_mistake_gets_clear_lines_and_exit_code_1(command, tmp_path, arguments, said):
    refused = command("status", *(argument.format(folder=tmp_path) for argument in arguments))
    assert refused.returncode == 1 and refused.stdout == ""
    lines = refused.stderr.splitlines()
    assert len(lines) == len(said)
    for words, line in zip(said, lines, strict=True):
        assert line.strip().startswith(words.format(folder=tmp_path))


def test_it_does_without_torch():
    modules = "src.status, src.analysis.status.sweep_status"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0
