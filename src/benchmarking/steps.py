"""What a training step takes: bare, in our loop, and in the baseline loop, of the same network on the same device."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from src.base.config import RunConfig, build
from src.base.runtime import Numerics, seed_everything
from src.benchmarking.data_path import baseline_epoch, baseline_loader, our_loader
from src.benchmarking.timing import Work, interleaved_seconds, median_ratio, spread
from src.data.datasets import PairReader
from src.data.loaders import Batch, start_epoch
from src.data.pairs import Splits
from src.training.checks import build_optimizer
from src.training.loop import train_epoch
from src.training.state import Learner, make_learner
from src.training.stopping import StopRequest

BACKWARD_TOO = 3  # a training step costs about three forward passes


def measure_network(
    config: RunConfig, splits: Splits, read_pair: PairReader, numerics: Numerics, steps: int, repeats: int
) -> dict[str, Any]:
    """Seconds a step of the bare work, of our loop on a batch in memory, of our loop, and of the baseline loop.

    Each does `steps` whole batches a turn and then waits for the device. Raises ValueError for more steps than batches.
    """
    batch_size, workers, device = config.trainer.batch_size, config.data.workers, numerics.device
    on_cuda = device.type == "cuda"
    if (whole := len(splits.train) // batch_size) < steps:
        raise ValueError(
            f"steps: got {steps}, but {len(splits.train)} training images are {whole} whole batches of {batch_size}; "
            "ask for fewer steps or more images (data.trainval=…)"
        )
    seed_everything(config.seed)
    loader = our_loader(config, splits.train, read_pair, workers, pin_memory=on_cuda, limit_batches=steps)
    # a schedule of few batches ends soon; this one only has to cost what a schedule costs
    learner = make_learner(config, numerics, steps_per_epoch=1_000_000)
    batch = next(iter(start_epoch(loader, 0)))
    model = build(config.model, nn.Module, config.allow_targets).to(device)
    baseline = baseline_loader(splits.train, splits.decoder, config, max(workers, 0))
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3)
    work = {
        "bare": _bare_steps(config, learner, batch, steps),
        "memory": lambda: _epoch(learner, _Repeated(loader, batch), config),
        "loop": lambda: _epoch(learner, loader, config),
        "reports": lambda: baseline_epoch(model, adamw, baseline, device, steps),
    }
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = interleaved_seconds(work, repeats, config.model["name"], _wait_for(device))
    memory = torch.cuda.max_memory_allocated() if on_cuda else None
    images = batch_size / spread(seconds["loop"])["median"]
    operations, peak = BACKWARD_TOO * forward_operations(config), peak_operations(numerics)
    return {
        "batch_size": batch_size,
        "image_size": config.data.image_size,
        "width": config.model.get("width"),
        "steps": steps,
        "workers": workers,
        "step_seconds": {name: spread(own) for name, own in seconds.items()},
        "images_per_second": images,
        "overhead_over_bare_step": median_ratio(seconds["memory"], seconds["bare"]) - 1,
        "overhead_with_data": median_ratio(seconds["loop"], seconds["bare"]) - 1,
        "waiting_for_data": max(0.0, 1 - 1 / median_ratio(seconds["loop"], seconds["memory"])),
        "ratio_to_reports": median_ratio(seconds["reports"], seconds["loop"]),
        "peak_memory_bytes": memory,
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
    products = {"product": lambda: len([first @ second for _ in range(5)])}
    return 2 * side**3 / min(interleaved_seconds(products, 5, "peak", _wait_for(numerics.device))["product"])


class _Repeated:
    """A loader whose batches are one batch, already in memory: what the loop takes when nothing is waited for."""

    def __init__(self, loader: DataLoader, batch: Batch) -> None:
        self.batch_sampler = loader.batch_sampler
        self.batch = batch

    def __iter__(self) -> Any:
        return (self.batch for _ in self.batch_sampler)  # type: ignore[union-attr]


def _epoch(learner: Learner, loader: Any, config: RunConfig) -> int:
    learner.batch, learner.seconds, learner.tally = 0, 0.0, type(learner.tally)()
    train_epoch(learner, loader, config.trainer, StopRequest())
    learner.epoch += 1
    return learner.batch


def _bare_steps(config: RunConfig, learner: Learner, batch: Batch, steps: int) -> Work:
    """Forward, backward and step of a copy of the network on one batch that is ready on the device."""
    network = replace(learner.network, model=copy.deepcopy(learner.network.model))
    optimizer = build_optimizer(config, network.model.parameters())
    copied = replace(learner, network=network, optimizer=optimizer)
    images, targets = batch.images.to(network.numerics.device), batch.targets.to(network.numerics.device)

    def take() -> int:
        network.model.train()
        for _ in range(steps):
            copied.score(images, targets)[0].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return steps

    return take


def _wait_for(device: torch.device) -> Callable[[], None]:
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
