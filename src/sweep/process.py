"""A process for one job: started away from the terminal, watched, stopped, and its death put on record."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from src.base.identity import choices_of
from src.base.record import RunBusy, RunRecord
from src.sweep.job import Job
from src.sweep.worker import BUSY, PATIENCE

TAIL = 20_000  # characters of a dead job's output that go to its log


class JobProcess:
    """`python -m src.sweep.worker` for `job`, with `environment` beside this process's own.

    It leads a process group of its own: Ctrl-C at the terminal reaches only the launcher, which stops it in order.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job = job
        self.started = time.monotonic()
        sweep = job.record.folder.parent
        sweep.mkdir(parents=True, exist_ok=True)
        # without a name, so that nothing stays of it however we end
        self._output = tempfile.TemporaryFile(dir=sweep)  # noqa: SIM115, since it is as open as the process is long
        self._process = subprocess.Popen(
            [sys.executable, "-m", "src.sweep.worker", f"--parent={os.getpid()}"],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with self._process.stdin as message:
            message.write(job.message().encode())

    def exit_code(self) -> int | None:
        """The process's exit code, negative for a signal; None while it works."""
        return self._process.poll()

    def stop(self) -> None:
        """Asks for a checkpoint and an end."""
        if self.exit_code() is None:
            self._process.terminate()

    def has_ended(self) -> bool:
        """As `exit_code() is not None`, for signal handlers: that one is blind where the handler came amid `finish`."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def kill(self) -> None:
        """Ends it and what it started, at once."""
        if self.exit_code() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def finish(self, stopped: bool = False) -> str:
        """After its end: the status of the run, or `busy`. A death of which the record knows nothing is put there.

        `stopped`: it was made to end, so that a run without an end of its own is interrupted, not failed.
        """
        code = self._process.wait()
        self._output.seek(0)  # a signal may have come here before: finishing twice is allowed
        output = self._output.read().decode(errors="replace")[-TAIL:]
        if code == BUSY:
            return "busy"
        status = self.job.record.status()
        if stopped:
            written = (self.job.record.read() or {}).get("status")
            if written in ("finished", "failed", "interrupted"):
                return str(written)
            return record_end(
                self.job, "interrupted", "stopped with its sweep, without a word of its own", output, code
            )
        said_by_itself = {"finished": True, "failed": 0 < code < 128, "interrupted": code > 128}
        if status is not None and said_by_itself.get(status, False):
            return status
        return record_death(self.job, code, output)


def record_death(job: Job, code: int, output: str) -> str:
    """Writes down that the process of `job` ended with `code` without saying so itself; returns the status `failed`."""
    reason = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        reason += " (by hand, by a scheduler, or by the system for want of memory)"
    return record_end(job, "failed", reason, output, code)


def record_end(job: Job, status: str, reason: str, output: str, code: int | None = None) -> str:
    """Writes down an end of which the process of `job` itself said nothing; returns `status`, or `busy`.

    `output`: its last words, which go to the run's log.
    """
    record: RunRecord = job.record
    try:
        with record.locked():
            if record.read() is None:
                facts = {
                    "run_id": job.identity.run_id,
                    "config_id": job.identity.config_id,
                    "init_digest": job.identity.init_digest,
                    "choices": choices_of(job.config),
                    "seed": job.config.seed,
                    "data": {"fingerprint": job.data_fingerprint},
                }
                record.begin(facts, job.config.model_dump(mode="json"), job.overrides)
            record.end(status, error=reason, exit_code=code)
            record.add_to_log(f"{reason}; its last words:\n{output}\n")
    except RunBusy:  # somebody else has begun it anew: their story now
        return "busy"
    return status


def stop_all(processes: list[JobProcess], patience: float = PATIENCE) -> None:
    """Asks all to stop, and ends those that have not after `patience` seconds."""
    for process in processes:
        process.stop()
    deadline = time.monotonic() + patience
    while any(process.exit_code() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        process.kill()


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM inside the block instead of ending the program."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda caught, frame: received.append(caught)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
