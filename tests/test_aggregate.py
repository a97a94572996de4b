"""`python -m src.aggregate` as a user meets it: from folders of runs to a report, or what is wrong in a few lines."""

import subprocess
import sys
from functools import partial

import pandas as pd
import pytest

import src.aggregate
from tests.analysis import sweeps
from tests.analysis.recorded import finish, replicates
from tests.conftest import PROJECT


@pytest.fixture
def aggregate(here):
    return partial(here, src.aggregate.aggregate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sweeps: three seeds of each scheduler in one, the same runs of cosine and a failed one in the other."""
    folder = tmp_path_factory.mktemp("runs")
    for name, scheduler, mean in (("all", "cosine", 0.7), ("all", "onecycle", 0.85), ("again", "cosine", 0.7)):
        replicates(folder / name, f"scheduler={scheduler}", mean=mean)
    sweeps.fail(folder / "again", "out of memory")
    return folder


def test_the_answer_is_printed_and_the_report_written(command, folder):
    told = command("aggregate", f"sweep={folder}/all", "claim_files=report_a")
    assert (told.returncode, told.stderr) == (0, "")
    answer, claims, table, page = told.stdout.strip().split("\n\n")
    assert answer.splitlines()[0].startswith("Best mean test Dice: onecycle with 0.8")
    assert answer.splitlines()[1].startswith("It is better than cosine (by 1")
    assert answer.splitlines()[2] == "Report A: 1 holds, 7 undecided of 8 claims."
    assert 'A4   holds      OneCycle beats cosine on test Dice for UNet ("about 1 %").' in claims.splitlines()
    assert [line.split()[0] for line in table.splitlines()] == ["setting", "onecycle", "cosine"]
    assert page == f"report: {folder}/all/report/index.html"
    written = {
        path.relative_to(folder / "all" / "report").as_posix() for path in (folder / "all" / "report").rglob("*")
    }
    files = {"index.html", "report.md", "table.csv", "table.tex", "effects.csv", "verdicts.csv", "figures"}
    assert files <= written and {"figures/settings.svg", "figures/settings.png"} <= written
    numbers = pd.read_csv(folder / "all" / "report" / "table.csv").set_index("setting")
    assert numbers["n"].to_dict() == {"onecycle": 3, "cosine": 3}
    assert numbers.loc["cosine", "behind"] == pytest.approx(0.15, abs=0.01)


def test_a_reader_that_has_seen_enough_does_not_lose_the_report(folder, tmp_path):
    options = (f"sweep={folder}/all", "claim_files=null", f"output={tmp_path}")
    command = [sys.executable, "-m", "src.aggregate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT, text=True) as process:
        process.stdout.close()  # before the first line is there
        assert (process.wait(60), process.stderr.read()) == (0, "")
    assert (tmp_path / "index.html").exists() and (tmp_path / "effects.csv").exists()


def test_a_report_is_no_run_of_the_sweep_it_lies_in(aggregate, folder):
    for _ in range(2):
        assert aggregate(f"sweep={folder}/all", "claim_files=null").returncode == 0
    assert "6 runs: 6 finished" in (folder / "all" / "report" / "report.md").read_text()


def test_several_sweeps_count_a_run_once_and_say_what_does_not_count(aggregate, folder, tmp_path):
    told = aggregate(f"sweep={folder}/all,{folder}/again", f"output={tmp_path}/it's (new)")
    assert told.returncode == 0 and told.stdout.endswith(f"report: {tmp_path}/it's (new)/index.html\n")
    text = (tmp_path / "it's (new)" / "report.md").read_text()
    assert "10 runs: 9 finished, 1 failed, of which 3 do not count." in text and "| 3 runs " in text
    assert f"the same run counts from {folder}/all already" in text and "out of memory" in text
    again = aggregate(f"sweep={folder}/a*", f"output={tmp_path}/it's (new)")
    assert again.returncode == 0 and (tmp_path / "it's (new)" / "report.md").read_text() != ""


def test_the_reports_are_asked_by_default_only_about_the_data_that_they_are_about(aggregate, folder, tmp_path):
    def told(*arguments):
        answer = aggregate(*arguments, f"output={tmp_path}/report")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    replicates(tmp_path / "pets", "data=oxford_pet")
    assert "Report A" not in told(f"sweep={folder}/all")  # of synthetic data
    assert "Report A: 1 holds, 7 undecided" in told(f"sweep={folder}/all", "claim_files=report_a")
    assert "Report A: 8 undecided of 8 claims" in told(f"sweep={tmp_path}/pets")


def test_a_sweep_of_which_nothing_has_finished(aggregate, tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    told = aggregate(f"sweep={tmp_path}")
    assert told.returncode == 0, told.stderr
    assert "No run has finished yet" in (tmp_path / "report" / "report.md").read_text()


def test_another_protocol(aggregate, tmp_path):
    record = finish(tmp_path, dice=[0.5])
    with record.locked():
        row = {"stem": "Pet_0", "dice": 0.25, "iou": 0.125, "tp": 1, "fp": 1, "fn": 1}
        record.write_test("border_ignore", {}, [row])
    assert "0.2500" in aggregate(f"sweep={tmp_path}", "protocol=border_ignore").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ["the config cannot be used:", "sweep: missing; it takes a folder of runs"]),
        (["sweep=[]"], ["the config cannot be used:", "sweep: got '[]'; it takes a folder of runs, for example"]),
        (["sweep="], ["the config cannot be used:", "sweep: got ''; it takes a folder of runs, for example"]),
        (["sweep={folder}"], ["{folder}: holds sweeps, no runs; give one of {folder}/again, {folder}/all"]),
        (["sweep={folder}/nix"], ["{folder}/nix: there is no such folder; expected <folder>/<run_id>/run.json"]),
        (["sweep={folder}/n*x"], ["{folder}/n*x: matches no folder of runs; expected <folder>/<run_id>/run.json"]),
        (
            ["sweep={folder}/all", "detect=0", "protokoll=x"],
            ["the config cannot be used:", "detect: got 0; input should be greater than 0", "protokoll: unknown key"],
        ),
        (
            ["sweep={folder}/all", "claim_files=nix"],
            ["the config cannot be used:", "claim_files: got 'nix'; allowed: auto, null, report_a"],
        ),
        (
            ["sweep={folder}/all", "claims=report_a"],
            ["claims: unknown key; the files of claims to judge are"],
        ),
        (["sweep={folder}/all", "output=/proc/nix"], ["cannot go on: "]),  # the answer is printed all the same
    ],
)
def test_a_mistake_gets_clear_lines_and_exit_code_1(aggregate, folder, arguments, said):
    refused = aggregate(*(argument.format(folder=folder) for argument in arguments))
    assert refused.returncode == 1 and (refused.stdout == "" or "output=/proc/nix" in arguments)
    lines = refused.stderr.splitlines()
    assert len(lines) == len(said), refused.stderr
    for words, line in zip(said, lines, strict=True):
        assert line.strip().startswith(words.format(folder=folder))
