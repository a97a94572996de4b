"""Batches for training and evaluation: the same for any number of workers, from any batch of any epoch on."""

import errno
import re
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
from src.base.errors import one_line
from src.data.augment import RngStream, stream_seed
from src.data.datasets import EvalDataset, NativeDataset, NativeSample, PairReader, Sample, TrainDataset
from src.data.decoding import PairDecoder
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


class TrainLoader:
    """Training epochs: shuffled batches of augmented pairs and their copies, of which the last may be smaller.

    `workers`: processes that prepare images, -1 for as many as make sense. `allow_targets`: packages whose transforms
    are allowed beside albumentations'. For debugging, `limit_batches` cuts every epoch short, and with `overfit` every
    batch is the same one, the first of epoch 0 without augmentation: `limit_batches` times an epoch, or as often as
    there are batches. Raises ValueError with every problem of an augmentation that cannot be built.
    """

    def __init__(
        self,
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
    ) -> None:
        if overfit:
            plain = {"load_scale": 1.0, "mask_as_image": False, "transforms": [], "copies": 0, "copy_transforms": []}
            augmentation = augmentation.model_copy(update=plain)
        samples = TrainDataset(pairs, read_pair, image_size, border, augmentation, seed, allow_targets)
        self.length, self.batch_size, self.seed, self.overfit = len(samples), batch_size, seed, overfit
        batches = -(-self.length // batch_size)
        if limit_batches is not None:
            batches = limit_batches if overfit else min(batches, limit_batches)
        self._starts = [0 if overfit else batch * batch_size for batch in range(batches)]
        self._chosen = _ChosenBatches()
        self._loader = _Loader(samples, workers, pin_memory, _collate, batch_sampler=self._chosen)

    def __len__(self) -> int:
        """The batches of an epoch."""
        return len(self._starts)

    def sizes(self) -> list[int]:
        """Images in each batch of an epoch."""
        return [min(self.batch_size, self.length - start) for start in self._starts]

    def keys(self, epoch: int) -> list[list[tuple[int, int]]]:
        """The `(epoch, index)` of each sample of each batch of `epoch` (from 0), which seed and epoch alone decide."""
        generator = np.random.default_rng(stream_seed(self.seed, RngStream.SHUFFLE, 0 if self.overfit else epoch))
        order = generator.permutation(self.length).tolist()
        return [[(epoch, index) for index in order[start : start + self.batch_size]] for start in self._starts]

    def start(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from `first_batch` (from 0) on. Raises ValueError when it has fewer."""
        if not 0 <= first_batch <= len(self):
            raise ValueError(
                f"got first batch {first_batch}, but an epoch has {len(self)} batches of {self.batch_size}: "
                "a run resumes within an epoch only with the data and the batch size that it was started with"
            )
        self._chosen.keys = self.keys(epoch)[first_batch:]
        return iter(self._loader)


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


class _ChosenBatches(Sampler[Sequence[Any]]):
    """The batches of samples' keys that were chosen last."""

    keys: Sequence[Sequence[Any]] = ()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self.keys)


class EvalLoader:
    """One part of a loader of several data sets: batches of `batch_size` of the indices in `part`, in their order."""

    def __init__(self, loader: DataLoader[Sample], batches: _ChosenBatches, part: range, batch_size: int) -> None:
        self._loader = loader
        self._batches = batches
        self._own = [part[start : start + batch_size] for start in range(0, len(part), batch_size)]

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[Batch]:
        self._batches.keys = self._own
        return iter(self._loader)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at `positions`, from 0, read in this process."""
        indices = [index for batch in self._own for index in batch]
        return _collate([self._loader.dataset[indices[position]] for position in positions])


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
        except ValueError as error:
            if not self.num_workers:
                raise
            # of a file, DataChanged for one; torch puts the worker's traceback before the message
            message = re.split(rf"^[\w.]*{type(error).__name__}: ", str(error), flags=re.MULTILINE)[-1]
            raise type(error)(one_line(message.strip())) from error
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
