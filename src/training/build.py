"""Builds what a run is made of, each part from its section of the config."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from src.base.config import RunConfig, build, find_target
from src.base.errors import cut, one_line, reason_of
from src.base.runtime import Numerics
from src.data.cache import open_cache
from src.data.datasets import FileReader, PairReader, load_size
from src.data.loaders import EvalLoader, TrainLoader, make_eval_loaders
from src.data.mix import Mix
from src.data.pairs import Splits
from src.training.checkpoint import fitting_weights, oldest_checkpoint
from src.training.losses import Loss, OtherLoss
from src.training.protocol import Protocol
from src.training.schedules import OtherSchedule, Schedule
from src.training.state import ModelRunner, TrainState, WeightAverage

MOST_CALLS = 5_000_000  # of functions; the largest of our networks takes 73,000, and a billion layers would never end


class Loaders(NamedTuple):
    """Batches for training, for validation, and for each protocol of the test split."""

    train: TrainLoader
    valid: EvalLoader
    test: dict[Protocol, EvalLoader]


def build_loaders(config: RunConfig, splits: Splits, data_fingerprint: str, numerics: Numerics) -> Loaders:
    """Reads `data`, `augmentation`, `seed`, `debug`, `trainer.batch_size` and `allow_targets`."""
    shared: dict[str, Any] = {
        "read_pair": build_pair_reader(config, splits, data_fingerprint),
        "image_size": config.data.image_size,
        "batch_size": config.trainer.batch_size,
        "workers": config.data.workers,
        "pin_memory": numerics.device.type == "cuda",
        "limit_batches": config.debug.limit_batches if config.debug else None,
    }
    train = TrainLoader(
        splits.train,
        border=config.data.border,
        augmentation=config.augmentation,
        seed=config.seed,
        overfit=config.debug is not None and config.debug.overfit,
        allow_targets=config.allow_targets,
        **shared,
    )
    protocols = [Protocol()]
    if config.data.border in ("background", "ignore"):
        # trained to see the border otherwise: scored that way too, beside the headline that all runs share
        protocols.append(Protocol(border=config.data.border))
    valid, *tests = make_eval_loaders(
        [(splits.valid, "foreground"), *((splits.test, protocol.border) for protocol in protocols)], **shared
    )
    return Loaders(train, valid, dict(zip(protocols, tests, strict=True)))


def build_pair_reader(config: RunConfig, splits: Splits, data_fingerprint: str) -> PairReader:
    """What reads the pairs: decoded once for all runs, unless `data.decode_once` says otherwise."""
    if not config.data.decode_once:
        return FileReader(splits.decoder)
    size = config.data.image_size
    sizes = {size, load_size(size, config.augmentation)}
    return open_cache(splits, data_fingerprint, sorted(sizes), Path(config.data.cache_dir))


def build_train_state(config: RunConfig, numerics: Numerics, steps_per_epoch: int) -> TrainState:
    """The state of `config` before its first step, on the device; its weights are random, or those of `init_from`."""
    model = build(config.model, nn.Module, config.allow_targets)
    if config.init_from is not None:
        model.load_state_dict(fitting_weights(Path(config.init_from), model.state_dict(), oldest_checkpoint(model)))
    network = ModelRunner(model, numerics, config.data.mean, config.data.std, bool(config.trainer.flip_tta))
    loss = build_loss(config).to(numerics.device)
    optimizer = build_optimizer(config, network.model.parameters())
    schedule = build_schedule(config, optimizer, steps_per_epoch)
    decay = config.trainer.ema_decay
    average = None if decay is None else WeightAverage(network, decay)
    overfits = config.debug is not None and config.debug.overfit  # the same batch in each step
    mix = None if config.mix is None or overfits else Mix(config.mix.method, config.mix.alpha, config.seed)
    return TrainState(network, loss, optimizer, schedule, average, mix, config.trainer.batch_size)


def build_loss(config: RunConfig) -> Loss:
    """The configured loss; a module that is not a `Loss` is adapted to it."""
    loss = build(config.loss, nn.Module, config.allow_targets)
    return loss if isinstance(loss, Loss) else OtherLoss(loss)


def build_optimizer(config: RunConfig, parameters: Any) -> torch.optim.Optimizer:
    """The configured optimizer of `parameters`, its step in one kernel where the numerics ask and torch has one."""
    target = find_target(config.optimizer, torch.optim.Optimizer, config.allow_targets)
    fuses = bool(config.numerics.fused) and "fused" in inspect.signature(target).parameters
    node = {"fused": True, **config.optimizer} if fuses else config.optimizer
    return build(node, torch.optim.Optimizer, config.allow_targets, params=parameters)


def build_schedule(config: RunConfig, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> Schedule:
    """The configured schedule of `optimizer` over the trainer's epochs; a scheduler of torch's is adapted to it."""
    node, epochs = dict(config.scheduler), config.trainer.epochs
    moves_after: Literal["batch", "epoch"] = "batch" if node.pop("step", None) == "batch" else "epoch"
    schedule = build(
        node,
        Schedule | LRScheduler,
        config.allow_targets,
        optimizer=optimizer,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
    )
    if isinstance(schedule, Schedule):
        return schedule
    return OtherSchedule(schedule, moves_after, epochs * (steps_per_epoch if moves_after == "batch" else 1))


def blueprint(config: RunConfig, allow_targets: Sequence[str]) -> nn.Module:
    """The network of `config` on the device `meta`, where it takes no memory however wide it is said to be.

    Raises what its constructor raises, and ValueError if that would take too long.
    """
    with torch.device("meta"), _bounded():
        model: nn.Module = build(config.model, nn.Module, allow_targets)
    return model


def size_problems(config: RunConfig, model: nn.Module) -> list[str]:
    """Why `model`, a blueprint, cannot take the images of `config`: one line, or none.

    A network without a `minimum_size` is tried on the device `meta`, in training mode.
    """
    size = config.data.image_size
    smallest = getattr(model, "minimum_size", None)
    if isinstance(smallest, int):
        too_small = f"data.image_size: got {size}; {config.model['name']} works from {smallest} pixels on"
        return [too_small] if size < smallest else []
    name = f"model: {type(model).__name__}"
    images = torch.empty(min(2, config.trainer.batch_size), 3, size, size, device="meta")
    expected = (len(images), channels_of(config, model), size, size)
    try:
        with torch.device("meta"), _bounded():
            logits = model.train()(images)
    except (Exception, SystemExit) as error:  # a network may raise anything
        reason = cut(one_line(reason_of(error)))
        return [f"{name} has no minimum_size, and fails on images of {size} x {size} pixels: {reason}"]
    got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    if got == expected:
        return []
    wrong = f"returns {got} for images of {size} x {size} pixels"
    return [f"{name} has no minimum_size, and {wrong}; logits are {expected}"]


def channels_of(config: RunConfig, model: nn.Module) -> int:
    """How many output channels the network of `config` has."""
    parameter = inspect.signature(type(model)).parameters.get("out_channels")
    return int(config.model.get("out_channels") or (1 if parameter is None else parameter.default))


@contextmanager
def _bounded() -> Iterator[None]:
    """Raises ValueError in the middle of a block that makes more than MOST_CALLS."""
    calls, before = 0, sys.getprofile()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > MOST_CALLS:
            raise ValueError("it has too many parts: it is not built in any reasonable time")

    sys.setprofile(count)  # in this thread, and unlike an alarm also in one that may have no signals
    try:
        yield
    finally:
        sys.setprofile(before)
