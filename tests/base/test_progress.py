"""Progress without a terminal: a plain line now and then, none in between, and none in a sweep's runs."""

import os
import subprocess
import sys

from src.base import progress
from src.base.progress import ProgressBar
from src.sweep import process
from tests.conftest import PROJECT


def test_a_line_is_printed_when_it_is_due_and_names_every_open_bar(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(ProgressBar, "last_line", 0.0)  # of work long ago
    monkeypatch.setattr(ProgressBar, "open_bars", {})  # tests before may have left some
    with ProgressBar(total=3, desc="epochs") as epochs:
        epochs.update()
        for step in ProgressBar(range(4), "epoch 2", leave=False, mininterval=0, miniters=1):
            now = {0: 129.9, 1: 130.0, 2: 159.9, 3: 159.9}[step]
    assert capsys.readouterr() == ("", "epochs: 1 of 3, 00:00 left; epoch 2: 2 of 4, 00:00 left\n")


def test_the_environment_turns_it_off():
    bar = "list(progress.ProgressBar(range(2), 'epochs', mininterval=0))"
    code = f"from src.base import progress; progress.PAUSE = 0; {bar}"
    for switch in ({}, {"TQDM_DISABLE": "1"}):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=os.environ | switch, check=True)
        assert bool(done.stderr) == (not switch)


def test_the_runs_of_a_sweep_are_quiet(monkeypatch, tmp_path):
    environments = []
    monkeypatch.setattr(process.subprocess, "Popen", lambda *_, env, **__: environments.append(env))
    process.JobProcess(tmp_path, {})
    assert [environment["TQDM_DISABLE"] for environment in environments] == ["1"]
