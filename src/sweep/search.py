"""A search: Optuna proposes settings, runs give their validation Dice, and hopeless runs are stopped early.

What Optuna knows lies in `<sweep>/search.journal`; `<sweep>/search.json` has it for reports, see docs/search.md.
"""

import hashlib
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import Field

from src.analysis.status.sweep_status import write_summary
from src.base.config import Section
from src.base.errors import ConfigError, one_line
from src.base.files import read_json, write_json
from src.base.locks import LockHeld
from src.base.record import RunBusy, SweepFolder, failure_kind
from src.display.text import count_text
from src.sweep.follow import Executor
from src.sweep.local import LocalBackend
from src.sweep.plan import write_plan
from src.sweep.process import Job, record_end
from src.sweep.progress import Progress
from src.training.reuse import finished_before

MOST_REPEATED = 20  # trials one after another whose runs were there: the ranges hold nothing new
INSIDE = 0.381966  # part of an interval that gives no round number
PRUNED = "pruned_after_epoch"  # an attribute of a trial, kept before its run is stopped
RUN, SETTING, ERROR = "run_id", "config_id", "error"  # further attributes
SEED, CONFIRM_SEEDS, HOURS = "seed", "confirm_seeds", "budget_hours"  # attributes of a study
Ranges = Mapping[str, optuna.distributions.BaseDistribution]  # by key


class SearchSettings(Section):
    """See conf/hydra/sweeper/search.yaml."""

    params: dict[str, Any] | None = None
    objective: Literal["valid_dice"]
    direction: Literal["maximize"]
    n_trials: int | None = Field(ge=1)
    n_jobs: int | None = Field(ge=1)
    study_name: str | None = Field(min_length=1)
    sampler: dict[str, Any]
    pruner: dict[str, Any] | None
    confirm: int = Field(ge=0)
    confirm_seeds: int = Field(ge=3)


