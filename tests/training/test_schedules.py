"""Every learning rate (and momentum) of a short run, worked out by hand, and runs that are cut in two."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, StepLR

from src.base.config import node_problems
from src.training.losses import BCE
from src.training.schedules import Constant, Cosine, OneCycle, OtherSchedule, Plateau, Poly, Schedule, WarmupCosine

# torch warns when a schedule moves before its optimizer does: no test here may see that or any other warning.
pytestmark = pytest.mark.filterwarnings("error")

CONF = Path(__file__).parents[2] / "conf"
EPOCHS, STEPS = 4, 5  # 20 optimizer steps in all
Rates = list[tuple[float, float]]

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "adamw": lambda parameters: AdamW(parameters, lr=1e-3),
    "sgd": lambda parameters: SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True),
}
SCHEDULES = {
    "constant": Constant,
    "cosine": Cosine,
    "onecycle": OneCycle,
    "plateau": Plateau,
    "poly": Poly,
    "warmup_cosine": WarmupCosine,
}


def make_optimizer(lr: float = 1e-3) -> Optimizer:
    return AdamW(nn.Conv2d(3, 1, 1).parameters(), lr=lr)


def rates_of(optimizer: Optimizer) -> tuple[float, float]:
    """The lr and the momentum (beta1 of AdamW) of the optimizer's next step."""
    group = optimizer.param_groups[0]
    return group["lr"], group["betas"][0] if "betas" in group else group["momentum"]


