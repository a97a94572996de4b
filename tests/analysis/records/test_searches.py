"""The trials of a search, and the runs that confirm what it has chosen."""

import json

import pytest

from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.records.searches import OF_A_SEARCH, TAKEN_OVER
from tests.analysis.recorded import finish


def write(sweep, *records, **more):
    trials = [
        {
            "values": {"optimizer.lr": 0.1},
            "status": "finished",
            "valid_dice": 0.5,
            "run_id": record.folder.name,
            "config_id": record.read()["config_id"],
            "pruned_after_epoch": None,
        }
        for record in records
    ]
    (sweep / "search.json").write_text(json.dumps({"schema": 1, "searches": {"mine": {"trials": trials, **more}}}))


def test_a_trial_counts_as_no_seed_of_its_setting(tmp_path):
    chosen = finish(tmp_path, dice=[0.9, 0.9])
    dropped = finish(tmp_path, "optimizer.lr=0.5", dice=[0.1, 0.1])
    for seed in (1, 2, 3):
        finish(tmp_path, dice=[0.5, 0.6], seed=seed)
    assert [setting.seeds for setting in settings_of(load_records([tmp_path]))] == [(0, 1, 2, 3), (0,)]
    write(tmp_path, chosen, dropped)
    records = load_records([tmp_path])
    assert [setting.seeds for setting in settings_of(records)] == [(1, 2, 3)]
    left_out = records.runs.set_index("folder")["left_out"].dropna()
    assert left_out.to_dict() == {str(one.folder): OF_A_SEARCH for one in (chosen, dropped)}


def test_a_damaged_search_ends_an_analysis_since_its_trials_would_count(tmp_path):
    finish(tmp_path, dice=[0.9])
    for text in ("[]", "{", '{"searches": {"mine": {"trials": [{}]}}}'):
        (tmp_path / "search.json").write_text(text)
        with pytest.raises(ValueError, match=r"search\.json: is .*, the same search command writes it again"):
            load_records([tmp_path])
    (tmp_path / "search.json").rename(tmp_path / "search.journal")
    with pytest.raises(ValueError, match=r"search\.json: is missing"):
        load_records([tmp_path])


def test_a_trial_is_a_trial_too_in_a_sweep_that_took_its_run_over(tmp_path):
    trial = finish(tmp_path / "searched", dice=[0.9, 0.9])
    write(tmp_path / "searched", trial)
    (tmp_path / "searched/plan.json").write_text('{"runs": []}')
    for seed in (0, 1, 2):
        finish(tmp_path / "grid", dice=[0.9, 0.9], seed=seed)
    for sweeps in ([tmp_path / "grid"], [tmp_path / "searched", tmp_path / "grid"]):
        records = load_records(sweeps)
        assert [setting.seeds for setting in settings_of(records)] == [(1, 2)]
        assert records.runs.loc[records.runs["sweep"].eq(str(sweeps[-1])), "left_out"].dropna().tolist() == [TAKEN_OVER]


def test_a_later_search_takes_no_seed_from_what_an_earlier_one_confirmed(tmp_path):
    first, later = (finish(tmp_path, dice=[0.9, 0.9], seed=seed) for seed in (0, 1))
    config_id = first.read()["config_id"]
    write(tmp_path, first, later, confirm={"seeds": [1], "settings": [], "baseline": config_id})
    assert [setting.seeds for setting in settings_of(load_records([tmp_path]))] == [(1,)]
