"""Any number of photos through a trained network, in batches: threads read and write, memory stays that of a few."""

import errno
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from src.base.config import PackageName, Section, UserPath
from src.base.environment import usable_cores
from src.base.errors import ConfigError, attempt, one_line
from src.base.progress import ProgressBar
from src.data.decoding import PairDecoder
from src.data.images import FOREGROUND, IGNORED, trimap_to_target
from src.data.pairs import Pair
from src.display.panels import STYLES, TRUTH, Example, draw_figure, outlined
from src.prediction.inputs import Inputs, find_inputs
from src.prediction.load_model import Predictor, load_model, open_own_data
from src.prediction.outputs import (
    Kind,
    Outcome,
    Outputs,
    Status,
    as_16_bit,
    check_output,
    closing_line,
    write_summary,
)
from src.prediction.predict import Map, Mask, Photo, Prediction, predict_resized, upsample
from src.training.metrics import count_pixels, dice_per_image
from src.training.protocol import Tta
from src.training.stopping import Interrupted, StopRequest

MOST_WORKERS = 8  # each may hold a photo of 64 million pixels
# After these no other photo can be written either; any other refusal of the disk concerns one photo.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
NAMED = 5  # failures that are printed; the table has them all
SOME_FAILED = 3  # exit code

Target = npt.NDArray[np.uint8]  # (H, W)
Item = TypeVar("Item")
Result = TypeVar("Result")


class InferenceOptions(Section):
    """See conf/inference.yaml."""

    run: UserPath
    allow_targets: tuple[PackageName, ...] = ()
    input: str | None = Field(min_length=1)
    split: Literal["train", "valid", "test"] | None
    root: UserPath | None
    output: UserPath
    device: str
    batch_size: int = Field(ge=1)
    tta: Tta
    threshold: float = Field(gt=0, lt=1)
    overlay: bool
    probability: bool
    styles: list[Literal[*STYLES]]  # type: ignore[valid-type]
    overwrite: bool
    cache: UserPath
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
    """A configured prediction job, as `options` ask for it.

    `truth`: for photos of the run's own data, gives the true mask at a photo's own size by the photo's path, uint8
    (H, W) of FOREGROUND, 0 and IGNORED.
    """

    options: InferenceOptions
    predictor: Predictor
    inputs: Inputs
    outputs: Outputs
    truth: Callable[[Path], Target] | None = None

    @classmethod
    def of(cls, options: InferenceOptions) -> "Inference":
        """The job of these options, ready to begin. Raises ConfigError with every problem; nothing is written."""
        folder, problems = Path(options.output), _conflicts(options)
        given, inputs, truth = options.input, None, None
        if given is not None:
            inputs = attempt(problems, lambda: find_inputs(given, folder))
        attempt(problems, lambda: check_output(folder))
        predictor = attempt(problems, lambda: load_model(Path(options.run), options.device, options.allow_targets))
        if predictor is not None and options.split is not None and not problems:
            splits = open_own_data(predictor.folder, predictor.config, options.root, options.cache)
            pairs = getattr(splits, options.split)
            photos = sorted(pair.image for pair in pairs)
            inputs = Inputs(Path(os.path.commonpath([photo.parent for photo in photos])), photos, 0)
            truth = partial(_true_mask, {pair.image: pair for pair in pairs}, splits.decoder)
        if predictor is None or inputs is None or problems:
            raise ConfigError(problems)
        wanted = {"mask": True, "overlay": options.overlay, "probability": options.probability}
        kinds = (*(kind for kind in wanted if wanted[kind]), *options.styles)
        return cls(options, predictor, inputs, Outputs(folder, kinds, options.overwrite), truth)

    def run(self) -> int:
        """Predicts all photos, prints how it ended and returns the exit code; writes a summary however it ends.

        Raises OSError when the disk takes no more, ValueError when the device has too little memory.
        """
        outcomes: list[Outcome] = []
        self.outputs.folder.mkdir(parents=True, exist_ok=True)
        stop = StopRequest()
        try:
            with stop.listening(), ProgressBar(total=len(self.inputs.photos), desc="photos", unit="photo") as progress:
                for batch in self.batches():
                    outcomes += batch
                    progress.update(len(batch))
                    stop.check()
        except Interrupted as request:
            resumes = "resumes" + (", without overwrite=true" if self.outputs.overwrite else "")
            done = f"{len(outcomes):,} of {len(self.inputs.photos):,} photos"
            print(f"interrupted after {done}; the same command {resumes}", file=sys.stderr)
            return 128 + request.signal_number
        finally:
            write_summary(outcomes, self.outputs.folder)
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        for outcome in failed[:NAMED]:
            print(one_line(f"failed: {outcome.input}: {outcome.reason}"), file=sys.stderr)
        print(closing_line(outcomes, self.outputs.folder, self.inputs.left_out))
        return SOME_FAILED if failed else 0

    def batches(self) -> Iterator[list[Outcome]]:
        """What became of the photos, in their order, `batch_size` at a time as soon as these are on the disk.

        Held are at most two batches of network-sized images, and one photo a worker. Raises OSError when the disk
        takes no more, ValueError when the device has too little memory.
        """
        workers, batch_size = self.options.workers or min(usable_cores(), MOST_WORKERS), self.options.batch_size
        pool = ThreadPoolExecutor(workers)
        try:
            ready = in_order(pool, partial(_or_failed, self._resized), self.inputs.photos, batch_size + workers)
            while batch := list(islice(ready, batch_size)):
                yield self._predict(pool, batch)
        finally:
            pool.shutdown(cancel_futures=True)

    def _resized(self, source: Path) -> ResizedPhoto | Outcome:
        photo = source.relative_to(self.inputs.base)
        kinds = self.outputs.to_write(photo)
        if not kinds:
            return self._outcome("kept", source, photo, self.outputs.kept_mask(photo))
        pixels = self.predictor.reader(source)
        height, width, _ = pixels.shape
        square = self.predictor.reader.resized(pixels, self.predictor.image_size)
        return ResizedPhoto(source, photo, (height, width), square, kinds)

    def _predict(self, pool: ThreadPoolExecutor, batch: list[ResizedPhoto | Outcome]) -> list[Outcome]:
        resized = [one for one in batch if isinstance(one, ResizedPhoto)]
        if not resized:
            return [one for one in batch if isinstance(one, Outcome)]
        try:
            maps = predict_resized(self.predictor, [one.pixels for one in resized], self.options.tta)  # (B, S, S)
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"batch_size: got {self.options.batch_size}, for which the device has too little memory; give less"
            ) from error
        sources = [one.source for one in resized]
        written = iter(list(pool.map(partial(_or_failed, self._written), sources, resized, maps)))
        return [one if isinstance(one, Outcome) else next(written) for one in batch]

    def _written(self, source: Path, resized: ResizedPhoto, probability: Map) -> Outcome:
        prediction = upsample(probability, *resized.size, self.options.threshold)
        outcome = self._outcome("written", source, resized.photo, prediction.mask)
        for kind in resized.kinds:
            self.outputs.write(resized.photo, kind, self._picture(kind, prediction, outcome))
        return outcome

    def _picture(self, kind: Kind, prediction: Prediction, outcome: Outcome) -> npt.NDArray[Any]:
        if kind == "mask":
            return prediction.mask.astype(np.uint8) * 255
        if kind == "probability":
            return as_16_bit(prediction.probability)
        photo = self.predictor.reader(outcome.input)  # once more: those of a whole batch would fill the memory
        if kind == "overlay":
            return outlined(photo, prediction.mask)
        unknown = np.full(photo.shape[:2], IGNORED, dtype=np.uint8)
        target = unknown if self.truth is None else self.truth(outcome.input)
        example = Example(
            outcome.input.stem,
            photo,
            target == FOREGROUND,
            target == IGNORED,
            prediction.probability,
            self.options.threshold,
            outcome.dice,
        )
        return np.asarray(draw_figure(example, kind))

    def _outcome(self, status: Status, source: Path, photo: Path, mask: Mask) -> Outcome:
        height, width = mask.shape
        path = self.outputs.path(photo, "mask").relative_to(self.outputs.folder)
        dice = None if self.truth is None else _dice(mask, self.truth(source))
        return Outcome(source, status, "", (height, width), float(mask.mean()), dice, path)