def train(
    optimizer: Optimizer,
    schedule: Schedule,
    scores: list[tuple[float, float]] | None = None,
    batches: range = range(EPOCHS * STEPS),
) -> Rates:
    """Take the steps `batches` of a run on drawn images and return the lr and momentum of each.

    `scores` are the validation loss and Dice after each epoch.
    """
    parameters = optimizer.param_groups[0]["params"]  # weight and bias
    rates = []
    for batch in batches:
        images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(batch))
        target = (images.mean(dim=1) > 0).float()
        optimizer.zero_grad()
        logits = nn.functional.conv2d(images, *parameters)
        BCE()(logits, target, torch.ones_like(target, dtype=torch.bool)).backward()
        rates.append(rates_of(optimizer))
        optimizer.step()
        schedule.after_batch()
        if (batch + 1) % STEPS == 0:
            schedule.after_epoch(*(scores[batch // STEPS] if scores else (0.5, 0.5)))
    return rates


# Every step by hand


def test_constant_leaves_lr_and_beta1_alone() -> None:
    optimizer = make_optimizer(lr=1e-4)
    assert train(optimizer, Constant(optimizer, EPOCHS, STEPS)) == [(1e-4, 0.9)] * 20


def test_cosine_by_hand() -> None:
    # 1e-3 * (1 + cos(45 degrees * epoch)) / 2, and cos 45 degrees = 0.70710678:
    # (1 + 1) / 2, (1 + 0.70710678) / 2, (1 + 0) / 2, (1 - 0.70710678) / 2, each for the five steps of an epoch.
    expected = [1e-3] * 5 + [0.85355339e-3] * 5 + [0.5e-3] * 5 + [0.14644661e-3] * 5
    optimizer = make_optimizer()
    rates = train(optimizer, Cosine(optimizer, EPOCHS, STEPS))
    assert [lr for lr, _ in rates] == pytest.approx(expected, rel=1e-7)
    assert {beta1 for _, beta1 in rates} == {0.9}
    assert rates_of(optimizer)[0] == pytest.approx(0.0, abs=1e-12)  # after the last epoch


# The first phase ends at step 0.1 * 20 - 1 = 1, the second at step 19. So step 0 is at 1e-3 / 25 = 4e-5, and
# step k >= 1 has turned by 180 degrees * (k - 1) / 18 = 10 degrees * (k - 1) on the way from 1e-3 to
# 4e-5 / 1e4 = 4e-9: lr = 4e-9 + (1e-3 - 4e-9) / 2 * (1 + cos),
# momentum = 0.95 + (0.85 - 0.95) / 2 * (1 + cos) = 0.9 - 0.05 * cos.
# With cos 0 = 1, cos 10 = 0.98480775, cos 20 = 0.93969262, cos 30 = 0.86602540, cos 40 = 0.76604444,
# cos 50 = 0.64278761, cos 60 = 0.5, cos 70 = 0.34202014, cos 80 = 0.17364818, cos 90 = 0, then negative.
ONECYCLE = [
    (4e-5, 0.95),
    (1e-3, 0.85),
    (9.924039069e-4, 0.8507596123),
    (9.698464310e-4, 0.8530153690),
    (9.330129698e-4, 0.8566987298),
    (8.830226895e-4, 0.8616977778),
    (8.213945193e-4, 0.8678606195),
    (7.500010000e-4, 0.875),
    (6.710113876e-4, 0.8828989928),
    (5.868257415e-4, 0.8913175911),
    (5.000020000e-4, 0.9),
    (4.131782585e-4, 0.9086824089),
    (3.289926124e-4, 0.9171010072),
    (2.500030000e-4, 0.925),
    (1.786094807e-4, 0.9321393805),
    (1.169813105e-4, 0.9383022222),
    (6.699103016e-5, 0.9433012702),
    (3.015756899e-5, 0.9469846310),
    (7.600093109e-6, 0.9492403877),
    (4e-9, 0.95),
]


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_onecycle_by_hand_with_beta1_and_with_momentum(optimizer_name: str) -> None:
    optimizer = OPTIMIZERS[optimizer_name](nn.Conv2d(3, 1, 1).parameters())
    rates = train(optimizer, OneCycle(optimizer, EPOCHS, STEPS))
    assert [lr for lr, _ in rates] == pytest.approx([lr for lr, _ in ONECYCLE], rel=1e-8)
    assert [momentum for _, momentum in rates] == pytest.approx([m for _, m in ONECYCLE], rel=1e-8)


def test_onecycle_without_momentum_keeps_beta1() -> None:
    optimizer = make_optimizer()
    rates = train(optimizer, OneCycle(optimizer, EPOCHS, STEPS, cycle_momentum=False))
    assert [lr for lr, _ in rates] == pytest.approx([lr for lr, _ in ONECYCLE], rel=1e-8)
    assert {beta1 for _, beta1 in rates} == {0.9}


def test_onecycle_warm_up_by_hand() -> None:
    # pct_start 0.35: the first phase ends at step 0.35 * 20 - 1 = 6, so 30 degrees a step from 1e-3 / 10 up:
    # lr = 1e-3 + (1e-4 - 1e-3) / 2 * (1 + cos) = 5.5e-4 - 4.5e-4 * cos with cos 30 = 0.86602540, cos 60 = 0.5,
    # beta1 = 0.7 + (0.9 - 0.7) / 2 * (1 + cos) = 0.8 + 0.1 * cos. The last step has 1e-4 / 100 = 1e-6.
    optimizer = make_optimizer()
    settings = {"pct_start": 0.35, "div_factor": 10.0, "final_div_factor": 100.0}
    schedule = OneCycle(optimizer, EPOCHS, STEPS, **settings, base_momentum=0.7, max_momentum=0.9)
    rates = train(optimizer, schedule)
    up = [1e-4, 1.602885682e-4, 3.25e-4, 5.5e-4, 7.75e-4, 9.397114317e-4, 1e-3]
    assert [lr for lr, _ in rates[:7]] == pytest.approx(up, rel=1e-8)
    beta1 = [0.9, 0.8866025404, 0.85, 0.8, 0.75, 0.7133974596, 0.7]
    assert [value for _, value in rates[:7]] == pytest.approx(beta1, rel=1e-8)
    assert rates[19] == pytest.approx((1e-6, 0.9))


def test_poly_by_hand() -> None:
    # 0.01 * (1 - step / 20) ** 0.9, for example step 10: 0.5 ** 0.9 = exp(0.9 * -0.69314718) = 0.53588673.
    expected = """
        0.01         0.009548853816 0.009095325761 0.008639269723 0.008180521461
        0.007718895067 0.007254178469 0.006786127593 0.006314458675 0.005838837929
        0.005358867313 0.004874064392 0.004383832906 0.003887417988 0.003383834619
        0.002871745887 0.002349237886 0.001813352073 0.001258925412 0.0006746414238
    """
    optimizer = make_optimizer(lr=0.01)
    rates = train(optimizer, Poly(optimizer, EPOCHS, STEPS))
    assert [lr for lr, _ in rates] == pytest.approx([float(lr) for lr in expected.split()], rel=1e-8)
    assert rates_of(optimizer)[0] == 0.0  # after the last step


def test_poly_of_power_one_is_a_straight_line() -> None:
    optimizer = make_optimizer(lr=0.02)
    rates = train(optimizer, Poly(optimizer, EPOCHS, STEPS, power=1.0))
    assert [lr for lr, _ in rates] == pytest.approx([0.001 * left for left in range(20, 0, -1)])


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_warmup_cosine_by_hand(optimizer_name: str) -> None:
    # 0.1 of 20 steps warm up: a third, two thirds, and all of 1e-3 at step 2. From there on 180 / 18 = 10 degrees a
    # step: 1e-3 * (1 + cos) / 2, with the cosines that are listed above ONECYCLE.
    expected = """
        0.3333333333e-3 0.6666666667e-3
        1e-3            0.9924038765e-3 0.9698463104e-3 0.9330127019e-3 0.8830222216e-3 0.8213938048e-3
        0.75e-3         0.6710100717e-3 0.5868240888e-3 0.5e-3          0.4131759112e-3 0.3289899283e-3
        0.25e-3         0.1786061952e-3 0.1169777784e-3 0.0669872981e-3 0.0301536896e-3 0.0075961235e-3
    """
    optimizer = OPTIMIZERS[optimizer_name](nn.Conv2d(3, 1, 1).parameters())
    rates = train(optimizer, WarmupCosine(optimizer, EPOCHS, STEPS, warmup=0.1))
    assert [lr for lr, _ in rates] == pytest.approx([float(lr) for lr in expected.split()], rel=1e-8)
    assert {momentum for _, momentum in rates} == {0.9}
    assert rates_of(optimizer) == (0.0, 0.9)  # after the last step


def test_warmup_cosine_without_a_warm_up_is_the_cosine_of_each_step() -> None:
    optimizer, stepwise = make_optimizer(), make_optimizer()
    rates = train(optimizer, WarmupCosine(optimizer, EPOCHS, STEPS, warmup=0.0))
    assert epochs_lr(Cosine(stepwise, EPOCHS * STEPS, 1), stepwise, [(0.5, 0.5)] * 20) == pytest.approx(
        [lr for lr, _ in rates]
    )


def test_warmup_cosine_moves_each_group_below_its_own_lr() -> None:
    encoder, decoder = nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 1)
    groups = [{"params": encoder.parameters(), "lr": 1e-4}, {"params": decoder.parameters(), "lr": 1e-2}]
    optimizer = AdamW(groups)
    WarmupCosine(optimizer, EPOCHS, STEPS, warmup=0.15)  # 3 steps: step 0 has a quarter
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25e-4, 0.25e-2])


