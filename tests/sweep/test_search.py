"""Searches: what is proposed, stopped early, resumed and chosen, with runs of the moment and with real ones."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.segsweep.search import _distribution, _pruner
from src.base.errors import ConfigError
from src.base.record import RunBusy
from tests.conftest import PROJECT
from tests.sweep.test_launch import wait_for

optuna = pytest.importorskip("optuna")

from src.sweep import search as searching  # noqa: E402
from src.sweep.search import SearchSettings, probes, search  # noqa: E402

EPOCHS = 27
LR = {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
SETTINGS = {
    "objective": "valid_dice",
    "direction": "maximize",
    "n_trials": 12,
    "n_jobs": 1,
    "study_name": None,
    "sampler": {"seed": 0},
    "pruner": {},
    "confirm": 0,
    "confirm_seeds": 5,
}


def settings(**changes):
    return SearchSettings.model_validate(SETTINGS | changes)


def dice(lr, epoch):
    """A run's validation Dice: the best learning rate is 3e-3, and early epochs are noisy."""
    noise = random.Random(f"{lr} {epoch}").gauss(0, 0.02) / epoch
    return max(0.0, (0.9 - 0.05 * math.log10(lr / 3e-3) ** 2) * (1 - math.exp(-epoch / 4)) + noise)


class Runs:
    """Runs that last a moment, kept as long as this object is; `fails_above`: the learning rate."""

    def __init__(self, folder, fails_above=math.inf, dies_after=math.inf):
        self.folder, self.fails_above, self.dies_after = folder, fails_above, dies_after
        self.kept, self.order, self.epochs, self.seed = {}, [], 0, 0

    def jobs(self, points):
        return [self.job(point.get("lr", 1e-3)) for point in points]

    def job(self, lr):
        run_id = f"lr{lr!r}"
        record = self.kept.setdefault(run_id, _Record(self.folder / "sweep" / run_id))
        config = SimpleNamespace(seed=self.seed, trainer=SimpleNamespace(epochs=EPOCHS))
        identity = SimpleNamespace(run_id=run_id, config_id=f"c{lr!r}")
        return SimpleNamespace(
            lr=lr, identity=identity, record=record, config=config, title=run_id, data_fingerprint="d"
        )

    def run(self, jobs, progress):
        while jobs:
            for job in jobs:
                self.order.append(job.lr)
                progress.ended(job, self.train(job, progress))
            jobs = progress.more()

    def train(self, job, progress):
        job.record.rows = job.record.rows[:-2]  # a resumed run has fewer lines than before
        while (status := self.train_epoch(job, progress)) is None:
            pass
        return status

    def train_epoch(self, job, progress):
        """How the run has ended; None if it has not."""
        rows = job.record.rows
        if len(rows) < EPOCHS:
            if self.epochs >= self.dies_after:
                raise KeyboardInterrupt
            self.epochs += 1
            rows.append({"epoch": len(rows) + 1, "valid_dice": dice(job.lr, len(rows) + 1)})
            if progress.gives_up(job):
                job.record.content = {"status": "interrupted"}
                return "interrupted"
            return None
        if job.lr > self.fails_above:
            job.record.content = {"status": "failed", "error": "NonFiniteLoss: training loss is nan"}
            return "failed"
        best = max(row["valid_dice"] for row in rows)
        scores = {"valid_dice": best, "test_dice": 1 - best}  # a search for the test score would find the worst
        job.record.content = {"schema": 2, "status": "finished", "scores": scores, "seconds": 1, "data": {}}
        job.record.content["data"]["fingerprint"] = "d"
        return "finished"


class SideBySide(Runs):
    """As many at a time as the search proposes, an epoch of each in turn."""

    def run(self, jobs, progress):
        running = list(jobs)
        while running:
            for job in list(running):
                if (status := self.train_epoch(job, progress)) is not None:
                    running.remove(job)
                    self.order.append(job.lr)
                    progress.ended(job, status)
                    running += progress.more()