class Search(Progress):
    """The trials of a study as runs: which come next, which are stopped, and what each has given.

    `job_of`: the run of a trial's values; raises ConfigError if they cannot be used together. `sampler_of`: the sampler
    of the trial with a number, so that a search that was killed proposes what it would have. `at_once`: trials.
    """

    split = "valid"

    def __init__(
        self,
        study: optuna.Study,
        settings: SearchSettings,
        ranges: Ranges,
        job_of: Callable[[Mapping[str, Any]], Job],
        sampler_of: Callable[[int], optuna.samplers.BaseSampler],
        at_once: int,
        folder: Path,
    ) -> None:
        self.study, self._most, self._ranges, self._folder = study, settings.n_trials, ranges, folder
        self._job_of, self._sampler_of, self._at_once = job_of, sampler_of, at_once
        self._begun = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        self._running: dict[str, list[Trial]] = {}  # by run_id; trials with the same values share a run
        self._reported: dict[int, int] = {trial.number: trial.last_step or 0 for trial in self._begun}  # epochs
        self._stopped: set[int] = set()
        self._repeated = 0
        self._lost = 0
        super().__init__(max(0, (self._most or 0) - len(self.trials()) + len(self._begun)))

    def trials(self) -> list[FrozenTrial]:
        """All trials but those that were killed as they were proposed."""
        return _trials(self.study)

    def best(self, count: int) -> list[FrozenTrial]:
        """The trials with the best values, of each setting one."""
        known = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE and not trial.user_attrs[ERROR]]
        first: dict[str, FrozenTrial] = {}
        for trial in sorted(known, key=lambda trial: (-(trial.value or 0.0), trial.number)):
            first.setdefault(trial.user_attrs[SETTING], trial)
        return list(first.values())[:count]

    def more(self) -> list[Job]:
        """The runs of the next trials, as many as may run beside those that do."""
        jobs: list[Job] = []
        while sum(map(len, self._running.values())) < self._at_once and (trial := self._next()) is not None:
            self._repeated += 1
            try:
                job = self._job_of(trial.params)
            except ConfigError as error:
                self._tell(trial, 0.0, "; ".join(error.problems))
                self.say(f"failed       {text(trial.params)}: {'; '.join(error.problems)}")
                continue
            trial.set_user_attr(RUN, job.identity.run_id)
            trial.set_user_attr(SETTING, job.identity.config_id)
            if (same := self._ended_with(job.identity.run_id)) is not None:
                for key in (PRUNED, ERROR):
                    trial.set_user_attr(key, same.user_attrs.get(key))
                self.study.tell(trial, same.value if same.state == TrialState.COMPLETE else None, same.state)
                continue
            sharing = self._running.setdefault(job.identity.run_id, [])
            sharing.append(trial)
            if len(sharing) > 1:
                continue  # it ends with the run that it shares
            if finished_before(job.record, job.data_fingerprint) is not None:
                self.ended(job, "finished")
            elif self._is_hopeless(trial, job):
                self.ended(job, job.record.status() or "interrupted")
            else:
                self._repeated = 0
                jobs.append(job)
        if jobs:
            write_plan(jobs, self._folder)
            self.write()
        return jobs

    def _ended_with(self, run_id: str) -> FrozenTrial | None:
        """An ended trial with the same values, and so the same run."""
        return next(
            (one for one in self.trials() if one.user_attrs.get(RUN) == run_id and one.state.is_finished()), None
        )

    def _next(self) -> Trial | None:
        if self._begun:
            trial = Trial(self.study, self._begun.pop(0)._trial_id)
            self._mark(trial)  # the process may have died between the report of an epoch and what follows from it
            return trial
        number = len(self.trials())
        if self._repeated >= MOST_REPEATED if self._most is None else number >= self._most:
            return None
        self.study.sampler = self._sampler_of(number)
        return self.study.ask(dict(self._ranges))

    def gives_up(self, job: Job) -> bool:
        """Whether the run of `job` is to be stopped now, since the pruner has decided so; once for each trial."""
        trial = self._running[job.identity.run_id][0]
        if trial.number in self._stopped or not self._is_hopeless(trial, job):
            return False
        self._stopped.add(trial.number)
        return True

    def _is_hopeless(self, trial: Trial, job: Job) -> bool:
        """Reports each epoch that `job` has recorded since the last look, in order, up to one that does not suffice.

        The lines of a resumed run may have become fewer: an epoch counts as it was first reported. The last epoch of a
        run is not reported, since nothing is left to be saved.
        """
        if isinstance(self.study.pruner, optuna.pruners.NopPruner):
            return False
        best, reported = 0.0, self._reported.get(trial.number, 0)
        with suppress(ValueError, OSError, LookupError, TypeError):  # a damaged file stops no run
            for row in job.record.read_epochs()[: job.config.trainer.epochs - 1]:
                best = max(best, row["valid_dice"])
                if row["epoch"] > reported and PRUNED not in trial.user_attrs:
                    trial.report(best, row["epoch"])
                    self._reported[trial.number] = row["epoch"]
                    self._mark(trial)
        return PRUNED in trial.user_attrs

    def _mark(self, trial: Trial) -> None:
        """Keeps that the pruner gives up `trial` at the epoch that was reported last, if it does."""
        if PRUNED not in trial.user_attrs and trial.should_prune():
            trial.set_user_attr(PRUNED, self._reported[trial.number])

    def ended(self, job: Job, status: str) -> None:
        """Tells the study what `job` has given; its trials stay open if it was lost, so that they are resumed.

        A run that failed by its own fault counts as a Dice of 0, as in every comparison.
        """
        trials = self._running.pop(job.identity.run_id)
        hopeless = status not in ("busy", "running") and self._is_hopeless(trials[0], job)
        if hopeless and status == "interrupted":
            epoch = trials[0].user_attrs[PRUNED]
            status = record_end(job, "pruned", f"stopped by its search: not among the best after epoch {epoch}", "")
        super().ended(job, status)
        run = job.record.read() or {}
        for trial in trials:
            if hopeless:
                trial.set_user_attr(PRUNED, trials[0].user_attrs[PRUNED])
                self.study.tell(trial, state=TrialState.PRUNED)
            elif status == "finished":
                self._tell(trial, run["scores"]["valid_dice"], "")
            elif status == "failed" and failure_kind(run["error"]) == "own":
                self._tell(trial, 0.0, run["error"] or "failed")
            else:
                self._lost += 1
        self.write()

    def _tell(self, trial: Trial, value: float, error: str) -> None:
        trial.set_user_attr(ERROR, error)
        self.study.tell(trial, value)

    def write(self, **confirm: Any) -> None:
        """Puts what is known into search.json, beside other searches of the sweep; `confirm`: what follows from it."""
        path = SweepFolder(self._folder).search_file
        try:
            searches = {name: dict(one) for name, one in read_json(path)["searches"].items()}
        except (ValueError, TypeError, LookupError, AttributeError, FileNotFoundError):
            # made again with all studies of the journal
            searches = {study.study_name: {"trials": _table(study)} for study in _studies(self.study)}
        known = searches.get(self.study.study_name, {})  # what was confirmed before stays
        searches[self.study.study_name] = {**known, "trials": _table(self.study), **confirm}
        write_json(path, {"schema": 1, "searches": searches})

    def counts(self) -> Counter[str]:
        """The number of trials by status."""
        return Counter(map(_status, self.trials()))

    def to_come(self) -> int:
        """How many trials may still be proposed."""
        return self._at_once if self._most is None else max(0, self._most - len(self.trials()))

    def left(self) -> int:
        """How many trials have not ended; without a number of them those whose runs were lost or interrupted."""
        return self._lost if self._most is None else self.to_come() + self.counts()["running"]


