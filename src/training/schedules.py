"""Learning-rate schedules: torch's own schedulers behind one interface, moved after a batch or an epoch."""

import math
import sys
from typing import Annotated, Any, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
)

from src.base.config import Above0, AtLeast0, Below1, Between0And1


class Schedule:
    """What moves the learning rate; the optimizer's own lr is the highest that any of them reaches.

    The loop calls `after_batch` once after every `optimizer.step()` and `after_epoch` once after every validation.
    Each schedule moves in one of the two; those with a fixed course stand still at its end.

    To resume: build optimizer and schedule, *then* load the state of both. In the other order the schedule would take
    a half-way learning rate for the configured one; an assertion refuses that.

    Args:
        optimizer: not yet given to another schedule, nor restored.
        epochs: of the whole run, at least 1.
        steps_per_epoch: optimizer steps in one epoch, at least 1.
    """

    scheduler: LRScheduler | None = None  # none: the learning rate stays
    steps: int = 0  # how often the scheduler may step in a whole run
    moves_after: Literal["batch", "epoch"] = "batch"

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> None:
        assert epochs >= 1 and steps_per_epoch >= 1, f"got {epochs} epochs of {steps_per_epoch} steps"
        assert not any("initial_lr" in group for group in optimizer.param_groups), (
            "build the schedule on a fresh optimizer, before its state is loaded"
        )

    def after_batch(self) -> None:
        """Move on by one optimizer step."""
        if self.moves_after == "batch":
            self._step()

    def after_epoch(self, valid_loss: float, valid_dice: float) -> None:
        """Move on by one epoch, which ended with this validation loss and mean validation Dice in [0, 1]."""
        if self.moves_after == "epoch":
            self._step()

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, in plain types that `torch.load(weights_only=True)` reads back."""
        state = {} if self.scheduler is None else self.scheduler.state_dict()
        name, steps = self._course()
        return {"schedule": name, "steps": steps, "scheduler": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state` stood; the optimizer's state, which holds lr and momentum, is loaded beside it.

        Raises ValueError for the state of another schedule, or of a run of another length.
        """
        own = self._course()
        saved = (state.get("schedule", own[0]), state.get("steps", own[1]))  # some checkpoints lack both
        if saved != own:
            raise ValueError(
                f"the checkpoint holds the schedule {saved[0]} over {saved[1]} steps, this run has {own[0]} over "
                f"{own[1]}; resume with the scheduler, epochs, batch size and data that it began with, or start a new "
                "run"
            )
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])

    def _course(self) -> tuple[str, int]:
        """The schedule's name, and its steps in a whole run."""
        return type(self).__name__, self.steps

    def _step(self) -> None:
        # Past its last step OneCycleLR raises and CosineAnnealingLR climbs again.
        if self.scheduler is not None and self.scheduler.last_epoch < self.steps:
            self.scheduler.step()


class Constant(Schedule):
    """The optimizer's lr, throughout (report B)."""


