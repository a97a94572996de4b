"""Ctrl-C at any moment of any command is one word, and output that nobody takes costs no stack: real processes."""

import io
import logging
import random
import signal
import subprocess
import sys
import time

import pytest

from src.cli.console import _Stream, console
from tests.conftest import PROJECT

COMMANDS = (
    "aggregate",
    "benchmark",
    "clean",
    "compare",
    "evaluate",
    "export",
    "inference",
    "prepare",
    "repeat",
    "publish",
    "status",
    "summary",
    "train",
)


@pytest.fixture
def arguments(trained_run, small, tmp_path):
    """What each command is given, so that it has seconds of work."""
    run, data = f"run={trained_run}", [argument for argument in small if argument.startswith("data.")]
    return {
        "aggregate": [f"sweep={trained_run.parent}", f"output={tmp_path}/report"],
        "benchmark": ["device=cpu", f"output={tmp_path}/benchmark", *small[:-1]],
        "clean": [f"sweep={trained_run.parent}", "keep=best"],
        "evaluate": [run, f"output={tmp_path}/evaluation", "device=cpu"],
        "export": [run, "format=torch_export", f"output={tmp_path}/net.pt2"],
        "inference": [run, f"input={trained_run}/../../../data", f"output={tmp_path}/masks", "device=cpu"],
        "prepare": ["data=synthetic", *(word for word in data if not word.startswith(("data.workers", "data.image")))],
        "repeat": [run, "go=true", f"output={tmp_path}/again"],
        "status": [f"sweep={trained_run.parent}"],
        "summary": ["model=resnet34_unet_cbam"],
        "train": [*small, "trainer.epochs=200"],
    }


def interrupted(command, arguments, module, wait=0.0, number=signal.SIGINT):
    """Exit code and output of a command that gets a signal `wait` seconds after it has imported `module`."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"src.{command}", *arguments],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            for line in process.stderr:
                if line.startswith("import time:") and line.split("|")[-1].strip() == module:
                    break
            time.sleep(wait)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, [line for line in errors.splitlines() if not line.startswith("import time:")]


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_amid_the_first_imports_is_one_word(command):
    assert interrupted(command, [], "yaml") == (130, ["interrupted"])


@pytest.mark.long
@pytest.mark.parametrize("module", ["numpy", "torch._C", "src.base.runtime"])
def test_ctrl_c_amid_the_imports_of_libraries_is_one_word(arguments, module):
    assert interrupted("export", arguments["export"], module) == (130, ["interrupted"])


@pytest.mark.long
# compare and publish load as aggregate does, compare predicts as evaluate does
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ("compare", "publish")])
def test_a_signal_at_any_moment_leaves_no_stack_and_no_process_that_hangs(command, arguments):
    draw = random.Random(command)
    for _ in range(15):
        number = draw.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM])
        code, said = interrupted(command, arguments[command], "yaml", draw.uniform(0, 8), number)
        assert not any("Traceback" in line for line in said), said
        if number == signal.SIGINT:
            assert code == 0 or (code == 130 and said[-1].startswith("interrupted")), (code, said)
        else:
            assert code in (0, 143, -signal.SIGTERM), (code, said)


def test_an_interrupt_is_said_whatever_it_became_on_the_way(capsys):
    with pytest.raises(SystemExit, match="130"), console():
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "interrupted\n"


def test_a_stream_takes_everything_after_a_write_that_failed():
    with open("/dev/full", "w", buffering=1) as full:  # noqa: PTH123
        stream = _Stream(full)
        assert stream.write("a\n") == 2
        assert "No space" in str(stream.error)
        stream.write("b\n")
        stream.flush()


def test_signs_that_an_encoding_lacks_are_escaped():
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = _Stream(plain)
    stream.write("A ∩ B \udc80")
    stream.flush()
    assert plain.buffer.getvalue() == rb"A \u2229 B \udc80"


@pytest.mark.parametrize(("place", "code"), [("> /dev/full", 1), ("| true", 0), (">&-", 0)])
@pytest.mark.parametrize("trains", [False, pytest.param(True, marks=pytest.mark.long)])
def test_output_that_nobody_takes_costs_no_stack(small, place, code, trains):
    """The work is done all the same; where its answer was lost on a full disk, the exit code says so."""
    words = " ".join([sys.executable, "-m", "src.train", *(small if trains else ["--help"])])
    shell = subprocess.run(
        ["bash", "-c", f"{words} {place}; echo ${{PIPESTATUS[0]}} >&2"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    *said, ended = shell.stderr.splitlines()
    assert int(ended) == code
    said = [line for line in said if not line.startswith("run ")]
    assert said == (["the output cannot be written: No space left on device"] if code else [])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unet 0.9196 ± 0.0260\n\tb\n", "unet 0.9196 ± 0.0260\n\tb\n"),
        ("\x1b[5mblink\x1b]0;title\x07\n", "\\x1b[5mblink\\x1b]0;title\\x07\n"),
        ("\x9b2J", "\\x9b2J"),  # one sign that some terminals take for ESC [
        ("right\rwrong", "right wrong"),
        ("\u202eleft", "\\u202eleft"),  # letters in another order than they are written in
        ("\udc80", "\\udc80"),
        ("\r 42%|████▏     | 21/50\r", "\r 42%|████▏     | 21/50\r"),  # a progress bar
        ("\x1b[A\x1b[A", "\x1b[A\x1b[A"),  # which goes back to its line
        ("\r", "\r"),
        ("", ""),
    ],
)
def test_a_terminal_shows_what_it_would_obey(text, shown, monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with console():
        print(text, end="")
        print(text, end="", file=sys.stderr)
    assert out.getvalue() == err.getvalue() == shown


def test_logs_keep_their_colors_and_nothing_else_that_a_terminal_would_obey(monkeypatch, capsys):
    text = "[\x1b[36m12:00\x1b[0m] \x1b[01;31mlost\x1b[0m"
    with console():
        print(text)
    assert capsys.readouterr().out == text.replace("\x1b", "\\x1b") + "\n"
    handler = logging.StreamHandler()
    handler.setFormatter(type("ColoredFormatter", (logging.Formatter,), {"__module__": "colorlog.formatter"})())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with console():
        print(text + "\x1b[8m\x1b[2J")
    assert capsys.readouterr().out == text + "\\x1b[8m\\x1b[2J\n"


def test_the_last_words_of_a_command_are_shown_likewise(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit) as ended, console():
        sys.exit("no \x1b[31mrun\nnor another")
    assert ended.value.code == 1 and sys.stderr.getvalue() == "no \\x1b[31mrun\nnor another\n"
