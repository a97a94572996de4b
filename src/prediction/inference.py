"""Any number of photos through a trained network, in batches: threads read and write, memory stays that of a few."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from src.base.config import PackageName, Section
from src.base.environment import usable_cores
from src.base.errors import ConfigError, attempt
from src.data.images import resize_image
from src.prediction.inputs import Inputs, expanded, find_inputs
from src.prediction.load_model import Predictor, load_model
from src.prediction.outputs import Kind, Outcome, Outputs, Status, as_16_bit, check_output
from src.prediction.panels import outlined
from src.prediction.predict import Map, Mask, Photo, Prediction, predict_resized, upsample
from src.training.protocol import Tta

MOST_WORKERS = 8  # each may hold a photo of 64 million pixels
# After these no other photo can be written either; any other refusal of the disk concerns one photo.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)

Item = TypeVar("Item")
Result = TypeVar("Result")


class InferenceOptions(Section):
    """See conf/inference.yaml."""

    run: str = Field(min_length=1)
    allow_targets: tuple[PackageName, ...] = ()
    input: str = Field(min_length=1)
    output: str = Field(min_length=1)
    device: str
    batch_size: int = Field(ge=1)
    tta: Tta
    threshold: float = Field(gt=0, lt=1)
    overlay: bool
    probability: bool
    overwrite: bool
    workers: int | None = Field(ge=1)


@dataclass(frozen=True)
class ResizedPhoto:
    """A photo of `size` (height, width), ready for the network: uint8 RGB (S, S, 3), and the pictures to write."""

    source: Path
    photo: Path  # relative to the inputs' base
    size: tuple[int, int]
    pixels: Photo
    kinds: list[Kind]


@dataclass(frozen=True)
class Inference:
    """A configured prediction job: model, inputs, outputs, batch size, averaging over flips, threshold, threads."""

    predictor: Predictor
    inputs: Inputs
    outputs: Outputs
    batch_size: int
    tta: Tta
    threshold: float
    workers: int

    @classmethod
    def of(cls, options: InferenceOptions) -> "Inference":
        """The job of these options, ready to begin. Raises ConfigError with every problem; nothing is written."""
        folder, problems = expanded(options.output), list[str]()
        wanted: dict[Kind, bool] = {"mask": True, "overlay": options.overlay, "probability": options.probability}

        inputs = attempt(problems, lambda: find_inputs(options.input, folder))
        attempt(problems, lambda: check_output(folder))
        predictor = attempt(problems, lambda: load_model(expanded(options.run), options.device, options.allow_targets))
        if predictor is None or inputs is None or problems:
            raise ConfigError(problems)
        workers = options.workers or min(usable_cores(), MOST_WORKERS)
        outputs = Outputs(folder, tuple(kind for kind in wanted if wanted[kind]), options.overwrite)
        return cls(predictor, inputs, outputs, options.batch_size, options.tta, options.threshold, workers)

    def batches(self) -> Iterator[list[Outcome]]:
        """What became of the photos, in their order, `batch_size` at a time as soon as these are on the disk.

        Held are at most two batches of network-sized images, and one photo a worker. Raises OSError when the disk
        takes no more, ValueError when the device has too little memory.
        """
        pool = ThreadPoolExecutor(self.workers)
        try:
            ready = in_order(pool, self._read, self.inputs.photos, ahead=self.batch_size + self.workers)
            while batch := list(islice(ready, self.batch_size)):
                yield self._predict(pool, batch)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, source: Path) -> ResizedPhoto | Outcome:
        return _or_failed(source, lambda: self._resized(source))

    def _resized(self, source: Path) -> ResizedPhoto | Outcome:
        photo = source.relative_to(self.inputs.base)
        kinds = self.outputs.to_write(photo)
        if not kinds:
            return self._outcome("kept", source, photo, self.outputs.kept_mask(photo))
        pixels = self.predictor.reader(source)
        height, width, _ = pixels.shape
        return ResizedPhoto(source, photo, (height, width), resize_image(pixels, self.predictor.image_size), kinds)

    def _predict(self, pool: ThreadPoolExecutor, batch: list[ResizedPhoto | Outcome]) -> list[Outcome]:
        resized = [one for one in batch if isinstance(one, ResizedPhoto)]
        if not resized:
            return [one for one in batch if isinstance(one, Outcome)]
        try:
            maps = predict_resized(self.predictor, [one.pixels for one in resized], self.tta)  # (B, S, S)
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"batch_size: got {self.batch_size}, for which the device has too little memory; give a smaller one"
            ) from error
        written = iter(list(pool.map(self._write, resized, maps)))
        return [one if isinstance(one, Outcome) else next(written) for one in batch]

    def _write(self, resized: ResizedPhoto, probability: Map) -> Outcome:
        return _or_failed(resized.source, lambda: self._written(resized, probability))

    def _written(self, resized: ResizedPhoto, probability: Map) -> Outcome:
        prediction = upsample(probability, *resized.size, self.threshold)
        for kind in resized.kinds:
            self.outputs.write(resized.photo, kind, self._picture(kind, resized.source, prediction))
        return self._outcome("written", resized.source, resized.photo, prediction.mask)

    def _picture(self, kind: Kind, source: Path, prediction: Prediction) -> npt.NDArray[Any]:
        if kind == "mask":
            return prediction.mask.astype(np.uint8) * 255
        if kind == "probability":
            return as_16_bit(prediction.probability)
        # the photo is read again: those of a whole batch would fill the memory
        return outlined(self.predictor.reader(source), prediction.mask)

    def _outcome(self, status: Status, source: Path, photo: Path, mask: Mask) -> Outcome:
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
