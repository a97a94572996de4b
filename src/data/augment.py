"""Random changes of an image and its target: albumentations from config nodes, drawn from given seeds."""

import os

# albumentations asks a package index for a newer version at every import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import inspect
import random
import warnings
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from src.base.config import find_target
from src.base.errors import ConfigError, reason_of, shown
from src.data.images import FOREGROUND, IGNORED

# Not arguments for a config: strictness and seeds are set here, and a config has no functions.
_RESERVED = {"self", "strict", "seed", "first", "second", "image", "mask", "keypoints", "bboxes"}
# Of albumentations: what is built on, and Lambda, which does nothing without functions.
_UNFIT = {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "BaseCompose", "Lambda"}
ADVICE = r".*([Cc]onsider using|Please use|Try to use) "  # that another transform does the same
_IS_UNKNOWN_CODE = np.isin(np.arange(256), (0, IGNORED, FOREGROUND), invert=True).astype(np.uint8)


class RngStream(IntEnum):
    """The purpose of a random draw; each has its own streams, so that no two ever share numbers."""

    SHUFFLE = 0
    TRANSFORM = 1
    COPY = 2
    BORDER = 3
    MIX = 4


def stream_seed(seed: int, stream: RngStream, first: int, second: int = 0) -> np.random.SeedSequence:
    """The seed of one draw, decided by its four numbers alone, in any process and order.

    `first` and `second` identify the draw: epoch and index, copy and image, or epoch alone. Always four
    numbers, because a SeedSequence pads with zeros: (1, 2) and (1, 2, 0) would be the same stream.
    """
    return np.random.SeedSequence([seed, stream, first, second])


