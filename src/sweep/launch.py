"""A sweep from its points to its end: check all, skip finished runs, execute the rest, print the result."""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from src.analysis.status.sweep_status import write_summary
from src.base.errors import attempt
from src.base.record import RunBusy
from src.display.text import count_text
from src.sweep.follow import Executor
from src.sweep.plan import Point, distinct, make_jobs, write_plan
from src.sweep.process import Job
from src.sweep.progress import Progress
from src.training.reuse import add_labels, finished_before, finished_elsewhere, link_finished_run, note_of_old_runs


def launch(
    points: Sequence[Point], default_name: str, backend: Executor, dry_run: bool = False, skip_invalid: bool = False
) -> list[float | str]:
    """Executes the runs of `points` that are not finished; returns the best validation Dice of each point's run.

    In place of that of a run that is not finished then, why. Ends the program if a signal stopped it.

    `default_name`: the sweep's name if the config sets none (`sweep.name`). `dry_run`: prints what would happen, and
    starts and records nothing. `skip_invalid`: leaves out points whose config cannot be used, naming them.

    Raises ConfigError with the problems of all points, and ValueError for data that are missing or broken; nothing has
    started then.
    """
    left_out: list[str] | None = [] if skip_invalid else None
    asked = make_jobs(points, default_name, backend.device_here, left_out, make_data=not dry_run)
    jobs = distinct(asked)
    for line in left_out or ():
        _say(f"left out     {line}")
    folder = jobs[0].record.folder.parent
    finished = _finished_before(jobs)
    runs = f"{count_text(len(jobs), 'run')} in {folder}"
    if dry_run:
        print(f"{runs}; nothing is started or recorded (hydra.sweeper.dry_run=true)")
        width = max(len(job.swept) for job in jobs)
        for job in jobs:
            print(f"{_intention(job):<12} {job.swept:{width}}{' ' * bool(width)}{job.identity.run_id}")
        return []
    if (note := note_of_old_runs(folder)) is not None:
        _say(note)
    to_do = [job for job in jobs if not _is_skipped(job, finished.get(job.identity.run_id))]
    write_plan(jobs, folder)
    fewer = f" ({len(points)} asked, {len(jobs)} different)" if len(points) > len(jobs) else ""
    _say(f"{runs}{fewer}: {len(jobs) - len(to_do)} need nothing, {len(to_do)} to do")
    signal_number = None
    if to_do:
        progress = Progress(len(to_do))
        try:
            signal_number = backend.run(to_do, progress)
        finally:
            progress.close()
    unfinished = [job for job in jobs if job.record.status() != "finished"]
    _say(f"{len(jobs) - len(unfinished)} of {len(jobs)} runs finished; summary: {write_summary(folder)}")
    if len(unfinished) < len(jobs):
        _say(f"next: {shlex.join(['python', '-m', 'src.aggregate', f'sweep={folder}'])}")
    if signal_number is not None:
        _say("stopped; the same command resumes")
        raise SystemExit(128 + signal_number)
    return [_objective(job) for job in asked]


def _objective(job: Job) -> float | str:
    """The best validation Dice of a finished run, else how it ended."""
    run = job.record.read() or {"status": "not started", "error": None}
    if run["status"] == "finished":
        return float(run["scores"]["valid_dice"])
    return f"{run['status']}: {job.record.folder}" + (f": {run['error']}" if run["error"] else "")


def _finished_before(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """The record of each finished run by its run_id. Raises ValueError with a line for each broken one."""
    problems: list[str] = []
    found = {
        job.identity.run_id: attempt(problems, partial(finished_before, job.record, job.data_fingerprint))
        for job in jobs
    }
    if problems:
        raise ValueError("\n".join(problems))
    return {run_id: run for run_id, run in found.items() if run is not None}


def _intention(job: Job) -> str:
    """What a sweep does with `job`: start, resume, skip, reuse, or wait for another process that runs it."""
    status = job.record.status()
    if status == "finished":
        return "skip"
    if status == "failed" and not job.config.sweep.retry_failed:
        return "leave alone"
    if status is None:
        return "start" if finished_elsewhere(job.record, job.data_fingerprint) is None else "reuse"
    return "running" if status == "running" else "resume"


def _is_skipped(job: Job, finished: dict[str, Any] | None) -> bool:
    """Whether `job` needs no process; prints the reason. `finished`: its record, if the run is finished."""
    record = job.record
    what, where = "skipped", "already finished"
    status = record.status()
    if status == "failed" and not job.config.sweep.retry_failed:
        _say(f"left alone   {job.title}: failed before, sweep.retry_failed=false")
        return True
    if status is None and (source := finished_elsewhere(record, job.data_fingerprint)) is not None:
        try:
            with record.locked():
                finished = link_finished_run(record, job.data_fingerprint) if record.read() is None else None
        except RunBusy:
            return False
        what, where = "reused", f"finished in {source.parent.name}"
    if finished is None:
        return False
    labels = add_labels(record, job.config, job.overrides)
    _say(f"{what:<12} {job.title}: {where}, test Dice {finished['scores']['test_dice']:.4f}{labels}")
    return True


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
