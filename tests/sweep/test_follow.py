"""A job as it travels to another machine, and the process that waits for one."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.sweep import follow, process
from src.sweep.plan import make_jobs
from src.sweep.process import JobProcess, RemoteJob, code_files
from src.sweep.progress import Progress
from tests.conftest import PROJECT
from tests.sweep.test_launch import jobs_of, wait_for


def test_a_job_is_small_and_read_elsewhere_without_torch(composed, small, tmp_path):
    (job,) = make_jobs([(composed(*small), small)], "elsewhere")
    sent = pickle.dumps(RemoteJob(job, {"OMP_NUM_THREADS": "2"}))
    assert len(sent) < 10_000
    (tmp_path / "job.pkl").write_bytes(sent)
    program = (
        f"import pickle, sys; from pathlib import Path; there = pickle.loads(Path({str(tmp_path / 'job.pkl')!r})"
        ".read_bytes()); print(there.job.record.folder, there.environment, 'torch' in sys.modules)"
    )
    there = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == f"{job.record.folder} {{'OMP_NUM_THREADS': '2'}} False"


def test_a_run_leaves_the_signal_of_submitit_to_its_parent():
    run = subprocess.Popen([sys.executable, "-m", "src.sweep.worker"], cwd=PROJECT, stdin=subprocess.PIPE)

    def ignores() -> bool:
        (line,) = [line for line in Path(f"/proc/{run.pid}/status").read_text().splitlines() if "SigIgn" in line]
        return bool(int(line.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)

    wait_for(ignores)
    run.send_signal(signal.SIGUSR2)
    run.terminate()
    assert run.wait(timeout=60) == -signal.SIGTERM  # and not by the first one


def test_a_process_that_waits_for_its_run_dies_with_its_launcher(tmp_path):
    program = (
        "import sys; from pathlib import Path; from src.sweep.process import JobProcess; "
        f"waiting = JobProcess(Path({str(tmp_path)!r}), {{}}); print(waiting.is_usable(), flush=True); sys.stdin.read()"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None and launcher.stdout.readline() == "True\n"
    assert len(jobs_of(launcher.pid)) == 1
    launcher.kill()
    launcher.communicate()
    wait_for(lambda: jobs_of(launcher.pid) == [], seconds=20)
    assert list(tmp_path.iterdir()) == []  # and leaves no output


def test_a_process_that_has_died_or_imported_older_code_does_no_run(tmp_path, monkeypatch):
    waiting = JobProcess(tmp_path, {})
    assert waiting.is_usable()
    newer = code_files() | {(PROJECT / "src" / "new.py", 1)}
    with monkeypatch.context() as edited:
        edited.setattr(process, "code_files", lambda: newer)
        assert not waiting.is_usable()
    waiting.kill()
    assert not waiting.is_usable()


class LosesEach:
    """A cluster that ends every job; the first attempt of a run leaves a record."""

    restarts = 2

    def __init__(self, *how):
        self.how, self.submitted = how, []

    def choose(self, waiting, running):
        return waiting

    def submit(self, jobs):
        self.submitted += [job.identity.run_id for job in jobs]
        return jobs

    def has_ended(self, handle):
        return True

    def result(self, handle):
        raise follow.JobLost("its machine died", "", *self.how)


@pytest.mark.parametrize(
    ("resumable", "again", "starts", "ends"),
    [(True, True, 3, "interrupted"), (True, False, 1, "interrupted"), (False, True, 1, "failed")],
)
def test_a_run_that_its_cluster_lost_starts_again_no_more_often_than_asked(
    composed, small, capsys, resumable, again, starts, ends
):
    (job,) = make_jobs([(composed(*small), small)], "lost")
    cluster, progress = LosesEach(resumable, again), Progress(1)
    assert follow.follow([job], cluster, progress) is None
    progress.close()
    assert cluster.submitted == starts * [job.identity.run_id] and job.record.status() == ends
    said = capsys.readouterr().err
    assert said.count("its machine died; it starts again") == starts - 1
    assert said.count(f"{ends:<12} ") == 1