def _true_mask(pairs: Mapping[Path, Pair], decoder: PairDecoder, photo: Path) -> Target:
    """The true mask of a photo at its own size, the border as foreground."""
    return trimap_to_target(decoder(photo, pairs[photo].mask)[1], "foreground")


def _dice(mask: Mask, target: Target) -> float:
    if target.shape != mask.shape:
        raise ValueError(f"its mask has {mask.shape} pixels, the true one {target.shape}; overwrite=true")
    return float(dice_per_image(count_pixels(mask, target)[None])[0])


def _conflicts(options: InferenceOptions) -> list[str]:
    """A line for each option that another one excludes."""
    problems = []
    if (options.input is None) == (options.split is None):
        problems.append(f"input: got {options.input!r} with split={options.split}; give one of the two")
    if options.split is None:
        if options.root is not None:
            problems.append(f"root: got {options.root!r} without split; it is where the run's own data are now")
        problems += [
            f"styles: got {style!r}, which shows the true mask; with input only report_a_overlay can be drawn"
            for style in options.styles
            if set(STYLES[style]) & set(TRUTH)
        ]
    return problems


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


def _or_failed(work: Callable[..., Result], source: Path, *arguments: Any) -> Result | Outcome:
    """What `work` on a photo gives, or why this one failed. Raises OSError when the disk takes no more."""
    try:
        return work(source, *arguments)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        reason = str(error)
    except (ValueError, MemoryError, cv2.error) as error:
        reason = str(error) or "too little memory"
    return Outcome(source, "failed", " ".join(reason.removeprefix(f"{source}: ").split()))