class PairTransform:
    """Albumentations transforms applied alike to an image and its target; picklable, for loader workers.

    `nodes` are config nodes as in conf/augmentation. With `mask_as_image` the target is transformed as an
    image is, colors included, as report A's code seems to do: labels between 0 and 255 appear.
    Raises ValueError (ConfigError) with every problem of the nodes.
    """

    def __init__(
        self, nodes: list[dict[str, Any]], mask_as_image: bool = False, allow_targets: Sequence[str] = ()
    ) -> None:
        self.compose = build_transform(nodes, mask_as_image, allow_targets)
        self.mask_as_image = mask_as_image

    def __call__(
        self, image: np.ndarray, target: np.ndarray, seeds: np.random.SeedSequence
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and target uint8 (H, W), transformed; the arguments stay as they are.

        Raises ValueError when a transform writes another value than the codes of a target into it.
        """
        if not self.compose.transforms:
            return image, target
        # Not set_random_seed: it seeds each transform alike, and two flips of p 0.5 would always go together.
        python_seed = int(seeds.generate_state(1, np.uint64)[0])
        self.compose.set_random_state(np.random.default_rng(seeds), random.Random(python_seed))
        return self._soft(image, target) if self.mask_as_image else self._binary(image, target)

    def decide(self, applied: bool) -> None:
        """Lets every transform that is drawn with a probability between 0 and 1 always be applied, or never."""
        from albumentations import BaseCompose, OneOrOther

        waiting: list[Any] = [self.compose]
        while waiting:
            transform = waiting.pop()
            waiting += transform.transforms if isinstance(transform, BaseCompose) else []
            if 0 < transform.p < 1 and not isinstance(transform, OneOrOther):
                transform.p = float(applied)

    def _binary(self, image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        changed = self.compose(image=image, mask=target)
        target = changed["mask"]
        if cv2.countNonZero(cv2.LUT(target, _IS_UNKNOWN_CODE)):  # a quarter of numpy's time
            unknown = sorted(set(np.unique(target).tolist()) - {0, IGNORED, FOREGROUND})
            raise ValueError(
                f"a transform wrote {unknown[:5]} into the target; allowed are 0, {IGNORED}, {FOREGROUND}: "
                "leave fill_mask at one of them, and use no transform that draws its own mask values"
            )
        return changed["image"], target

    def _soft(self, image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ignored = (target == IGNORED).astype(np.uint8)
        changed = self.compose(image=image, soft_target=target, mask=ignored)
        soft = changed["soft_target"].copy()
        # A label that happens to become 127 is still a label: as IGNORED its pixel would leave the loss.
        soft[soft == IGNORED] = IGNORED + 1
        soft[changed["mask"] > 0] = IGNORED
        return changed["image"], soft


def build_transform(nodes: list[dict[str, Any]], mask_as_image: bool = False, allow_targets: Sequence[str] = ()) -> Any:
    """Build config nodes (`_target_: albumentations.X`, its arguments beside it) into one strict Compose.

    Masks are always interpolated nearest. With `mask_as_image`, an array passed as
    `soft_target` is treated as an image. `allow_targets`: packages whose transforms are allowed too.
    Raises ValueError (ConfigError) with all that `check_transforms` finds.
    """
    from albumentations import Compose

    problems: list[str] = []
    transforms = _build_nodes(nodes, "transforms", problems, allow_targets)
    if problems:
        raise ConfigError(problems)
    return Compose(
        transforms,
        strict=True,
        mask_interpolation=cv2.INTER_NEAREST,
        additional_targets={"soft_target": "image"} if mask_as_image else None,
    )


def check_transforms(
    nodes: list[dict[str, Any]], where: str = "transforms", allow_targets: Sequence[str] = ()
) -> list[str]:
    """One line for each reason why `nodes` cannot be built, starting with the config key `where`.

    Without this, albumentations ignores unknown and renamed arguments with no more than a warning.
    """
    problems: list[str] = []
    _build_nodes(nodes, where, problems, allow_targets)
    return problems


def _build_nodes(nodes: Any, where: str, problems: list[str], allowed: Sequence[str]) -> list[Any]:
    """Build each node; what cannot be built is None in the result and a line in `problems`."""
    if not isinstance(nodes, list):
        problems.append(f"{where}: got {nodes!r}; expected a list of transforms")
        return [None]
    return [_build_node(node, f"{where}[{position}]", problems, allowed) for position, node in enumerate(nodes)]


def _build_node(node: Any, where: str, problems: list[str], allowed: Sequence[str]) -> Any:
    import albumentations  # takes half a second, and an id does not need it

    if not isinstance(node, dict):
        problems.append(f"{where}: got {node!r}; expected a mapping with _target_: albumentations.<transform>")
        return None
    try:
        kind = find_target(node, albumentations.BasicTransform | albumentations.BaseCompose, allowed)
        if kind.__name__ in _UNFIT and kind.__module__.startswith("albumentations."):
            raise ConfigError([f"_target_: got {shown(node['_target_'])}, which is not a transform for a config"])
    except ConfigError as error:
        problems += [f"{where}.{problem}" for problem in error.problems]
        return None
    where = f"{where} ({kind.__name__})"
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    accepted = sorted(inspect.signature(kind.__init__).parameters.keys() - _RESERVED)  # type: ignore[misc]
    unknown = [key for key in arguments if key not in accepted]
    problems += [f"{where}: unknown argument {key!r}; it accepts {', '.join(accepted)}" for key in unknown]
    inner = _build_nodes(arguments.get("transforms", []), f"{where}.transforms", problems, allowed)
    if unknown or None in inner:
        return None
    return _construct(kind, arguments | ({"transforms": inner} if inner else {}), where, problems)


def _construct(kind: type, arguments: dict[str, Any], where: str, problems: list[str]) -> Any:
    """Call the class; each error or warning becomes a line in `problems`."""
    from albumentations import BasicTransform

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a value that was changed is not what the config says
            warnings.filterwarnings("ignore", ADVICE, UserWarning)
            transform = kind(**arguments)
    except (Exception, SystemExit) as error:  # the constructors raise any type: pydantic's, TypeError, a script's
        problems += [f"{where}: {reason}" for reason in _reasons(error)]
        return None
    if isinstance(transform, BasicTransform):
        foreign = set(transform.targets_as_params) - {"image", "mask"}
        if "image" not in transform.available_keys or foreign:
            problems.append(f"{where}: needs more inputs than an image and its mask")
    return transform


def _reasons(error: BaseException) -> list[str]:
    """A constructor's error, one line for each argument."""
    if not isinstance(error.__cause__, ValidationError):
        return [reason_of(error)]
    reasons = []
    for detail in error.__cause__.errors(include_url=False):
        got = "" if detail["type"] == "missing" else f" is {detail['input']!r}"
        # beyond the argument, the location has the type of a union that was tried
        reasons.append(f"{detail['loc'][0]}{got}: {detail['msg']}" if detail["loc"] else detail["msg"])
    return list(dict.fromkeys(reasons))