class OneCycle(Schedule):
    """Up to the optimizer's lr and down again, both along a cosine, moved every batch (report A).

    lr goes from lr / div_factor up to lr and down to lr / div_factor / final_div_factor, which the last step
    of the run has; momentum (beta1 of Adam and AdamW) goes the other way. A warm-up of less than one step, in
    a very short run, is stretched to the first step, because torch would divide by zero or leave it out.

    Args:
        optimizer, epochs, steps_per_epoch: see `Schedule`.
        pct_start: fraction of the run's steps that warm up, in [0, 1].
        div_factor: lr over the first step's lr, above 0.
        final_div_factor: the first step's lr over the last step's, above 0.
        cycle_momentum: False leaves momentum as the optimizer has it.
        base_momentum: momentum at the highest lr, in [0, 1).
        max_momentum: momentum at the ends, in [0, 1).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        steps_per_epoch: int,
        pct_start: Annotated[float, Field(ge=0, le=1)] = 0.1,
        div_factor: Above0 = 25.0,
        final_div_factor: Above0 = 10000.0,
        cycle_momentum: bool = True,
        base_momentum: Below1 = 0.85,
        max_momentum: Below1 = 0.95,
    ) -> None:
        super().__init__(optimizer, epochs, steps_per_epoch)
        total_steps = max(2, epochs * steps_per_epoch)
        self.scheduler = OneCycleLR(
            optimizer,
            max_lr=[float(group["lr"]) for group in optimizer.param_groups],
            total_steps=total_steps,
            pct_start=1.5 / total_steps if 0 < pct_start * total_steps <= 1 else float(pct_start),
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            cycle_momentum=cycle_momentum,
            base_momentum=base_momentum,
            max_momentum=max_momentum,
        )
        self.steps = total_steps - 1  # torch takes the first of them when it is built


class Cosine(Schedule):
    """From the optimizer's lr down to 0 along half a cosine, moved every epoch (report A).

    Epoch e, from 0, has (1 + cos(π e / epochs)) / 2 times the optimizer's lr; only the end of the last epoch
    reaches 0.
    """

    moves_after = "epoch"

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> None:
        super().__init__(optimizer, epochs, steps_per_epoch)
        self.scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
        self.steps = epochs


class Plateau(Schedule):
    """Cut the lr when validation stops getting better (reports A, D and E), moved every epoch.

    An epoch is better when it beats the best so far by a ten-thousandth of it (torch's default). The lr is
    multiplied by `factor` when more than `patience` epochs in a row are not better.

    Args:
        optimizer, epochs, steps_per_epoch: see `Schedule`.
        monitor: valid_loss (lower is better) or valid_dice (higher is better).
        patience: epochs without getting better that are let pass, at least 0.
        factor: strictly between 0 and 1.
        min_lr: floor of the lr, at least 0.
    """

    scheduler: ReduceLROnPlateau
    moves_after = "epoch"

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        steps_per_epoch: int,
        monitor: Literal["valid_loss", "valid_dice"] = "valid_loss",
        patience: Annotated[int, Field(ge=0)] = 3,
        factor: Between0And1 = 0.1,
        min_lr: AtLeast0 = 0.0,
    ) -> None:
        super().__init__(optimizer, epochs, steps_per_epoch)
        mode: Literal["min", "max"] = "min" if monitor == "valid_loss" else "max"
        self.scheduler = ReduceLROnPlateau(optimizer, mode, factor=factor, patience=patience, min_lr=min_lr)
        self.steps = epochs
        self.monitor = monitor

    def after_epoch(self, valid_loss: float, valid_dice: float) -> None:
        self.scheduler.step(valid_loss if self.monitor == "valid_loss" else valid_dice)


class Poly(Schedule):
    """From the optimizer's lr down to 0 along a power of the steps left, moved every batch (no report).

    Step k, from 0, has (1 - k / all steps) ** power times the optimizer's lr; only the end of the last step
    reaches 0.

    Args:
        optimizer, epochs, steps_per_epoch: see `Schedule`.
        power: above 0; 1 is a straight line.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int, power: Above0 = 0.9) -> None:
        super().__init__(optimizer, epochs, steps_per_epoch)
        self.steps = epochs * steps_per_epoch
        self.scheduler = PolynomialLR(optimizer, total_iters=self.steps, power=power)


class WarmupCosine(Schedule):
    """Up to the optimizer's lr along a line, then down to 0 along half a cosine, moved every batch (no report).

    Of n steps the first w = round(warmup n), at most n - 1, warm up. Step k, from 0, has the optimizer's lr times
    (k + 1) / (w + 1) while k < w (Goyal et al. 2017), and (1 + cos(π (k - w) / (n - w))) / 2 from there on
    (Loshchilov & Hutter 2017): step 0 is above 0, step w has all of it, only the end of the last step reaches 0.

    Args:
        optimizer, epochs, steps_per_epoch: see `Schedule`.
        warmup: share of the run's steps that warm up, in [0, 1).
    """

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int, warmup: Below1 = 0.05) -> None:
        super().__init__(optimizer, epochs, steps_per_epoch)
        self.steps = epochs * steps_per_epoch
        warm_up = min(round(warmup * self.steps), self.steps - 1)  # at least one step for the cosine

        def share_of_lr(step: int) -> float:
            if step < warm_up:
                return (step + 1) / (warm_up + 1)
            return (1 + math.cos(math.pi * (step - warm_up) / (self.steps - warm_up))) / 2

        self.scheduler = LambdaLR(optimizer, share_of_lr)


class OtherSchedule(Schedule):
    """Any of torch's schedulers, built on the optimizer, moved after each batch or each epoch.

    Raises ValueError for one that needs a score, and for one with a fixed number of steps that the run does not reach.
    """

    def __init__(self, scheduler: LRScheduler, moves_after: Literal["batch", "epoch"], moves: int) -> None:
        """`moves`: how often it is moved in a whole run."""
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError("torch's ReduceLROnPlateau needs a score after each epoch; use scheduler=plateau")
        self.scheduler = scheduler
        self.moves_after = moves_after
        self._moves = moves
        total = getattr(scheduler, "total_steps", None)  # OneCycleLR raises past its last step
        if total is not None and total > moves:
            raise ValueError(
                f"{type(scheduler).__name__} has {total} steps, but moves {moves} times with step={moves_after}; "
                "set scheduler.step=batch, or total_steps to ${trainer.epochs}"
            )
        self.steps = sys.maxsize if total is None else total - 1

    def _course(self) -> tuple[str, int]:
        return type(self.scheduler).__name__, self._moves
