"""Any number of photos through a trained network, in batches: threads read and write, memory stays that of a few."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import torch

from src.data.images import resize_image
from src.prediction.inputs import Inputs
from src.prediction.load_model import Predictor
from src.prediction.outputs import Kind, Outcome, Outputs, Status
from src.prediction.predict import Map, Mask, Photo, predict_resized, upsample
from src.training.protocol import Tta

# After these no other photo can be written either; any other refusal of the disk concerns one photo.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Square:
    """A photo of `size` (height, width), ready for the network: uint8 RGB (S, S, 3)."""

    source: Path
    photo: Path  # relative to the inputs' base
    size: tuple[int, int]
    pixels: Photo
    kinds: list[Kind]


@dataclass(frozen=True)
class Inference:
    """Who predicts what, how, and where it is written."""

    predictor: Predictor
    inputs: Inputs
    outputs: Outputs
    batch_size: int
    tta: Tta
    threshold: float
    workers: int

    def batches(self) -> Iterator[list[Outcome]]:
        """What became of the photos, in their order, `batch_size` at a time as soon as these are on the disk.

        Held are at most two batches of network-sized images, and one photo a worker. Raises OSError when the disk
        takes no more, ValueError when the device has too little memory.
        """
        pool = ThreadPoolExecutor(self.workers)
        try:
            ready = in_order(pool, self._read, self.inputs.photos, ahead=self.batch_size + self.workers)
            while portion := list(islice(ready, self.batch_size)):
                yield self._predict(pool, portion)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, source: Path) -> Square | Outcome:
        return _or_failed(source, lambda: self._ready(source))

    def _ready(self, source: Path) -> Square | Outcome:
        photo = source.relative_to(self.inputs.base)
        kinds = self.outputs.to_write(photo)
        if not kinds:
            return self._done("kept", source, photo, self.outputs.kept_mask(photo))
        picture = self.predictor.reader(source)
        height, width, _ = picture.shape
        return Square(source, photo, (height, width), resize_image(picture, self.predictor.image_size), kinds)

    def _predict(self, pool: ThreadPoolExecutor, portion: list[Square | Outcome]) -> list[Outcome]:
        squares = [one for one in portion if isinstance(one, Square)]
        if not squares:
            return [one for one in portion if isinstance(one, Outcome)]
        try:
            maps = predict_resized(self.predictor, [square.pixels for square in squares], self.tta)  # (B, S, S)
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"batch_size: got {self.batch_size}, for which the device has too little memory; give a smaller one"
            ) from error
        written = iter(list(pool.map(self._write, squares, maps)))
        return [one if isinstance(one, Outcome) else next(written) for one in portion]

    def _write(self, square: Square, probability: Map) -> Outcome:
        return _or_failed(square.source, lambda: self._written(square, probability))

    def _written(self, square: Square, probability: Map) -> Outcome:
        prediction = upsample(probability, *square.size, self.threshold)
        self.outputs.write(square.source, square.photo, prediction, square.kinds, self.predictor.reader)
        return self._done("written", square.source, square.photo, prediction.mask)

    def _done(self, status: Status, source: Path, photo: Path, mask: Mask) -> Outcome:
        height, width = mask.shape
        path = self.outputs.path(photo, "mask").relative_to(self.outputs.folder)
        return Outcome(source, status, size=(height, width), foreground=float(mask.mean()), mask=path)


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """The results of `work` on `items`, in their order; at most `ahead` are begun or wait to be taken."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _or_failed(source: Path, work: Callable[[], Result]) -> Result | Outcome:
    """What `work` gives, or why this one photo failed. Raises OSError when the disk takes no more."""
    try:
        return work()
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        reason = str(error)
    except (ValueError, MemoryError, cv2.error) as error:
        reason = str(error) or "too little memory"
    return Outcome(source, "failed", " ".join(reason.removeprefix(f"{source}: ").split()))
