"""Checkpoints: tensors and plain values only, written whole or not at all, loaded without running any code."""

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from src.base.config import RunConfig
from src.base.errors import one_line
from src.base.files import allowed, flush_to_disk, link_or_copy, open_regular, replacing
from src.training.stopping import is_out_of_memory

FORMAT = 2  # raise it when weights of before mean something else, and the network's `oldest_checkpoint` with it
LAST, PREVIOUS = "last.pt", "previous.pt"  # everything to resume from, and the checkpoint before it
BEST, PENDING_BEST = "best.pt", "best.next.pt"  # weights of the best epoch, and those that last.pt does not know of yet
HOLDERS = ("model", "state_dict", "model_state_dict")  # keys under which training programs keep a network's weights
# torchvision's names of the parts of a ResNet-34 behind any prefix, such as `backbone.`, and ours
RESNET = re.compile(r"(?:^|\.)(?:(conv1|bn1)|layer([1-4])\.(\d+)\.(conv1|bn1|conv2|bn2|downsample\.[01]))\.(\w+)$")
RESNET_STEM = {"conv1": "stem.0", "bn1": "stem.1"}
RESNET_BLOCK = {"conv1": "residual.0", "bn1": "residual.1", "conv2": "residual.3", "bn2": "residual.4"}
WRAPPERS = ("module", "_orig_mod")  # parts of a name that DataParallel and torch.compile put in
SHOWN = 3  # entries of one kind that a message lists


def save_checkpoint(
    path: Path, content: dict[str, Any], previous: Path | None = None, check: Callable[[], None] = allowed
) -> None:
    """Writes `content` (tensors, numbers, strings, lists and dicts of them) to `path` atomically.

    What was at `path` becomes `previous`, if that is given. `check` as in `replacing`.
    Raises OSError, naming `path`, when the disk does not take it; what was there stays.
    """
    with replacing(path, check=check) as temporary:
        _write({"format": FORMAT, **content}, temporary)
        if previous is not None and path.exists():
            flush_to_disk(temporary)  # from here on nothing is left that a full disk could refuse
            with replacing(previous, flush=False, check=check) as kept:
                link_or_copy(path, kept)