class _Record:
    def __init__(self, folder):
        self.folder, self.run_file, self.rows, self.content = folder, folder / "run.json", [], None

    def read(self):
        return self.content

    def status(self):
        return self.content and self.content["status"]

    def read_epochs(self):
        return list(self.rows)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    def end(job, status, reason, output):
        job.record.content = {"status": status, "error": reason}
        return status

    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(searching, "record_end", end)
    monkeypatch.setattr(searching, "write_plan", lambda *_: None)
    monkeypatch.setattr(searching, "write_summary", lambda folder: folder / "summary.md")
    (tmp_path / "sweep").mkdir()
    return Runs(tmp_path)


def searched(runs, seed=0, ranges=LR, pruner=None, **changes):
    """What `search` returns; halving with the rungs 3 and 9."""
    return search(
        settings(**changes),
        ranges,
        runs.jobs,
        runs,
        lambda number: optuna.samplers.TPESampler(seed=1000 * seed + number),
        lambda epochs: pruner or optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3),
    )


def trials_of(folder):
    (one,) = json.loads((folder / "sweep" / "search.json").read_text())["searches"].values()
    return one["trials"]


def test_a_search_prunes_and_the_same_call_again_adds_nothing(runs, tmp_path, capsys):
    assert searched(runs) == ([], 0)
    trials, journal = trials_of(tmp_path), (tmp_path / "sweep/search.journal").read_text()
    statuses = [trial["status"] for trial in trials]
    assert len(trials) == len(runs.order) == 12 and set(statuses) == {"finished", "pruned"}
    assert {trial["pruned_after_epoch"] for trial in trials} == {None, 3, 9}
    pruned = trials[statuses.index("pruned")]
    record = runs.kept[pruned["run_id"]]
    assert record.content["status"] == "pruned" and len(record.rows) == pruned["pruned_after_epoch"]
    best = max(trials, key=lambda trial: trial["valid_dice"] or 0)
    assert f"best: {best['valid_dice']:.4f} validation Dice, the highest of all" in capsys.readouterr().err
    runs.order.clear()
    assert searched(runs) == ([], 0) and runs.order == []
    assert (tmp_path / "sweep/search.journal").read_text() == journal
    assert searched(runs, n_trials=13) == ([], 0) and len(runs.order) == 1


def test_a_search_that_dies_at_any_moment_ends_with_the_same_trials(runs, tmp_path):
    searched(runs)
    whole, order = trials_of(tmp_path), list(dict.fromkeys(runs.order))
    other = Runs(tmp_path / "other")
    (tmp_path / "other/sweep").mkdir(parents=True)
    for epochs in (2, 10, 11, 40, 70):
        other.dies_after = epochs
        with pytest.raises(KeyboardInterrupt):
            searched(other)
        journal = tmp_path / "other/sweep/search.journal"
        journal.write_text(journal.read_text() + '{"op_code": 5, "half')  # a line that was cut off
    other.dies_after = math.inf
    searched(other)
    assert trials_of(tmp_path / "other") == whole and list(dict.fromkeys(other.order)) == order


def test_a_search_among_choices_trains_each_setting_once(runs, tmp_path):
    ranges = {"lr": optuna.distributions.CategoricalDistribution([1e-3, 1e-2])}
    searched(runs, ranges=ranges)
    assert sorted(runs.order) == [1e-3, 1e-2] and len(trials_of(tmp_path)) == 12
    searched(Runs(tmp_path / "sweep"), ranges=ranges, n_trials=None)  # ends, though hours would be left


def test_trials_that_share_a_run_end_with_it(runs, tmp_path):
    """With several slots a setting may be proposed again while its run is on, even one that has become hopeless."""
    for seed in range(10):
        folder = tmp_path / str(seed)
        (folder / "sweep").mkdir(parents=True)
        several = SideBySide(folder)
        ranges = {"lr": optuna.distributions.CategoricalDistribution([1e-3, 1e-2, 1e-5, 0.1])}
        searched(several, seed=seed, ranges=ranges, n_jobs=4, n_trials=16)
        ends = {}
        for trial in trials_of(folder):
            ends.setdefault(trial["run_id"], set()).add((trial["status"], trial["valid_dice"]))
        assert sorted(set(several.order)) == sorted(several.order) and all(len(one) == 1 for one in ends.values())