def epochs_lr(schedule: Schedule, optimizer: Optimizer, scores: list[tuple[float, float]]) -> list[float]:
    """The lr of every epoch of a run of one step an epoch, with these validation losses and Dices."""
    lrs = []
    for valid_loss, valid_dice in scores:
        optimizer.step()
        lrs.append(rates_of(optimizer)[0])
        schedule.after_batch()
        schedule.after_epoch(valid_loss, valid_dice)
    return lrs


def test_plateau_on_the_loss_by_hand() -> None:
    # Epoch 1 is the best so far; 2, 3, 4 are let pass (4 is lower by less than a ten-thousandth); 5 is the
    # fourth that is not better, so epoch 6 has a tenth. 6 is better; 7, 8, 9 pass, 10 does not, so epoch 11 has
    # a tenth of that.
    losses = [0.5, 0.6, 0.5, 0.49996, 0.7, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5]
    rising_dice = [(loss, epoch / 100) for epoch, loss in enumerate(losses)]  # which it must not look at
    optimizer = make_optimizer()
    schedule = Plateau(optimizer, len(losses), steps_per_epoch=1, patience=3, factor=0.1)
    lrs = epochs_lr(schedule, optimizer, rising_dice)
    assert lrs == pytest.approx([1e-3] * 5 + [1e-4] * 5 + [1e-5])


def test_plateau_on_dice_by_hand() -> None:
    # As reports D and E have it, but with patience 1: epoch 2 passes, 3 does not, 4 is better, 5 passes, 6 does
    # not. Half of 5e-5 would be 2.5e-5: the floor of 4e-5 holds.
    dices = [0.8, 0.7, 0.8, 0.9, 0.9, 0.85, 0.9]
    falling_loss = [(1.0 - epoch / 10, dice) for epoch, dice in enumerate(dices)]  # which it must not look at
    optimizer = make_optimizer(lr=1e-4)
    schedule = Plateau(optimizer, 7, 1, monitor="valid_dice", patience=1, factor=0.5, min_lr=4e-5)
    lrs = epochs_lr(schedule, optimizer, falling_loss)
    assert lrs == pytest.approx([1e-4] * 3 + [5e-5] * 3 + [4e-5])


