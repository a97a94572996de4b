"""Losses, schedulers, optimizers and augmentations that a YAML names: torch's, albumentations', a user's."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from src.base.config import RunConfig
from src.base.errors import ConfigError
from src.base.identity import identify
from src.training.build import build_loss, build_optimizer, build_schedule
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.checks import checked
from src.training.losses import BCE, CrossEntropy, Loss

TORCH_SCHEDULERS: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [1, 3]},
    "ConstantLR": {"total_iters": 3},
    "LinearLR": {"total_iters": 3},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 5},
    "CosineAnnealingLR": {"T_max": 6},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.001, "max_lr": 0.01, "cycle_momentum": False, "step_size_up": 2},
    "OneCycleLR": {"max_lr": 0.01, "step": "batch"},
}
NEEDS_A_FUNCTION_OR_OBJECTS = {"LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"}
NOT_DENSE_STEPS = {"LBFGS", "SparseAdam", "Muon"}  # a closure, sparse gradients, matrices


class Scaled(nn.Module):
    """A user's loss: one number a pixel, without a channel."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits - target).abs().sum(dim=1)


class Learned(Scaled):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


@pytest.fixture
def config(composed):
    """The checked config with whole sections in place of the usual ones: `config({"loss": {…}}, "model=unet_nobn")`."""

    def make(sections: dict[str, Any], *overrides: str) -> RunConfig:
        plain = composed("data=synthetic", "device=cpu", "size=small", "model.width=2", *overrides)
        named = {name: {"name": "own", **node} for name, node in sections.items()}
        return checked({**plain, **named})

    return make


def batch(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (2, C, 4, 4), a soft target and counted pixels, some of them ignored."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 4, 4, generator=random)
    return logits, torch.rand(2, 4, 4, generator=random), torch.rand(2, 4, 4, generator=random) > 0.3


ENDS = {
    "at import": "import sys; from torch import nn\nclass Net(nn.Module): ...\nsys.exit(0)",
    "when built": "import sys; from torch import nn\nclass Net(nn.Module):\n    def __init__(self): sys.exit(0)",
    "when called": "import sys; from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): sys.exit(0)",
}


@pytest.mark.parametrize("when", ENDS)
def test_a_module_that_ends_the_program_is_refused(config, tmp_path, monkeypatch, when):
    name = f"script_{when.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(ENDS[when])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model.*it ended the program \(sys.exit\(0\)\)"):
        config({"model": {"_target_": f"{name}.Net"}}, f"allow_targets=[{name}]")


def test_a_transform_that_ends_the_program_is_refused(config, tmp_path, monkeypatch):
    text = "import sys, albumentations\nclass T(albumentations.HorizontalFlip):\n    def __init__(self): sys.exit(0)"
    (tmp_path / "script_transform.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    augmentation = {"transforms": [{"_target_": "script_transform.T"}]}
    with pytest.raises(ConfigError, match=r"transforms.*it ended the program \(sys.exit\(0\)\)"):
        config({"augmentation": augmentation}, "allow_targets=[script_transform]")


# --- losses


@pytest.mark.parametrize(
    ("target", "model", "ours"),
    [("BCEWithLogitsLoss", "unet", BCE()), ("CrossEntropyLoss", "unet_nobn", CrossEntropy())],
)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_torchs_losses_are_ours(config, target, model, ours: Loss, reduction):
    node = {"_target_": f"torch.nn.{target}", "reduction": reduction}
    loss = build_loss(config({"loss": node}, f"model={model}"))
    logits, soft, counted = batch(2 if model == "unet_nobn" else 1)
    every = torch.ones_like(counted)
    torch.testing.assert_close(loss(logits, soft, every), ours(logits, soft, every))
    got = loss(logits, soft, counted)
    if reduction == "none":
        torch.testing.assert_close(got, ours(logits, soft, counted))
    else:
        assert got.isnan()  # never a number that ignored pixels have a part in


def test_tensors_among_a_losss_arguments_are_lists(config):
    node = {"_target_": "torch.nn.BCEWithLogitsLoss", "pos_weight": [3]}
    found = config({"loss": node})
    assert found.loss["pos_weight"] == [3.0]
    logits, soft, every = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)
    assert build_loss(found)(logits, soft, every).item() == pytest.approx(3 * 0.6931472)


def test_a_users_loss_of_any_package_needs_no_permission(config):
    found = config({"loss": {"_target_": f"{__name__}.Scaled"}}, "data.border=ignore")
    assert found.allow_targets == ("tests",)
    logits, soft, counted = batch(1)
    expected = (logits[:, 0] - soft).abs()[counted].mean()
    torch.testing.assert_close(build_loss(found)(logits, soft, counted), expected)