def _studies(study: optuna.Study) -> list[optuna.Study]:
    """All studies in the journal of `study`."""
    names = optuna.get_all_study_names(study._storage)
    return [optuna.load_study(study_name=name, storage=study._storage) for name in names]


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]


def _table(study: optuna.Study) -> list[dict[str, Any]]:
    return [
        {
            "values": {key.lstrip("+"): value for key, value in trial.params.items()},
            "status": _status(trial),
            "valid_dice": trial.value if trial.state == TrialState.COMPLETE else None,
            **{key: trial.user_attrs.get(key) for key in (RUN, SETTING)},
            PRUNED: trial.user_attrs[PRUNED] if trial.state == TrialState.PRUNED else None,
        }
        for trial in _trials(study)
    ]


def _status(trial: FrozenTrial) -> str:
    if trial.state == TrialState.COMPLETE:
        return "failed" if trial.user_attrs[ERROR] else "finished"
    return "pruned" if trial.state == TrialState.PRUNED else "running"


def text(params: Mapping[str, Any]) -> str:
    """Values as overrides, numbers rounded."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in params.items()}
    return " ".join(f"{key.lstrip('+')}={value}" for key, value in shown.items())


def probes(ranges: Ranges) -> Iterator[dict[str, Any]]:
    """Values that show whether a range can be used, one range at a time: all choices, or both ends.

    Of an interval also a value inside, which a key for whole numbers does not take.
    """
    kept = {key: vars(one) for key, one in ranges.items()}  # choices, or low and high
    probed = {key: list(one["choices"]) if "choices" in one else [one["low"], one["high"]] for key, one in kept.items()}
    for key, one in ranges.items():
        if isinstance(one, optuna.distributions.FloatDistribution) and one.step is None:
            probed[key].append(one.low + INSIDE * (one.high - one.low))
    first = {key: values[0] for key, values in probed.items()}
    yield first
    for key, (_, *others) in probed.items():
        for value in others:
            yield first | {key: value}


@contextmanager
def opened_study(
    folder: Path, settings: SearchSettings, ranges: Ranges, run_ids: Sequence[str], pruner: Any
) -> Iterator[Any]:
    """The study of a search in the sweep `folder`, made or continued, for this process alone.

    `run_ids`: of runs within the ranges, which stand for all that is not searched. Raises ConfigError if the study of
    that name is another search, RunBusy if another process searches there, ValueError for a damaged journal.
    """
    journal = folder / "search.journal"
    parts = {key: optuna.distributions.distribution_to_json(one) for key, one in ranges.items()}
    how = json.dumps([sorted(run_ids), parts, settings.sampler, settings.pruner], sort_keys=True)
    name = settings.study_name or "search-" + hashlib.sha256(how.encode()).hexdigest()[:8]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with SweepFolder(folder).lock("search").held(wait=False):
            study = _load(journal, name, pruner)
            if study.user_attrs.get("search", how) != how:
                other = "searches other ranges, with another config, sampler or pruner"
                raise ConfigError([f"hydra.sweeper.study_name: got {name!r}, which {other}; give another name"])
            if not study.user_attrs:
                study.set_user_attr("search", how)
            for trial in study.get_trials(deepcopy=False):
                if trial.state == TrialState.RUNNING and trial.params.keys() != ranges.keys():
                    study.tell(trial.number, state=TrialState.FAIL)
            yield study
    except LockHeld as error:
        raise RunBusy(f"another process searches in {folder} ({error})") from error


def _load(journal: Path, name: str, pruner: Any) -> optuna.Study:
    """The study `name` of `journal`, without the line that a killed process has left half-written, and its lock."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists():
        os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        if name in optuna.get_all_study_names(storage):
            return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
        return optuna.create_study(study_name=name, storage=storage, pruner=pruner, direction="maximize")
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        reason = one_line(str(error) or type(error).__name__)
        raise ValueError(f"{journal}: is damaged ({reason}); move it away, finished runs are kept") from error