def test_plateau_moves_only_after_epochs() -> None:
    # Without patience, and with scores that never get better: a tenth after the second epoch and the third.
    optimizer = make_optimizer()
    rates = train(optimizer, Plateau(optimizer, EPOCHS, STEPS, patience=0))
    assert [lr for lr, _ in rates] == pytest.approx([1e-3] * 10 + [1e-4] * 5 + [1e-5] * 5)


# The ends of a run


@pytest.mark.parametrize("name", ["onecycle", "cosine", "poly", "warmup_cosine"])
def test_a_schedule_stands_still_once_the_run_is_over(name: str) -> None:
    # Beyond its end torch's OneCycleLR raises, and its CosineAnnealingLR climbs again.
    optimizer = make_optimizer()
    schedule = SCHEDULES[name](optimizer, EPOCHS, STEPS)
    train(optimizer, schedule)
    at_the_end = rates_of(optimizer)
    assert at_the_end[0] < 1e-8
    for _ in range(10):
        schedule.after_batch()
        schedule.after_epoch(0.5, 0.5)
    assert rates_of(optimizer) == at_the_end


@pytest.mark.parametrize("steps", range(1, 13))
@pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_onecycle_runs_however_short_the_run(steps: int, pct_start: float) -> None:
    # torch alone divides by zero where pct_start * steps is 1, as with 0.1 of 10 steps.
    optimizer = make_optimizer()
    schedule = OneCycle(optimizer, 1, steps, pct_start=pct_start)
    lrs = []
    for _ in range(steps):
        optimizer.step()
        lrs.append(rates_of(optimizer)[0])
        schedule.after_batch()
    assert all(4e-9 * (1 - 1e-9) <= lr <= 1e-3 for lr in lrs)
    if pct_start > 0:
        assert lrs[0] == pytest.approx(4e-5)  # every warm-up begins at lr / 25
    if steps > 1 and pct_start < 1:
        assert lrs[-1] == pytest.approx(4e-9)


@pytest.mark.parametrize(
    ("steps", "warmup", "shares"),
    [
        (1, 0.0, [1.0]),
        (1, 0.99, [1.0]),  # a warm-up leaves one step to the cosine
        (2, 0.5, [1 / 2, 1.0]),
        (3, 0.0, [1.0, 3 / 4, 1 / 4]),  # the cosines of 0, 60 and 120 degrees
        (3, 0.99, [1 / 3, 2 / 3, 1.0]),
        (4, 0.3, [1 / 2, 1.0, 3 / 4, 1 / 4]),  # 1.2 steps are 1
        (4, 0.4, [1 / 3, 2 / 3, 1.0, 1 / 2]),  # 1.6 steps are 2
        (9, 0.05, [(1 + math.cos(math.radians(20 * step))) / 2 for step in range(9)]),  # 0.45 steps are none
    ],
)
def test_warmup_cosine_of_a_very_short_run_by_hand(steps: int, warmup: float, shares: list[float]) -> None:
    optimizer = make_optimizer()
    lrs = epochs_lr(WarmupCosine(optimizer, steps, 1, warmup=warmup), optimizer, [(0.5, 0.5)] * steps)
    assert lrs == pytest.approx([1e-3 * share for share in shares])
    assert rates_of(optimizer)[0] == 0.0


def test_every_schedule_runs_a_single_step() -> None:
    for schedule_class in SCHEDULES.values():
        optimizer = make_optimizer()
        schedule = schedule_class(optimizer, 1, 1)
        optimizer.step()
        schedule.after_batch()
        schedule.after_epoch(0.5, 0.5)


