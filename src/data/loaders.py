"""Batches for training and evaluation: the same for any number of workers, from any batch of any epoch on."""

import errno
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from src.base.config import AugmentationSection
from src.base.environment import usable_cores
from src.data.augment import Draw, PairTransform, draw_seeds
from src.data.images import BACKGROUND, PET, BorderPolicy, resize_image, resize_mask, trimap_to_target
from src.data.pairs import Pair
from src.data.reading import PairReader
from src.data.unchanged import DataChanged

LARGEST_TRY = 2048  # pixels a side; takes about a second
# Gives the image uint8 (size, size, 3) and the trimap uint8 (size, size) of a pair; neither is written to.
ReadPair = Callable[[Pair, int], tuple[np.ndarray, np.ndarray]]


class Sample(NamedTuple):
    """One image uint8 (3, S, S), its target uint8 (S, S), and its position (index) in the data set."""

    image: torch.Tensor
    target: torch.Tensor
    position: int


class WholeSample(NamedTuple):
    """One image uint8 (3, S, S), its trimap uint8 (H, W) at its own size, and its position in the data set."""

    image: torch.Tensor
    trimap: np.ndarray
    position: int


@dataclass(frozen=True)
class PairFiles:
    """The plain `ReadPair`: decodes and resizes both files at every call."""

    reader: PairReader

    def __call__(self, pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Raises ValueError, naming the file, for one that cannot be read or is not what the audit checked."""
        image, trimap = read_pair_files(pair, self.reader)
        return resize_image(image, size), resize_mask(trimap, size)


def read_pair_files(pair: Pair, reader: PairReader) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and trimap uint8 (H, W), of the bytes that the audit checked if there was one."""
    return reader(pair.image, pair.mask, pair.facts and (pair.facts.image, pair.facts.mask))


def load_size(image_size: int, augmentation: AugmentationSection) -> int:
    """Pixels at which a `TrainSet` reads its pairs, before anything is cropped from them."""
    return round(image_size * augmentation.load_scale)


class TrainSet(Dataset[Sample]):
    """Augmented pairs and their copies, `len(pairs) * (1 + copies)` samples.

    Index i is copy i // n of image i % n, where n is the number of pairs and copy 0 is the original. Samples
    are asked for by `(epoch, index)`, so that a worker process that lives on draws anew in each epoch.
    A copy (report E) and a random border (report E made its masks once) are the same in every epoch.
    Raises ValueError when there are no pairs, or when the augmentation cannot be built, with every problem.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read_pair: ReadPair,
        image_size: int,
        border: BorderPolicy,
        augmentation: AugmentationSection,
        seed: int,
        allow_targets: Sequence[str] = (),
    ) -> None:
        if not pairs:
            raise ValueError("there are no training images; check data.root, and the split")
        if augmentation.copies and not augmentation.copy_transforms:
            raise ValueError(
                f"augmentation: got copies {augmentation.copies} without copy_transforms; the copies would "
                "equal their originals: name transforms, or set copies to 0"
            )
        self.pairs = pairs
        self.read_pair = read_pair
        self.image_size = image_size
        self.load_size = load_size(image_size, augmentation)
        self.border = border
        self.copies = augmentation.copies
        self.transform = PairTransform(augmentation.transforms, augmentation.mask_as_image, allow_targets)
        self.copy_transform = PairTransform(augmentation.copy_transforms, augmentation.mask_as_image, allow_targets)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs) * (1 + self.copies)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of `(epoch, index)`; raises ValueError naming the file that it could not be made of."""
        epoch, index = key
        copy, image_index = divmod(index, len(self.pairs))
        pair = self.pairs[image_index]
        image, trimap = self.read_pair(pair, self.load_size)
        target = _target_of(trimap, self.border, self.seed, image_index)
        try:
            if copy:
                image, target = self.copy_transform(image, target, self._seeds(Draw.COPY, copy, image_index))
            image, target = self.transform(image, target, self._seeds(Draw.TRANSFORM, epoch, index))
            self._check_format(image, target)
        except Exception as error:  # a transform raises what it likes, and never says on which image
            raise ValueError(f"{pair.image}: cannot be augmented: {error}") from error
        return _as_sample(image, target, index)

    def _seeds(self, draw: Draw, first: int, second: int) -> np.random.SeedSequence:
        return draw_seeds(self.seed, draw, first, second)

    def _check_format(self, image: np.ndarray, target: np.ndarray) -> None:
        size = self.image_size
        if image.shape != (size, size, 3) or target.shape != (size, size):
            raise ValueError(
                f"the transforms gave an image of {image.shape} and a target of {target.shape} (loaded at "
                f"{self.load_size}), but data.image_size is {size}: end with a crop or resize to "
                "${data.image_size}, or set augmentation.load_scale to 1"
            )
        if image.dtype != np.uint8 or target.dtype != np.uint8:
            raise ValueError(
                f"the transforms gave an image of {image.dtype} and a target of {target.dtype}, both must "
                "stay uint8: leave out normalisation, which is done on the device"
            )


def why_not_augmented(
    augmentation: AugmentationSection, image_size: int, allow_targets: Sequence[str] = ()
) -> str | None:
    """Why `augmentation` cannot make samples of `image_size`; None where no reason shows.

    It is tried on an image of noise: as it is, with all that may be applied, and with only what always is.
    """
    size = load_size(image_size, augmentation)
    if size > LARGEST_TRY:
        return None
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    trimap = np.full((size, size), BACKGROUND, np.uint8)
    trimap[size // 4 : size // 2, size // 4 : size // 2] = PET
    pair = Pair("noise", Path("noise"), Path("noise"))
    for applied in (None, True, False):
        samples = TrainSet([pair], lambda *_: (image, trimap), image_size, "foreground", augmentation, 0, allow_targets)
        if applied is not None:
            samples.transform.decide(applied)
            samples.copy_transform.decide(applied)
        try:
            for epoch in range(min(16, max(1, 2**20 // size**2))):  # a choice among transforms takes several tries
                for index in {0, len(samples) - 1}:  # the image, and where there are any, its last copy
                    samples[(epoch, index)]
        except ValueError as error:
            return str(error.__cause__) or type(error.__cause__).__name__
    return None


class EvalSet(Dataset[Sample]):
    """Pairs without augmentation, resized to the image size; asked for by their index in `pairs`.

    `seed` only matters to the border policy "random", which then gives the same targets as a `TrainSet`
    of the same pairs and size.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read_pair: ReadPair,
        image_size: int,
        border: BorderPolicy = "foreground",
        seed: int = 0,
    ) -> None:
        self.pairs = pairs
        self.read_pair = read_pair
        self.image_size = image_size
        self.border = border
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """The sample of `index`; raises ValueError, naming the file, for one that cannot be read."""
        image, trimap = self.read_pair(self.pairs[index], self.image_size)
        return _as_sample(image, _target_of(trimap, self.border, self.seed, index), index)


class WholeSet(Dataset[WholeSample]):
    """Pairs for scoring at any size: the image resized to the image size, the trimap as it is stored."""

    def __init__(self, pairs: Sequence[Pair], reader: PairReader, image_size: int) -> None:
        self.pairs = pairs
        self.reader = reader
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> WholeSample:
        """The sample of `index`; raises ValueError, naming the file, for one that cannot be read."""
        pair = self.pairs[index]
        image, trimap = read_pair_files(pair, self.reader)
        return WholeSample(_channels_first(resize_image(image, self.image_size)), trimap, index)


def _target_of(trimap: np.ndarray, border: BorderPolicy, seed: int, image_index: int) -> np.ndarray:
    """The target, its random border (if that is the policy) decided by the seed and the image alone."""
    generator = np.random.default_rng(draw_seeds(seed, Draw.BORDER, image_index)) if border == "random" else None
    return trimap_to_target(trimap, border, generator)


def _as_sample(image: np.ndarray, target: np.ndarray, index: int) -> Sample:
    return Sample(_channels_first(image), torch.from_numpy(np.ascontiguousarray(target)), index)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (3, S, S)


# Below this many images a worker process takes longer to start than it saves.
FEW_IMAGES = 128
MOST_WORKERS = 8
SHARED_MEMORY = Path("/dev/shm")  # through which worker processes hand over batches


class OutOfSharedMemory(OSError):
    """Worker processes cannot hand over their batches; the message says what to do, in one line."""


class Batch(NamedTuple):
    """Images uint8 (B, 3, S, S), targets uint8 (B, S, S), and indices int64 (B,) in the data set."""

    images: torch.Tensor
    targets: torch.Tensor
    indices: torch.Tensor


class WholeBatch(NamedTuple):
    """Images uint8 (B, 3, S, S), the trimap of each, uint8 (H, W) at its own size, and positions in the data set."""

    images: torch.Tensor
    trimaps: list[np.ndarray]
    positions: list[int]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of `(epoch, index)`, the last one smaller where they do not come out even.

    Seed and epoch alone decide the order. `limit_batches` cuts every epoch short. With `overfit` every batch
    is the same one, the first of epoch 0: `limit_batches` times an epoch, or as often as there are batches.
    `epoch` and `first_batch` say where the next iteration starts; change them with `set_epoch` or directly.
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
        generator = np.random.default_rng(draw_seeds(self.seed, Draw.SHUFFLE, epoch))
        return generator.permutation(self.length).tolist()


def make_train_loader(
    pairs: Sequence[Pair],
    read_pair: ReadPair,
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
    packages whose transforms are allowed beside albumentations'. Raises ValueError when there are no pairs,
    and with every problem of an augmentation that cannot be built.
    """
    if overfit:
        augmentation = _unaugmented(augmentation)
    samples = TrainSet(pairs, read_pair, image_size, border, augmentation, seed, allow_targets)
    batches = EpochBatches(len(samples), batch_size, seed, limit_batches, overfit)
    return _loader(samples, workers, pin_memory, _collate, batch_sampler=batches)


def make_eval_loader(
    pairs: Sequence[Pair],
    read_pair: ReadPair,
    image_size: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
    *,
    border: BorderPolicy = "foreground",
    seed: int = 0,
    limit_batches: int | None = None,
) -> DataLoader[Sample]:
    """Every pair once, in its order, without augmentation, as `Batch`es; the last may be smaller.

    `border` other than "foreground" is not the headline protocol; `seed` only matters to "random".
    """
    if limit_batches is not None:
        pairs = pairs[: limit_batches * batch_size]
    samples = EvalSet(pairs, read_pair, image_size, border, seed)
    return _loader(samples, workers, pin_memory, _collate, batch_size=batch_size)


def make_whole_loader(
    pairs: Sequence[Pair],
    reader: PairReader,
    image_size: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
) -> DataLoader[WholeSample]:
    """Every pair once, in its order, as `WholeBatch`es: images as the network takes them, trimaps as stored."""
    samples = WholeSet(pairs, reader, image_size)
    return _loader(samples, workers, pin_memory, _collate_whole, key="workers", batch_size=batch_size)


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
    """The number of worker processes: `wanted`, or for -1 one a usable core, at most 8, none for few images.

    There are never more than images.

    Raises ValueError for numbers below -1.
    """
    if wanted < -1:
        raise ValueError(f"data.workers is {wanted}; allowed are -1 (decide by the machine), 0, 1, 2, ...")
    if wanted >= 0:
        return min(wanted, images)
    if images < FEW_IMAGES:
        return 0
    return min(MOST_WORKERS, usable_cores())


def _unaugmented(augmentation: AugmentationSection) -> AugmentationSection:
    return augmentation.model_copy(
        update={
            "transforms": [],
            "copies": 0,
            "copy_transforms": [],
            "load_scale": 1.0,
            "mask_as_image": False,
        }
    )


def _loader(
    samples: TrainSet | EvalSet | WholeSet,
    workers: int,
    pin_memory: bool,
    collate: Callable[[list[Any]], Any],
    key: str = "data.workers",
    **batching: Any,
) -> DataLoader[Any]:
    processes = count_workers(workers, len(samples))
    dataset: Dataset[Any] = samples
    return _Loader(
        key,
        dataset,
        num_workers=processes,
        persistent_workers=processes > 0,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory and torch.cuda.is_available(),
        # A generator of its own: else each epoch would draw from torch's global one, which dropout shares.
        generator=torch.Generator().manual_seed(0),
        **batching,
    )


class _Loader(DataLoader[Any]):
    """A loader whose workers' errors are said in one line where they are known; `key` is what sets their number."""

    def __init__(self, key: str, *arguments: Any, **named: Any) -> None:
        self.key = key
        super().__init__(*arguments, **named)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with self._in_one_line():  # the workers' queues need shared memory too
            batches = super().__iter__()
        return self._each(batches)

    def _each(self, batches: Iterator[Any]) -> Iterator[Any]:
        with self._in_one_line():
            yield from batches

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if (known := self._known(error)) is None:
                raise
            raise known from error

    def _known(self, error: Exception) -> Exception | None:
        said = str(error)
        if isinstance(error, DataChanged):  # torch puts the worker's traceback before it
            return DataChanged(said.strip().splitlines()[-1].rpartition("DataChanged: ")[2])
        of_queue = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if self.num_workers and (of_queue or ("shared memory" in said and "Too many open files" not in said)):
            size = f"{shutil.disk_usage(SHARED_MEMORY).total / 1e6:.1f} MB" if SHARED_MEMORY.exists() else "missing"
            return OutOfSharedMemory(
                f"{SHARED_MEMORY} ({size}) is too small for the batches of {self.num_workers} worker processes: "
                f"give the container a larger one (--shm-size=2g), or set {self.key}=0"
            )
        return None


def _collate(samples: list[Sample]) -> Batch:
    return Batch(*map(_shared, default_collate(samples)))


def _collate_whole(samples: list[WholeSample]) -> WholeBatch:
    images, trimaps, positions = zip(*samples, strict=True)
    return WholeBatch(_shared(torch.stack(images)), list(trimaps), list(positions))


def _shared(batch: torch.Tensor) -> torch.Tensor:
    """In a worker moved to shared memory at once: a batch for which that fails as it is sent is waited for forever."""
    return batch if get_worker_info() is None else batch.share_memory_()


def _start_worker(worker: int) -> None:
    """One thread a worker: several would fight over the cores that the other workers use.

    Ctrl-C and SIGUSR1 to the whole process group are for the main process, which ends its workers when it has saved
    its work. SIGTERM stays as torch has set it: it is how the main process ends them.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
