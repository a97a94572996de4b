"""What a training step takes: bare, in our loop, and in the reports' loop, of the same network on the same device."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from src.benchmarking.reports_way import reports_epoch, reports_loader
from src.benchmarking.timing import in_turns, ratio_in_turns, spread
from src.config import RunConfig, TrainerSection, build
from src.data.dataset import ReadPair
from src.data.images import FOREGROUND
from src.data.loaders import Batch, make_train_loader, start_epoch
from src.data.pairs import Splits
from src.runtime import Numerics, seed_everything
from src.training.checks import build_optimizer
from src.training.learner import Learner, make_learner
from src.training.loop import train_epoch
from src.training.losses import Loss
from src.training.network import Network
from src.training.stopping import StopRequest

BACKWARD_TOO = 3  # a training step costs about three forward passes


def measure_network(
    config: RunConfig, splits: Splits, read_pair: ReadPair, numerics: Numerics, steps: int, repeats: int
) -> dict[str, Any]:
    """Seconds a step of the bare work, of our loop on a batch in memory, of our loop, and of the reports' loop.

    Each does `steps` whole batches a turn and then waits for the device.
    """
    seed_everything(config.seed)
    loader = _loader(config, splits, read_pair, numerics, steps)
    # a schedule of few batches ends soon; this one only has to cost what a schedule costs
    learner = make_learner(config, numerics, steps_per_epoch=1_000_000)
    batch = next(iter(start_epoch(loader, 0)))
    bare = _bare(config, numerics, learner.network, batch, steps)
    model = build(config.model, nn.Module, config.allow_targets).to(numerics.device)
    reports = _reports(config, splits, model, numerics, steps)
    work = {
        "bare": bare,
        "memory": lambda: _epoch(learner, _Repeated(loader, batch), config.trainer),
        "loop": lambda: _epoch(learner, loader, config.trainer),
        "reports": reports,
    }
    if numerics.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(numerics.device)
    seconds = in_turns(
        {name: _until_done(do, numerics.device) for name, do in work.items()}, repeats, config.model["name"]
    )
    images = config.trainer.batch_size / spread(seconds["loop"])["median"]
    operations = BACKWARD_TOO * forward_operations(config)
    peak = peak_operations(numerics)
    return {
        "batch_size": config.trainer.batch_size,
        "image_size": config.data.image_size,
        "width": config.model.get("width"),
        "steps": steps,
        "workers": config.data.workers,
        "step_seconds": {name: spread(own) for name, own in seconds.items()},
        "images_per_second": images,
        "overhead_over_bare_step": ratio_in_turns(seconds["memory"], seconds["bare"]) - 1,
        "overhead_with_data": ratio_in_turns(seconds["loop"], seconds["bare"]) - 1,
        "waiting_for_data": max(0.0, 1 - 1 / ratio_in_turns(seconds["loop"], seconds["memory"])),
        "ratio_to_reports": ratio_in_turns(seconds["reports"], seconds["loop"]),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if numerics.device.type == "cuda" else None,
        "operations_an_image": operations,
        "peak_operations_a_second": peak,
        "utilisation": images * operations / peak,
    }


def forward_operations(config: RunConfig) -> int:
    """Floating-point operations of an image's forward pass in training, counted by torch: two for each multiply-add."""
    with torch.device("meta"):
        model = build(config.model, nn.Module, config.allow_targets).train()
        images = torch.zeros(2, 3, config.data.image_size, config.data.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return counter.get_total_flops() // len(images)


def peak_operations(numerics: Numerics) -> float:
    """Operations a second of a large matrix product on the device, in the precision of the forward pass; best of 5."""
    on_cuda = numerics.device.type == "cuda"
    side = 8192 if on_cuda else 1024
    precision = torch.bfloat16 if on_cuda and numerics.settings.autocast else torch.float32
    first, second = (torch.randn(side, side, device=numerics.device, dtype=precision) for _ in range(2))

    def products() -> int:
        for _ in range(5):
            first @ second
        return 5

    seconds = in_turns({"product": _until_done(products, numerics.device)}, 5, "peak")["product"]
    return 2 * side**3 / min(seconds)


class _Repeated:
    """A loader whose batches are one batch, already in memory: what the loop takes when nothing is waited for."""

    def __init__(self, loader: DataLoader, batch: Batch) -> None:
        self.batch_sampler = loader.batch_sampler
        self.batch = batch

    def __iter__(self) -> Any:
        return (self.batch for _ in self.batch_sampler)  # type: ignore[union-attr]


def _loader(config: RunConfig, splits: Splits, read_pair: ReadPair, numerics: Numerics, steps: int) -> DataLoader:
    whole = len(splits.train) // config.trainer.batch_size
    if whole < steps:
        raise ValueError(
            f"steps: got {steps}, but {len(splits.train)} training images are {whole} whole batches of "
            f"{config.trainer.batch_size}; ask for fewer steps or more images (data.trainval=…)"
        )
    return make_train_loader(
        splits.train,
        read_pair,
        config.data.image_size,
        config.data.border,
        config.augmentation,
        config.trainer.batch_size,
        config.seed,
        config.data.workers,
        pin_memory=numerics.device.type == "cuda",
        limit_batches=steps,
        allow_targets=config.allow_targets,
    )


def _epoch(learner: Learner, loader: Any, trainer: TrainerSection) -> int:
    learner.batch, learner.seconds, learner.tally = 0, 0.0, type(learner.tally)()
    train_epoch(learner, loader, trainer, StopRequest())
    learner.epoch += 1
    return learner.batch


def _bare(config: RunConfig, numerics: Numerics, network: Network, batch: Batch, steps: int) -> Callable[[], int]:
    """Forward, backward and step of a copy of the network on one batch that is ready on the device."""
    copied = Network(copy.deepcopy(network.model), numerics, network.mean, network.std, network.batch_size)
    optimizer = build_optimizer(config, copied.model.parameters())
    loss_of = build(config.loss, Loss, config.allow_targets)
    device = numerics.device
    targets = batch.targets.to(device).float() / FOREGROUND
    counted = torch.ones_like(targets, dtype=torch.bool)
    images = copied.normalised(batch.images)

    def take() -> int:
        copied.model.train()
        for _ in range(steps):
            loss_of(copied.forward(images), targets, counted).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return steps

    return take


def _reports(config: RunConfig, splits: Splits, model: nn.Module, numerics: Numerics, steps: int) -> Callable[[], int]:
    batches = reports_loader(splits.train, splits.reader, config, max(config.data.workers, 0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return lambda: reports_epoch(model, optimizer, batches, numerics.device, steps)


def _until_done(do: Callable[[], int], device: torch.device) -> Callable[[], int]:
    def done() -> int:
        units = do()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return units

    return done
