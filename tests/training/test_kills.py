"""The resume certificate: killed at any moment and taken up again, a run ends with the same bits as one left alone."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from src.base.record import RunRecord
from src.sweep.worker import BUSY
from src.training.checkpoint import load_checkpoint
from src.training.checks import checked
from tests.conftest import CONF
from tests.sweep.test_launch import wait_for
from tests.training.attempts import Death, attempt, differences, end_of, exit_code

SCHEDULERS = sorted(file.stem for file in (CONF / "scheduler").glob("*.yaml"))
KILLS = int(os.environ.get("SEGSWEEP_KILLS", "21"))  # of the long campaign, over all schedulers; see `make torture`
SECONDS = (0, 0.05, 60)  # from one checkpoint to the next: after each step, some of them, none but the last
# 18 training images in batches of 4, two of which make a step
EVERYTHING = ("augmentation=flip_jitter", "trainer.accumulate=2", "trainer.early_stop_patience=4", "trainer.epochs=6")


@pytest.fixture
def config(composed, small, tmp_path):
    """`config("a", "seed=1")`: a small run on its own under tmp_path/a."""
    return lambda place, *overrides: checked(composed(*small, *overrides, f"output={tmp_path}/{place}"))


def finish(config) -> None:
    """Does the run, or what is left of it; a moment later where loader workers of a killed process are still going."""
    deadline = time.monotonic() + 60
    code = None
    while code is None or (code == BUSY and time.monotonic() < deadline):
        code = exit_code(attempt(config))
    assert code == 0


def killed(configs, draw: random.Random, seconds: float) -> bool:
    """Starts or resumes the run and kills it at a drawn moment; False if it had ended before that.

    One time in three each: from outside at any moment of `seconds`, before a file operation, in the middle of a write
    (without loader workers, which write into shared memory and would meet the limit first). `configs[0]` and
    `configs[1]` differ in the number of workers, 0 and 2, and what is in each in the time between checkpoints.
    """
    way = draw.choice(("moment", "operation", "write"))
    size = int(10 ** draw.uniform(1, 5.6)) if way == "write" else None  # bytes: up to the size of a checkpoint
    config = draw.choice(configs[0 if way == "write" else draw.randrange(2)])
    process = attempt(config, None if way == "moment" else Death(draw.randint(1, 120), size=size))
    if way == "moment":
        process.join(draw.uniform(0, seconds))
        process.kill()
    code = exit_code(process)
    assert code in (0, BUSY, -signal.SIGKILL, -signal.SIGXFSZ)
    return code < 0


def certify(config, kills: int, draw: random.Random, *overrides: str) -> None:
    """Kills runs with `overrides` `kills` times in all, each time resuming with what is left, and compares the ends."""
    started = time.monotonic()
    finish(config("whole", *overrides))
    seconds = time.monotonic() - started
    whole = end_of(Path(config("whole", *overrides).output))
    place = 0
    while kills > 0:
        place += 1
        cut = [
            [
                config(f"cut{place}", *overrides, f"data.workers={workers}", f"trainer.checkpoint_seconds={between}")
                for between in SECONDS
            ]
            for workers in (0, 2)
        ]
        for _ in range(5):  # then it is left to finish
            kills -= kills > 0 and killed(cut, draw, seconds)
        finish(draw.choice(draw.choice(cut)))
        assert differences(whole, end_of(Path(cut[0][0].output))) == []


@pytest.mark.long
def test_a_run_that_is_killed_three_times_ends_with_the_same_bits(config):
    certify(config, 3, random.Random(0), *EVERYTHING, "scheduler=onecycle")


def rows_written_since(moment: float, config) -> bool:
    return any(file.stat().st_mtime > moment for file in Path(config.output).rglob("epochs.jsonl"))


@pytest.mark.long
def test_a_signal_leaves_a_checkpoint_in_the_middle_of_an_epoch_and_no_image_is_repeated_or_skipped(config):
    # 18 images, one at a time, two of which make a step
    overrides = ("augmentation=flip_jitter", "trainer.accumulate=2", "trainer.epochs=6", "trainer.batch_size=1")
    finish(config("whole", *overrides))
    cut = config("cut", *overrides, "data.workers=2")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        process, begun = attempt(cut), time.time()
        wait_for(
            lambda begun=begun: any(file.stat().st_mtime > begun for file in Path(cut.output).rglob("epochs.jsonl"))
        )
        asked = time.monotonic()
        os.kill(process.pid, number)
        assert exit_code(process) == 128 + number  # 143 and 138
        assert time.monotonic() - asked < 10
        (run_file,) = Path(cut.output).glob("single/*/run.json")
        record = RunRecord(run_file.parent)
        assert record.status() == "interrupted"
        assert record.read()["error"] == f"stopped by {signal.Signals(number).name}"
        assert load_checkpoint(record.checkpoints / "last.pt")["batch"] % 2 == 0  # between two steps
        assert load_checkpoint(record.checkpoints / "last.pt")["batch"] > 0
    finish(cut)
    assert differences(end_of(Path(config("whole").output)), end_of(Path(cut.output))) == []


@pytest.mark.long
def test_a_signal_that_ends_the_loaders_workers_too_leaves_a_run_that_resumes(config):
    overrides = ("augmentation=flip_jitter", "trainer.epochs=8", "trainer.batch_size=1", "data.workers=2")
    finish(config("whole", *overrides))
    cut = config("cut", *overrides)
    process = attempt(cut)
    wait_for(lambda: list(Path(cut.output).rglob("epochs.jsonl")))
    os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does, or `timeout`
    assert exit_code(process) == 128 + signal.SIGTERM
    finish(cut)
    assert differences(end_of(Path(config("whole").output)), end_of(Path(cut.output))) == []


@pytest.mark.long
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_kill_changes_a_bit_whatever_the_schedule(config, scheduler):
    share = -(-KILLS // len(SCHEDULERS))
    certify(config, share, random.Random(scheduler), *EVERYTHING, f"scheduler={scheduler}")
