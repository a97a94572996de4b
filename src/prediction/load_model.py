"""A trained network out of a run's folder, which is read as data: nothing that is named in it is executed."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.base.config import FolderData, Named, RunConfig, build, parse_section
from src.base.errors import ConfigError, cut, one_line, reason_of, shown
from src.base.files import read_yaml
from src.base.identity import BUILT_SECTIONS, identify, meaning
from src.base.record import RunRecord
from src.base.renamed import with_new_names
from src.base.runtime import Numerics, pick_device
from src.data.images import DEPTHS, ImageReader
from src.data.open_data import open_verified
from src.data.pairs import Splits
from src.training.build import blueprint, channels_of, size_problems
from src.training.checkpoint import load_checkpoint, oldest_checkpoint, weights_in
from src.training.metrics import foreground_logit
from src.training.protocol import Tta
from src.training.state import ModelRunner

log = logging.getLogger(__name__)
FRACTIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# The axes of (B, 3, H, W) that each view is flipped along; test-time augmentation averages the views' probabilities.
VIEWS: dict[Tta, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "hflip": ((), (3,)),
    "flips": ((), (3,), (2,), (2, 3)),
}

# what the ids of schema 1 were made of
NAMED_1 = ("model", "loss", "optimizer", "scheduler", "augmentation")
SECTIONS_1 = (*NAMED_1, "data", "trainer", "numerics", "debug")
NEUTRAL_1 = {
    "data": {"root", "cache", "cached", "workers", "download", "on_error"},
    "trainer": {"keep_every", "by_model"},
}


@dataclass(frozen=True)
class Predictor:
    """The network of a run with its best weights, in evaluation mode; `folder` is the run's, `config` what it was.

    `reader` reads photos as the run's own data were read.
    """

    runner: ModelRunner
    config: RunConfig
    folder: Path
    reader: ImageReader

    @property
    def image_size(self) -> int:
        """Height and width, in pixels, of the images it was trained on; other sizes are resized to it."""
        return self.config.data.image_size

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor, tta: Tta = "none") -> torch.Tensor:
        """Of foreground: float32 (B, S, S) in [0, 1], on the device, for RGB images uint8 (B, 3, S, S) from anywhere.

        `tta`: the mean over the image and its flips, `hflip` left to right, `flips` also upside down and both.
        """
        views = [self._of_view(images, axes) for axes in VIEWS[tta]]
        return torch.stack(views).mean(dim=0)  # (B, S, S)

    def _of_view(self, images: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        logits = self.runner.logits(images.flip(axes))  # (B, C, S, S)
        return torch.sigmoid(foreground_logit(logits.flip(axes)))  # (B, S, S)


def load_model(folder: Path, device: str = "auto", allow_targets: Sequence[str] = ()) -> Predictor:
    """The network of the run in `folder`, with the weights of its best epoch, on `device` (`auto`, `cpu`, `cuda:1`).

    `config.yaml` is read as plain YAML, judged by the schema, and builds only a network that this project or torch.nn
    defines, or a package among the caller's `allow_targets`: those in `config.yaml` come from an untrusted file and are
    ignored. Weights are loaded as tensors, never as pickled code. torch's global switches stay as they are.

    Raises ValueError when the folder is not a run's, when it names another class, or when weights and network do not
    fit.
    """
    config = read_config(folder)
    model = _blueprint(config, folder, allow_targets)
    check_identity(config, folder)
    if (status := RunRecord(folder).status()) not in (None, "finished"):
        log.warning("%s: is %s, not finished; the weights are those of its best epoch so far", folder, status)
    weights_file = folder / "checkpoints" / "best.pt"
    if not weights_file.exists():
        why = RunRecord(folder).why_missing("best.pt") or "a run has one from its first checkpoint on"
        raise ValueError(f"{folder}: has no checkpoints/best.pt; {why}")
    needed = sum(value.nbytes for value in model.state_dict().values())
    content = load_checkpoint(weights_file, 2 * needed + 1_000_000)
    _check_epoch(content, weights_file, folder)
    _fill(model, weights_in(content, weights_file, oldest_checkpoint(model)), weights_file)
    if any(buffer.is_meta for buffer in model.buffers()):  # no part of the weights: its constructor computes it
        weights = model.state_dict()
        model = build({**config.model, "encoder_weights": None}, nn.Module, allow_targets)
        model.load_state_dict(weights)
    numerics = Numerics(pick_device(device), config.numerics)
    return Predictor(
        ModelRunner(model.eval(), numerics, config.data.mean, config.data.std, bool(config.trainer.flip_tta)),
        config,
        folder,
        _photo_reader(folder, config),
    )


def open_own_data(folder: Path, config: RunConfig, root: str | None, cache: str) -> Splits:
    """The data of the run in `folder`, in `root` or where its config says; nothing is downloaded or drawn.

    `cache`: the folder that remembers checks. Raises ValueError when they are missing or others than the run's.
    """
    data = config.data if root is None else config.data.model_copy(update={"root": root})
    try:
        splits, found = open_verified(data, make=False, cache=cache)
    except ValueError as error:
        raise ValueError(f"{error}\n(the run's own data are needed; root=<folder> says where they are now)") from error
    before = str((RunRecord(folder).read() or {}).get("data", {}).get("fingerprint"))
    if found != before:
        raise ValueError(
            f"{folder}: was trained on data with fingerprint {before[:12]}, but {data.root} has {found[:12]}; "
            "root=<folder> names the right ones (masks of other photos: python -m src.inference input=<photos>)"
        )
    return splits


def check_identity(config: RunConfig, folder: Path) -> None:
    """Raises ValueError where `config` is not the one that the run was begun with: its id tells."""
    run = RunRecord(folder).read()
    before = folder.resolve().name if run is None else run.get("run_id")
    digest = None if run is None else run.get("init_digest")
    if run is None or run["schema"] == 1:
        if config.init_from is not None and digest is None:
            log.warning("%s: that config.yaml is the run's cannot be checked (it began from other weights)", folder)
            return
        found = run_id_of_schema_1(read_yaml(RunRecord(folder).config_file), digest)
        if run is None and found != before:  # of a later schema, or changed
            raise ValueError(
                f"{folder}: has no run.json, without which nothing tells whether config.yaml is the run's; "
                "copy run.json from the run's folder too"
            )
    else:
        found = identify(config, str(run.get("data", {}).get("fingerprint")), digest).run_id
    if found != before:
        raise ValueError(
            f"{folder / 'config.yaml'}: is the config of the run {found}, but run.json says {before}; one of the two "
            "was changed: restore it from a backup"
        )


def _check_epoch(content: Mapping[str, Any], file: Path, folder: Path) -> None:
    """Raises ValueError where the weights of a finished run are those of another epoch, or of another run."""
    run = RunRecord(folder).read() or {}
    found = content.get("epoch"), content.get("valid_dice")
    recorded = run.get("best_epoch"), run.get("scores", {}).get("valid_dice")
    is_known = all(isinstance(one, int | float) for one in (*found, *recorded))
    if run.get("status") == "finished" and is_known and found != recorded:
        is_of, says = (f"epoch {epoch} (validation Dice {dice})" for epoch, dice in (found, recorded))
        raise ValueError(f"{file}: is of {is_of}, but run.json says {says}; restore the run's own from a backup")


def run_id_of_schema_1(config: Mapping[str, Any], init_digest: str | None) -> str:
    """The id of `config`, a config.yaml under the names of its time, computed as it was then.

    `init_digest`: of the weights it began from.
    """
    setting: dict[str, Any] = {}
    for section in SECTIONS_1:
        if config.get(section) is not None:
            left_out = NEUTRAL_1.get(section, set()) | (set() if section in NAMED_1 else {"name"})
            setting[section] = {key: value for key, value in config[section].items() if key not in left_out}
    setting = meaning(setting) | ({"init_from": init_digest} if init_digest else {}) | {"seed": config["seed"]}
    text = json.dumps(setting, sort_keys=True, separators=(",", ":"), default=str)
    readable = "-".join([*(config[section]["name"] for section in NAMED_1), f"seed{config['seed']}"])
    return f"{readable}-c{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _blueprint(config: RunConfig, folder: Path, allow_targets: Sequence[str]) -> nn.Module:
    """The network of `config` before it has weights. Raises ConfigError for one that no run is trained with."""
    try:
        model = blueprint(config, allow_targets)
        problems = size_problems(config, model)
        if not problems and (channels := channels_of(config, model)) not in (1, 2):
            problems = [f"model.out_channels: got {channels}; allowed: 1, 2"]
    except ConfigError as error:
        problems = error.problems
    except (Exception, SystemExit) as error:  # a negative width is a RuntimeError of torch's
        problems = [f"model: cannot be built ({cut(one_line(reason_of(error)))})"]
    if problems:
        raise ConfigError([f"{folder / 'config.yaml'}: {problem}" for problem in problems])
    return model


def read_config(folder: Path) -> RunConfig:
    """The config of the run in `folder`, every key validated. Raises ValueError when the folder is not a run's."""
    file = RunRecord(folder).config_file
    try:
        plain: Any = read_yaml(file)
    except OSError as error:
        raise ValueError(
            f"{folder}: is not the folder of a run ({error.strerror}: config.yaml); "
            "give one that holds config.yaml, run.json and checkpoints, for example multirun_outputs/demo/unet-…"
        ) from error
    if not isinstance(plain, dict):
        raise ValueError(f"{file}: holds a {type(plain).__name__}; the config of a run is a mapping")
    try:
        config = parse_section(RunConfig, with_new_names(plain))
        for section in BUILT_SECTIONS:
            parse_section(Named, plain[section], f"{section}.")
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from error
    return config