def test_a_search_that_had_its_hours_adds_nothing_until_it_is_given_others(runs, capsys):
    runs.settings, runs.is_late = SimpleNamespace(budget_hours=8), True
    ranges = {"lr": optuna.distributions.CategoricalDistribution([1e-3, 1e-2])}
    searched(runs, ranges=ranges, n_trials=None)
    journal = runs.folder / "sweep/search.journal"
    before = journal.read_text()
    searched(runs, ranges=ranges, n_trials=None)
    assert journal.read_text() == before and "the search has had its 8 hours; another " in capsys.readouterr().err
    runs.settings, runs.is_late = SimpleNamespace(budget_hours=9), False  # ended by a failure, not by the time
    for _ in range(2):
        searched(runs, ranges=ranges, n_trials=None)
        assert len(journal.read_text()) > len(before)
        before = journal.read_text()


def test_a_key_that_changes_no_run_is_refused_and_one_that_counts_beside_another_value_is_kept(runs):
    label = {"label": optuna.distributions.CategoricalDistribution(["a", "b"])}

    def named(points):
        return [runs.job(point["lr"] + counts * (point["label"] == "b" and point["lr"] > 0.01)) for point in points]

    runs.jobs, counts = named, 0
    with pytest.raises(ConfigError, match="label: got values that all make the same run; give it one"):
        searched(runs, ranges={**LR, **label})
    counts = 1
    searched(runs, ranges={**LR, **label}, n_trials=1)


def test_what_was_confirmed_stays_when_more_is_searched(runs, tmp_path):
    pruner = optuna.pruners.NopPruner()
    searched(runs, pruner=pruner, n_trials=2, confirm=1)
    (before,) = json.loads((tmp_path / "sweep/search.json").read_text())["searches"].values()
    searched(runs, pruner=pruner, n_trials=3)
    (after,) = json.loads((tmp_path / "sweep/search.json").read_text())["searches"].values()
    assert after["confirm"] == before["confirm"] and len(after["trials"]) == 3


def test_a_run_that_fails_by_its_own_fault_scores_0_and_is_not_tried_again(runs, tmp_path):
    runs.fails_above = 1e-3
    _, failed = searched(runs, pruner=optuna.pruners.NopPruner(), confirm=3)
    trials = trials_of(tmp_path)
    assert failed == sum(trial["status"] == "failed" for trial in trials) > 0
    assert {trial["valid_dice"] for trial in trials if trial["status"] == "failed"} == {0.0}
    runs.order.clear()
    searched(runs, pruner=optuna.pruners.NopPruner(), confirm=3)
    assert runs.order == []


def test_the_best_settings_and_the_default_are_confirmed_on_seeds_that_the_search_has_not_seen(runs, tmp_path):
    to_confirm, _ = searched(runs, pruner=optuna.pruners.NopPruner(), confirm=2, confirm_seeds=3)
    best = sorted(trials_of(tmp_path), key=lambda trial: -trial["valid_dice"])[:2]
    rates = [None, *(trial["values"]["lr"] for trial in best)]
    assert [(run.get("lr"), run["++seed"]) for run in to_confirm] == [(lr, seed) for seed in (1, 2, 3) for lr in rates]
    (one,) = json.loads((tmp_path / "sweep/search.json").read_text())["searches"].values()
    ids = [trial["config_id"] for trial in best]
    assert one["confirm"] == {"seeds": [1, 2, 3], "settings": ids, "baseline": "c0.001"}


