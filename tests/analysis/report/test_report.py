"""The whole report of a small sweep, as Markdown and as a terminal shows it."""

import re

from matplotlib.figure import Figure

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.report.figures import Picture
from src.analysis.report.page import terminal_text, write_report
from src.analysis.report.report import make_report
from tests.analysis.recorded import finish, replicates
from tests.golden import assert_golden

DIFFERENCE = {
    "type": "difference",
    "measure": "test_dice",
    "higher": {"scheduler": "onecycle"},
    "lower": {"scheduler": "cosine"},
    "reported": [0.93, 0.92],
}
CLAIMS = {
    "source": "Report Z",
    "where": {"model": "unet"},
    "reported_with": {"trainer.epochs": 50},
    "claims": {
        "Z1": {"says": "OneCycle beats cosine.", "reported": "0.93 and 0.92", "test": DIFFERENCE},
        "Z2": {"says": "Cosine beats poly.", "test": {**DIFFERENCE, "lower": {"scheduler": "poly"}}},
    },
}


def test_the_report_and_what_a_terminal_shows_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(Picture, "figure", lambda picture: Figure((1, 1)))  # others test what they show
    sweep = tmp_path / "sweep"
    for scheduler, mean in (("onecycle", 0.8), ("cosine", 0.7), ("constant", 0.695)):
        for seed, offset in enumerate((-0.01, 0.0, 0.01)):
            finish(sweep, f"scheduler={scheduler}", dice=[mean + offset, mean - offset / 2], seed=seed)
    report = make_report([sweep], [ClaimFile.model_validate(CLAIMS)])
    assert_golden("report.txt", terminal_text(report))
    text = write_report(report, tmp_path / "report").with_name("report.md").read_text()
    text = re.sub(r"run=\S+/sweep/", "run=SWEEP/", text)
    assert_golden("report.md", re.sub(r"\d{4}-\d\d-\d\d", "DATE", text))


def test_a_sweep_of_which_nothing_can_be_read_has_a_report(tmp_path):
    (tmp_path / "sweep" / "run").mkdir(parents=True)
    (tmp_path / "sweep" / "run" / "run.json").write_text("{")
    report = make_report([tmp_path / "sweep"])
    text = write_report(report, tmp_path / "report").with_name("report.md").read_text()
    assert "1 run: 1 unreadable." in text and "run.json: is not valid JSON" in text and "## Settings" not in text
    assert terminal_text(report).count("\n\n") == 1  # the answer, then the run and why


def test_the_plan_has_the_best_against_the_second(tmp_path):
    for model in ("unet", "resnet34_unet"):
        for scheduler in ("cosine", "onecycle"):
            replicates(tmp_path, f"model={model}", f"scheduler={scheduler}", spread=0.01)
    report = make_report([tmp_path])
    first, second = report.scores["setting"][:2]
    *factors, last = report.plan["comparison"]
    assert last == f"best and second: {first} − {second}" and len(factors) == 2
