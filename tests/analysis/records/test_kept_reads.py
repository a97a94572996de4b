"""What is kept of a sweep changes no number: it is used for unchanged files only, and only if it is sound."""

import os
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from src.analysis.records import kept_reads
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.loading import load_records
from src.base import record
from tests.analysis.recorded import finish
from tests.analysis.sweeps import fail

FILES = ("epochs.jsonl", "config.yaml", "test_images.csv")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    monkeypatch.setattr(kept_reads, "SETTLED", 0)  # the files of a test are a moment old


@pytest.fixture
def sweep(tmp_path):
    """Two finished runs, of which one has a column of epochs more, and a failed one."""
    finish(tmp_path / "sweep", dice=[0.5, 0.75], curves={"valid_dice": [0.25, 0.5], "train_loss": [1.5, 1.0]})
    finish(tmp_path / "sweep", dice=[0.25, 0.1], seed=1, device_jobs=None)
    fail(tmp_path / "sweep", "boom", done=2)
    return tmp_path / "sweep"


def kept_file(sweep):
    return sweep / ".kept_reads"


def loaded(sweep, spare=None):
    return load_records([sweep], kept=KeptReads([sweep], spare))


def assert_same(found, expected):
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.epochs, expected.epochs)
    pd.testing.assert_frame_equal(found.images, expected.images)
    assert found.configs == expected.configs
    assert [list(config) for config in found.configs.values()] == [list(one) for one in expected.configs.values()]


def found_files(sweep):
    kept = KeptReads([sweep])
    return [file for folder in sorted(sweep.iterdir()) for name in FILES if kept.find(file := folder / name)]


def test_the_second_time_the_same_numbers_come_without_reading_the_files(sweep, monkeypatch):
    expected = load_records([sweep])
    assert not kept_file(sweep).exists()
    assert_same(loaded(sweep), expected)

    def refuse(*_, **__):
        raise AssertionError("it was kept")

    monkeypatch.setattr(record.RunRecord, "read_epochs", refuse)
    monkeypatch.setattr("src.analysis.records.files.read_yaml", refuse)
    monkeypatch.setattr("src.analysis.records.image_scores.read_regular", refuse)
    written = kept_file(sweep).stat().st_mtime_ns
    assert_same(loaded(sweep), expected)
    assert kept_file(sweep).stat().st_mtime_ns == written  # nothing new


def test_a_file_that_has_changed_is_read_again_even_if_size_and_time_are_the_same(sweep):
    loaded(sweep)
    table = next(path for path in sweep.glob("*/test_images.csv") if b"0.75" in path.read_bytes())
    before = table.stat()
    table.write_bytes(table.read_bytes().replace(b"0.75", b"0.25"))
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert table.stat().st_size == before.st_size and table not in found_files(sweep)
    records = loaded(sweep)
    assert "its mean Dice is 0.375000, but that in run.json is 0.625000" in str(set(records.runs["left_out"]))


def test_a_copy_of_a_sweep_is_read_for_itself(sweep, tmp_path):
    loaded(sweep)
    shutil.copytree(sweep, tmp_path / "copy")
    assert kept_file(tmp_path / "copy").exists() and not found_files(tmp_path / "copy")
    assert len(found_files(sweep)) == 7  # 3 curves, 2 tables, 2 of 3 configs: the other runs' settings are known


def test_a_file_that_has_changed_just_now_is_not_kept_since_it_may_change_again_unseen(sweep, monkeypatch):
    monkeypatch.setattr(kept_reads, "SETTLED", 3600 * 10**9)
    loaded(sweep)
    assert not found_files(sweep)


def test_no_damage_brings_another_number(sweep):
    expected = loaded(sweep)
    sound = kept_file(sweep).read_bytes()
    rng = np.random.default_rng(0)
    for position in (0, 64, 65, len(sound) - 1, *rng.integers(0, len(sound), 40)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << rng.integers(8)
        kept_file(sweep).write_bytes(damaged)
        assert not found_files(sweep)
    for content in (b"", sound[:100], sound[:-8], sound + b"0", b"\n\n", pickle.dumps({"stamp": [], "columns": {}})):
        kept_file(sweep).write_bytes(content)
        assert not found_files(sweep)
    assert_same(loaded(sweep), expected)
    assert kept_file(sweep).read_bytes() == sound


def test_what_other_code_has_read_is_not_used(sweep, monkeypatch):
    loaded(sweep)
    assert found_files(sweep)
    monkeypatch.setattr(kept_reads.pd, "__version__", "0.0")
    kept_reads._code.cache_clear()
    assert not found_files(sweep)
    kept_reads._code.cache_clear()


def test_where_the_sweep_takes_no_file_it_lies_in_the_spare_folder_or_nowhere(sweep, tmp_path):
    kept_file(sweep).mkdir()  # what a disk refuses, also for the superuser
    expected = load_records([sweep])
    assert_same(loaded(sweep), expected)
    assert_same(loaded(sweep, tmp_path / "missing"), expected)
    assert not (tmp_path / "missing").exists()
    spare = tmp_path / "report"
    spare.mkdir()
    for _ in range(2):
        assert_same(loaded(sweep, spare), expected)
    (file,) = spare.iterdir()
    assert file.name.startswith(".kept_reads-") and len(KeptReads([sweep], spare)._before[sweep]) == 7


def test_a_run_that_is_gone_is_not_kept_and_a_new_one_is(sweep):
    loaded(sweep)
    shutil.rmtree(next(path.parent for path in sweep.glob("*/test_images.csv")))
    new = finish(sweep, dice=[0.5, 0.5], seed=2)
    assert_same(loaded(sweep), load_records([sweep]))
    assert new.folder / "epochs.jsonl" in found_files(sweep)
    assert len(KeptReads([sweep])._before[sweep]) == len(found_files(sweep))


def test_a_sweep_that_needs_too_much_is_not_kept(sweep, monkeypatch):
    monkeypatch.setattr(kept_reads, "LARGEST", 100)
    loaded(sweep)
    assert not kept_file(sweep).exists()