def _photo_reader(folder: Path, config: RunConfig) -> ImageReader:
    """Photos are turned as their EXIF data say, unless those of the run were not; 16-bit ones use the same bits."""
    bits = (RunRecord(folder).read() or {}).get("data", {}).get("bits")
    if bits not in (None, *DEPTHS):
        raise ValueError(
            f"{folder / 'run.json'}: data.bits is {shown(bits)}, allowed are {', '.join(map(str, DEPTHS))}"
        )
    exif = config.data.exif if isinstance(config.data, FolderData) else None
    return ImageReader(exif or "apply", bits, config.data.resize)


def _fill(model: nn.Module, weights: dict[str, torch.Tensor], file: Path) -> None:
    """Puts `weights` in the place of the parameters and buffers of `model`, which were never in memory."""
    wanted = model.state_dict()
    try:
        odd = [name for name in wanted if name in weights and not is_like(weights[name], wanted[name])]
        if odd:
            raise RuntimeError(f"{odd[0]} holds other numbers than the network has there")
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = cut(" ".join(str(error).split()))
        raise ValueError(f"{file}: these weights do not fit the network that config.yaml names: {reason}") from error
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise ValueError(f"{file}: holds weights that are not finite; nothing can be predicted with them")
    model.float()


def is_like(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether `value` is in memory, dense, and of whole numbers or of fractions as `wanted` is."""
    dense = value.device.type == "cpu" and value.layout == torch.strided and not value.is_quantized
    return dense and (value.dtype in FRACTIONS if wanted.is_floating_point() else value.dtype == wanted.dtype)
