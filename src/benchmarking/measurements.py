"""What is timed: the data path on one core, and a training step bare, in our loop and in the baseline loop.

Timing is interleaved: what is compared takes turns, so that a slowdown of the machine affects all variants alike.
"""

import copy
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from itertools import count, repeat
from typing import Any

import cv2
import torch
from torch import nn
from torch.utils.data import DataLoader

from src.base.config import RunConfig, build
from src.base.progress import ProgressBar
from src.base.runtime import Numerics, seed_everything
from src.benchmarking.baseline_loop import baseline_epoch, baseline_loader, load_make_step, naming_script
from src.data.datasets import PairReader
from src.data.images import FOREGROUND
from src.data.loaders import Batch, TrainLoader, count_workers
from src.data.pairs import Pair, Splits
from src.models.summary import summarize
from src.training.build import build_train_state
from src.training.loop import train_epoch
from src.training.state import TrainState

Work = Callable[[], float]  # takes a turn and returns the seconds of a unit (an image, a step) in it
BACKWARD_TOO = 3  # a training step costs about three forward passes
PREFETCHED = 2  # batches that each worker of a DataLoader prepares ahead
STEPS_PER_EPOCH = 1_000_000  # a schedule of few steps ends soon; this one only has to cost what a schedule costs


class StepClock:
    """The seconds of a step from step `lead` of a turn on.

    The steps before, whose batches the workers had prepared ahead, do not count, nor do starts and ends of workers.
    """

    def __init__(self, lead: int, steps: int, device: torch.device) -> None:
        self.lead, self.last, self.device = lead, lead + steps, device
        self._marks: list[tuple[float, int]] = []

    def tick(self, done: int) -> None:
        """To be called after each step with the number of steps so far."""
        if done >= (self.last if self._marks else self.lead) and len(self._marks) < 2:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self._marks.append((time.perf_counter(), done))

    def seconds(self) -> float:
        """Of a step, after the last tick."""
        (started, first), (ended, last) = self._marks
        return (ended - started) / (last - first)


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
    ways: dict[str, Callable[[], Work]] = {
        "ours": lambda: lambda: _seconds_an_image(batch.images for batch in ours.start(next(epochs))),
        "reports": lambda: lambda: _seconds_an_image(batch for batch, _ in baseline),
    }
    try:
        seconds, _ = measure_in_turns(ways, repeats, "data path", torch.device("cpu"))
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
    config: RunConfig,
    splits: Splits,
    read_pair: PairReader,
    numerics: Numerics,
    steps: int | None,
    repeats: int,
    script: str | None = None,
) -> dict[str, Any]:
    """Seconds a step of the bare work, of our loop on a batch in memory, of our loop, and of the baseline loop.

    Each turn has `steps` whole batches, by default 4 of each worker; the images repeat if they are fewer. `script`: a
    Python file whose step is timed too, on a batch in memory.
    """
    batch_size, device = config.trainer.batch_size, numerics.device
    workers = count_workers(config.data.workers, len(splits.train))
    lead, steps = max(1, PREFETCHED * workers), steps or max(3, 4 * workers)
    images = (lead + steps) * batch_size
    pairs = (list(splits.train) * math.ceil(images / len(splits.train)))[:images]
    clock = partial(StepClock, lead, steps, device)
    seed_everything(config.seed)
    batch = next(iter(_loader(config, pairs, read_pair, workers=0).start(0)))
    model = build(config.model, nn.Module, config.allow_targets)

    def state() -> TrainState:
        return build_train_state(config, numerics, STEPS_PER_EPOCH)

    def ours(batches: Callable[[], Iterator[Batch] | None]) -> Work:
        pins = device.type == "cuda"
        loader = _loader(config, pairs, read_pair, workers, pin_memory=pins, limit_batches=lead + steps)
        return partial(_our_loop, state(), loader, config, batches, clock)

    def reports() -> Work:
        network = copy.deepcopy(model).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        loader = baseline_loader(pairs, splits.decoder, config, workers)
        return partial(_reports_loop, network, optimizer, loader, device, clock)

    ways: dict[str, Callable[[], Work]] = {
        "bare": lambda: partial(_take_steps, _bare_step(state(), batch), clock),
        "memory": lambda: ours(lambda: repeat(batch, lead + steps)),
        "loop": lambda: ours(lambda: None),
        "reports": reports,
    }
    if script:
        take_steps = naming_script(script)(_take_steps)
        ways["baseline"] = lambda: partial(
            take_steps, _scripts_step(script, copy.deepcopy(model).to(device), config, batch, device), clock
        )
    seconds, memory = measure_in_turns(ways, repeats, config.model["name"], device)
    images_per_second = batch_size / spread(seconds["loop"])["median"]
    operations = BACKWARD_TOO * forward_operations(config)
    return {
        "batch_size": batch_size,
        "image_size": config.data.image_size,
        "width": config.model.get("width"),
        "steps": steps,
        "workers": workers,
        "step_seconds": {name: spread(own) for name, own in seconds.items()},
        "images_per_second": images_per_second,
        "overhead_over_bare_step": median_ratio(seconds["memory"], seconds["bare"]) - 1,
        "overhead_with_data": median_ratio(seconds["loop"], seconds["bare"]) - 1,
        "waiting_for_data": max(0.0, 1 - 1 / median_ratio(seconds["loop"], seconds["memory"])),
        "ratio_to_reports": median_ratio(seconds["reports"], seconds["loop"]),
        "ratio_to_baseline": median_ratio(seconds["baseline"], seconds["memory"]) if script else None,
        "peak_memory_bytes": memory,
        "operations_an_image": operations,
        "operations_a_second": images_per_second * operations,
    }


