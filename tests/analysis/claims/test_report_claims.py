"""The claims of the reports, and ours, in a world where all of them are right, and in one where all are wrong."""

import numpy as np
import pytest
import torch

from src.analysis.claims.claim_file import read_claims
from src.analysis.claims.verdicts import judge
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.options import CLAIMS
from src.models.resnet34_unet_plain import ResNet34UNetPlain
from tests.analysis.recorded import finish
from tests.test_experiments import INGREDIENTS, RECIPES, RUNS, jobs_of

EPOCHS = 30  # a tenth of them is three
SEEDS = 4
CURVES = [f"{split}_{score}" for split in ("train", "valid") for score in ("loss", "dice", "accuracy")]


def rising(end, slowness=3.0):
    """A curve of Dice or accuracy that comes near `end`, the slower the later."""
    return [end * (1 - 0.9 * np.exp(-number / slowness)) for number in range(1, EPOCHS + 1)]


def falling(end, turns_after=None, at_start=0.0, zigzag=0.0):
    """A curve of loss that comes near `end`, and from a share of the run on rises by 20 % of it.

    `at_start` is added to its first tenth, `zigzag` to every second epoch.
    """
    curve = [end + np.exp(-number / 2) + zigzag * (number % 2) for number in range(1, EPOCHS + 1)]
    curve[:3] = [value + at_start for value in curve[:3]]
    if turns_after is not None:
        start = round(turns_after * EPOCHS)
        curve[start:] = [
            curve[start - 1] * (1 + 0.3 * number / (EPOCHS - start)) for number in range(1, EPOCHS - start + 1)
        ]
    return curve


def replicates(sweep, *overrides, dice, spread=0.03, curves=None, extremes=None, **cost):
    """`SEEDS` runs; images lie symmetrically around `dice`, seeds differ by a thousandth, early epochs by more.

    `extremes`: Dice of further images of a seed.
    """
    for seed in range(SEEDS):
        factor = 1 + 0.0005 * (seed - 1.5)
        images = np.append(dice + np.linspace(-1.7, 1.7, 30) * spread, extremes(seed) if extremes else ())
        own = {
            name: [value * factor ** (EPOCHS - number) for number, value in enumerate(curve)]
            for name, curve in (curves or {}).items()
        }
        costs = {"seconds": cost.get("seconds", 10.0) * factor, "memory": round(cost.get("memory", 10**9) * factor)}
        finish(sweep, *overrides, dice=images * factor, seed=seed, curves=own, **costs)


def report_a(sweep, right):
    unet, resnet = ("unet", "resnet34_unet") if right else ("resnet34_unet", "unet")
    plain, flips = ("none", "flip_jitter") if right else ("flip_jitter", "none")
    best, other = ("onecycle", "cosine") if right else ("cosine", "onecycle")
    for model, lower, spread, seconds in ((unet, 0.0, 0.05, 30.0), (resnet, 0.05, 0.1, 16.0)):
        highest = 0.998 if model == "unet" else 0.992
        for augmentation, scheduler, gain in ((plain, other, 0), (flips, other, 1), (flips, best, 2), (plain, best, 1)):
            curves = {
                "train_loss": falling(
                    0.3 - 0.05 * (augmentation == plain) - 0.03 * (scheduler == best),
                    at_start=0.5 * (scheduler == best),
                ),
                "train_dice": rising(0.8 + 0.05 * (augmentation == plain) + 0.03 * (scheduler == best)),
                "valid_loss": falling(0.4 - 0.05 * gain, turns_after=0.4 if augmentation == plain else None),
                "valid_dice": rising(0.7 + 0.03 * gain - lower),
            }
            names = (f"model={model}", f"augmentation={augmentation}", f"scheduler={scheduler}")
            replicates(
                sweep,
                *names,
                dice=0.7 + 0.03 * gain - lower,
                spread=spread,
                curves=curves,
                extremes=(lambda seed, highest=highest: (0.001 * seed, highest)) if right else None,
                seconds=seconds,
            )