# Cutting a run in two


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("cut", [0, 1, 5, 12, 19])
def test_a_run_cut_in_two_is_the_whole_run(name: str, optimizer_name: str, cut: int, tmp_path: Path) -> None:
    def start() -> tuple[nn.Conv2d, Optimizer, Schedule]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 1, 1)
        optimizer = OPTIMIZERS[optimizer_name](model.parameters())
        settings = {"patience": 1} if name == "plateau" else {}
        return model, optimizer, SCHEDULES[name](optimizer, EPOCHS, STEPS, **settings)

    scores = [(0.5, 0.5), (0.6, 0.4), (0.7, 0.3), (0.8, 0.2)]
    whole_model, *whole = start()
    untrained = whole_model.weight.detach().clone()
    whole_rates = train(*whole, scores)
    assert not torch.equal(whole_model.weight, untrained)
    different = {"constant": 1, "cosine": 4, "onecycle": 20, "plateau": 2, "poly": 20, "warmup_cosine": 20}
    assert len(set(whole_rates)) == different[name]

    first_model, *first = start()
    first_rates = train(*first, scores, range(cut))
    saved = [first_model.state_dict(), *(part.state_dict() for part in first)]
    torch.save(saved, tmp_path / "last.pt")

    second_model, *second = start()
    restored = torch.load(tmp_path / "last.pt", weights_only=True)
    for part, state in zip([second_model, *second], restored, strict=True):
        part.load_state_dict(state)
    second_rates = train(*second, scores, range(cut, 20))

    assert first_rates + second_rates == whole_rates
    assert torch.equal(second_model.weight, whole_model.weight)
    assert torch.equal(second_model.bias, whole_model.bias)
    assert rates_of(second[0]) == rates_of(whole[0])


def test_the_state_of_another_schedule_is_refused() -> None:
    cosine = Cosine(make_optimizer(), EPOCHS, STEPS)
    with pytest.raises(ValueError, match="holds the schedule Cosine over 4 steps, this run has Poly over 20"):
        Poly(make_optimizer(), EPOCHS, STEPS).load_state_dict(cosine.state_dict())


def test_the_state_of_a_run_of_another_length_is_refused() -> None:
    longer = Cosine(make_optimizer(), EPOCHS + 1, STEPS)
    with pytest.raises(ValueError, match="Cosine over 5 steps, this run has Cosine over 4"):
        Cosine(make_optimizer(), EPOCHS, STEPS).load_state_dict(longer.state_dict())


def test_the_state_of_another_scheduler_or_length_of_torchs_is_refused() -> None:
    def other(scheduler: Callable[..., Any], moves: int) -> OtherSchedule:
        return OtherSchedule(scheduler(make_optimizer(), 3), "epoch", moves)  # its period, or its factor

    state = other(StepLR, EPOCHS).state_dict()
    other(StepLR, EPOCHS).load_state_dict(state)
    with pytest.raises(ValueError, match="holds the schedule StepLR over 4 steps, this run has ExponentialLR over 4"):
        other(ExponentialLR, EPOCHS).load_state_dict(state)
    with pytest.raises(ValueError, match="StepLR over 4 steps, this run has StepLR over 5"):
        other(StepLR, EPOCHS + 1).load_state_dict(state)


@pytest.mark.parametrize("schedule_class", SCHEDULES.values())
def test_a_state_that_names_no_schedule_is_taken(schedule_class: type[Schedule]) -> None:
    state = schedule_class(make_optimizer(), EPOCHS, STEPS).state_dict()
    schedule_class(make_optimizer(), EPOCHS, STEPS).load_state_dict({"scheduler": state["scheduler"]})


def test_what_a_state_says_of_its_schedule_stays_as_it_was() -> None:
    said = {
        name: (state["schedule"], state["steps"])
        for name, kind in SCHEDULES.items()
        for state in [kind(make_optimizer(), EPOCHS, STEPS).state_dict()]
    }
    assert said == {
        "constant": ("Constant", 0),
        "cosine": ("Cosine", 4),
        "onecycle": ("OneCycle", 19),
        "plateau": ("Plateau", 4),
        "poly": ("Poly", 20),
        "warmup_cosine": ("WarmupCosine", 20),
    }


@pytest.mark.parametrize("schedule_class", SCHEDULES.values())
def test_a_schedule_on_a_restored_optimizer_is_our_mistake(schedule_class: type[Schedule]) -> None:
    optimizer = make_optimizer()
    OneCycle(optimizer, EPOCHS, STEPS)
    restored = make_optimizer()
    restored.load_state_dict(optimizer.state_dict())
    with pytest.raises(AssertionError, match="before its state is loaded"):
        schedule_class(restored, EPOCHS, STEPS)


# What users may set


