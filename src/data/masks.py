"""Masks as trimaps: which values are foreground, decided over a whole data set; docs/data.md has the table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from src.data.images import BACKGROUND, BORDER, PET, VOID, Decoded, decode

WHITES = (1, 255, 65535)  # what foreground may be in a file; 65535 only where values have 16 bits
Kind = Literal["1-bit", "8-bit", "16-bit", "float"]
Channel = Literal["color", "alpha"]
SHOWN = 10  # different values that a message lists
JPEG_TINT = 16  # how far the colors of a grey JPEG may lie apart
Found = TypeVar("Found")


class Channels(NamedTuple, Generic[Found]):
    """What a file holds in its color (or index) and in its alpha, if that may be the mask; as text what is wrong.

    `decisive`: which of both is the mask, if this file alone shows it.
    """

    color: Found | str
    alpha: Found | str | None = None
    decisive: Channel | None = None

    def chosen(self, channel: Channel) -> Found | str:
        """The mask in a data set whose masks are in `channel`."""
        return self.color if self.alpha is None or "alpha" not in (channel, self.decisive) else self.alpha


class Values(NamedTuple):
    """The values of a mask: how many different ones, the first in order, the highest that counts, if all are whole.

    `foreground`: pixels above the limit, for each of WHITES, of the `counted` ones.
    """

    kind: Kind
    different: int
    shown: tuple[float, ...]
    highest: float
    whole: bool
    foreground: tuple[int, ...]
    counted: int

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self.shown) + (", ..." if self.different > SHOWN else "")


MaskContent = Channels[Values]


@dataclass(frozen=True)
class MaskReader:
    """Reads mask files as trimaps, uint8 (H, W); as it is by default, official trimaps of 1, 2 and 3.

    `binary`: 0 is background, and 1 or white (255, in 16 bits 65535) foreground. `threshold`: foreground is what is
    above this share of white, or, from 1 on, above this value of 255. `ignore`: the value of pixels that do not count.

    `channel` and `whites` are found over the whole data set (see `decided`): where the masks are, and which value is
    foreground in files of each kind. Until then each file decides for itself.
    """

    binary: bool = False
    threshold: float | None = None
    ignore: int | None = None
    channel: Channel = "color"
    whites: tuple[tuple[Kind, int], ...] = ()

    def __call__(self, path: Path) -> np.ndarray:
        """The trimap in `path`, as it is stored. Raises ValueError, naming the file, for any other content."""
        return self.trimap(decode(path))

    def trimap(self, decoded: Decoded) -> np.ndarray:
        """The trimap that `decoded` is; as `__call__`."""
        channels = self._channels(decoded)
        content = self._content(channels)
        if problem := self.problem(content):
            raise ValueError(f"{decoded.path}: {problem}")
        codes, values = channels.chosen(self.channel), content.chosen(self.channel)
        assert isinstance(codes, np.ndarray) and isinstance(values, Values), "a mask without a problem has values"
        trimap = codes
        if self.binary:
            trimap = np.where(codes > self._limit(self._white(values)), PET, BACKGROUND)
            if self.ignore is not None:
                trimap[codes == self.ignore] = VOID
        return trimap.astype(np.uint8)

    def content(self, decoded: Decoded) -> MaskContent:
        """What `decoded` holds."""
        return self._content(self._channels(decoded))

    def decided(self, contents: Sequence[MaskContent]) -> "MaskReader":
        """This reader for a data set of masks that hold `contents`."""
        if not self.binary:
            return self
        channel: Channel = "alpha" if any(content.decisive == "alpha" for content in contents) else "color"
        highest: dict[Kind, Counter[float]] = {}
        for content in contents:
            values = content.chosen(channel)
            if isinstance(values, Values) and values.highest > 0:
                highest.setdefault(values.kind, Counter())[values.highest] += 1
        whites = tuple(sorted((kind, self._commonest(counts)) for kind, counts in highest.items()))
        return replace(self, channel=channel, whites=whites)

    def settings(self) -> list[str]:
        """The keys that decide what foreground is, if given."""
        keys = {"mask_threshold": self.threshold, "ignore_value": self.ignore}
        return [f"data.{key}={value:g}" for key, value in keys.items() if value is not None]

    def is_by_alpha(self, content: MaskContent) -> bool:
        """Whether the mask lies in the file's alpha."""
        return content.alpha is not None and "alpha" in (self.channel, content.decisive)

    def problem(self, content: MaskContent) -> str | None:
        """Why a mask with this content cannot be used; None if it can."""
        values = content.chosen(self.channel)
        if isinstance(values, str):
            return values
        if self.channel == "alpha" and content.decisive == "color":
            return "holds its mask in its color, while other masks of the data set have theirs in their alpha"
        lowest, white = values.shown[0], self._white(values)
        if not self.binary:
            sound = values.whole and lowest >= PET and values.highest <= BORDER
            return None if sound else f"trimap values {values}, allowed are 1 pet, 2 background, 3 border"
        if self.threshold is not None:
            if values.whole and 0 < values.highest <= 1 < white:
                return f"mask values {values}, all below the threshold, where other masks hold up to {white}"
            sound = lowest >= 0 and values.highest <= white
            return None if sound else f"mask values {lowest:g} to {values.highest:g}, allowed are 0 to {white}"
        if values.different <= SHOWN and set(values.shown) <= {0, white, self.ignore}:
            return None
        return (
            f"mask values {values}; this data set's masks hold 0 (background) and {white} (a data set holds either 0 "
            "and 1, or 0 and 255); for blurred edges or JPEG, data.mask_threshold=0.5 takes what exceeds half of white "
            "as foreground; data.ignore_value=<value> leaves pixels of a third value out"
        )

    def foreground_share(self, content: MaskContent) -> float | None:
        """The share of foreground among the pixels that count; None if no pixel does."""
        found = content.chosen(self.channel)
        if isinstance(found, str) or not found.counted:
            return None
        return found.foreground[WHITES.index(self._white(found))] / found.counted

    def _channels(self, decoded: Decoded) -> Channels[np.ndarray]:
        return channels_of(decoded, self.binary, self.threshold is not None)

    def _content(self, channels: Channels[np.ndarray]) -> MaskContent:
        alpha = None if channels.alpha is None else self._values(channels.alpha)
        return Channels(self._values(channels.color), alpha, channels.decisive)

    def _values(self, codes: np.ndarray | str) -> Values | str:
        if isinstance(codes, str):
            return codes
        found, times = np.unique(codes, return_counts=True)
        if codes.dtype.kind == "f" and not np.isfinite(found).all():
            return "holds values that are not numbers"
        counts = found != self.ignore if self.ignore is not None else np.ones(len(found), dtype=bool)
        is_foreground = [found > self._limit(white) if self.binary else found != BACKGROUND for white in WHITES]
        kinds: dict[str, Kind] = {"bool": "1-bit", "uint8": "8-bit", "uint16": "16-bit"}
        return Values(
            kinds.get(codes.dtype.name, "float"),
            len(found),
            tuple(float(value) for value in found[:SHOWN]),
            float(found[counts].max(initial=0)),
            codes.dtype.kind != "f" or bool((found == np.floor(found)).all()),
            tuple(int(times[above & counts].sum()) for above in is_foreground),
            int(times[counts].sum()),
        )

    def _white(self, values: Values) -> int:
        """The value of foreground in a file of this kind."""
        return dict(self.whites).get(values.kind) or _white_for(values.highest)

    def _commonest(self, highest: Counter[float]) -> int:
        """The foreground of most files, so that a message names the others; a threshold allows any value up to it."""
        known = {value: count for value, count in highest.items() if value in WHITES}
        if self.threshold is None and known:
            return int(max(known, key=lambda value: (known[value], -value)))
        return _white_for(max(highest))

    def _limit(self, white: int) -> float:
        """Values above it are foreground."""
        if self.threshold is None:
            return 0
        return white * (self.threshold if self.threshold < 1 else self.threshold / 255)