def _write(content: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # torch's writer complains of a position that does not fit, not of the full disk
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_checkpoint(path: Path, largest: int | None = None) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU. Raises ValueError, naming the file, if it is something else or damaged.

    `largest`: bytes that it may have; then a file in the format of torch before 1.6 is refused too.
    """
    with open_regular(path, largest) as file:  # a file without the right to read it is not called damaged
        _check_unpacked_size(file, path, must_be_zip=largest is not None)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a different type for each way a file can be damaged
            if is_out_of_memory(error):
                raise
            raise ValueError(f"{path}: {_unreadable(str(error), type(error).__name__)}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: holds a {type(content).__name__}; a checkpoint is a dict")
        # torch does not compare the checksums; foreign files may come without any
        if "format" in content:
            with _naming_damage(path):
                if (damaged := zipfile.ZipFile(file).testzip()) is not None:
                    raise ValueError(f"the checksum of {damaged} does not fit")
    return content


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Raises ValueError, naming `path`, for whatever zipfile raises in the block: a type for each kind of damage."""
    try:
        yield
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise ValueError(f"{path}: not a readable checkpoint: it is damaged ({reason})") from error


def _check_unpacked_size(file: BinaryIO, path: Path, must_be_zip: bool) -> None:
    """Raises ValueError for a file that takes more memory than room: torch compresses nothing."""
    if zipfile.is_zipfile(file):
        with _naming_damage(path):
            unpacked = sum(member.file_size for member in zipfile.ZipFile(file).infolist())
        if unpacked > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{path}: not a readable checkpoint: it is packed, {unpacked:,} bytes would come out")
    elif must_be_zip:
        raise ValueError(f"{path}: not a readable checkpoint: it is damaged, or from another program")
    file.seek(0)


def oldest_checkpoint(model: nn.Module) -> int:
    """The first FORMAT whose weights mean in `model` what they meant when they were saved."""
    return getattr(model, "oldest_checkpoint", 1)


def load_weights(path: Path, largest: int | None = None, oldest: int = 1) -> dict[str, torch.Tensor]:
    """The network's weights in `path`: a checkpoint (of a run, or of another program) or a bare state dict (.pth).

    `largest` as in `load_checkpoint`, `oldest` as in `weights_in`. Raises ValueError as both do.
    """
    return weights_in(load_checkpoint(path, largest), path, oldest)


def weights_in(content: dict[str, Any], path: Path, oldest: int = 1) -> dict[str, torch.Tensor]:
    """The network's weights in what `load_checkpoint` has read from `path`.

    Raises ValueError for a file without weights, and for a checkpoint of a format before `oldest`, see
    `oldest_checkpoint`.
    """
    found = content.get("format", FORMAT)
    if isinstance(found, int) and found < oldest:
        raise ValueError(
            f"{path}: is a checkpoint of format {found}; this network takes format {oldest} or later, because its "
            "concatenations had another order before, and the weights would not mean the same; train the run again"
        )
    weights: Any = next((content[key] for key in HOLDERS if _is_weights(content.get(key))), content)
    if not _is_weights(weights):
        raise ValueError(
            f"{path}: holds no weights (its entries: {_first(list(map(str, content))) or 'none'}); "
            "give a run's best.pt or a file of a state dict"
        )
    return {str(key): value for key, value in weights.items()}


def fitting_weights(path: Path, network: Mapping[str, torch.Tensor], oldest: int = 1) -> dict[str, torch.Tensor]:
    """The weights in `path` under the names of `network` (a state dict, of any device), to start a training from.

    What DataParallel and torch.compile add to names is left out, and so is a prefix such as Lightning's `model.`,
    where the names fit only without. Of a ResNet-34 in torchvision's names, with its classifier or without, the
    network's encoder takes all; its other entries stay as they are, and so do BatchNorm's counters of batches, which
    published files may lack. `oldest` as in `load_weights`. Raises ValueError, naming the entries that differ and how.
    """
    weights = _renamed(load_weights(path, oldest=oldest), network)
    whole = network
    if not weights.keys() & network.keys() and (encoder := _of_encoder(weights)):
        weights, network = encoder, {key: value for key, value in network.items() if key.startswith("encoder.")}
    kinds = {
        "of another kind": [
            f"{key} (wanted {_kind(wanted)}, found {_kind(weights[key])}{', no values' * weights[key].is_meta})"
            for key, wanted in network.items()
            if key in weights and not _fits(weights[key], wanted)
        ],
        "missing": [key for key in network if key not in weights and not key.endswith("num_batches_tracked")],
        "unknown to the network": [key for key in weights if key not in network],
    }
    if differing := [f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds.items() if keys]:
        raise ValueError(f"{path} holds weights of another network; of {len(network)} entries {'; '.join(differing)}")
    if broken := [key for key, value in weights.items() if not torch.isfinite(value).all()]:
        raise ValueError(f"{path} holds numbers that are not finite: {_first(broken)}; their training had failed")
    return {**whole, **weights}


def _fits(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    is_plain = value.layout == torch.strided and not value.is_quantized and not value.is_meta
    return is_plain and value.shape == wanted.shape and value.is_floating_point() == wanted.is_floating_point()


def _kind(value: torch.Tensor) -> str:
    layout = "" if value.layout == torch.strided else f"{value.layout} of "
    return f"{layout}{value.dtype} {tuple(value.shape)}"


def _renamed(weights: dict[str, torch.Tensor], network: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights` with or without WRAPPERS and one prefix, whichever has the most names in common with `network`."""
    names = {key: [part for part in key.split(".") if part not in WRAPPERS] for key in weights}
    prefixes = {
        ".".join(parts[:k]) for parts in names.values() for k in range(len(parts)) if ".".join(parts[k:]) in network
    }
    candidates = [weights]
    for prefix in sorted(prefixes):
        start = f"{prefix}." if prefix else ""
        renamed = {".".join(parts).removeprefix(start): weights[key] for key, parts in names.items()}
        candidates += [renamed] if len(renamed) == len(weights) else []  # else two entries would share a name
    return max(candidates, key=lambda candidate: len(candidate.keys() & network.keys()))


def _of_encoder(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The entries of a ResNet-34 in torchvision's names under those of `ResNet34Encoder`; none of another file."""
    encoder = {}
    for name, value in weights.items():
        if (found := RESNET.search(name)) is not None:
            stem, stage, block, part, kind = found.groups()
            where = RESNET_STEM.get(stem) or f"stages.{int(stage) - 1}.{block}." + (
                RESNET_BLOCK.get(part) or part.replace("downsample", "identity")
            )
            if f"encoder.{where}.{kind}" in encoder:
                return {}  # of two networks
            encoder[f"encoder.{where}.{kind}"] = value
    return encoder


def _is_weights(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def _unreadable(reason: str, kind: str) -> str:
    """Why a file is refused in our own words: torch's advise to run what the file says."""
    if (foreign := re.search(r"GLOBAL (\S+)", reason)) is not None or "TorchScript" in reason:
        what = f"a Python object ({foreign[1]})" if foreign is not None else "a compiled program (TorchScript)"
        return (
            f"not a readable checkpoint: it holds {what}, as a network saved whole does, and opening that could run "
            "code; where the file is trusted, save its weights alone: torch.save(network.state_dict(), 'weights.pth')"
        )
    return f"not a readable checkpoint ({kind}: {one_line(reason.splitlines()[0] if reason else 'it is empty')})"


def _first(entries: list[str]) -> str:
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return one_line(", ".join(entries[:SHOWN])) + more


def init_digest(config: RunConfig) -> str | None:
    """SHA-256, in hexadecimal, of the file that `init_from` names; None where it names none."""
    if config.init_from is None:
        return None
    with open_regular(Path(config.init_from)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