def search(
    settings: SearchSettings,
    ranges: Ranges,
    make_jobs: Callable[[Sequence[Mapping[str, Any]]], list[Job]],
    backend: Executor,
    sampler_of: Callable[[int], optuna.samplers.BaseSampler],
    pruner_of: Callable[[int], optuna.pruners.BasePruner],
) -> tuple[list[dict[str, Any]], int]:
    """Runs the trials that are missing; returns the runs that confirm the best settings, and the number of failed ones.

    A run is the values of its keys, those without any of the search's are the baseline. `make_jobs`: of such values,
    checked; raises ConfigError. `pruner_of`: a number of epochs. Ends the program if a signal stopped it, or if trials
    are left.
    """
    points = list(probes(ranges))
    try:
        *tried, baseline = make_jobs([*points, {} if settings.confirm else points[0]])
        if useless := _without_effect(points, tried, make_jobs):
            raise ConfigError([f"{key}: got values that all make the same run; give it one" for key in useless])
    except ConfigError as error:
        advice = "; a range of whole numbers is tag(int, interval(2, 8))"
        raise ConfigError([one + advice * ("valid integer" in one) for one in error.problems]) from error
    first, folder = tried[0], tried[0].record.folder.parent
    slots = len(backend.slots(tried)) if isinstance(backend, LocalBackend) else 1
    at_once = settings.n_jobs or slots
    pruner = pruner_of(first.config.trainer.epochs)
    with opened_study(folder, settings, ranges, [job.identity.run_id for job in tried], pruner) as study:
        progress = Search(study, settings, ranges, lambda values: make_jobs([values])[0], sampler_of, at_once, folder)
        if SEED not in study.user_attrs:
            study.set_user_attr(SEED, first.config.seed)
        if not SweepFolder(folder).search_file.exists():
            progress.write()  # before the first run, which would count as a seed without it
        hours = getattr(getattr(backend, "settings", None), "budget_hours", None)
        is_over = settings.n_trials is None and hours is not None and hours == study.user_attrs.get(HOURS)
        if is_over:
            _say(f"the search has had its {hours:g} hours; another hydra.launcher.budget_hours or n_trials adds trials")
        try:
            jobs = [] if is_over else progress.more()
            stopped_by = backend.run(jobs, progress) if jobs else None
        finally:
            progress.close()
        best, left = progress.best(max(1, settings.confirm)), progress.left()
        counts = ", ".join(f"{count} {status}" for status, count in progress.counts().items())
        _say(f"{count_text(len(progress.trials()), 'trial')}: {counts}; summary: {write_summary(folder)}")
        for trial in best[:1]:
            _say(f"best: {trial.value:.4f} validation Dice, the highest of all and so too high: {text(trial.params)}")
        if stopped_by is not None or left:
            _say(f"{count_text(left, 'trial')} left; the same command resumes")
            raise SystemExit(1 if stopped_by is None else 128 + stopped_by)
        if settings.n_trials is None and not is_over and getattr(backend, "is_late", False):
            study.set_user_attr(HOURS, hours)
        if not (settings.confirm and best):
            progress.write()
            return [], progress.counts()["failed"]
        seeds = _confirm_seeds(study, settings.confirm_seeds)
        ids = [job.identity.config_id for job in make_jobs([trial.params for trial in best])]
        progress.write(confirm={"seeds": seeds, "settings": ids, "baseline": baseline.identity.config_id})
        points = [{}, *(trial.params for trial in best)]
        return [{**values, "++seed": seed} for seed in seeds for values in points], progress.counts()["failed"]


def _without_effect(
    points: Sequence[dict[str, Any]], jobs: Sequence[Job], make_jobs: Callable[[Sequence[Mapping[str, Any]]], list[Job]]
) -> list[str]:
    """The keys whose values all make the same run; `points` of `probes`, `jobs`: the run of each.

    A key may count with another value of another key only, as a network's own does: then it is kept.
    """
    first, ids = points[0], [job.identity.run_id for job in jobs]

    def counts_beside(point: Mapping[str, Any], run_id: str, **changed: Any) -> bool:
        try:
            return make_jobs([{**point, **changed}])[0].identity.run_id != run_id
        except ConfigError:  # a trial may fail so
            return True

    useless = []
    for key in first:
        numbers = [number for number, point in enumerate(points) if point[key] != first[key]]
        others = [(point, run_id) for point, run_id in zip(points, ids, strict=True) if point[key] == first[key]]
        if numbers and {ids[number] for number in numbers} == {ids[0]}:
            value = points[numbers[-1]][key]
            if not any(counts_beside(*other, **{key: value}) for other in others[1:]):
                useless.append(key)
    return useless


def _confirm_seeds(study: optuna.Study, number: int) -> list[int]:
    """Seeds of no trial in the sweep: those of before first, and as many new ones as are missing."""
    before = study.user_attrs.get(CONFIRM_SEEDS, [])
    taken = {*before, *(one.user_attrs.get(SEED) for one in _studies(study))}
    seeds = [*before, *itertools.islice((seed for seed in itertools.count() if seed not in taken), number)]
    if number > len(before):
        study.set_user_attr(CONFIRM_SEEDS, seeds[:number])
    return seeds[:number]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
