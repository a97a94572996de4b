"""How predictions are scored: the choices that make one published Dice differ from another for the same network."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

from src.data.images import BorderPolicy
from src.prediction.trained import Tta

Size = Literal["square", "native"]
BORDERS: tuple[BorderPolicy, ...] = ("foreground", "background", "ignore")
SIZES: tuple[Size, ...] = ("square", "native")


@dataclass(frozen=True)
class Protocol:
    """`size`: scored at the network's square or at each image's own size; `threshold`: above it is foreground.

    `chosen` says where the threshold is from: None for a number that was given.
    """

    border: BorderPolicy
    size: Size
    tta: Tta
    threshold: float
    chosen: Literal["valid"] | None = None

    @property
    def name(self) -> str:
        """The key in test.json: `headline`, or what differs from it, such as `native_border_ignore_flips`."""
        differs = [
            "native" if self.size == "native" else "",
            f"border_{self.border}" if self.border != "foreground" else "",
            self.tta if self.tta != "none" else "",
            self._threshold_name(),
        ]
        return "_".join(filter(None, differs)) or "headline"

    def _threshold_name(self) -> str:
        if self.chosen is not None:
            return f"threshold_{self.chosen}"
        return f"threshold_{self.threshold:g}" if self.threshold != 0.5 else ""


def protocols_of(tta: Tta, threshold: float, chosen: Literal["valid"] | None) -> list[Protocol]:
    """Every border at every size, the headline's way first."""
    return [Protocol(border, size, tta, threshold, chosen) for size, border in product(SIZES, BORDERS)]