def report_b(sweep, right):
    shared = ("optimizer=adam", "augmentation=crop_flip", "scheduler=constant", "model.out_channels=1")
    unet, resnet = ("unet_bias", "resnet34_unet_plain") if right else ("resnet34_unet_plain", "unet_bias")
    sizes = {"unet_bias": ("trainer.batch_size=3",), "resnet34_unet_plain": ("trainer.batch_size=4",)}
    for model, dice, seconds in ((unet, 0.95, 40.0), (resnet, 0.92, 20.0)):
        dice = dice if right else dice - 0.1
        replicates(
            sweep,
            *shared,
            *sizes[model],
            f"model={model}",
            dice=dice,
            spread=0.01,
            seconds=seconds,
            curves={"valid_dice": rising(0.95 if right else 0.8)},
        )
    without = (*shared, *sizes["unet_bias"], "model=unet_bias", "augmentation=none")
    replicates(sweep, *without, dice=0.7 if right else 0.9)
    focal = 0.7 if right else 0.9
    replicates(sweep, *shared, *sizes["unet_bias"], "model=unet_bias", "loss=focal", dice=focal)
    slow = rising(0.7, 8) if right else rising(0.9, 1)
    lower = ("model=unet_bias", "optimizer.lr=1e-5")
    replicates(sweep, *shared, *sizes["unet_bias"], *lower, dice=0.6, curves={"valid_dice": slow})


def report_c(sweep, right):
    for model in ("unet", "resnet34_unet"):
        replicates(sweep, f"model={model}", dice=0.95 if right else 0.8, spread=0.01)


def report_d(sweep, right):
    shared = ("optimizer=adam", "augmentation=distort", "scheduler=plateau_report_d")
    for batch, dice, slowness in (
        (8, 0.8, 4.0 if right else 6.0),
        (16, 0.801 if right else 0.9, 6.0 if right else 4.0),
    ):
        names = (*shared, "loss=cross_entropy", "model=unet_nobn", f"trainer.batch_size={batch}")
        curves = {"valid_dice": rising(0.95 if right else 0.7, slowness), "train_loss": falling(0.3)}
        replicates(sweep, *names, dice=dice, seconds=20.0, curves=curves)
    for batch, valid in ((8, 0.8), (16, 0.85 if right else 0.75), (32, 0.7 if right else 0.9)):
        names = (*shared, "loss=cross_entropy", "model=resnet34_unet_cbam", f"trainer.batch_size={batch}")
        curves = {
            "valid_dice": rising(valid, 1.0 if right else 12.0),
            "valid_loss": falling(0.4, zigzag=0.2 if (batch == 32) == right else 0.1),
            "train_loss": falling(0.3, at_start=-0.1 if right else 0.1),
        }
        replicates(sweep, *names, dice=0.803 if right else 0.7, seconds=10.0 if right else 40.0, curves=curves)
    for model, dice in (("unet_nobn", 0.8), ("resnet34_unet_cbam", 0.803)):
        names = (*shared, "loss=bce_dice", f"model={model}", "trainer.batch_size=16")
        replicates(sweep, *names, dice=dice + (0.05 if right else -0.2))


def report_e(sweep, right):
    shared = ("optimizer=adam", "augmentation=offline_copies")
    good, bad = ("resnet34_unet_plain", "unet") if right else ("unet", "resnet34_unet_plain")
    level = 0.96 if right else 0.7
    for model, dice, memory, slowness, gap in (
        (good, 0.95, 7 * 10**9, 2.0, 0.02),
        (bad, 0.9, 15 * 10**9, 5.0 if right else 30.0, 0.2),
    ):
        dice = dice if right else dice - 0.2
        curves = {
            "train_dice": rising(0.7 + gap, 2.0),
            "valid_dice": rising(0.7 if right else 0.95, slowness),
            "train_accuracy": rising(level),
            "valid_accuracy": rising(level),
            "valid_loss": falling(0.4, turns_after=None if right else 0.5),
        }
        good_less, bad_less = (0.1, 0.01) if right else (-0.01, -0.1)
        for scheduler, less in (("plateau_report_e", 0.0), ("constant", good_less if model == good else bad_less)):
            names = (*shared, f"model={model}", f"scheduler={scheduler}")
            replicates(sweep, *names, dice=dice - less, spread=0.02, memory=memory, curves=curves)
    three = 0.9 if right else 0.7
    for copies, dice, slowness in ((0, three - 0.1, 6.0), (1, three - 0.05, 5.0), (6, three + 0.01, 4.0)):
        dice, slowness = (dice, slowness) if right else (1.5 - dice, 9 - slowness)
        names = (*shared, "model=unet", "scheduler=plateau_report_e", f"augmentation.copies={copies}")
        replicates(sweep, *names, dice=dice, spread=0.02, curves={"valid_dice": rising(0.7, slowness)})


