"""What the words of an aggregation's options name."""

import re
from pathlib import Path

import pytest

from src.analysis.report.options import CLAIMS, AggregateOptions
from src.base.config import parse_section
from src.base.errors import ConfigError
from tests.analysis.sweeps import plan

GIVEN = {"sweep": "demo", "output": None, "claim_files": None, "protocol": "headline", "detect": 0.2}
GIVEN |= {"failures": "count", "cluster": None, "pair": None}


def options(**changed):
    return parse_section(AggregateOptions, {**GIVEN, **changed})


def test_several_sweeps_with_commas_or_as_a_list_or_by_glob(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        plan(tmp_path / "runs" / name, {"seed": 0})
    both = [Path("runs/a"), Path("runs/b")]
    for text in ("runs/a,runs/b", "[runs/a, runs/b]", "runs/*", "runs/a,runs/*"):
        assert options(sweep=text).sweeps() == both
    many = [f"sweep_{number}" for number in range(50)]  # more letters than a file's name may have
    assert list(map(str, options(sweep=",".join(many)).sweeps())) == many


def test_a_folder_whose_name_has_a_comma_is_one_sweep(tmp_path):
    plan(tmp_path / "a,b", {"seed": 0})
    assert options(sweep=f"{tmp_path}/a,b").sweeps() == [tmp_path / "a,b"]


def test_the_report_lies_in_its_sweep_or_beside_several():
    a, b = Path("multirun_outputs/a"), Path("multirun_outputs/b")
    assert options().folder([a]) == a / "report"
    assert options().folder([a, b]) == Path("multirun_outputs/report")
    assert options(output="here").folder([a, b]) == Path("here")


def test_claims_by_name_by_path_all_or_none(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text((CLAIMS / "report_b.yaml").read_text().replace("source: Report B", "source: me"))
    sources = [file.source for file in options(claim_files=f"report_d,{mine}").claims()]
    assert sources == ["Report D", "me"]
    assert [file.source for file in options(claim_files="auto").claims()] == [f"Report {name}" for name in "ABCDE"]
    assert options().claims() == []


def test_every_file_of_claims_that_is_not_there_is_said():
    with pytest.raises(ConfigError) as raised:
        options(claim_files="report_a,nix,auto.yaml").claims()
    allowed = "allowed: auto, null, report_a, report_b, report_c, report_d, report_e, or the path of a YAML file"
    assert raised.value.problems == [f"claim_files: got {name!r}; {allowed}" for name in ("nix", "auto.yaml")]


@pytest.mark.parametrize("text", ["", " ", "[]", "[ ]", "[", ",", "[,]", "[ , ]"])
def test_a_list_that_names_nothing_is_refused(text):
    with pytest.raises(ConfigError) as raised:
        options(sweep=text)
    expected = f"sweep: got {text!r}; it takes a folder of runs, for example sweep=multirun_outputs/demo"
    assert raised.value.problems == [expected]
    with pytest.raises(ConfigError, match=f"claim_files: got {re.escape(repr(text))}; allowed: auto, null, report_a"):
        options(claim_files=text).claims()


def test_every_wrong_option_is_said():
    with pytest.raises(ConfigError) as raised:
        options(sweep="[ ]", detect=0, swep="x")
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["sweep", "detect", "swep"]
    assert raised.value.problems[2].endswith(
        "did you mean 'sweep'? allowed: claim_files, cluster, detect, failures, output, pair, protocol, sweep"
    )