def test_a_study_of_another_search_and_a_damaged_journal_are_refused(runs, tmp_path):
    searched(runs, study_name="mine", n_trials=1)
    with pytest.raises(ConfigError, match="got 'mine', which searches other ranges"):
        searched(runs, study_name="mine", ranges={"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)})
    searched(runs, n_trials=1)  # without a name it has one of its own
    with searching.SweepFolder(tmp_path / "sweep").lock("search").held(wait=False), pytest.raises(RunBusy):
        searched(runs)
    for line in ("no json", '{"op_code": 99, "worker_id": "a"}'):
        (tmp_path / "sweep/search.journal").write_text(f"{line}\n")
        with pytest.raises(ValueError, match="journal: is damaged"):
            searched(runs)


def test_every_choice_and_both_ends_and_the_inside_of_an_interval_are_tried_before_the_first_run():
    ranges = {"model": optuna.distributions.CategoricalDistribution(["a", "b", "c"]), **LR}
    points = [("a", 1e-5), ("b", 1e-5), ("c", 1e-5), ("a", 1e-1), ("a", pytest.approx(0.0382, rel=1e-3))]
    assert list(probes(ranges)) == [{"model": model, "lr": lr} for model, lr in points]


def test_a_search_whose_values_are_all_refused_ends_also_without_a_number_of_trials(runs, tmp_path):
    def refused(points):
        if points[0]["lr"] not in (1e-5, 1e-1):
            raise ConfigError(["lr: is not good"])
        return [runs.job(point["lr"]) for point in points]

    runs.jobs = lambda points: refused(points) if len(points) == 1 else [runs.job(point["lr"]) for point in points]
    _, failed = searched(runs, n_trials=None)
    assert failed == searching.MOST_REPEATED and runs.order == []


def test_confirmation_takes_seeds_that_no_search_of_the_sweep_has_used_and_keeps_them(runs, tmp_path):
    pruner = optuna.pruners.NopPruner()

    def confirmed(**changes):
        to_confirm, _ = searched(runs, pruner=pruner, n_trials=1, confirm=1, **changes)
        return sorted({run["++seed"] for run in to_confirm})

    assert confirmed(confirm_seeds=3) == [1, 2, 3]
    runs.seed = 2
    assert confirmed(study_name="later", confirm_seeds=3) == [1, 3, 4]
    runs.seed = 0
    assert confirmed(confirm_seeds=3) == [1, 2, 3] and confirmed(confirm_seeds=4) == [1, 2, 3, 4]


def test_a_lost_search_json_is_made_again_with_all_searches_of_the_journal(runs, tmp_path):
    searched(runs, n_trials=2)
    searched(runs, n_trials=1, study_name="other")
    file = tmp_path / "sweep/search.json"
    whole = json.loads(file.read_text())
    for lose in (file.unlink, lambda: file.write_text("{")):
        lose()
        searched(runs, n_trials=1, study_name="other")
        assert json.loads(file.read_text()) == whole


@pytest.mark.long
def test_a_search_finds_what_a_grid_finds_in_a_quarter_of_its_epochs(tmp_path, runs):
    grid = [10 ** (-5 + 4 * step / 19) for step in range(20)]
    best = max(dice(lr, epoch) for lr in grid for epoch in range(1, EPOCHS + 1))
    found = []
    for seed in range(6):
        own = Runs(tmp_path / str(seed))
        (own.folder / "sweep").mkdir(parents=True)
        searched(own, seed=seed, n_trials=14)
        found.append((max(trial["valid_dice"] or 0 for trial in trials_of(own.folder)), own.epochs))
    print(best, found)
    assert all(value > 0.99 * best for value, _ in found)
    assert all(epochs <= len(grid) * EPOCHS / 4 for _, epochs in found)


RANGES = ["optimizer.lr=tag(log,interval(1e-3,1e-1))", "loss=choice(bce,dice)", "hydra.sweeper.n_trials=3"]


@pytest.mark.long
def test_a_search_that_is_killed_three_times_ends_with_the_same_trials(train, small, tmp_path):
    arguments = ["-m", *small, "trainer.epochs=5", "hydra/sweeper=search", *RANGES]
    assert train(*arguments, "sweep.name=whole").returncode == 0
    for begun in (1, 2, 3):
        process = subprocess.Popen(
            [sys.executable, "-m", "src.train", *arguments, "sweep.name=killed"],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda begun=begun: len([*tmp_path.glob("runs/killed/*/epochs.jsonl")]) >= begun)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = train(*arguments, "sweep.name=killed")
    assert done.returncode == 0, done.stderr
    whole, killed = (
        next(iter(json.loads((tmp_path / f"runs/{name}/search.json").read_text())["searches"].values()))
        for name in ("whole", "killed")
    )
    assert killed == whole and len(whole["trials"]) == 3
    statuses = {json.loads(file.read_text())["status"] for file in tmp_path.glob("runs/killed/*/run.json")}
    assert statuses == {trial["status"] for trial in whole["trials"]} == {"finished", "pruned"}


@pytest.mark.long
def test_a_search_in_batches_confirms_its_best_setting(train, small, tmp_path):
    sizes = ["hydra.sweeper.n_trials=2", "hydra.sweeper.confirm=1", "hydra.sweeper.confirm_seeds=3"]
    search = ["-m", *small, "trainer.epochs=1", "hydra/sweeper=search", "hydra/launcher=basic", *sizes]
    done = train(*search, "optimizer.amsgrad=choice(true,false)")  # a key of the class that its option lacks
    assert done.returncode == 0, done.stderr
    runs = [json.loads(file.read_text()) for file in tmp_path.glob("runs/adhoc/*/run.json")]
    (one,) = json.loads((tmp_path / "runs/adhoc/search.json").read_text())["searches"].values()
    confirmed = {one["confirm"]["baseline"], *one["confirm"]["settings"]}
    assert sorted(run["seed"] for run in runs if run["config_id"] in confirmed and run["seed"]) in (
        [1, 1, 2, 2, 3, 3],
        [1, 2, 3],  # the default is the best setting
    )
    assert all(run["status"] == "finished" for run in runs)


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        ("optimizer.lr=interval(1,0.1)", "an interval needs two bounds, the smaller one first"),
        ("optimizer.lr=interval(0.1,inf)", "an interval needs two bounds, the smaller one first"),
        ("optimizer.lr=tag(log,interval(0,1))", "`low > 0` must hold"),
        ("optimizer.lr=tag(lin,interval(0,1))", "unknown tag lin; allowed: log, int"),
        ("seed=range(5)", "the best seed is luck"),
        ("data=choice(synthetic,folder)", "scores on different data cannot be compared"),
        ("data.border=choice(foreground,ignore)", "scores on different data cannot be compared"),
        ("model.width=range(5,5)", "it has no values"),
        ("model.width=tag(int,interval(2.1,3.9))", "it has no two whole numbers"),
    ],
)
def test_what_has_no_best_value_cannot_be_searched(range_, said):
    override = OverridesParser.create().parse_override(range_)
    with pytest.raises(ValueError, match=re.escape(said)):
        _distribution(override.get_key_element(), override)


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("lr=tag(log,interval(1e-5,1e-2))", optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)),
        ("width=tag(int,interval(2,8))", optuna.distributions.IntDistribution(2, 8)),
        ("width=int(interval(2,8))", optuna.distributions.IntDistribution(2, 8)),
        ("width=range(2,9,3)", optuna.distributions.IntDistribution(2, 8, step=3)),
        ("width=shuffle(range(2,9,3))", optuna.distributions.IntDistribution(2, 8, step=3)),
        ("loss=shuffle(bce,dice,focal)", optuna.distributions.CategoricalDistribution(["bce", "dice", "focal"])),
        ("decay=range(0,1,0.3)", optuna.distributions.FloatDistribution(0, 0.9, step=0.3)),
        ("decay=range(0,0.3,0.1)", optuna.distributions.FloatDistribution(0, 0.2, step=0.1)),
        ("loss=bce,dice", optuna.distributions.CategoricalDistribution(["bce", "dice"])),
        ("data.image_size=choice(32,64)", optuna.distributions.CategoricalDistribution(["32", "64"])),
    ],
)
def test_ranges_mean_what_hydra_says(range_, expected):
    override = OverridesParser.create().parse_override(range_)
    assert _distribution(override.get_key_element(), override) == expected


