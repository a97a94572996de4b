"""Looks at a sweep: what several cost, which calls count, and what becomes of files that cannot be read or written."""

import json
from pathlib import Path

import pandas as pd
import pytest

from src.analysis.claims import looks
from src.analysis.claims.looks import LOOKS, error_over_looks, keep_looks, looks_sentence


def runs(sweep, seeds, settings=("c1", "c2")):
    """The included runs of a sweep: `seeds` of each setting."""
    ids = [(setting, f"{setting}-seed{seed}") for setting in settings for seed in range(seeds)]
    rows = [(one, run, str(Path(sweep) / run)) for one, run in ids]
    return pd.DataFrame(rows, columns=["config_id", "run_id", "folder"])


# P. Armitage, C. K. McPherson and B. C. Rowe, J. R. Stat. Soc. A 132 (1969), table 2, for tests at 5 %
@pytest.mark.parametrize(("count", "error"), [(1, 0.05), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193)])
def test_the_error_over_equally_spaced_looks_is_that_of_the_literature(count, error):
    assert error_over_looks(range(1, count + 1)) == pytest.approx(error, abs=0.0006)


def test_a_look_at_no_more_runs_adds_nothing():
    assert error_over_looks([]) == 0
    assert error_over_looks([3, 3, 2, 5]) == error_over_looks([3, 5])
    assert looks_sentence([3, 3, 2]) is None and looks_sentence([]) is None


def test_looks_that_are_close_to_each_other_cost_more_than_one_and_less_than_distant_ones():
    """As of 200,000 simulated sums, to two standard errors."""
    assert error_over_looks([3, 5, 10, 10.003]) == error_over_looks([3, 5, 10])
    assert error_over_looks([3, 5, 10, 10.05]) == pytest.approx(0.1119, abs=0.0014)
    assert error_over_looks([3, 3.0031]) == pytest.approx(0.0521, abs=0.001)


def test_what_looks_cost_is_a_sentence():
    """400,000 simulated sums of normal numbers cross 1.96 standard errors after 3, 5 or 10 in 11.0 % (0.05)."""
    assert looks_sentence([3, 5, 10]) == (
        "Look 3 at these runs (seeds of a setting at each look: 3, 5, 10): the chance that one of the looks finds a "
        "difference that does not exist is 11.0%, not 5%."
    )


def test_a_look_is_an_aggregation_of_runs_that_no_earlier_one_had(tmp_path):
    for seeds, expected in ((3, [3.0]), (3, [3.0]), (5, [3.0, 5.0]), (3, [3.0, 5.0]), (10, [3.0, 5.0, 10.0])):
        assert keep_looks(runs(tmp_path, seeds), tmp_path / "report") == (expected, [])
    lines = [json.loads(line) for line in (tmp_path / LOOKS).read_text().splitlines()]
    assert [(line["runs"], len(line["digest"])) for line in lines] == [(3, 16), (5, 16), (10, 16)]


def test_of_several_sweeps_the_one_looked_at_most_often_counts(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for sweep in (first, second):
        sweep.mkdir()
    keep_looks(runs(first, 3), tmp_path)
    assert keep_looks(pd.concat([runs(first, 4), runs(second, 9)]), tmp_path) == ([3.0, 4.0], [])
    assert keep_looks(runs(tmp_path, 0), tmp_path) == ([], [])  # nothing is finished


def test_where_a_sweep_cannot_be_written_its_looks_are_kept_with_the_output(tmp_path, monkeypatch):
    sweep, output = tmp_path / "sweep", tmp_path / "output"
    sweep.mkdir()
    write = looks.write_text

    def refusing(path, text):
        if path.parent == sweep:
            raise PermissionError(13, "Permission denied", str(path))
        write(path, text)

    monkeypatch.setattr(looks, "write_text", refusing)
    seen, (note,) = keep_looks(runs(sweep, 3), output)
    (file,) = output.iterdir()
    assert note == f"{sweep / LOOKS} cannot be written; looks at these runs are kept in {file}."
    assert seen == [3.0] and keep_looks(runs(sweep, 5), output)[0] == [3.0, 5.0]
    monkeypatch.undo()  # and when it can be written again, they are there together
    (tmp_path / "other").mkdir()
    assert keep_looks(runs(tmp_path / "other", 9), output)[0] == [9.0]  # another sweep with the same output
    assert keep_looks(runs(sweep, 10), output)[0] == [3.0, 5.0, 10.0]
    assert len((sweep / LOOKS).read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"time": "now"}',
        "\xff",
        '{"time": "now", "runs": Infinity, "digest": "a"}',
        '{"time": "now", "runs": NaN, "digest": "a"}',
        '{"time": "now", "runs": -1, "digest": "a"}',
        '{"time": "now", "runs": 1, "digest": "a"}\n' * 5000,  # a stranger's file must not take hours
    ],
)
def test_a_damaged_file_stays_and_earlier_looks_are_said_not_to_count(tmp_path, text):
    (tmp_path / LOOKS).write_text(text, encoding="latin-1")
    seen, (note,) = keep_looks(runs(tmp_path, 3), tmp_path)
    assert seen == [] and note.startswith(f"Earlier looks at {tmp_path} are not counted: ") and "\n" not in note
    assert (tmp_path / LOOKS).read_text(encoding="latin-1") == text
