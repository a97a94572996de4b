"""One run of a sweep and its process: started in its own session, watched, stopped, and its death recorded.

Other machines read this module without torch.
"""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from src.base.config import RunConfig
from src.base.environment import PROJECT
from src.base.identity import Identity, choices_of
from src.base.record import RunBusy, RunRecord
from src.sweep.worker import BUSY

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
TAIL = 20_000  # characters of a dead job's output that go to its log


@dataclass(frozen=True)
class Job:
    """A run to execute: its checked config, overrides, sweep folder, ids and data fingerprint.

    `swept`: those of its overrides that distinguish it from the other runs of its launch, if any do.
    """

    config: RunConfig
    overrides: list[str]
    sweep: str
    identity: Identity
    data_fingerprint: str
    swept: str = ""

    @property
    def title(self) -> str:
        """Names it in progress lines: `model=unet seed=1 (c1a2b3c4d)`, with the end of its run_id."""
        run_id = self.identity.run_id
        return f"{self.swept} ({run_id.rpartition('-')[2]})" if self.swept else run_id

    @property
    def record(self) -> RunRecord:
        """The record of this run, which may not exist yet."""
        return RunRecord(Path(self.config.output) / self.sweep / self.identity.run_id)

    def message(self) -> str:
        """The JSON that src.sweep.worker reads."""
        config = self.config.model_dump(mode="json")
        return json.dumps({"config": config, "sweep": self.sweep, "overrides": self.overrides})


class JobProcess:
    """`python -m src.sweep.worker` for one job of `sweep`, with `environment` added to this process's.

    It imports all that a run needs; without a `job` it then waits until `give` names one. It leads its own process
    group: Ctrl-C at the terminal reaches only the launcher, which then stops its jobs.
    """

    job: Job

    def __init__(self, sweep: Path, environment: Mapping[str, str], job: Job | None = None) -> None:
        self._code = code_files()
        self._is_stopped = False
        path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(PROJECT)]  # wherever the command was called
        sweep.mkdir(parents=True, exist_ok=True)
        # without a name, so that it never stays behind
        self._output = tempfile.TemporaryFile(dir=sweep)  # noqa: SIM115, it is open as long as the process lives
        self._process = subprocess.Popen(
            [sys.executable, "-m", "src.sweep.worker", f"--parent={os.getpid()}"],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "TQDM_DISABLE": "1", **environment},
            start_new_session=True,
        )
        if job is not None:
            self.give(job)

    def is_usable(self) -> bool:
        """Whether it may do a job: it lives, and the code that it has imported is the one that is there now."""
        return not self.has_ended() and self._code == code_files()

    def give(self, job: Job) -> None:
        """Has it do `job`. If it has just ended, `finish` reports that."""
        self.job = job
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as message:
            message.write(job.message().encode())

    def stop(self) -> None:
        """Asks for a checkpoint and an end."""
        self._is_stopped = True
        if not self.has_ended():
            self._process.terminate()

    def has_ended(self) -> bool:
        """Whether it has ended; also right in signal handlers, where poll() is not if they interrupted wait()."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def kill(self) -> None:
        """Ends it and its children at once."""
        if not self.has_ended():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def finish(self) -> str:
        """After its end: the status of the run, or `busy`. Records a death that the run itself did not record.

        After `stop` that is an interruption, not a failure. May be called twice, since a signal may interrupt the first
        call.
        """
        code = self._process.wait()
        self._output.seek(0)
        output = self._output.read().decode(errors="replace")[-TAIL:]
        if code == BUSY:
            return "busy"
        status = str((self.job.record.read() or {}).get("status"))
        fits_code = {"finished": code == 0, "failed": 0 < code < 128, "interrupted": code > 128}
        if fits_code.get(status, False) or (self._is_stopped and status in fits_code):
            return status
        if self._is_stopped:
            reason = "stopped with its sweep before it recorded a reason"
            return record_end(self.job, "interrupted", reason, output, code)
        return record_end(self.job, "failed", _reason(code), output, code)


@dataclass
class RemoteJob:
    """`job` as a cluster runs it: its process starts another one for the run, as the local launcher does.

    It is pickled and called on the other machine: in `folder`, the launcher's working folder, which all machines must
    see under the same path, with `environment` added to the cluster's.
    """

    job: Job
    environment: Mapping[str, str]
    folder: Path = field(default_factory=Path.cwd)
    _process: JobProcess | None = field(default=None, init=False)
    _is_requeued: bool = field(default=False, init=False)

    def __call__(self) -> str:
        """Runs the job; returns the status of the run, or `busy`.

        SIGINT, SIGTERM and SIGUSR1 to this process leave a checkpoint, then end it with exit code 128 + n. If this
        process is lost, the run notices, leaves a checkpoint and ends too.
        """
        os.chdir(self.folder)
        before = {number: signal.signal(number, self._end) for number in ENDS}
        try:
            self._process = JobProcess(self.job.record.folder.parent, self.environment, self.job)
            while not self._process.has_ended():
                time.sleep(0.2)  # short: Ray's SIGINT does not interrupt a longer wait
            return self._process.finish()
        except SystemExit:  # from a signal handler, ours or submitit's
            if self._process is not None:
                self._process.finish()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def checkpoint(self) -> Any:
        """What submitit queues again; the run leaves the checkpoint from which it then resumes.

        submitit calls this on its signal: before the time limit, or when the job is pre-empted.
        """
        from submitit.helpers import DelayedSubmission

        self._is_requeued = True
        self._stop()
        return DelayedSubmission(replace(self))

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._is_requeued:  # else submitit still needs this process
            self._stop()
            sys.exit(128 + number)

    def _stop(self) -> None:
        """Stops the run with a checkpoint, however long that takes: the cluster sets the limit."""
        if self._process is None:
            return
        self._process.stop()
        while not self._process.has_ended():
            time.sleep(0.05)


def code_files() -> frozenset[tuple[Path, int]]:
    """What a run imports, with the time of its last change: our modules, and the folder of installed packages."""
    files = [Path(sysconfig.get_path("purelib")), *(PROJECT / "src").rglob("*.py")]
    with suppress(OSError):  # one is being replaced at this moment
        return frozenset((file, file.stat().st_mtime_ns) for file in files)
    return frozenset()


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