def measure_in_turns(
    ways: Mapping[str, Callable[[], Work]], repeats: int, what: str, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, int | None]]:
    """What each of `repeats` turns of each work gives, in turns, and the peak memory of each work by itself.

    `ways` prepare the works. Their first turns do not count: in them the memory of the device is measured, in bytes,
    without what was there before; None on a CPU, where what a process takes cannot be divided.
    """
    works, memory = dict[str, Work](), dict[str, int | None]()
    for name, prepare in ways.items():
        before = _start_of_memory(device)
        works[name] = prepare()
        works[name]()
        memory[name] = None if before is None else torch.cuda.max_memory_allocated(device) - before
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in ProgressBar(range(repeats), what, unit="turn", leave=False):
        for name, take_turn in works.items():
            found[name].append(take_turn())
    return found, memory


def _start_of_memory(device: torch.device) -> int | None:
    """The bytes that are taken on a GPU now; from here on its peak is counted."""
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def spread(values: list[float]) -> dict[str, Any]:
    """Median, smallest and largest of `values`, and the values themselves, in the order in which they came."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def median_ratio(first: list[float], second: list[float]) -> float:
    """The median over turns of `first` / `second`: what slowed both in a turn cancels out."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))


def forward_operations(config: RunConfig) -> int:
    """Floating-point operations of an image's forward pass, counted by torch: two for each multiply-add."""
    with torch.device("meta"):
        model = build(config.model, nn.Module, config.allow_targets)
    return 2 * summarize(model, config.data.image_size).whole.multiply_adds


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


def _seconds_an_image(batches: Iterable[Sized]) -> float:
    started = time.perf_counter()
    images = sum(map(len, batches))
    return (time.perf_counter() - started) / images


def _our_loop(
    state: TrainState,
    loader: TrainLoader,
    config: RunConfig,
    batches: Callable[[], Iterator[Batch] | None],
    new_clock: Callable[[], StepClock],
) -> float:
    """An epoch of our loop; with `batches`, which are in memory already, it waits for none."""
    clock = new_clock()
    state.batch, state.seconds, state.tally = 0, 0.0, type(state.tally)()
    train_epoch(state, loader, config.trainer, lambda: clock.tick(state.batch), batches())
    state.epoch += 1
    return clock.seconds()


def _reports_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    device: torch.device,
    new_clock: Callable[[], StepClock],
) -> float:
    clock = new_clock()
    baseline_epoch(model, optimizer, loader, device, clock.tick)
    return clock.seconds()


def _bare_step(state: TrainState, batch: Batch) -> Callable[[], None]:
    """Forward, backward and step on one batch that is ready on the device."""
    images, targets = (part.to(state.network.numerics.device) for part in (batch.images, batch.targets))

    def step() -> None:
        state.score(images, targets)[0].backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)

    state.network.model.train()
    return step


def _scripts_step(
    script: str, model: nn.Module, config: RunConfig, batch: Batch, device: torch.device
) -> Callable[[], None]:
    """The step of a script on one batch that is ready on the device, normalized and in float32."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (config.data.mean, config.data.std))
    images = (batch.images.to(device).float() / 255 - mean) / std  # (B, 3, S, S)
    masks = (batch.targets.to(device) > FOREGROUND // 2).float()[:, None]  # (B, 1, S, S)
    make_step = load_make_step(script)
    with naming_script(script):
        step = make_step(model, device, len(images), config.data.image_size)
    return partial(step, images, masks)


def _take_steps(step: Callable[[], Any], new_clock: Callable[[], StepClock]) -> float:
    clock = new_clock()
    for done in range(1, clock.last + 1):
        step()
        clock.tick(done)
    return clock.seconds()