@pytest.mark.parametrize(
    ("node", "overrides", "said"),
    [
        (
            {"_target_": "torch.nn.BCEWithLogitsLoss"},
            ["data.border=ignore"],
            "cannot leave out those that data.border=i",
        ),
        ({"_target_": "torch.nn.CrossEntropyLoss"}, [], "CrossEntropyLoss has no gradient for 1 output channels"),
        ({"_target_": "torch.nn.BCELoss"}, [], "does not take logits and a target of (2, 1, 64, 64): all elements"),
        ({"_target_": "torch.nn.NLLLoss"}, ["model=unet_nobn"], "NLLLoss does not take logits and a target of (2, 2"),
        ({"_target_": f"{__name__}.Learned"}, [], "Learned has parameters, which no optimizer would train"),
        ({"_target_": "torch.nn.PairwiseDistance"}, [], "returns numbers of shape (2, 1, 64)"),
    ],
)
def test_losses_that_cannot_work_are_refused(config, node, overrides, said):
    with pytest.raises(ConfigError) as refusal:
        config({"loss": node}, *overrides)
    (problem,) = refusal.value.problems
    assert problem.startswith("loss: ") and said in problem


# --- schedulers


def test_every_scheduler_of_torch_is_known_here():
    kinds = {
        name
        for name, kind in vars(lr_scheduler).items()
        if inspect.isclass(kind) and issubclass(kind, lr_scheduler.LRScheduler) and not name.startswith("_")
    }
    assert kinds - {"LRScheduler", "ReduceLROnPlateau"} == TORCH_SCHEDULERS.keys() | NEEDS_A_FUNCTION_OR_OBJECTS


@pytest.mark.parametrize("name", TORCH_SCHEDULERS)
def test_torchs_schedulers_take_torchs_course_and_resume(config, name, tmp_path):
    node = TORCH_SCHEDULERS[name]
    found = config({"scheduler": {"_target_": f"torch.optim.lr_scheduler.{name}", **node}})

    def fresh():
        optimizer = build_optimizer(found, [nn.Parameter(torch.zeros(1))])
        return optimizer, build_schedule(found, optimizer, steps_per_epoch=2)

    def course(optimizer, schedule, epochs):
        rates = []
        for _ in range(epochs):
            for _ in range(2):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.after_batch()
            schedule.after_epoch(1.0, 0.5)
        return rates

    whole = course(*fresh(), found.trainer.epochs)
    optimizer, schedule = fresh()
    first = course(optimizer, schedule, 2)
    save_checkpoint(tmp_path / "x.pt", {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
    state = load_checkpoint(tmp_path / "x.pt")
    optimizer, schedule = fresh()
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    assert first + course(optimizer, schedule, found.trainer.epochs - 2) == whole

    plain = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=found.optimizer["lr"])
    arguments = {key: value for key, value in node.items() if key != "step"}
    if name == "OneCycleLR":
        arguments |= {"epochs": found.trainer.epochs, "steps_per_epoch": 2}
    torchs = getattr(lr_scheduler, name)(plain, **arguments)
    expected = []
    for step in range(2 * found.trainer.epochs):
        expected.append(plain.param_groups[0]["lr"])
        plain.step()
        if (step % 2 or name == "OneCycleLR") and step < 2 * found.trainer.epochs - 1:
            torchs.step()
    assert whole == expected


def test_the_default_step_does_not_change_the_id(config):
    node = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2}
    ids = [identify(config({"scheduler": {**node, **step}}), "x").run_id for step in ({}, {"step": "epoch"})]
    assert ids[0] == ids[1]
    assert identify(config({"scheduler": {**node, "step": "batch"}}), "x").run_id != ids[0]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}, "use scheduler=plateau"),
        (
            {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1},
            "set scheduler.step=batch, or total_steps",
        ),
        ({"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "step": "hour"}, "scheduler.step: got 'hour'"),
        ({"_target_": "src.training.schedules.Cosine", "step": "batch"}, "scheduler.step: unknown key"),
        ({"_target_": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": "print"}, "scheduler: "),
        ({"_target_": "torch.optim.SGD", "lr": 1}, "which is not a Schedule or LRScheduler of an allowed package"),
    ],
)
def test_schedulers_that_cannot_work_are_refused(config, node, said):
    with pytest.raises(ConfigError) as refusal:
        config({"scheduler": node})
    assert len(refusal.value.problems) == 1 and said in refusal.value.problems[0]


# --- optimizers and augmentations


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and name != "Optimizer"
    ),
)
def test_every_optimizer_of_torch_works_or_is_refused_before_any_work(config, name):
    node = {"_target_": f"torch.optim.{name}", "lr": 0.01}
    if name not in NOT_DENSE_STEPS:
        optimizer = build_optimizer(config({"optimizer": node}, "scheduler=constant"), [nn.Parameter(torch.zeros(1))])
        assert type(optimizer).__name__ == name
        return
    with pytest.raises(ConfigError) as refusal:
        config({"optimizer": node}, "scheduler=constant")
    assert len(refusal.value.problems) == 1 and refusal.value.problems[0].startswith("optimizer: ")


def test_pairs_of_numbers_are_lists(config):
    found = config({"optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.1, "betas": [0.8, 0.99]}})
    assert build_optimizer(found, [nn.Parameter(torch.zeros(1))]).param_groups[0]["betas"] == (0.8, 0.99)


def test_a_transform_that_albumentations_advises_against_works(composed):
    plain = composed("data=synthetic", "device=cpu", "augmentation=none", "size=small")
    plain["augmentation"]["transforms"] = [{"_target_": "albumentations.ShiftScaleRotate", "p": 1.0}]
    assert checked(plain).allow_targets == ()
