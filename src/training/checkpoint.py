"""Checkpoints: tensors and plain values only, written whole or not at all, loaded without running any code."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import torch

from src.files import flush_to_disk, replacing
from src.training.memory import is_out_of_memory

FORMAT = 1
LAST, PREVIOUS = "last.pt", "previous.pt"  # everything to go on from, and the same as it was one checkpoint before
BEST, PENDING_BEST = "best.pt", "best.next.pt"  # weights of the best epoch, and those that last.pt does not know of yet


def save_checkpoint(path: Path, content: dict[str, Any], previous: Path | None = None) -> None:
    """Writes `content` (tensors, numbers, strings, lists and dicts of them) to `path` atomically.

    What was at `path` becomes `previous`, if that is given; a crash between the two leaves it there alone.
    Raises OSError, naming `path`, when the disk does not take it; what was there stays.
    """
    with replacing(path) as temporary:
        _write({"format": FORMAT, **content}, temporary)
        if previous is not None and path.exists():
            flush_to_disk(temporary)  # from here on nothing is left that a full disk could refuse
            path.replace(previous)


def _write(content: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # torch's writer complains of a position that does not fit, not of the full disk
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU. Raises ValueError naming a file that is no such thing, or damaged."""
    with path.open("rb") as file:  # a file that may not be read is no damaged one
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a different type for each way a file can be damaged
            if is_out_of_memory(error):
                raise
            raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: holds a {type(content).__name__}; a checkpoint is a dict")
        # torch does not compare the checksums; foreign files may come without any
        if "format" in content and (damaged := zipfile.ZipFile(file).testzip()) is not None:
            raise ValueError(f"{path}: is damaged, the checksum of {damaged} does not fit")
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
