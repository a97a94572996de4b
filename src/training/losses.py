"""Losses on logits, in float32 and over counted pixels only: cross-entropies, Dice, their sum, focal, and any other."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.base.config import Above0, AtLeast0, Between0And1
from src.base.errors import one_line, reason_of
from src.training.metrics import foreground_logit


class Loss(nn.Module, ABC):
    """A mean loss over the counted pixels of a batch.

    What all losses share: the arithmetic is float32 even where the logits are bfloat16; an ignored pixel
    changes neither the loss nor a gradient (not even when its logit is NaN); a batch without counted pixels
    has loss 0 and gradient 0. None of them waits for the device.

    Attributes:
        channels: the numbers of output channels it takes: 1 (foreground), 2 (background, foreground).
    """

    channels: frozenset[int]

    def forward(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: float (B, C, H, W), with C one of `channels`.
            target: float (B, H, W) in [0, 1], the probability that a pixel is foreground.
            counted: bool (B, H, W), False where a pixel is ignored.

        Returns:
            float32 scalar, at least 0.
        """
        assert logits.shape[1] in self.channels, f"{logits.shape[1]} channels, not {set(self.channels)}"
        assert logits.shape[:1] + logits.shape[2:] == target.shape == counted.shape
        # Zeros go in where pixels are ignored, because 0 times a NaN would still be a NaN in the gradient.
        logits = torch.where(counted[:, None], logits.float(), 0.0)  # (B, C, H, W)
        target = torch.where(counted, target.float(), 0.0)  # (B, H, W)
        return self.measure(logits, target, counted)

    @abstractmethod
    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        """The loss itself; it gets what `forward` gets, in float32 and with zeros at ignored pixels."""


class BCE(Loss):
    """Binary cross-entropy of one logit, mean over counted pixels (reports A, B and E)."""

    channels = frozenset({1})

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        per_pixel = F.binary_cross_entropy_with_logits(foreground_logit(logits), target, reduction="none")  # (B, H, W)
        return _mean_over_counted(per_pixel, counted)


class CrossEntropy(Loss):
    """Cross-entropy over background and foreground channels, mean over counted pixels (report D).

    The target goes in as class probabilities: that form is deterministic on CUDA, where the one with class
    numbers (NLLLoss2d) is not, and it takes soft labels too.
    """

    channels = frozenset({2})

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        probabilities = torch.stack([1 - target, target], dim=1)  # (B, 2, H, W)
        per_pixel = F.cross_entropy(logits, probabilities, reduction="none")  # (B, H, W)
        return _mean_over_counted(per_pixel, counted)


class Dice(Loss):
    """Soft Dice loss of each image, 1 - (2 Σpt + smooth) / (Σp + Σt + smooth), then the mean over images.

    p is the foreground's probability, t the target. With neither predicted nor true foreground the loss is 0;
    with no true foreground every false positive still costs, because the loss is then Σp / (Σp + smooth). An
    image without any counted pixel is left out of the mean.

    Args:
        smooth: in pixels, above 0, or empty masks would give 0 / 0.
    """

    channels = frozenset({1, 2})

    def __init__(self, smooth: Above0 = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        probability = torch.sigmoid(foreground_logit(logits)) * counted  # (B, H, W)
        overlap = (probability * target).sum(dim=(1, 2))  # (B,)
        sizes = probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2))  # (B,)
        per_image = 1 - (2 * overlap + self.smooth) / (sizes + self.smooth)  # (B,)
        # An image without any counted pixel has smooth / smooth, so its loss is 0 in the sum.
        return per_image.sum() / counted.flatten(1).any(dim=1).sum().clamp(min=1)


class BCEDice(Loss):
    """Weighted sum of `BCE` and `Dice`.

    Args:
        bce_weight: at least 0.
        dice_weight: at least 0; not both weights may be 0.
        smooth: of the Dice loss, in pixels, above 0.

    Raises:
        ValueError: both weights are 0.
    """

    channels = frozenset({1, 2})  # of two channels, BCE of the foreground's logit is their cross-entropy

    def __init__(self, bce_weight: AtLeast0 = 1.0, dice_weight: AtLeast0 = 1.0, smooth: Above0 = 1.0) -> None:
        super().__init__()
        if not bce_weight + dice_weight > 0:
            raise ValueError("bce_weight and dice_weight are both 0; one of them must be above 0")
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.bce = BCE()
        self.dice = Dice(smooth)

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        bce = self.bce.measure(logits, target, counted)
        dice = self.dice.measure(logits, target, counted)
        return self.bce_weight * bce + self.dice_weight * dice


