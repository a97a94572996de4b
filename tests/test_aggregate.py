"""`python -m src.aggregate` as a user meets it: from folders of runs to a report, or what is wrong in a few lines."""

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
from functools import partial

import pandas as pd
import pytest
from matplotlib.figure import Figure

import src.aggregate
from src.analysis.records.loading import load_records
from src.analysis.report.figures import Picture
from tests.analysis import sweeps
from tests.analysis.recorded import finish, replicates
from tests.conftest import PROJECT


@pytest.fixture
def aggregate_with_figures(here):
    return partial(here, src.aggregate.aggregate)


@pytest.fixture
def aggregate(aggregate_with_figures, monkeypatch):
    monkeypatch.setattr(Picture, "figure", lambda picture: Figure((1, 1)))  # others test what they show
    return aggregate_with_figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sweeps: three seeds of each scheduler in one, the same runs of cosine and a failed one in the other."""
    folder = tmp_path_factory.mktemp("runs")
    for name, scheduler, mean in (("all", "cosine", 0.7), ("all", "onecycle", 0.85), ("again", "cosine", 0.7)):
        replicates(folder / name, f"scheduler={scheduler}", mean=mean)
    sweeps.fail(folder / "again", "out of memory")
    return folder


def test_a_later_look_says_what_it_costs(aggregate, tmp_path):
    sweep = tmp_path / "sweep"
    replicates(sweep, "scheduler=cosine", seeds=6)
    late = [sweep / path.name for path in sorted(sweep.glob("unet*"))[3:]]
    for run in late:
        run.rename(tmp_path / run.name)
    for _ in range(2):
        assert "Look " not in aggregate(f"sweep={sweep}").stdout
    for run in late:
        (tmp_path / run.name).rename(run)
    assert "Look 2 at these runs (seeds of a setting at each look: 3, 6): the " in aggregate(f"sweep={sweep}").stdout


def test_the_answer_is_printed_and_the_report_written(command, folder):
    told = command("aggregate", f"sweep={folder}/all", "claim_files=report_a")
    assert (told.returncode, told.stderr) == (0, "")
    answer, table, claims, page = told.stdout.strip().split("\n\n")
    assert answer.splitlines()[0].startswith("Best mean test Dice: onecycle with 0.8")
    assert "\nIt is significantly better than the next, cosine (by 1" in answer
    assert answer.splitlines()[-1] == "Report A: 2 hold, 1 reversed, 4 undecided of 7 claims with runs."
    assert re.search(r"^A4 +holds +OneCycle beats cosine on test Dice for UNet", claims, re.MULTILINE)
    assert [line.split()[0] for line in table.splitlines()] == ["scheduler", "onecycle", "cosine"]
    assert page == f"report: {folder}/all/report/index.html"
    written = {
        path.relative_to(folder / "all" / "report").as_posix() for path in (folder / "all" / "report").rglob("*")
    }
    files = {
        "index.html",
        "report.md",
        "runs.csv",
        "images.csv.gz",
        "table.tex",
        "settings.csv",
        "verdicts.csv",
        "figures",
    }
    assert files <= written and {"figures/settings.svg", "figures/settings.png"} <= written
    numbers = pd.read_csv(folder / "all" / "report" / "settings.csv").set_index("setting")
    assert numbers["seeds"].to_dict() == {"onecycle": 3, "cosine": 3}
    assert numbers.loc["cosine", "behind"] == pytest.approx(0.15, abs=0.01)


@pytest.mark.long
def test_a_reader_that_has_seen_enough_does_not_lose_the_report(folder, tmp_path):
    options = (f"sweep={folder}/all", "claim_files=null", f"output={tmp_path}")
    command = [sys.executable, "-m", "src.aggregate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT, text=True) as process:
        process.stdout.close()  # before the first line is there
        assert (process.wait(60), process.stderr.read()) == (0, "")
    assert (tmp_path / "index.html").exists() and (tmp_path / "comparisons.csv").exists()


def test_a_report_is_no_run_of_the_sweep_it_lies_in(aggregate, folder):
    for _ in range(2):
        assert aggregate(f"sweep={folder}/all", "claim_files=null").returncode == 0
    assert "6 runs: 6 finished" in (folder / "all" / "report" / "report.md").read_text()


def test_several_sweeps_count_a_run_once_and_say_what_does_not_count(aggregate, folder, tmp_path):
    told = aggregate(f"sweep={folder}/all,{folder}/again", f"output={tmp_path}/it's (new)")
    assert told.returncode == 0 and told.stdout.endswith(f"report: {tmp_path}/it's (new)/index.html\n")
    text = (tmp_path / "it's (new)" / "report.md").read_text()
    assert "10 runs: 9 finished, 1 failed, of which 3 are excluded." in text
    assert f"the same run is included from {folder}/again already" in text and "out of memory" in text
    again = aggregate(f"sweep={folder}/a*", f"output={tmp_path}/it's (new)")
    assert again.returncode == 0 and (tmp_path / "it's (new)" / "report.md").read_text() != ""


@pytest.mark.long
def test_the_reports_are_asked_by_default_only_about_the_data_that_they_are_about(aggregate, folder, tmp_path):
    def told(*arguments):
        answer = aggregate(*arguments, f"output={tmp_path}/report")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    replicates(tmp_path / "pets", "data=oxford_pet")
    assert "Report A" not in told(f"sweep={folder}/all")  # of synthetic data
    assert "Report A: 2 hold, 1 reversed, 4 undecided" in told(f"sweep={folder}/all", "claim_files=report_a")
    assert re.search(r"Report A: .* claims? with runs\.", told(f"sweep={tmp_path}/pets"))


def test_a_sweep_of_which_nothing_has_finished(aggregate, tmp_path):
    sweeps.plan(tmp_path, {"seed": 0})
    told = aggregate(f"sweep={tmp_path}")
    assert told.returncode == 0, told.stderr
    assert "No run is finished and included yet" in (tmp_path / "report" / "report.md").read_text()


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
        (["sweep={folder}"], ["{folder}: holds sweeps, not runs; give one of {folder}/again, {folder}/all"]),
        (["sweep={folder}/nix"], ["{folder}/nix: is not a folder; expected <folder>/<run_id>/run.json"]),
        (
            ["sweep={folder}/n*x"],
            ["{folder}/n*x: does not match any folder of runs; expected <folder>/<run_id>/run.json"],
        ),
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
            ["the config cannot be used:", "claims: unknown key; python -m src.aggregate takes claim_files"],
        ),
        (
            ["sweep={folder}/all", "cluster=nix.csv"],
            ["cluster: got 'nix.csv', which cannot be read; allowed: null, breed, or the path of a CSV file with the"],
        ),
        (["sweep={folder}/all", "cluster=breed"], ["cluster: 1 group of test images; an interval needs 5"]),
        (["sweep={folder}/all", "pair=seeds"], ["the config cannot be used:", "pair: got 'seeds'; input should be"]),
        (["sweep={folder}/all", "output=/proc/nix"], ["cannot continue: "]),  # the answer is printed all the same
    ],
)
def test_a_mistake_gets_clear_lines_and_exit_code_1(aggregate, folder, arguments, said):
    refused = aggregate(*(argument.format(folder=folder) for argument in arguments))
    assert refused.returncode == 1 and (refused.stdout == "" or "output=/proc/nix" in arguments)
    lines = refused.stderr.splitlines()
    assert len(lines) == len(said), refused.stderr
    for words, line in zip(said, lines, strict=True):
        assert line.strip().startswith(words.format(folder=folder))


def test_groups_of_images_are_the_sample_and_equal_seeds_are_paired(aggregate, folder, tmp_path):
    groups = tmp_path / "groups of images.csv"
    rows = [f"Pet_{number},group {number // 8}" for number in range(40)]
    groups.write_text("\n".join(["stem,group", *rows]) + "\n")
    chosen = (f"sweep={folder}/all", f"output={tmp_path}", f"cluster={groups}")
    done = aggregate(*chosen, "pair=seed", "claim_files=report_a")
    assert done.returncode == 0, done.stderr
    assert "Results hold for images of new groups: the sample is 5 groups (cluster)." in done.stdout
    assert "Equal seeds are paired (pair=seed), which is valid only if chosen before results were seen." in done.stdout
    report = (tmp_path / "report.md").read_text()
    assert "Mean Dice by group for the best setting and the next, hardest groups first" in report
    assert '"new images" are of new groups' in report
    tested = pd.read_csv(tmp_path / "verdicts.csv").query("metric == 'test Dice'").dropna(subset="images")
    assert set(tested["images"]) == {5} and set(tested["scope"]) == {"new seeds and new groups"}
    groups.write_text("stem,group\n" + "\n".join(rows[1:]))
    refused = aggregate(*chosen)
    assert (refused.returncode, refused.stderr) == (1, "cluster: 1 of 40 test images lack a group, such as Pet_0\n")
    groups.write_text("stem,group\n" + "\n".join([*rows, rows[3]]))
    refused = aggregate(*chosen)
    assert (refused.returncode, refused.stderr) == (1, f"cluster: {groups} lists Pet_3 twice\n")


PICTURE, TAG = "![x](http://evil.example/leak.png)", "<img src=x onerror=alert(1)>"
ESCAPE = "\x1b[5mblink"


@pytest.fixture
def hostile(tmp_path):
    """Two settings of three runs each, in whose files every text that is free is one of the above."""
    for model in ("unet", "resnet34_unet"):
        for record in replicates(tmp_path / "sweep", f"model={model}", "scheduler=cosine", images=4):
            run = json.loads(record.run_file.read_text())
            choices = run["choices"] | {"model": f"{TAG}/../{model}", "loss": PICTURE + ESCAPE}
            changed = {"choices": choices, "device": f"=1+1{TAG}", "git": {"commit": PICTURE}}
            record.run_file.write_text(json.dumps({**run, **changed}))
            table = record.folder / "test_images.csv"
            table.write_text(table.read_text().replace("Pet_1", f"'=1+cmd{TAG}"))
            (record.folder / "overrides.yaml").write_text(json.dumps([f"notes=```\n{TAG}", f"seed={run['seed']}"]))
    sweeps.fail(tmp_path / "sweep", f"{PICTURE} {ESCAPE}", model=f"=2+{TAG}".replace("/", ""))
    return tmp_path / "sweep"


def test_what_records_say_is_text_in_every_file_and_on_the_terminal(aggregate_with_figures, hostile):
    told = aggregate_with_figures(f"sweep={hostile}", "claim_files=null")
    assert told.returncode == 0 and "\x1b" not in told.stdout + told.stderr
    report = hostile / "report"
    for name in ("report.md", "lab_report.md"):
        prose, block, _ = re.split(r"(?m)^````$", (report / name).read_text())  # a fence longer than the one in it
        assert TAG in block and not re.search(r"(?<!\\)<img|(?<!\\)\]\(http", prose) and "\\<img" in prose
    written = [path for path in report.rglob("*") if path.is_file()]
    assert all("\x1b" not in path.read_text() for path in written if path.suffix not in (".png", ".gz"))
    assert {path.parent for path in written} == {report, report / "figures"}
    for path in report.glob("*.csv*"):
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        assert "\x1b" not in text
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=@\t\r]|[+-](?![\d.]+( |$))", cell) and cell != "-"]


def test_stems_that_begin_like_formulas_are_the_same_images_again(tmp_path):
    record = finish(tmp_path, dice=[0.5, 0.5])
    rows = [{**row, "stem": stem} for row, stem in zip(record.read_test_images(), ("=1+1", "'=1+1"), strict=True)]
    with record.locked():
        record.write_test("headline", {}, rows)
    assert [row["stem"] for row in record.read_test_images()] == ["=1+1", "'=1+1"]
    assert "headline,'=1+1," in (record.folder / "test_images.csv").read_text()
    assert load_records([tmp_path]).stems(str(record.folder)) == ["'=1+1", "=1+1"]


def test_a_report_is_not_written_through_a_link(aggregate, folder, tmp_path):
    sweep = tmp_path / "sweep"
    shutil.copytree(folder / "all", sweep, ignore=shutil.ignore_patterns("report"))
    (tmp_path / "elsewhere").mkdir()
    (sweep / "report").mkdir()
    (sweep / "report" / "figures").symlink_to(tmp_path / "elsewhere")
    for link in ("report/figures", "report"):
        refused = aggregate(f"sweep={sweep}", "claim_files=null")
        said = f"{sweep}/{link}: is a symbolic link to {tmp_path}/elsewhere, where nothing is written; remove it\n"
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", said)
        if link == "report/figures":
            shutil.rmtree(sweep / "report")
            (sweep / "report").symlink_to(tmp_path / "elsewhere")
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    typed = aggregate(f"sweep={sweep}", "claim_files=null", f"output={sweep}/report")  # a link of the user's own
    assert typed.returncode == 0 and (tmp_path / "elsewhere" / "figures").is_dir()


def test_one_broken_run_is_named_and_ends_nothing(aggregate, tmp_path):
    for scheduler in ("cosine", "onecycle"):
        records = replicates(tmp_path, f"scheduler={scheduler}", seeds=4)
    table = records[0].folder / "test_images.csv"
    table.write_text(re.sub(r"(Pet_3,[\d.]+),[\d.]+", r"\1,", table.read_text()))
    records[1].run_file.write_text('{"a":' * 100_000)
    records[2].epochs_file.write_text(records[2].epochs_file.read_text() * 2)
    told = aggregate(f"sweep={tmp_path}", "claim_files=null")
    assert told.returncode == 0 and "\nonecycle   1 of 3 " in told.stdout, told.stdout
    named = [line for line in told.stdout.splitlines() if line.startswith("excluded: ")]
    reasons = ("the iou of Pet_3 is empty", "run.json: is not valid JSON", "line 7 has epoch 1")
    for record, reason in zip(records, reasons, strict=False):
        assert [record.folder.name in line and reason in line for line in named].count(True) == 1


def test_runs_that_do_not_count_leave_nothing_to_compare(aggregate, tmp_path):
    finish(tmp_path / "a", dice=[0.5])
    finish(tmp_path / "b", dice=[0.25])
    for sweep in (f"{tmp_path}/a,{tmp_path}/b", f"{tmp_path}/b,{tmp_path}/a"):
        told = aggregate(f"sweep={sweep}", f"output={tmp_path}/report")
        assert (
            told.stdout.startswith("No run is finished and included yet, so there is nothing to compare.")
            and "0 of 1" in told.stdout
        )
        assert "nothing to compare" in (tmp_path / "report" / "report.md").read_text()
