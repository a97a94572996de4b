"""The facade: one import from a folder to tables, answers and figures."""

import json
from functools import partial

import pandas as pd
import pytest

from src.analysis import load
from src.analysis.claims.claim_file import read_claims
from src.analysis.claims.settled import asked_of, keep_rules
from src.analysis.claims.settling import Rules
from src.analysis.report import tidy
from src.display.figure_style import new_figure
from tests.analysis.recorded import finish, replicates

CURVES = {"valid_dice": [0.2, 0.4, 0.6], "train_loss": [0.5, 0.3, 0.1]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two networks with two schedules: UNet is 0.1 better with cosine and 0.2 with OneCycle, and twice as fast."""
    folder = tmp_path_factory.mktemp("facade") / "sweep"
    for model, scheduler, mean, seconds in (
        *(("unet", "cosine", 0.7, 10.0), ("unet", "onecycle", 0.8, 10.0)),
        *(("resnet34_unet", "cosine", 0.6, 20.0), ("resnet34_unet", "onecycle", 0.6, 20.0)),
    ):
        for seed, step in enumerate((-0.01, 0, 0.01)):
            facts = {"seed": seed, "curves": CURVES, "seconds": seconds * 1.01**seed}
            finish(folder, f"model={model}", f"scheduler={scheduler}", dice=[mean + step] * 2, **facts)
    return folder


@pytest.fixture(scope="module")
def sweep(folder):
    return load(folder)


def test_its_tables_are_those_of_the_report(sweep, folder):
    assert len(sweep.runs) == 12 and len(sweep.epochs) == 12 * 3 and len(sweep.images) == 12 * 2
    assert sweep.settings()["setting"].iloc[0] == "unet, onecycle"
    pd.testing.assert_frame_equal(sweep.effects(), tidy.comparisons(sweep.report.effects))
    assert sweep.claims("report_a", "report_b")["source"].unique().tolist() == ["Report A", "Report B"]
    assert not (folder / "report").exists() and not (folder / ".kept_reads").exists()  # it has only read


def test_two_factors_are_compared_in_every_context_after_their_mean(sweep):
    found = sweep.compare({"model": "unet"}, {"model": "resnet34_unet"})
    assert found["context"].tolist() == ["mean of 2", "cosine", "onecycle"]
    assert found["estimate"].tolist() == pytest.approx([0.15, 0.1, 0.2])
    assert found["seeds_first"].tolist() == [6, 3, 3] and (found["verdict"] == "better").all()
    assert found["comparison"][0] == "model: unet - resnet34_unet (mean of 2)"
    effect = sweep.effects().query("factor == 'model' and is_mean").iloc[0]
    sign = 1 if effect["first"] == "unet" else -1
    assert (found["estimate"][0], found["p"][0]) == (pytest.approx(sign * effect["estimate"]), effect["p"])
    one = sweep.compare({"model": "unet", "scheduler": "onecycle"}, {"model": "unet", "scheduler": "cosine"})
    assert one[["comparison", "factor"]].values.tolist() == [["scheduler: onecycle - cosine (unet)", "scheduler"]]


def test_two_settings_are_compared_by_label_or_factors_and_in_any_metric(sweep):
    best, other = "unet, onecycle", {"model": "resnet34_unet", "scheduler": "cosine"}
    (dice,) = sweep.compare(best, other)["estimate"]
    (iou,) = sweep.compare(best, other, "iou")["estimate"]
    assert (dice, iou) == (pytest.approx(0.2), pytest.approx(0.8 / 1.2 - 0.6 / 1.4, abs=1e-4))
    (time,) = sweep.compare(other, best, "train_seconds").to_dict("records")
    assert (time["estimate"], time["metric"]) == (pytest.approx(2.0), "training time") and time["low"] < 2 < time[
        "high"
    ]
    several = sweep.compare({"model": "resnet34_unet"}, {"model": "unet"}, metric="train_seconds")
    assert several["is_mean"].tolist() == [False, False]  # a ratio of costs has no mean over contexts


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("unet, poly", "unet, cosine"), "setting: got 'unet, poly'; allowed: resnet34_unet, cosine; "),
        (({"modle": "unet"}, {"modle": "unet_bias"}), "runs missing: none finished with modle unet"),
        (({"model": "unet"}, {"scheduler": "cosine"}), "the factors have the keys model and scheduler; give the same"),
        (({"model": "unet"}, {"model": ["unet"]}), "both sides have the setting unet, cosine"),
        (("unet, cosine", {"model": "unet", "scheduler": "cosine"}), "both sides have the setting unet, cosine"),
        (("unet, cosine", {"model": "unet"}), "model unet: 2 settings with runs; give one by its label"),
        (("unet, cosine", "unet, onecycle", "tst_dice"), "metric: got 'tst_dice'; did you mean 'test_dice'? "),
    ],
)
def test_what_cannot_be_compared_is_one_line(sweep, arguments, said):
    with pytest.raises(ValueError) as refused:
        sweep.compare(*arguments)
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_settings_on_different_data_are_not_compared(tmp_path):
    replicates(tmp_path / "a", "scheduler=cosine", images=4, fingerprint="aa" * 32)
    replicates(tmp_path / "b", "scheduler=onecycle", images=4, fingerprint="bb" * 32)
    both = load(tmp_path / "a", tmp_path / "b")
    first, second = both.settings()["setting"]
    with pytest.raises(ValueError, match="are settings on different data"):
        both.compare(first, second)
    with pytest.raises(ValueError, match="the existing ones differ in more"):
        both.compare({"scheduler": "cosine"}, {"scheduler": "onecycle"})


def test_each_plot_takes_axes_or_makes_some_and_returns_them(sweep):
    for draw in (
        sweep.plot_settings,
        sweep.plot_effects,
        partial(sweep.plot_curves, column="train_loss"),
        partial(sweep.plot_images, "unet, cosine", "unet, onecycle"),
    ):
        _, ax = new_figure()
        assert draw(ax=ax) is ax and ax.has_data()
        assert draw().figure is not ax.figure
    with pytest.raises(ValueError, match="figure: got 'curves_loss'; did you mean "):
        sweep.plot_curves(column="loss")


def test_claims_of_a_settled_sweep_have_the_settled_verdicts(tmp_path):
    for scheduler in ("onecycle", "cosine"):
        replicates(tmp_path / "sweep", f"scheduler={scheduler}", seeds=5, spread=0.0005)
    test = {"type": "difference", "measure": "test_dice", "higher": {"scheduler": "onecycle"}}
    test["lower"] = {"scheduler": "cosine"}
    claims = {"source": "me", "where": {}, "reported_with": {}, "claims": {"larger": {"says": "x", "test": test}}}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(claims))
    before = load(tmp_path / "sweep")
    names = {one.config_id: one.label for one in before.report.settings}
    keep_rules(tmp_path / "sweep", Rules(asked=asked_of(read_claims(path)), settings=names, first_seed=0, margin=0.005))
    assert before.claims(str(path))["verdict"].tolist() == ["undecided"]
    assert load(tmp_path / "sweep").claims(str(path))["verdict"].tolist() == ["equivalent"]
