"""Each loss against hand-worked values, an independent formula, and what all losses promise."""

from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from src.base.config import node_problems
from src.training.losses import BCE, BCEDice, CrossEntropy, Dice, Focal, Loss
from src.training.metrics import confusion, dice_per_image, foreground_logit

CONF = Path(__file__).parents[2] / "conf" / "loss"
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, without_cuda])]
LOSSES = [BCE(), CrossEntropy(), Dice(), BCEDice(), Focal()]
# Every loss with every number of channels it takes.
CASES = [
    pytest.param(loss, channels, id=f"{type(loss).__name__}-{channels}")
    for loss in LOSSES
    for channels in sorted(loss.channels)
]


def one_row(*values: float) -> Tensor:
    """One image with one channel and one row of pixels, (1, 1, 1, W)."""
    return torch.tensor([[[values]]])


def labels(*values: float) -> Tensor:
    """The target of one image with one row of pixels, (1, 1, W)."""
    return torch.tensor([[values]])


def everything(target: Tensor) -> Tensor:
    return torch.ones_like(target, dtype=torch.bool)


def random_batch(channels: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (3, C, 5, 7), a binary target and a mask in which about a third of the pixels is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, channels, 5, 7, generator=generator)
    target, counted = torch.rand(2, 3, 5, 7, generator=generator)
    return logits, (target > 0.5).float(), counted > 0.3


def loss_and_gradient(loss: Loss, logits: Tensor, target: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, counted)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


# Hand-worked values


def test_bce_by_hand() -> None:
    # p = 1/2 against 1: log 2. p = 3/4 against 0: log 4. The third pixel is ignored.
    logits, target = one_row(0.0, log(3), -50.0), labels(1.0, 0.0, 1.0)
    counted = torch.tensor([[[True, True, False]]])
    value, gradient = loss_and_gradient(BCE(), logits, target, counted)
    assert value.item() == pytest.approx((log(2) + log(4)) / 2)
    # (p - t) / counted pixels
    assert gradient.flatten().tolist() == pytest.approx([-0.5 / 2, 0.75 / 2, 0.0])