@pytest.mark.parametrize(("epochs", "first"), [(54, 6), (27, 3), (5, 3)])
def test_a_run_is_stopped_after_three_epochs_at_the_earliest(epochs, first):
    """One run is far worse than the eight before it, so it is stopped at the first decision."""
    halving = {"_target_": "optuna.pruners.SuccessiveHalvingPruner", "min_resource": None, "reduction_factor": 3}
    study = optuna.create_study(direction="maximize", pruner=_pruner(halving, epochs))
    stopped = []
    for value in [0.8] * 8 + [0.1]:
        trial = study.ask()
        for epoch in range(1, epochs + 1):
            trial.report(value, epoch)
            if trial.should_prune():
                stopped.append(epoch)
                break
        study.tell(trial, value)
    assert stopped[-1] == first


def test_null_is_a_pruner_that_stops_no_run():
    assert isinstance(_pruner(None, epochs=9), optuna.pruners.NopPruner)


def test_a_sampler_in_the_place_of_the_pruner_is_one_line(train, small, tmp_path):
    typed = ["hydra/sweeper/pruner=none", "hydra.sweeper.pruner._target_=optuna.samplers.RandomSampler"]
    done = train("-m", *small, "hydra/sweeper=search", "loss=choice(dice,bce)", *typed)
    line = "  hydra.sweeper.pruner._target_: got 'optuna.samplers.RandomSampler'; it takes a class of optuna.pruners"
    assert done.returncode == 1 and done.stderr.splitlines()[1:] == [line]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", ["sampler", "pruner"])