def _white_for(highest: float) -> int:
    return next((white for white in WHITES if highest <= white), WHITES[-1])


def channels_of(decoded: Decoded, binary: bool, tinted: bool) -> Channels[np.ndarray]:
    """Where the mask of a decoded file may be, each (H, W).

    `binary`: it holds foreground and background, not classes. `tinted`: colors that are nearly grey count as grey, as
    of a JPEG.
    """
    color, alpha = _color(decoded, binary, tinted), _alpha(decoded)
    colored = f"a mask needs one value a pixel, this one is colored (mode {decoded.image.mode})"
    in_color = colored if color is None else color
    if alpha is None:
        return Channels(in_color)
    shown = np.asarray(decoded.image.convert("RGBA"))[..., :3]
    varied = not (_is_one_color(shown) if color is None else _is_constant(color))
    if _is_constant(alpha):  # it is full or empty
        if varied:
            return Channels(in_color, decisive="color")
        if not alpha.any() and (color is None or color.any()):
            in_color = "is transparent everywhere: its color or its alpha may be the mask"
        return Channels(in_color, alpha)  # the other masks of the data set decide
    agree = np.array_equal(shown.any(axis=2) if color is None else color > 0, alpha > 0)
    if _is_one_color(shown):
        if color is not None and varied and not agree and not color.all():  # a palette of one color
            return Channels("its index and its alpha contradict each other; keep one of them")
        return Channels(colored, alpha, "alpha")
    if not agree:
        return Channels("its color and its alpha contradict each other; keep one of them")
    return Channels(in_color, alpha, "alpha" if color is None or len(np.unique(alpha)) > 2 else None)


def _color(decoded: Decoded, binary: bool, tinted: bool) -> np.ndarray | None:
    """The one value of each pixel, (H, W): grey, or the index of a palette; None for colors."""
    image = decoded.image
    if decoded.deep is not None:
        codes = decoded.deep
    elif image.mode == "P":
        codes = _indices(image, binary, tinted)
    else:
        codes = np.asarray(image)
    if codes.ndim == 2:
        return codes
    if image.mode in ("LA", "PA"):
        return codes[..., 0]
    if image.mode not in ("RGB", "RGBA"):
        return None
    low, high = codes[..., :3].min(axis=2), codes[..., :3].max(axis=2)
    if np.array_equal(low, high):
        return low
    return np.asarray(image.convert("L")) if tinted and int((high - low).max()) <= JPEG_TINT else None


def _indices(image: Image.Image, binary: bool, tinted: bool) -> np.ndarray:
    """Of a palette: its indices (as in Pascal VOC masks), unless those of a binary mask are black and white or shades.

    If several indices in use have the same color, the indices count.
    """
    indices = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if not binary or used[-1] >= len(palette) or _is_one_color(palette):
        return indices
    colors = palette[used]
    shades = set(colors[:, 0].tolist())
    if (colors != colors[:, :1]).any() or (len(used) > 1 and len(shades) == 1):
        return indices
    return palette[indices][..., 0] if tinted or shades <= {0, 255} or {0, 255} <= shades else indices


def _alpha(decoded: Decoded) -> np.ndarray | None:
    """The alpha of each pixel, (H, W), unless it is only one color that counts as transparent."""
    image = decoded.image
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image)[..., -1] if image.mode in ("LA", "PA", "RGBA") else None


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values.flat[0]).all())


def _is_one_color(colors: np.ndarray) -> bool:
    """Of colors (..., 3)."""
    return bool((colors == colors.reshape(-1, 3)[0]).all())