class Focal(Loss):
    """Focal loss of one logit, -alpha_t (1 - p_t)^gamma log p_t (Lin et al. 2017), mean over counted pixels.

    Lin et al. divide the sum by the number of foreground anchors; here it is divided by the number of counted
    pixels, as for `BCE`, so that gamma 0 with alpha 0.5 is half of BCE. A soft label t mixes the two cases: t
    times the loss of a foreground pixel plus 1 - t times that of a background pixel.

    Args:
        gamma: focusing exponent, at least 0.
        alpha: weight of foreground pixels, strictly between 0 and 1; background pixels get 1 - alpha.
    """

    channels = frozenset({1})

    def __init__(self, gamma: AtLeast0 = 2.0, alpha: Between0And1 = 0.25) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        # Powers are exp(gamma log ...), whose gradient stays finite where a probability rounds to 0 or 1.
        log_foreground = F.logsigmoid(logits[:, 0])  # log p, (B, H, W)
        log_background = F.logsigmoid(-logits[:, 0])  # log (1 - p), (B, H, W)
        if_foreground = -self.alpha * torch.exp(self.gamma * log_background) * log_foreground
        if_background = -(1 - self.alpha) * torch.exp(self.gamma * log_foreground) * log_background
        return _mean_over_counted(target * if_foreground + (1 - target) * if_background, counted)


class OtherLoss(Loss):
    """A module of `(logits, target)`, torch's own or a user's, as a `Loss`.

    The module gets float32 logits (B, C, H, W) and a float32 target of the same shape, the probability of each
    channel's class in [0, 1]: of foreground for C = 1; of background and foreground, whose sum is 1, for C = 2. So
    torch.nn.BCEWithLogitsLoss takes 1 and torch.nn.CrossEntropyLoss 2 channels, soft labels included. It returns one
    number for the batch, or one a pixel, (B, H, W) or (B, C, H, W) (of torch's losses with `reduction: none`), whose
    mean over the counted pixels is the loss then.

    One number cannot leave ignored pixels out: it is NaN for a batch that has some, which ends the run.
    """

    channels = frozenset({1, 2})

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def measure(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        value = self.values(logits, target)
        if value.ndim == 0:
            return torch.where(counted.all(), value, torch.nan)
        return _mean_over_counted(value.mean(dim=1) if value.ndim == 4 else value, counted)

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        """What the module returns for logits (B, C, H, W) and the foreground's probability, (B, H, W)."""
        target = target[:, None] if logits.shape[1] == 1 else torch.stack([1 - target, target], dim=1)
        value: Tensor = self.module(logits, target)
        return value

    def problem(self, channels: int, size: int, ignores: bool) -> str | None:
        """Why it cannot train a network of `channels` outputs on images of `size` pixels, tried on noise; or None.

        `ignores`: whether pixels of the data are ignored.
        """
        name = type(self.module).__name__
        if any(True for _ in self.module.parameters()):
            return f"{name} has parameters, which no optimizer would train"
        random = torch.Generator().manual_seed(0)
        logits = torch.randn(2, channels, size, size, generator=random).requires_grad_()
        try:
            value = self.values(logits, torch.rand(2, size, size, generator=random))
            shape = tuple(value.shape)
            (gradient,) = torch.autograd.grad(value.sum(), logits)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            return f"{name} does not take logits and a target of {tuple(logits.shape)}: {one_line(reason_of(error))}"
        if shape not in ((), (2, size, size), (2, channels, size, size)):
            return f"{name} returns numbers of shape {shape}; it must return one number, or one for each pixel"
        if not (gradient.isfinite().all() and gradient.any()):
            return f"{name} has no gradient for {channels} output channels that a network could learn from"
        if ignores and shape == ():
            return (
                f"{name} returns one number for all pixels, so it cannot leave out those that data.border=ignore or "
                "data.ignore_value ignores; use one number a pixel (loss.reduction=none for torch's), or no such pixels"
            )
        return None


def _mean_over_counted(per_pixel: Tensor, counted: Tensor) -> Tensor:
    """Mean of float32 (B, H, W) where `counted`; 0 when nothing is."""
    return torch.where(counted, per_pixel, 0.0).sum() / counted.sum().clamp(min=1)