def test_cross_entropy_by_hand() -> None:
    # Softmax of (5, 5 + log 3) is (1/4, 3/4): log 4/3 against foreground, log 4 against background, and the
    # mean of the two against the soft label 1/2.
    logits = torch.tensor([5.0, 5.0 + log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    target = labels(1.0, 0.0, 0.5)
    value = CrossEntropy()(logits, target, everything(target)).item()
    assert value == pytest.approx((log(4 / 3) + log(4) + (log(4 / 3) + log(4)) / 2) / 3)


def test_dice_by_hand() -> None:
    # Probabilities 1/2, 1/2, target 1, 0: overlap 1/2, sizes 1 and 1: 1 - (2 * 1/2 + 1) / (1 + 1 + 1) = 1/3.
    logits, target = one_row(0.0, 0.0), labels(1.0, 0.0)
    assert Dice(smooth=1.0)(logits, target, everything(target)).item() == pytest.approx(1 / 3)
    # smooth 2: 1 - (1 + 2) / (2 + 2) = 1/4
    assert Dice(smooth=2.0)(logits, target, everything(target)).item() == pytest.approx(1 / 4)
    # The same with softmax over two channels, whose difference is 0.
    logits = torch.full((1, 2, 1, 2), 9.0)
    assert Dice(smooth=1.0)(logits, target, everything(target)).item() == pytest.approx(1 / 3)


def test_dice_is_per_image_then_mean() -> None:
    # Image 1 is 1/3 as above; image 2 is perfect, which is 0. One flattened batch would give something else:
    # overlap 2.5, sizes 3 and 3: 1 - (5 + 1) / (6 + 1) = 1/7.
    logits = torch.cat([one_row(0.0, 0.0), one_row(1e4, 1e4)])
    target = torch.cat([labels(1.0, 0.0), labels(1.0, 1.0)])
    assert Dice()(logits, target, everything(target)).item() == pytest.approx((1 / 3 + 0) / 2)


def test_dice_leaves_images_without_counted_pixels_out_of_the_mean() -> None:
    logits = torch.cat([one_row(0.0, 0.0), one_row(3.0, -3.0)])
    target = torch.cat([labels(1.0, 0.0), labels(0.0, 1.0)])
    counted = torch.tensor([[[True, True]], [[False, False]]])
    assert Dice()(logits, target, counted).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("channels", [1, 2])
def test_dice_of_two_empty_masks_is_zero(channels: int) -> None:
    logits = torch.zeros(2, channels, 4, 4)
    logits[:, -1] = -1e4
    target = torch.zeros(2, 4, 4)
    assert Dice()(logits, target, everything(target)).item() == 0.0


def test_dice_punishes_false_positives_where_the_truth_is_all_background() -> None:
    # Four false positives: 1 - (0 + 1) / (4 + 1) = 4/5; two: 1 - 1/3 = 2/3.
    target = labels(0.0, 0.0, 0.0, 0.0)
    assert Dice()(one_row(1e4, 1e4, 1e4, 1e4), target, everything(target)).item() == pytest.approx(4 / 5)
    assert Dice()(one_row(1e4, 1e4, -1e4, -1e4), target, everything(target)).item() == pytest.approx(2 / 3)
    _, gradient = loss_and_gradient(Dice(), one_row(0.0, 0.0, 0.0, 0.0), target, everything(target))
    assert (gradient > 0).all()  # less foreground everywhere, please


def test_bce_dice_by_hand() -> None:
    # BCE log 2 and Dice 1/3 on this image.
    logits, target = one_row(0.0, 0.0), labels(1.0, 0.0)
    value = BCEDice(bce_weight=0.25, dice_weight=3.0)(logits, target, everything(target)).item()
    assert value == pytest.approx(0.25 * log(2) + 3.0 / 3)


def test_focal_by_hand() -> None:
    # Foreground at p = 1/2: 1/4 * (1/2)^2 * log 2. Background at p = 3/4: 3/4 * (3/4)^2 * log 4.
    logits, target = one_row(0.0, log(3)), labels(1.0, 0.0)
    value = Focal(gamma=2.0, alpha=0.25)(logits, target, everything(target)).item()
    assert value == pytest.approx((log(2) / 16 + 27 / 64 * log(4)) / 2)
    # A soft label mixes the two cases: at p = 1/2, 0.3 of the first and 0.7 of 3/4 * 1/4 * log 2.
    target = labels(0.3)
    value = Focal(gamma=2.0, alpha=0.25)(one_row(0.0), target, everything(target)).item()
    assert value == pytest.approx(0.3 * log(2) / 16 + 0.7 * 3 / 16 * log(2))


# Independent formulas


def test_bce_agrees_with_torch_on_the_counted_pixels_alone() -> None:
    logits, target, counted = random_batch(channels=1)
    probability = torch.sigmoid(logits[:, 0].double())
    expected = F.binary_cross_entropy(probability[counted], target[counted].double())
    assert BCE()(logits, target, counted).item() == pytest.approx(expected.item(), rel=1e-6)


def test_cross_entropy_agrees_with_torch_on_class_numbers() -> None:
    logits, target, counted = random_batch(channels=2)
    classes = target.long().masked_fill(~counted, -100)
    expected = F.cross_entropy(logits.double(), classes, ignore_index=-100)
    assert CrossEntropy()(logits, target, counted).item() == pytest.approx(expected.item(), rel=1e-6)


def test_cross_entropy_is_bce_of_the_foreground_logit() -> None:
    logits, _, counted = random_batch(channels=2)
    target = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(9))  # soft labels
    expected = BCE()(foreground_logit(logits)[:, None], target, counted)
    torch.testing.assert_close(CrossEntropy()(logits, target, counted), expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_dice_of_certain_predictions_is_one_minus_the_dice_score(channels: int) -> None:
    logits, target, counted = random_batch(channels)
    logits = 1e4 * logits.sign()
    logits[:, 0] *= 1 if channels == 1 else 0.5  # no ties
    predicted = foreground_logit(logits) > 0
    scores = dice_per_image(confusion(predicted, target > 0.5, counted).numpy())
    value = Dice(smooth=1e-6)(logits, target, counted).item()
    assert value == pytest.approx(1 - scores.mean(), abs=1e-6)


def test_dice_agrees_with_numpy_in_float64() -> None:
    logits, target, counted = random_batch(channels=2, seed=1)
    exponentials = np.exp(logits.double().numpy())
    probabilities = exponentials[:, 1] / exponentials.sum(axis=1)
    expected = []
    for p, t, c in zip(probabilities, target.double().numpy(), counted.numpy(), strict=True):
        expected.append(1 - (2 * (p[c] @ t[c]) + 1.0) / (p[c].sum() + t[c].sum() + 1.0))
    assert Dice()(logits, target, counted).item() == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
def test_focal_agrees_with_the_paper_s_formula_in_float64(gamma: float, alpha: float) -> None:
    logits, target, counted = random_batch(channels=1)
    p = 1 / (1 + np.exp(-logits[:, 0].double().numpy()[counted]))
    t = target.numpy()[counted]
    p_t = np.where(t == 1, p, 1 - p)
    alpha_t = np.where(t == 1, alpha, 1 - alpha)
    expected = np.mean(-alpha_t * (1 - p_t) ** gamma * np.log(p_t))
    assert Focal(gamma, alpha)(logits, target, counted).item() == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_half_of_bce() -> None:
    logits, target, counted = random_batch(channels=1)
    expected = BCE()(logits, target, counted) / 2
    torch.testing.assert_close(Focal(gamma=0.0, alpha=0.5)(logits, target, counted), expected)


# What all losses promise


@pytest.mark.parametrize(("loss", "channels"), CASES)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), nonsense=st.sampled_from([0.0, -7.5, 1e4, float("inf"), float("nan")]))
def test_an_ignored_pixel_changes_nothing(loss: Loss, channels: int, seed: int, nonsense: float) -> None:
    logits, target, counted = random_batch(channels, seed)
    value, gradient = loss_and_gradient(loss, logits, target, counted)
    ignored = ~counted
    changed_logits = torch.where(ignored[:, None], nonsense, logits)
    changed_target = torch.where(ignored, 1 - target, target)
    changed_value, changed_gradient = loss_and_gradient(loss, changed_logits, changed_target, counted)
    assert torch.equal(value, changed_value)
    assert torch.equal(gradient, changed_gradient)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_a_batch_of_ignored_pixels_gives_zero_and_a_zero_gradient(loss: Loss, channels: int) -> None:
    logits, target, counted = random_batch(channels)
    value, gradient = loss_and_gradient(loss, logits, target, torch.zeros_like(counted))
    assert value.item() == 0.0
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_extreme_logits_give_finite_losses_and_gradients(loss: Loss, channels: int) -> None:
    # Certainly foreground and certainly background, each with either label.
    extremes = torch.tensor([1e4, 1e4, -1e4, -1e4]).reshape(1, 1, 1, 4)
    logits = torch.cat([-extremes, extremes][-channels:], dim=1)
    target = labels(1.0, 0.0, 1.0, 0.0)
    value, gradient = loss_and_gradient(loss, logits, target, everything(target))
    assert value.isfinite() and value > 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_s_gradient_is_finite_for_every_gamma(gamma: float) -> None:
    logits, target = one_row(1e4, -1e4, 1e4, -1e4, 20.0, -20.0), labels(1.0, 0.0, 0.0, 1.0, 1.0, 0.0)
    value, gradient = loss_and_gradient(Focal(gamma=gamma), logits, target, everything(target))
    assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_bfloat16_logits_are_computed_in_float32(loss: Loss, channels: int) -> None:
    logits, target, counted = random_batch(channels)
    logits = logits.bfloat16()
    expected = loss(logits.float(), target, counted)
    assert expected.dtype == torch.float32
    assert torch.equal(loss(logits, target, counted), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(logits, target, counted), expected)


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_steps_down_the_gradient_find_the_target(loss: Loss, channels: int) -> None:
    _, target, counted = random_batch(channels)
    logits = torch.zeros(3, channels, 5, 7, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(30):
        optimizer.zero_grad()
        loss(logits, target, counted).backward()
        optimizer.step()
    predicted = foreground_logit(logits.detach()) > 0
    assert torch.equal(predicted[counted], target[counted] > 0.5)


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_no_loss_looks_at_the_values(loss: Loss, channels: int) -> None:
    # Tensors on the meta device have no values: anything that waits for them raises there.
    logits, target, counted = (tensor.to("meta") for tensor in random_batch(channels))
    value, gradient = loss_and_gradient(loss, logits, target, counted)
    assert value.shape == () and gradient.shape == logits.shape


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_every_loss_is_deterministic(loss: Loss, channels: int, device: str) -> None:
    # On CUDA torch itself raises here when a kernel has no deterministic form.
    batch = [tensor.to(device) for tensor in random_batch(channels)]
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (loss_and_gradient(loss, *batch) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.gpu
@without_cuda
@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_no_loss_waits_for_the_gpu(loss: Loss, channels: int) -> None:
    batch = [tensor.cuda() for tensor in random_batch(channels)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = loss_and_gradient(loss, *batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for theirs, ours in zip(on_gpu, loss_and_gradient(loss, *random_batch(channels)), strict=True):
        torch.testing.assert_close(theirs.cpu(), ours)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_channels_that_a_loss_does_not_take_are_our_mistake(loss: Loss) -> None:
    for channels in {1, 2, 3} - loss.channels:
        logits, target, counted = random_batch(channels)
        with pytest.raises(AssertionError, match=f"{channels} channels"):
            loss(logits, target, counted)


def test_a_target_of_another_size_is_our_mistake() -> None:
    logits, target, counted = random_batch(channels=1)
    with pytest.raises(AssertionError):
        BCE()(logits, target[:, :, :1], counted[:, :, :1])  # would broadcast silently


# What users may set


def test_the_configs_build_every_loss_with_the_stated_settings() -> None:
    nodes = {path.stem: OmegaConf.load(path) for path in CONF.glob("*.yaml")}
    assert all(node.pop("name") == stem for stem, node in nodes.items())
    losses = {stem: instantiate(node) for stem, node in nodes.items()}
    channels = {stem: set(loss.channels) for stem, loss in losses.items()}
    assert channels == {"bce": {1}, "cross_entropy": {2}, "dice": {1, 2}, "bce_dice": {1, 2}, "focal": {1}}
    assert (losses["focal"].gamma, losses["focal"].alpha) == (2.0, 0.25)
    assert losses["dice"].smooth == 1.0
    both = losses["bce_dice"]
    assert (both.bce_weight, both.dice_weight, both.dice.smooth) == (1.0, 1.0, 1.0)


def test_no_setting_is_a_buffer_or_a_parameter() -> None:
    # A loss adds nothing to a checkpoint or to the optimizer.
    assert all(not loss.state_dict() and not list(loss.parameters()) for loss in LOSSES)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(("Dice", {"smooth": smooth}) for smooth in (0.0, -1.0, float("nan"))),
        ("Focal", {"gamma": -1.0}),
        ("Focal", {"alpha": 0.0}),
        ("Focal", {"gamma": -1.0, "alpha": 1.0}),
        ("BCEDice", {"bce_weight": -1.0, "dice_weight": -1.0, "smooth": 0}),
    ],
)
def test_all_settings_out_of_range_are_named(name: str, settings: dict[str, float]) -> None:
    node = {"name": "mine", "_target_": f"src.training.losses.{name}", **settings}
    problems = node_problems("loss", node, Loss, ())
    assert [problem.partition(":")[0] for problem in problems] == [f"loss.{key}" for key in settings]


def test_bce_dice_of_two_channels_is_cross_entropy_plus_dice() -> None:
    logits, target, counted = random_batch(channels=2)
    parts = CrossEntropy()(logits, target, counted) + Dice()(logits, target, counted)
    torch.testing.assert_close(BCEDice()(logits, target, counted), parts)


def test_both_weights_may_not_be_zero() -> None:
    with pytest.raises(ValueError, match="bce_weight and dice_weight are both 0"):
        BCEDice(0.0, 0.0)


def test_a_weight_of_zero_switches_its_part_off() -> None:
    logits, target, counted = random_batch(channels=1)
    torch.testing.assert_close(BCEDice(0.0, 1.0)(logits, target, counted), Dice()(logits, target, counted))
    torch.testing.assert_close(BCEDice(1.0, 0.0)(logits, target, counted), BCE()(logits, target, counted))


def test_bce_of_a_wrong_certainty_grows_with_the_logit() -> None:
    # -log(sigmoid(-40)) = 40 + log(1 + exp(-40)); exp(-40) itself is far below float32's resolution at 1.
    target = labels(1.0)
    assert BCE()(one_row(-40.0), target, everything(target)).item() == pytest.approx(40 + exp(-40))
