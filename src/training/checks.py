"""Everything that can be wrong with a config, found before any data is read and told all at once."""

from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from src.base.config import (
    RunConfig,
    cast_arguments,
    node_problems,
    problems_of,
    with_named_packages,
)
from src.base.errors import ConfigError, attempt, one_line, reason_of, shown
from src.base.identity import BUILT_SECTIONS
from src.base.record import RunRecord
from src.base.runtime import pick_device
from src.data.augment import check_transforms
from src.data.datasets import augmentation_problem
from src.training.build import blueprint, build_loss, build_optimizer, build_schedule, channels_of, size_problems
from src.training.checkpoint import fitting_weights, oldest_checkpoint
from src.training.losses import OtherLoss
from src.training.schedules import Schedule

# What each built section must be, and which arguments the program gives it.
BASES: dict[str, tuple[type | UnionType, tuple[str, ...]]] = {
    "model": (nn.Module, ()),
    "loss": (nn.Module, ()),
    "optimizer": (torch.optim.Optimizer, ("params",)),
    "scheduler": (Schedule | LRScheduler, ("optimizer", "epochs", "steps_per_epoch")),
}


def checked(plain: dict[str, Any], device_here: bool = True, is_ours: bool = True, tried: bool = True) -> RunConfig:
    """The typed config of `plain` (as composed, fully resolved), its built sections cast to their signatures' types.

    Raises ConfigError with every problem: unknown or missing keys, wrong types, values out of range, combinations that
    cannot work, devices and weights that are not there. Reads no data and writes nothing. `device_here`: False for a
    run that another machine will do, whose devices this one cannot know. `is_ours`: False for the config of a record,
    which cannot allow the packages that it names. `tried`: False for the run's id alone, which takes the types and not
    whether the parts work.
    """
    plain = with_named_packages(plain) if is_ours else plain
    problems = problems_of(RunConfig, plain)
    misnamed = any(problem.startswith("allow_targets") for problem in problems)
    allowed = () if misnamed else tuple(plain.get("allow_targets", ()))
    for section, (base, injected) in BASES.items():
        if isinstance(plain.get(section), dict):
            problems += node_problems(section, plain[section], base, injected, allowed)
    augmentation = plain.get("augmentation")
    if tried and isinstance(augmentation, dict):
        for key in ("transforms", "copy_transforms"):
            if isinstance(augmentation.get(key), list):
                problems += check_transforms(augmentation[key], f"augmentation.{key}", allowed)
    if problems:
        raise ConfigError(problems)
    config = RunConfig.model_validate(plain)
    built = {name: cast_arguments(getattr(config, name), *BASES[name], allowed) for name in BUILT_SECTIONS}
    config = config.model_copy(update=built)
    if not tried:
        return config
    # runs of a sweep that differ in their seed alone are alike in all this
    problems = list(_combination_problems(config.model_copy(update={"seed": 0}).model_dump_json()))
    if device_here:
        attempt(problems, lambda: pick_device(config.device))
    if problems:
        raise ConfigError(problems)
    return config


@cache
def _combination_problems(plain: str) -> list[str]:
    config = RunConfig.model_validate_json(plain)
    problems: list[str] = []
    if config.augmentation.copies and not config.augmentation.copy_transforms:
        problems.append("augmentation.copies: got copies without copy_transforms, they would equal their originals")
    elif reason := augmentation_problem(config.augmentation, config.data.image_size, config.allow_targets):
        problems.append(f"augmentation: {one_line(reason)}")
    if config.data.kind == "folder" and config.data.border != "foreground":
        problems.append(
            f"data.border: got {config.data.border!r}; the masks of data=folder have no border class, so this key "
            "changes nothing: leave it at 'foreground'"
        )
    model = _try("model", lambda: blueprint(config, config.allow_targets), problems)
    loss = _try("loss", lambda: build_loss(config), problems)
    optimizer = _try("optimizer", lambda: _tried_optimizer(config), problems)
    if optimizer is not None:
        _try("scheduler", lambda: build_schedule(config, optimizer, steps_per_epoch=2), problems)
    if model is not None:
        problems += size_problems(config, model) + _weights_problems(config, model)
        problems += _deterministic_problems(config, model)
    if loss is not None and model is not None:
        channels = channels_of(config, model)
        if channels not in loss.channels:
            allowed = " or ".join(str(number) for number in sorted(loss.channels))
            problems.append(
                f"model.out_channels: got {channels} with loss={config.loss['name']}, which takes {allowed}; "
                "use loss=cross_entropy with 2 output channels and loss=bce (or another) with 1"
            )
        elif isinstance(loss, OtherLoss):
            ignores = config.data.border == "ignore" or getattr(config.data, "ignore_value", None) is not None
            if reason := loss.problem(channels, min(config.data.image_size, 256), ignores):
                problems.append(f"loss: {reason}")
    return problems


def _deterministic_problems(config: RunConfig, model: nn.Module) -> list[str]:
    """Which layers torch would refuse in the first step on a GPU."""
    found = sorted({type(layer).__name__ for layer in model.modules() if not _is_deterministic(layer)})
    if not found or not config.numerics.deterministic:
        return []
    return [
        f"model: {config.model['name']} has {', '.join(found)}, without a deterministic form on a GPU, and "
        f"numerics={config.numerics.name} needs one; use numerics=fast"
    ]


def _is_deterministic(layer: nn.Module) -> bool:
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.output_size in (1, (1, 1))  # that is a mean
    if isinstance(layer, nn.Upsample):
        return layer.mode != "bicubic"
    return not isinstance(layer, nn.AdaptiveMaxPool2d | nn.FractionalMaxPool2d | nn.MaxUnpool2d | nn.ReflectionPad2d)


def _tried_optimizer(config: RunConfig) -> torch.optim.Optimizer:
    """The optimizer of one parameter. Raises what it raises for a step as the loop takes it, without a closure."""
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    build_optimizer(config, [parameter]).step()
    return build_optimizer(config, [parameter])


def _try(section: str, make: Any, problems: list[str]) -> Any:
    """What `make` builds; or None, with the reason among `problems`: constructors know best what they refuse."""
    try:
        return make()
    except (Exception, SystemExit) as error:  # a negative width is a RuntimeError of torch's
        problems.append(f"{section}: {reason_of(error)}")
        return None


def _weights_problems(config: RunConfig, model: nn.Module) -> list[str]:
    if config.init_from is None:
        return []
    path = Path(config.init_from)
    try:
        if not path.is_file():
            removed = RunRecord(path.parent.parent).why_missing(path.name)
            advice = removed or "give a run's checkpoints/best.pt or a .pth of weights"
            raise ValueError(f"got {shown(str(path))}, which is not a file; {advice}")
        fitting_weights(path, model.state_dict(), oldest_checkpoint(model))
    except (ValueError, OSError) as error:
        return [f"init_from: {error}"]
    return []
