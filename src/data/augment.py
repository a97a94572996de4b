"""Random changes of an image and its target: albumentations from config nodes, drawn from given seeds."""

import os

# albumentations asks a package index for a newer version at every import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import difflib
import inspect
import random
import warnings
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import albumentations
import cv2
import numpy as np
from albumentations import BaseCompose, BasicTransform, DualTransform, ImageOnlyTransform, Transform3D
from pydantic import ValidationError

from src.base.config import find_target
from src.base.errors import ConfigError
from src.data.images import FOREGROUND, IGNORED

# Not arguments for a config: strictness and seeds are set here, nested transforms go under `transforms`.
_RESERVED = {"self", "strict", "seed", "first", "second"}
_IS_UNKNOWN_CODE = np.isin(np.arange(256), (0, IGNORED, FOREGROUND), invert=True).astype(np.uint8)
_ABSTRACT = (BasicTransform, DualTransform, ImageOnlyTransform, Transform3D, BaseCompose)
# A config has no functions; albumentations accepts a text in place of one, and fails later.
_TAKE_FUNCTIONS = (albumentations.Lambda,)
_TRANSFORMS = {
    f"albumentations.{name}": kind
    for name, kind in vars(albumentations).items()
    if isinstance(kind, type)
    and issubclass(kind, (BasicTransform, BaseCompose))
    and kind not in (*_ABSTRACT, *_TAKE_FUNCTIONS)
}


class RngStream(IntEnum):
    """The purpose of a random draw; each has its own streams, so that no two ever share numbers."""

    SHUFFLE = 0
    TRANSFORM = 1
    COPY = 2
    BORDER = 3


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
        waiting: list[Any] = [self.compose]
        while waiting:
            transform = waiting.pop()
            waiting += transform.transforms if isinstance(transform, BaseCompose) else []
            if 0 < transform.p < 1 and not isinstance(transform, albumentations.OneOrOther):
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


def build_transform(
    nodes: list[dict[str, Any]], mask_as_image: bool = False, allow_targets: Sequence[str] = ()
) -> albumentations.Compose:
    """Build config nodes (`_target_: albumentations.X`, its arguments beside it) into one strict Compose.

    Masks are always interpolated nearest. With `mask_as_image`, an array passed as
    `soft_target` is treated as an image. `allow_targets`: packages whose transforms are allowed too.
    Raises ValueError (ConfigError) with all that `check_transforms` finds.
    """
    problems: list[str] = []
    transforms = _build_nodes(nodes, "transforms", problems, allow_targets)
    if problems:
        raise ConfigError(problems)
    return albumentations.Compose(
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


def _build_node(
    node: Any, where: str, problems: list[str], allowed: Sequence[str]
) -> BasicTransform | BaseCompose | None:
    kind = _find_class(node, where, problems, allowed)
    if kind is None:
        return None
    where = f"{where} ({kind.__name__})"
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    found = _key_problems(kind, arguments, where)
    problems += found
    if issubclass(kind, BaseCompose) and "transforms" in arguments:
        arguments["transforms"] = _build_nodes(arguments["transforms"], f"{where}.transforms", problems, allowed)
        if None in arguments["transforms"]:
            return None
    return None if found else _construct(kind, arguments, where, problems)


def _find_class(node: Any, where: str, problems: list[str], allowed: Sequence[str]) -> type | None:
    """The transform class that a node names."""
    path = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(path, str):
        problems.append(f"{where}: got {node!r}; expected a mapping with _target_: albumentations.<transform>")
        return None
    if path.startswith(tuple(f"{package}." for package in allowed)):
        try:
            return find_target(node, BasicTransform, allowed)
        except ConfigError as error:
            problems += [f"{where}.{problem}" for problem in error.problems]
            return None
    if path not in _TRANSFORMS:
        close = difflib.get_close_matches(path, _TRANSFORMS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        problems.append(f"{where}: got {path!r}; allowed are transforms of albumentations by their short name{hint}")
    return _TRANSFORMS.get(path)


def _key_problems(kind: type, arguments: dict[str, Any], where: str) -> list[str]:
    """Arguments that the class does not take, and required ones that are missing."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(kind.__init__).parameters.items()  # type: ignore[misc]
        if name not in _RESERVED
    }
    accepted = ", ".join(sorted(parameters))
    unknown = [key for key in arguments if key not in parameters]
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return [f"{where}: unknown argument {key!r}; {kind.__name__} accepts {accepted}" for key in unknown] + [
        f"{where}: argument {name!r} is missing" for name in required if name not in arguments
    ]


def _construct(kind: type, arguments: dict[str, Any], where: str, problems: list[str]) -> Any:
    """Call the class; each error or warning becomes a line in `problems`."""
    strict = {"strict": True} if _takes_strict(kind) else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            transform = kind(**arguments, **strict)
    except Exception as error:  # the constructors raise any type: pydantic's, TypeError, ZeroDivisionError
        problems += [f"{where}: {reason}" for reason in _reasons(error)]
        return None
    if isinstance(transform, BasicTransform):
        foreign = set(transform.targets_as_params) - {"image", "mask"}
        if "image" not in transform.available_keys or foreign:
            problems.append(f"{where}: needs more inputs than an image and its mask")
    return transform


def _takes_strict(kind: type) -> bool:
    """Whether the constructor takes `strict`: in 2.0.8 only one that is declared with a schema does."""
    owner = next(base for base in kind.__mro__ if "__init__" in vars(base))
    return issubclass(kind, BasicTransform) and "InitSchema" in vars(owner)


def _reasons(error: Exception) -> list[str]:
    """A constructor's error, one line for each argument."""
    if not isinstance(error.__cause__, ValidationError):
        return [str(error) or type(error).__name__]
    messages: dict[str, list[str]] = {}
    for detail in error.__cause__.errors(include_url=False):
        # Beyond the argument, the location has the type of a union that was tried.
        argument = f"{detail['loc'][0]} is {detail['input']!r}: " if detail["loc"] else ""
        messages.setdefault(argument, []).append(detail["msg"])
    return [argument + ", or ".join(dict.fromkeys(texts)) for argument, texts in messages.items()]