def build_config(group: str, name: str, **injected: Any) -> Any:
    node = OmegaConf.load(CONF / group / f"{name}.yaml")
    assert node.pop("name") == name
    return instantiate(node, **injected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_config_spells_out_its_schedule_s_defaults(name: str) -> None:
    configured, bare = make_optimizer(), make_optimizer()
    schedule = build_config("scheduler", name, optimizer=configured, epochs=EPOCHS, steps_per_epoch=STEPS)
    assert type(schedule) is SCHEDULES[name]
    given = OmegaConf.load(CONF / "scheduler" / f"{name}.yaml").keys() - {"name", "_target_"}
    assert given == inspect.signature(SCHEDULES[name]).parameters.keys() - {"optimizer", "epochs", "steps_per_epoch"}
    scores = [(0.5, 0.5), (0.6, 0.4), (0.7, 0.3), (0.8, 0.2)]
    assert train(configured, schedule, scores) == train(bare, SCHEDULES[name](bare, EPOCHS, STEPS), scores)


def test_there_is_a_config_for_every_schedule() -> None:
    reports_own = {"plateau_report_d", "plateau_report_e"}  # other values of plateau
    assert {path.stem for path in (CONF / "scheduler").glob("*.yaml")} == set(SCHEDULES) | reports_own


def test_the_plateau_config_is_report_a_s() -> None:
    settings = {"optimizer": make_optimizer(), "epochs": 1, "steps_per_epoch": 1}
    plateau = build_config("scheduler", "plateau", **settings)
    assert plateau.monitor == "valid_loss"
    assert (plateau.scheduler.patience, plateau.scheduler.factor, plateau.scheduler.min_lrs) == (
        3,
        0.1,
        [0.0],
    )


@pytest.mark.parametrize(
    ("name", "optimizer_class", "settings"),
    [
        ("adamw", AdamW, {"lr": 1e-3, "weight_decay": 1e-2, "betas": (0.9, 0.999)}),
        ("adam", Adam, {"lr": 1e-4, "weight_decay": 0.0, "betas": (0.9, 0.999)}),
        ("sgd", SGD, {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    ],
)
def test_the_optimizer_configs_are_the_reports(name: str, optimizer_class: type, settings: dict[str, Any]) -> None:
    optimizer = build_config("optimizer", name, params=list(nn.Conv2d(3, 1, 1).parameters()))
    assert type(optimizer) is optimizer_class
    assert {key: optimizer.defaults[key] for key in settings} == settings


@pytest.mark.parametrize("optimizer_name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_config_s_lr_is_the_highest_that_any_schedule_reaches(name: str, optimizer_name: str) -> None:
    parameters = list(nn.Conv2d(3, 1, 1).parameters())
    optimizer = build_config("optimizer", optimizer_name, params=parameters)
    configured_lr = optimizer.defaults["lr"]
    rates = train(optimizer, SCHEDULES[name](optimizer, EPOCHS, STEPS))
    assert max(lr for lr, _ in rates) == pytest.approx(configured_lr)


@pytest.mark.parametrize(
    ("schedule_class", "settings"),
    [
        (OneCycle, {"pct_start": 1.5}),
        (OneCycle, {"pct_start": -0.1, "div_factor": 0.0}),
        (OneCycle, {"final_div_factor": 0.0}),
        (OneCycle, {"base_momentum": 1.0, "max_momentum": -0.5}),
        (Plateau, {"monitor": "train_loss"}),
        (Plateau, {"patience": -1, "factor": 1.0}),
        (Plateau, {"factor": 0.0, "min_lr": -1e-6}),
        (Poly, {"power": 0.0}),
        (WarmupCosine, {"warmup": 1.0}),
        (WarmupCosine, {"warmup": -0.01}),
        (WarmupCosine, {"warmup": math.nan}),
    ],
)
def test_settings_out_of_range_are_all_named(schedule_class: type[Schedule], settings: dict[str, Any]) -> None:
    node = {"name": "mine", "_target_": f"src.training.schedules.{schedule_class.__name__}", **settings}
    problems = node_problems("scheduler", node, Schedule, ("optimizer", "epochs", "steps_per_epoch"))
    assert [problem.partition(":")[0] for problem in problems] == [f"scheduler.{key}" for key in settings]


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(0, 5), (4, 0)])
def test_a_run_without_steps_is_our_mistake(epochs: int, steps_per_epoch: int) -> None:
    with pytest.raises(AssertionError, match=f"{epochs} epochs of {steps_per_epoch} steps"):
        Constant(make_optimizer(), epochs, steps_per_epoch)
