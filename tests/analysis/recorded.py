"""Finished runs with the scores a test wants: real configs and ids, written through RunRecord as training does."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from hydra import compose, initialize_config_dir

from src.base.config import RunConfig
from src.base.identity import choices_of, identify
from src.base.record import RunRecord
from src.cli.overrides import CONF, force_overrides, plain_values
from src.training.checkpoint import init_digest
from src.training.checks import checked

PIXELS = 1000  # of the truth and of the prediction of every image, so that Dice is tp / 1000
SMALL = ("data=synthetic", "size=small", "device=cpu")


# what a test records need not outlive a power cut, and flushing is two thirds of its time
unflushed = patch("os.fsync", lambda _: None)


@cache
def config_of(*overrides: str) -> RunConfig:
    """The checked config of `python -m src.train <overrides>`, small and on synthetic data if they do not say."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return checked(plain_values(compose("train", force_overrides([*SMALL, *overrides]))))


@unflushed
def finish(
    sweep: Path,
    *overrides: str,
    dice: Sequence[float] | np.ndarray,
    seed: int = 0,
    curves: Mapping[str, Sequence[float]] | None = None,
    seconds: float = 10.0,
    memory: int = 10**9,
    device: str = "NVIDIA H200",
    device_jobs: int | None = 1,
    fingerprint: str = "d1" * 32,
) -> RunRecord:
    """One finished run: `dice` of each test image (to three decimals), `curves` by column of epochs.jsonl.

    Each epoch takes `seconds`; curves that are not given stay at 0.5. `fingerprint` stands for the data.
    """
    config = config_of(*overrides).model_copy(update={"seed": seed})
    identity = identify(config, fingerprint, init_digest(config))
    record = RunRecord(sweep / identity.run_id)
    facts = {
        "run_id": identity.run_id,
        "config_id": identity.config_id,
        "choices": choices_of(config),
        "seed": seed,
        "data": {"fingerprint": fingerprint, "images": {"train": 90, "valid": 10, "test": len(dice)}},
        "device": device,
        "numerics": config.numerics.model_dump(),
        "versions": {"torch": "2.13.0"},
        "machine": {"host": "here", "system": "Linux", "cores": 2},
        "git": {"commit": "0123456789abcdef", "changed": False},
    }
    images = [_image(number, value) for number, value in enumerate(dice)]
    mean = float(np.mean([image["dice"] for image in images]))
    with record.locked():
        record.begin(facts, config.model_dump(mode="json"), [*overrides, f"seed={seed}"])
        for row in _epochs(config.trainer.epochs, curves or {}, seconds, memory, device_jobs):
            record.append_epoch(row)
        record.write_test("headline", {"dice": {"mean": mean}}, images)
        best = max((curves or {}).get("valid_dice", [0.5]))
        record.end("finished", scores={"valid_dice": best, "test_dice": mean}, best_epoch=1, seconds=seconds * 7)
    return record


def fail(sweep: Path, *overrides: str, seed: int = 0, reason: str = "NonFiniteLoss: training loss is nan") -> RunRecord:
    """A run that failed for `reason`, with the ids and data of `finish`."""
    record = finish(sweep, *overrides, dice=[0.0], seed=seed)
    with record.locked():
        record.write_epochs([])
        record.end("failed", scores={}, best_epoch=None, error=reason)
    return record


def replicates(
    sweep: Path,
    *overrides: str,
    mean: float = 0.8,
    seeds: int = 3,
    images: int = 40,
    spread: float = 0.002,
    image_spread: float = 0.08,
    curves: Mapping[str, Sequence[float]] | None = None,
    **facts: Any,
) -> list[RunRecord]:
    """`seeds` runs around test Dice `mean`: seeds differ by about `spread`, images by `image_spread`, alike in each.

    The `curves` of seeds differ by about 0.2 % at the end.
    """
    difficulty = np.random.default_rng(0).normal(0, image_spread, images)
    config_id = identify(config_of(*overrides), "").config_id
    noise = np.random.default_rng(int(config_id[1:], 16))  # each setting has seeds of its own
    records = []
    for seed in range(seeds):
        dice = mean + difficulty - difficulty.mean() + noise.normal(0, spread) + noise.normal(0, 0.005, images)
        factor = 1 + noise.normal(0, 0.002)
        own = {
            name: [value * factor ** (number / len(curve)) for number, value in enumerate(curve, start=1)]
            for name, curve in (curves or {}).items()
        }
        records.append(finish(sweep, *overrides, dice=np.clip(dice, 0, 1), seed=seed, curves=own, **facts))
    return records


def _image(number: int, dice: float) -> dict[str, Any]:
    right = round(PIXELS * float(dice))
    wrong = PIXELS - right
    iou = right / (right + 2 * wrong)
    return {"stem": f"Pet_{number}", "dice": right / PIXELS, "iou": iou, "tp": right, "fp": wrong, "fn": wrong}


def _epochs(
    epochs: int, curves: Mapping[str, Sequence[float]], seconds: float, memory: int, device_jobs: int | None
) -> list[dict[str, Any]]:
    names = ("train_loss", "valid_loss", "train_dice", "valid_dice", "train_accuracy", "valid_accuracy")
    length = max((len(curve) for curve in curves.values()), default=epochs)
    return [
        {
            "epoch": number + 1,
            "lr": 0.001 * (1 - number / length),
            **{name: curves[name][number] if name in curves else 0.5 for name in names},
            "images_per_second": 90 / seconds,
            "train_seconds": seconds,
            "peak_memory_bytes": memory,
            "device": "here",
            "device_jobs": device_jobs,
        }
        for number in range(length)
    ]
