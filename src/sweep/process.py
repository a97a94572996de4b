"""A process for one job: started in its own session, watched, stopped, and its death recorded."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from src.base.identity import choices_of
from src.base.record import RunBusy
from src.sweep.job import Job
from src.sweep.worker import BUSY, PATIENCE

TAIL = 20_000  # characters of a dead job's output that go to its log


class JobProcess:
    """`python -m src.sweep.worker` for `job`, with `environment` added to this process's.

    It leads its own process group: Ctrl-C at the terminal reaches only the launcher, which then stops its jobs.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job = job
        sweep = job.record.folder.parent
        sweep.mkdir(parents=True, exist_ok=True)
        # without a name, so that it never stays behind
        self._output = tempfile.TemporaryFile(dir=sweep)  # noqa: SIM115, it is open as long as the process lives
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
        """The process's exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Asks for a checkpoint and an end."""
        if self.exit_code() is None:
            self._process.terminate()

    def has_ended(self) -> bool:
        """`exit_code() is not None`, for signal handlers: poll() returns None when the handler interrupted wait()."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def kill(self) -> None:
        """Ends it and its children at once."""
        if self.exit_code() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def finish(self, stopped: bool = False) -> str:
        """After its end: the status of the run, or `busy`. Records a death that the run itself did not record.

        `stopped`: the launcher stopped it, so a run that did not record its end is interrupted, not failed. May be
        called twice, since a signal may interrupt the first call.
        """
        code = self._process.wait()
        self._output.seek(0)
        output = self._output.read().decode(errors="replace")[-TAIL:]
        if code == BUSY:
            return "busy"
        if stopped:
            recorded = (self.job.record.read() or {}).get("status")
            if recorded in ("finished", "failed", "interrupted"):
                return str(recorded)
            return record_end(
                self.job, "interrupted", "stopped with its sweep before it recorded a reason", output, code
            )
        status = self.job.record.status()
        fits_code = {"finished": code == 0, "failed": 0 < code < 128, "interrupted": code > 128}
        if status is not None and fits_code.get(status, False):
            return status
        return record_end(self.job, "failed", _reason(code), output, code)


def _reason(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by SIGKILL (by hand, by a scheduler, or by the system because memory ran out)"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def record_end(job: Job, status: str, reason: str, output: str, code: int | None = None) -> str:
    """Records an end that the process of `job` did not record itself; returns `status`, or `busy`.

    `output`: its last output, which goes to the run's log.
    """
    record = job.record
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
            record.add_to_log(f"{reason}; last output:\n{output}\n")
    except RunBusy:  # another process owns the record now
        return "busy"
    return status


def stop_all(processes: list[JobProcess], patience: float = PATIENCE) -> None:
    """Asks all to stop, and kills those that run longer than `patience` seconds."""
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