def ingredients(sweep, right):
    for model, dice in (("unet", 0.7), ("resnet34_unet", 0.6)):
        replicates(sweep, f"model={model}", dice=dice)
        for setting in INGREDIENTS:
            if setting != "best/plain":
                replicates(sweep, f"model={model}", f"setting={setting}", dice=dice + (0.05 if right else -0.05))


def recipe(sweep, right):
    for number, experiment in enumerate(("best/unet", "best/resnet34_unet")):
        for job in jobs_of(experiment):
            is_recipe = f"setting={experiment}" in job
            replicates(sweep, *job, "size=small", dice=0.6 + 0.1 * number + 0.05 * (is_recipe == right))


def ideas(sweep, right):
    gain = 0.05 if right else -0.05
    for model, dice in (("unet", 0.7), ("resnet34_unet", 0.6)):
        own = f"model={model}"
        replicates(sweep, own, dice=dice)
        replicates(sweep, own, "augmentation=distort", dice=dice)
        for idea in (
            *(f"loss={name}" for name in ("focal", "bce_dice", "dice")),
            *("mix=mixup", "mix=cutmix", "model.attention=true", "augmentation=occlusion"),
        ):
            replicates(sweep, own, idea, dice=dice + gain)


WORLDS = {
    "report_a": report_a,
    "report_b": report_b,
    "report_c": report_c,
    "report_d": report_d,
    "report_e": report_e,
    "best/ingredients": ingredients,
    "best/recipe": recipe,
    "best/ideas": ideas,
}


SHORT = ("report_a", "report_c")  # the others are of the same kinds of claims
OURS = {
    "best/ingredients": ["best/ingredients"],
    "best/recipe": list(RECIPES),
    "best/ideas": [name for name in RUNS if name.startswith("ideas/") and name != "ideas/pretrained"],
}


def judged(sweep, report):
    records = load_records([sweep])
    return {one.name: one for one in judge(records, settings_of(records), read_claims(CLAIMS / f"{report}.yaml"))}


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize(
    "report", [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.long]) for name in WORLDS]
)
def test_every_claim_is_judged_as_the_world_is(tmp_path, report, right):
    WORLDS[report](tmp_path, right)
    verdicts = judged(tmp_path, report)
    assert {
        name: (one.status, one.reason)
        for name, one in verdicts.items()
        if one.status != ("holds" if right else "reversed")
    } == {}


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_pretrained_encoder_is_compared_with_random_weights(tmp_path, monkeypatch, right):
    monkeypatch.chdir(tmp_path)
    torch.save(ResNet34UNetPlain(width=8).state_dict(), "resnet34.pth")
    replicates(tmp_path / "sweep", "model=resnet34_unet_plain", dice=0.7)
    weights = ("model=resnet34_unet_plain", "init_from=resnet34.pth")
    replicates(tmp_path / "sweep", *weights, dice=0.75 if right else 0.65)
    (verdict,) = judged(tmp_path / "sweep", "best/pretrained").values()
    assert verdict.status == ("holds" if right else "reversed")


@pytest.mark.long
@pytest.mark.parametrize("report", WORLDS)
def test_the_experiments_of_a_report_make_the_runs_that_its_claims_need(tmp_path, report):
    experiments = [name for name in RUNS if name.startswith(f"{report}/") or name in OURS.get(report, ())]
    jobs = {tuple(job): experiment for experiment in experiments for job in jobs_of(experiment)}
    for job, experiment in jobs.items():
        # one folder an experiment, as its sweep is, with what two experiments share in both
        dice = np.linspace(0.5, 0.9, 20)
        for seed in range(3):
            draw = np.random.default_rng(seed)  # seeds that agree to the last bit are not judged
            curves = {name: draw.uniform(0.4, 0.6, 200).tolist() for name in CURVES}
            costs = {"seconds": 10.0 + seed, "memory": 10**9 + seed * 10**6}
            finish(
                tmp_path / experiment.replace("/", "_"),
                *job,
                dice=dice * (1 - 0.01 * seed),
                seed=seed,
                curves=curves,
                **costs,
            )
    records = load_records(sorted(tmp_path.iterdir()))
    verdicts = judge(records, settings_of(records), read_claims(CLAIMS / f"{report}.yaml"))
    assert [(verdict.name, one.problem) for verdict in verdicts for one in verdict.comparisons if one.problem] == []
    assert all(min(one.seeds) == 3 for verdict in verdicts for one in verdict.comparisons)
