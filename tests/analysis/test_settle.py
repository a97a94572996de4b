"""Rounds of seeds: what they train, that a stopped command ends as an undisturbed one, and what is refused."""

from functools import partial

import numpy as np
import pytest

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.settle import Planned, Settling
from src.base.errors import ConfigError, Ended
from src.base.identity import identify
from tests.analysis.recorded import config_of, fail, finish

PRINT = "d1" * 32
MEANS = {"scheduler=onecycle": 0.80, "scheduler=cosine": 0.795, "scheduler=poly": 0.70}
CLAIM = {
    "type": "difference",
    "measure": "test_dice",
    "higher": {"scheduler": "onecycle"},
    "lower": {"scheduler": "poly"},
}


def settings(*overrides):
    configs = {one: config_of(one) for one in overrides or MEANS}
    return {
        identify(config, PRINT).config_id: Planned(one, config.model_dump(mode="json"), PRINT)
        for one, config in configs.items()
    }


def train(sweep, planned, begun, runs, most=1000):
    """Records each run, with noise of its own setting and seed; stops after `most` of all."""
    for setting, seed in runs:
        if len(begun) == most:
            raise SystemExit(130)
        name = planned[setting].name
        begun.append((name, seed))
        rng = np.random.default_rng([seed, len(name)])
        dice = MEANS[name] + rng.normal(0, 0.004) + np.linspace(-0.1, 0.1, 40) + rng.normal(0, 0.002, 40)
        finish(sweep, name, dice=dice, seed=seed)


def settling(sweep, begun, budget=40, file=None, most=1000, first_seed=0, planned=None):
    planned = planned or settings()
    work = partial(train, sweep, planned, begun, most=most)
    return Settling(sweep, file, planned, budget, 0.005, first_seed, work)


def test_settings_on_different_data_and_debug_runs_are_refused(tmp_path):
    (first, own), (second, other), _ = settings().items()
    with pytest.raises(ConfigError, match="goal: got settings on different data, which have no best"):
        settling(tmp_path, [], planned={first: own, second: other._replace(fingerprint="e2" * 32)})
    debug = other._replace(config={**other.config, "debug": {"name": "one_batch"}})
    with pytest.raises(ConfigError, match="debug: its runs see only a few batches"):
        settling(tmp_path, [], planned={first: own, second: debug})


@pytest.mark.long
def test_what_is_beaten_gets_no_more_seeds_and_the_rest_does_until_the_budget_ends(tmp_path, capsys):
    begun = []
    settling(tmp_path, begun, budget=19).run()
    assert begun[:9] == [(name, seed) for seed in range(3) for name in MEANS]
    assert ("scheduler=poly", 3) not in begun and len(begun) in (13, 19)
    best, *lines = capsys.readouterr().out.splitlines()
    assert "worse: scheduler=poly" in best
    assert any(line.startswith("scheduler=onecycle − scheduler=cosine: ") for line in lines)
    assert lines[-1] == f"settled with {len(begun)} of 19 runs: {tmp_path}"


@pytest.mark.long
def test_a_command_that_was_stopped_amid_a_round_ends_as_an_undisturbed_one(tmp_path, capsys):
    settling(tmp_path / "whole", whole := [], budget=19).run()
    undisturbed = capsys.readouterr().out
    parts = []
    for most in (2, 5, 11):
        with pytest.raises(SystemExit):
            settling(tmp_path / "parts", parts, budget=19, most=most).run()
    settling(tmp_path / "parts", parts, budget=19).run()
    assert parts == whole
    assert capsys.readouterr().out.replace("/parts", "/whole") == undisturbed
    settling(tmp_path / "parts", again := [], budget=19).run()
    assert again == [] and capsys.readouterr().out.replace("/parts", "/whole") == undisturbed


@pytest.mark.long
def test_a_larger_budget_later_continues(tmp_path, capsys):
    settling(tmp_path, begun := [], budget=9).run()
    assert len(begun) == 9 and "would take more than the budget (about" in capsys.readouterr().out
    settling(tmp_path, begun, budget=19).run()
    assert len(begun) > 9


def test_a_claim_takes_only_its_settings(tmp_path, capsys):
    claims = {"better": {"says": "…", "test": CLAIM}, "curve": {"says": "…", "test": {
        "type": "curve", "rule": "turns_upward", "after": 0.5, "side": {"scheduler": "cosine"}}}}  # fmt: skip
    file = ClaimFile.model_validate({"source": "me", "where": {}, "reported_with": {}, "claims": claims})
    settling(tmp_path, begun := [], file=file).run()
    assert sorted(begun) == [(f"scheduler={name}", seed) for name in ("onecycle", "poly") for seed in range(3)]
    done = capsys.readouterr()
    assert done.out.startswith("better: holds, look 1 with 3 seeds of each setting, p < 0.001")
    assert "[99.20%: +" in done.out and "not settled  curve: is about the shape of a curve" in done.err
    with pytest.raises(ConfigError, match="no claim of me can be settled by the settings of this sweep"):
        settling(tmp_path, [], file=file, planned=settings("scheduler=cosine"))


def test_what_cannot_be_settled_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ConfigError, match="got 8; the first round, 3 seeds of each of 3 settings, takes 9"):
        settling(tmp_path, [], budget=8).run()
    with pytest.raises(ConfigError, match="best of a single setting"):
        settling(tmp_path, [], planned=settings("scheduler=cosine"))
    assert not list(tmp_path.iterdir())


def test_a_dry_run_names_the_first_runs_and_records_nothing(tmp_path, capsys, monkeypatch):
    settling(tmp_path, begun := [], budget=12).run(dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "start        scheduler=onecycle seed=0" and len(lines) == 12
    assert lines[10].startswith("expected     about ") and lines[11].startswith("chance       ")
    assert not begun and not list(tmp_path.iterdir())
    settling(tmp_path, begun, budget=9).run()
    (tmp_path / ".kept_reads").unlink(missing_ok=True)
    monkeypatch.setattr("src.analysis.records.kept_reads.SETTLED", 0)  # as if the runs had ended long ago
    settling(tmp_path, begun, budget=20).run(dry_run=True)
    assert not (tmp_path / ".kept_reads").exists()


def test_there_is_no_look_before_all_runs_have_ended(tmp_path):
    planned = settings("scheduler=onecycle", "scheduler=cosine")

    def lose(runs):
        train(tmp_path, planned, [], runs[:-1])
        fail(tmp_path, "scheduler=cosine", seed=2, reason="killed by signal 9")

    with pytest.raises(
        Ended, match=r"runs of scheduler=cosine have not ended or cannot be used, so these seeds cannot be judged yet"
    ):
        Settling(tmp_path, None, planned, 20, 0.005, 0, lose).run()
    assert not (tmp_path / "looks.jsonl").exists()
