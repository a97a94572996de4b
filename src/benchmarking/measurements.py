"""What is timed: the data path on one core, and a training step bare, in our loop and in the baseline loop.

Timing is interleaved: what is compared takes turns, so that a slowdown of the machine affects all variants alike.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, repeat
from typing import Any

import cv2
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from src.base.config import RunConfig, build
from src.base.runtime import Numerics, seed_everything
from src.benchmarking.baseline_loop import baseline_epoch, baseline_loader
from src.data.datasets import PairReader
from src.data.loaders import Batch, TrainLoader
from src.data.pairs import Pair, Splits
from src.training.build import build_optimizer, build_train_state
from src.training.loop import train_epoch
from src.training.state import TrainState

Work = Callable[[], int]  # does its work and returns how many units (images, steps) that was
BACKWARD_TOO = 3  # a training step costs about three forward passes


def measure_data_path(
    config: RunConfig, splits: Splits, read_pair: PairReader, images: int, repeats: int
) -> dict[str, Any]:
    """Our data path and the baseline's over the same `images`, on one thread of this process, batches included."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    pairs = splits.train[:images]
    ours = _loader(config, pairs, read_pair, workers=0)
    baseline = baseline_loader(pairs, splits.decoder, config)
    epochs = count(1)
    work = {
        "ours": lambda: sum(len(batch.images) for batch in ours.start(next(epochs))),
        "reports": lambda: sum(len(batch) for batch, _ in baseline),
    }
    try:
        seconds = interleaved_seconds(work, repeats, "data path")
    finally:
        cv2.setNumThreads(threads)
    return {
        "images": len(pairs),
        "augmentation": config.augmentation.name,
        "image_size": config.data.image_size,
        "images_per_second_and_core": {name: spread([1 / value for value in own]) for name, own in seconds.items()},
        "ratio_to_reports": median_ratio(seconds["reports"], seconds["ours"]),
    }


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
    loader = _loader(config, splits.train, read_pair, workers, pin_memory=on_cuda, limit_batches=steps)
    # a schedule of few batches ends soon; this one only has to cost what a schedule costs
    state = build_train_state(config, numerics, steps_per_epoch=1_000_000)
    batch = next(iter(loader.start(0)))
    model = build(config.model, nn.Module, config.allow_targets).to(device)
    baseline = baseline_loader(splits.train, splits.decoder, config, max(workers, 0))
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3)
    work = {
        "bare": _bare_steps(config, state, batch, steps),
        "memory": lambda: _epoch(state, loader, config, repeat(batch, steps)),
        "loop": lambda: _epoch(state, loader, config),
        "reports": lambda: baseline_epoch(model, adamw, baseline, device, steps),
    }
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    wait = partial(torch.cuda.synchronize, device) if on_cuda else lambda: None
    seconds = interleaved_seconds(work, repeats, config.model["name"], wait)
    images = batch_size / spread(seconds["loop"])["median"]
    operations = BACKWARD_TOO * forward_operations(config)
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
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_cuda else None,
        "operations_an_image": operations,
        "operations_a_second": images * operations,
    }


def interleaved_seconds(
    work: Mapping[str, Work], repeats: int, what: str, wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds a unit of each of `work`, `repeats` times, in turns after one round that does not count.

    `wait`: returns once the device is done.
    """
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in tqdm(range(repeats + 1), what, unit="turn", disable=None, leave=False):
        for name, do in work.items():
            started = time.perf_counter()
            units = do()
            wait()
            if turn > 0:
                found[name].append((time.perf_counter() - started) / units)
    return found


def spread(values: list[float]) -> dict[str, Any]:
    """Median, smallest and largest of `values`, and the values themselves, in the order in which they came."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def median_ratio(first: list[float], second: list[float]) -> float:
    """The median over turns of `first` / `second`: what slowed both in a turn cancels out."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))


def forward_operations(config: RunConfig) -> int:
    """Floating-point operations of an image's forward pass in training, counted by torch: two for each multiply-add."""
    with torch.device("meta"):
        model = build(config.model, nn.Module, config.allow_targets).train()
        images = torch.zeros(2, 3, config.data.image_size, config.data.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return counter.get_total_flops() // len(images)


def _loader(
    config: RunConfig, pairs: Sequence[Pair], read_pair: PairReader, workers: int, **options: Any
) -> TrainLoader:
    """The training batches of a run of `config`; `options` as of TrainLoader."""
    return TrainLoader(
        pairs,
        read_pair,
        config.data.image_size,
        config.data.border,
        config.augmentation,
        config.trainer.batch_size,
        config.seed,
        workers,
        **{"pin_memory": False, "allow_targets": config.allow_targets, **options},
    )


def _epoch(state: TrainState, loader: TrainLoader, config: RunConfig, batches: Iterator[Batch] | None = None) -> int:
    """An epoch of our loop; with `batches`, which are in memory already, it waits for none."""
    state.batch, state.seconds, state.tally = 0, 0.0, type(state.tally)()
    train_epoch(state, loader, config.trainer, lambda: None, batches)
    state.epoch += 1
    return state.batch


def _bare_steps(config: RunConfig, state: TrainState, batch: Batch, steps: int) -> Work:
    """Forward, backward and step of a copy of the network on one batch that is ready on the device."""
    network = replace(state.network, model=copy.deepcopy(state.network.model))
    optimizer = build_optimizer(config, network.model.parameters())
    copied = replace(state, network=network, optimizer=optimizer)
    images, targets = batch.images.to(network.numerics.device), batch.targets.to(network.numerics.device)

    def take() -> int:
        network.model.train()
        for _ in range(steps):
            copied.score(images, targets)[0].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return steps

    return take