def test_a_name_where_the_group_was_meant_is_one_line(key, train, small, tmp_path):
    """`hydra.sweeper.sampler=tpe` instead of `hydra/sweeper/sampler=tpe`."""
    done = train("-m", *small, "hydra/sweeper=search", "loss=choice(dice,bce)", f"hydra.sweeper.{key}=random")
    (_, line) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith(f"  hydra.sweeper.{key}: got 'random'; ")
    assert not (tmp_path / "runs").exists()


def test_all_that_is_wrong_with_a_search_is_said_at_once_and_before_any_run(train, small, tmp_path):
    wrong = ["optimizer.lr=interval(1,0.1)", "hydra.sweeper.objective=test_dice", "hydra.sweeper.n_jobs=0"]
    wrong += ["hydra.sweeper.pruner.reduction_factor=abc", "hydra/launcher=slurm", "hydra.launcher.wait=false"]
    done = train("-m", *small, "hydra/sweeper=search", "seed=range(5)", *wrong)
    _, *problems = done.stderr.splitlines()
    assert done.returncode == 1 and not (tmp_path / "runs").exists()
    assert "  hydra.sweeper.pruner.reduction_factor: got 'abc'; a whole number from 2 on" in problems
    assert sorted(problem.strip().partition(":")[0] for problem in problems) == [
        "hydra.launcher.wait",
        "hydra.sweeper.n_jobs",
        "hydra.sweeper.objective",
        "hydra.sweeper.pruner.reduction_factor",
        "optimizer.lr",
        "seed",
    ]


@pytest.mark.long
def test_a_key_that_cannot_change_a_result_is_not_searched(train, small, tmp_path):
    done = train("-m", *small, "hydra/sweeper=search", "data.workers=choice(0,1)")
    assert done.returncode == 1 and "data.workers: got several (0, 1); give it one value" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_of_a_search_is_said_once_with_what_is_allowed(train, small, tmp_path):
    done = train("-m", *small, "hydra/sweeper=search", "model.nokey=interval(1,3)", "hydra.sweeper.n_trials=1")
    (_, line) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("  model.nokey: unknown key (got 1.0); allowed: ")
    assert not (tmp_path / "runs").exists()
    done = train("-m", *small, "hydra/sweeper=search", "loss=bce,dice", "hydra.sweeper.parms=1")
    assert "hydra.sweeper.parms: unknown key (got 1); did you mean 'params'? allowed: " in done.stderr


def test_an_interpolation_takes_the_values_of_each_trial(train, small, tmp_path):
    params = "hydra.sweeper.params={optimizer.lr:'interval(0.1,0.2)',trainer.accumulate:'${optimizer.lr}'}"
    done = train("-m", *small, "hydra/sweeper=search", params)
    assert done.returncode == 1 and "trainer.accumulate: got 0.1; " in done.stderr and "got 0.2; " in done.stderr
    assert not (tmp_path / "runs").exists()


def test_without_optuna_the_message_says_how_to_install_it(train, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "src.sweep.search", None)
    monkeypatch.delattr("src.sweep.search")
    done = train("-m", *small, "hydra/sweeper=search", "optimizer.lr=interval(0.1,0.2)")
    assert done.returncode == 1 and "needs optuna, not installed; pip install '.[search]'" in done.stderr
