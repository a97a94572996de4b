"""Batches for training and evaluation: the same for any number of workers, from any batch of any epoch on."""

import errno
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, default_collate, get_worker_info

from src.base.config import AugmentationSection
from src.base.environment import usable_cores
from src.data.augment import RngStream, stream_seed
from src.data.datasets import EvalDataset, NativeDataset, NativeSample, PairReader, Sample, TrainDataset
from src.data.decoding import DataChanged, PairDecoder
from src.data.images import BorderPolicy
from src.data.pairs import Pair

FEW_IMAGES = 128  # below this a worker process takes longer to start than it saves
MOST_WORKERS = 8
SHARED_MEMORY = Path("/dev/shm")  # through which worker processes hand over batches


class OutOfSharedMemory(OSError):
    """Worker processes cannot hand over their batches; the message says what to do, in one line."""


class Batch(NamedTuple):
    """Images uint8 (B, 3, S, S), targets uint8 (B, S, S), and indices int64 (B,) in the data set."""

    images: torch.Tensor
    targets: torch.Tensor
    indices: torch.Tensor


class NativeBatch(NamedTuple):
    """Images uint8 (B, 3, S, S), the trimap of each, uint8 (H, W) at its own size, and positions in the data set."""

    images: torch.Tensor
    trimaps: list[np.ndarray]
    positions: list[int]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of `(epoch, index)`; the last one may be smaller.

    Seed and epoch alone decide the order. `limit_batches` cuts every epoch short. With `overfit` every batch
    is the same one, the first of epoch 0: `limit_batches` times an epoch, or as often as there are batches.
    `epoch` and `first_batch` say where the next iteration starts; change them with `set_epoch`.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, limit_batches: int | None = None, overfit: bool = False
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.limit_batches = limit_batches
        self.overfit = overfit
        self.epoch = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Let the next iteration give the batches of `epoch` (from 0) from `first_batch` (from 0) on.

        Raises ValueError when the epoch has fewer than `first_batch` batches.
        """
        if not 0 <= first_batch <= len(self):
            raise ValueError(
                f"got first batch {first_batch}, but an epoch has {len(self)} batches of {self.batch_size}: "
                "a run resumes within an epoch only with the data and the batch size that it was started with"
            )
        self.epoch = epoch
        self.first_batch = first_batch

    def __len__(self) -> int:
        """The batches of a whole epoch, wherever the next iteration starts."""
        batches = -(-self.length // self.batch_size)
        if self.limit_batches is None:
            return batches
        return self.limit_batches if self.overfit else min(batches, self.limit_batches)

    def sizes(self) -> list[int]:
        """Images in each batch of a whole epoch."""
        return [min(self.batch_size, self.length - start) for start in self._starts()]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        order = self._order(0 if self.overfit else epoch)
        for start in self._starts()[self.first_batch :]:
            yield [(epoch, index) for index in order[start : start + self.batch_size]]

    def _starts(self) -> list[int]:
        return [0 if self.overfit else batch * self.batch_size for batch in range(len(self))]

    def _order(self, epoch: int) -> list[int]:
        generator = np.random.default_rng(stream_seed(self.seed, RngStream.SHUFFLE, epoch))
        return generator.permutation(self.length).tolist()


def make_train_loader(
    pairs: Sequence[Pair],
    read_pair: PairReader,
    image_size: int,
    border: BorderPolicy,
    augmentation: AugmentationSection,
    batch_size: int,
    seed: int,
    workers: int,
    pin_memory: bool,
    *,
    limit_batches: int | None = None,
    overfit: bool = False,
    allow_targets: Sequence[str] = (),
) -> DataLoader[Sample]:
    """Endless supply of training epochs: iterate over `start_epoch(loader, epoch)`.

    `workers`: processes that prepare images, -1 for as many as make sense. `limit_batches` and `overfit` (one
    batch without augmentation, again and again) are for debugging, see `EpochBatches`. `allow_targets`:
    packages whose transforms are allowed beside albumentations'. Raises ValueError with every problem of an
    augmentation that cannot be built.
    """
    if overfit:
        augmentation = AugmentationSection(
            name="none", load_scale=1.0, mask_as_image=False, transforms=[], copies=0, copy_transforms=[]
        )
    samples = TrainDataset(pairs, read_pair, image_size, border, augmentation, seed, allow_targets)
    batches = EpochBatches(len(samples), batch_size, seed, limit_batches, overfit)
    return _Loader(samples, workers, pin_memory, _collate, batch_sampler=batches)


def make_eval_loaders(
    parts: Sequence[tuple[Sequence[Pair], BorderPolicy]],
    read_pair: PairReader,
    image_size: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
    *,
    limit_batches: int | None = None,
) -> list["EvalLoader"]:
    """For each of `parts` (pairs and border policy) its pairs once, in their order, without augmentation, as `Batch`es.

    The last batch of a part may be smaller. They share their worker processes, so one is read at a time. Another border
    than "foreground" is not the headline protocol; "random" is for training only.
    """
    kept = slice(None if limit_batches is None else limit_batches * batch_size)
    datasets = [EvalDataset(pairs[kept], read_pair, image_size, border) for pairs, border in parts]
    batches = _ChosenBatches()
    loader = _Loader(ConcatDataset(datasets), workers, pin_memory, _collate, batch_sampler=batches)
    ends = np.cumsum([len(dataset) for dataset in datasets]).tolist()
    starts = [end - len(dataset) for end, dataset in zip(ends, datasets, strict=True)]
    return [EvalLoader(loader, batches, range(*part), batch_size) for part in zip(starts, ends, strict=True)]


class _ChosenBatches(Sampler[Sequence[int]]):
    """The batches that were chosen last."""

    def __init__(self) -> None:
        self.chosen: Sequence[Sequence[int]] = ()

    def __iter__(self) -> Iterator[Sequence[int]]:
        return iter(self.chosen)


class EvalLoader:
    """One part of a loader of several data sets: batches of `batch_size` of the indices in `part`, in their order."""

    def __init__(self, loader: DataLoader[Sample], batches: _ChosenBatches, part: range, batch_size: int) -> None:
        self._loader = loader
        self._batches = batches
        self._own = [part[start : start + batch_size] for start in range(0, len(part), batch_size)]

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[Batch]:
        self._batches.chosen = self._own
        return iter(self._loader)


def make_native_loader(
    pairs: Sequence[Pair],
    decoder: PairDecoder,
    image_size: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
) -> DataLoader[NativeSample]:
    """Every pair once, in its order, as `NativeBatch`es: images as the network takes them, trimaps as stored."""
    samples = NativeDataset(pairs, decoder, image_size)
    return _Loader(samples, workers, pin_memory, _collate_native, key="workers", batch_size=batch_size)


def start_epoch(loader: DataLoader[Sample], epoch: int, first_batch: int = 0) -> Iterator[Batch]:
    """The batches of one epoch of a training loader, from `first_batch` on."""
    epoch_batches(loader).set_epoch(epoch, first_batch)
    return iter(loader)


def epoch_batches(loader: DataLoader[Sample]) -> EpochBatches:
    """The sampler that decides the batches of a training loader."""
    batches = loader.batch_sampler
    assert isinstance(batches, EpochBatches), "epochs are for loaders that make_train_loader made"
    return batches


def count_workers(wanted: int, images: int) -> int:
    """The number of worker processes, never more than images: `wanted`, or for -1 one per usable core.

    For -1 they are at most 8, and none for few images.
    """
    if wanted >= 0:
        return min(wanted, images)
    return 0 if images < FEW_IMAGES else min(MOST_WORKERS, usable_cores())


class _Loader(DataLoader[Any]):
    """A loader that reports its workers' known errors in one line; `key` is the option that sets their number."""

    def __init__(
        self,
        samples: TrainDataset | ConcatDataset[Sample] | NativeDataset,
        workers: int,
        pin_memory: bool,
        collate: Callable[[list[Any]], Any],
        key: str = "data.workers",
        **batching: Any,
    ) -> None:
        self.key = key
        processes = count_workers(workers, len(samples))
        dataset: Dataset[Any] = samples
        super().__init__(
            dataset,
            num_workers=processes,
            persistent_workers=processes > 0,
            collate_fn=collate,
            worker_init_fn=_start_worker,
            pin_memory=pin_memory and torch.cuda.is_available(),
            # Its own generator: else each epoch would draw from torch's global one, which dropout shares.
            generator=torch.Generator().manual_seed(0),
            **batching,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with self._known_errors_in_one_line():  # the workers' queues need shared memory too
            batches = super().__iter__()
        return self._each(batches)

    def _each(self, batches: Iterator[Any]) -> Iterator[Any]:
        with self._known_errors_in_one_line():
            yield from batches

    @contextmanager
    def _known_errors_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except DataChanged as error:  # torch puts the worker's traceback before the message
            raise DataChanged(str(error).strip().splitlines()[-1].rpartition("DataChanged: ")[2]) from error
        except Exception as error:
            if not (self.num_workers and _is_out_of_shared_memory(error)):
                raise
            size = f"{shutil.disk_usage(SHARED_MEMORY).total / 1e6:.1f} MB" if SHARED_MEMORY.exists() else "missing"
            raise OutOfSharedMemory(
                f"{SHARED_MEMORY} ({size}) is too small for the batches of {self.num_workers} worker processes: "
                f"give the container a larger one (--shm-size=2g), or set {self.key}=0"
            ) from error


def _is_out_of_shared_memory(error: Exception) -> bool:
    of_queue = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return of_queue or ("shared memory" in str(error) and "Too many open files" not in str(error))


def _collate(samples: list[Sample]) -> Batch:
    return Batch(*map(_shared, default_collate(samples)))


def _collate_native(samples: list[NativeSample]) -> NativeBatch:
    images, trimaps, positions = zip(*samples, strict=True)
    return NativeBatch(_shared(torch.stack(images)), list(trimaps), list(positions))


def _shared(batch: torch.Tensor) -> torch.Tensor:
    """In a worker moved to shared memory at once: the main process would wait forever if that failed while sending."""
    return batch if get_worker_info() is None else batch.share_memory_()


def _start_worker(worker: int) -> None:
    """One thread per worker: several would fight over the cores that the other workers use.

    Ctrl-C and SIGUSR1 to the whole process group are for the main process, which ends its workers when it has saved
    its work. SIGTERM stays as torch has set it: it is how the main process ends them.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
