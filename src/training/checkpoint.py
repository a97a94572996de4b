"""Checkpoints: tensors and plain values only, written whole or not at all, loaded without running any code."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from src.files import replacing

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` (tensors, numbers, strings, lists and dicts of them) to `path` atomically."""
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU. Raises ValueError naming a file that is no such thing."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each way a file can be damaged
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}; a checkpoint is a dict")
    return content


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The network's weights in `path`: a checkpoint of a run (best.pt, last.pt) or a bare state dict (.pth)."""
    content = load_checkpoint(path)
    weights = content.get("model", content)
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: holds no weights; give a run's best.pt or a file of a state dict")
    return weights


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
