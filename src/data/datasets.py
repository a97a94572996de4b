"""What a loader takes its samples from: augmented pairs, plain pairs, and pairs at their native resolution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from src.base.config import AugmentationSection
from src.base.errors import reason_of
from src.data.augment import PairTransform, RngStream, stream_seed
from src.data.decoding import PairDecoder
from src.data.images import BACKGROUND, PET, BorderPolicy, resize_mask, trimap_to_target
from src.data.pairs import Pair

_UINT8 = np.dtype(np.uint8)
LARGEST_TRY = 2048  # pixels a side; takes about a second
# Gives the image uint8 (size, size, 3) and the trimap uint8 (size, size) of a pair; neither is written to.
PairReader = Callable[[Pair, int], tuple[np.ndarray, np.ndarray]]


class Sample(NamedTuple):
    """One image uint8 (3, S, S), its target uint8 (S, S), and its position (index) in the data set."""

    image: torch.Tensor
    target: torch.Tensor
    position: int


NativeSample = tuple[torch.Tensor, np.ndarray, int]  # image (3, S, S), trimap (H, W) at its own size, position


@dataclass(frozen=True)
class FileReader:
    """The plain `PairReader`: decodes and resizes both files at every call."""

    decoder: PairDecoder

    def __call__(self, pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Raises ValueError, naming the file, for one that cannot be read, and DataChanged for one that changed."""
        image, trimap = self.decoder(pair.image, pair.mask, pair.digests)
        return self.decoder.images.resized(image, size), resize_mask(trimap, size)


def load_size(image_size: int, augmentation: AugmentationSection) -> int:
    """Pixels at which a `TrainDataset` reads its pairs, before anything is cropped from them."""
    return round(image_size * augmentation.load_scale)


class TrainDataset(Dataset[Sample]):
    """Augmented pairs and their copies, `len(pairs) * (1 + copies)` samples.

    Index i is copy i // n of image i % n, where n is the number of pairs and copy 0 is the original. Samples
    are asked for by `(epoch, index)`, so that a persistent worker process draws differently in each epoch.
    A copy (report E) is the same in every epoch; a random border is drawn at each access, as in report E.
    Raises ValueError when the augmentation cannot be built, with every problem.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read_pair: PairReader,
        image_size: int,
        border: BorderPolicy,
        augmentation: AugmentationSection,
        seed: int,
        allow_targets: Sequence[str] = (),
    ) -> None:
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
        border_seed = stream_seed(self.seed, RngStream.BORDER, epoch, index)
        generator = np.random.default_rng(border_seed) if self.border == "random" else None
        target = trimap_to_target(trimap, self.border, generator)
        try:
            if copy:
                seed = stream_seed(self.seed, RngStream.COPY, copy, image_index)
                image, target = self.copy_transform(image, target, seed)
            image, target = self.transform(image, target, stream_seed(self.seed, RngStream.TRANSFORM, epoch, index))
            self._check_format(image, target)
        except (Exception, SystemExit) as error:  # a transform raises any type, and never names the image
            raise ValueError(f"{pair.image}: cannot be augmented: {reason_of(error)}") from error
        return _as_sample(image, target, index)

    def _check_format(self, image: np.ndarray, target: np.ndarray) -> None:
        size = self.image_size
        if image.shape != (size, size, 3) or target.shape != (size, size) or {image.dtype, target.dtype} != {_UINT8}:
            raise ValueError(
                f"the transforms gave an image of {image.dtype} {image.shape} and a target of {target.dtype} "
                f"{target.shape} (loaded at {self.load_size}), but data.image_size is {size} and both must be uint8: "
                "end with a crop or resize to ${data.image_size}, or set augmentation.load_scale to 1, and leave out "
                "normalization, which is done on the device"
            )


def augmentation_problem(
    augmentation: AugmentationSection, image_size: int, allow_targets: Sequence[str] = ()
) -> str | None:
    """Why `augmentation` cannot make samples of `image_size`; None if no reason shows.

    It is tried on an image of noise: as it is, with all transforms applied, and with only those of probability 1.
    """
    size = load_size(image_size, augmentation)
    if size > LARGEST_TRY:
        return None
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    trimap = np.full((size, size), BACKGROUND, np.uint8)
    trimap[size // 4 : size // 2, size // 4 : size // 2] = PET
    pair = Pair("noise", Path("noise"), Path("noise"))
    for applied in (None, True, False):
        samples = TrainDataset(
            [pair], lambda *_: (image, trimap), image_size, "foreground", augmentation, 0, allow_targets
        )
        if applied is not None:
            samples.transform.decide(applied)
            samples.copy_transform.decide(applied)
        try:
            for epoch in range(min(16, max(1, 2**20 // size**2))):  # a choice among transforms takes several tries
                for index in {0, len(samples) - 1}:  # the image and, if any, its last copy
                    samples[(epoch, index)]
        except ValueError as error:
            return reason_of(error.__cause__ or error)
    return None


@dataclass(eq=False)
class EvalDataset(Dataset[Sample]):
    """Pairs without augmentation, resized to the image size; asked for by their index in `pairs`."""

    pairs: Sequence[Pair]
    read_pair: PairReader
    image_size: int
    border: BorderPolicy = "foreground"

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """The sample of `index`; raises ValueError, naming the file, for one that cannot be read."""
        image, trimap = self.read_pair(self.pairs[index], self.image_size)
        return _as_sample(image, trimap_to_target(trimap, self.border), index)


@dataclass(eq=False)
class NativeDataset(Dataset[NativeSample]):
    """Pairs for scoring at any size: the image resized to the image size, the trimap at its native resolution."""

    pairs: Sequence[Pair]
    decoder: PairDecoder
    image_size: int

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> NativeSample:
        """The sample of `index`; raises ValueError, naming the file, for one that cannot be read."""
        pair = self.pairs[index]
        image, trimap = self.decoder(pair.image, pair.mask, pair.digests)
        return _channels_first(self.decoder.images.resized(image, self.image_size)), trimap, index


def _as_sample(image: np.ndarray, target: np.ndarray, index: int) -> Sample:
    return Sample(_channels_first(image), torch.from_numpy(np.ascontiguousarray(target)), index)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (3, S, S)
