"""Whether runs ended with the same bits.

campaign_bits.py <name>=<output folder> <name>=<output folder> ...; the first is compared with each of the others.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
import torch

WALL_CLOCK = {"images_per_second", "train_seconds", "peak_memory_bytes", "device_jobs"}


def differences(one, other, where=""):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in sorted({*one, *other}, key=str)
            if key not in WALL_CLOCK
            for line in differences(one.get(key), other.get(key), f"{where}/{key}")
        ]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [
            line
            for index, pair in enumerate(zip(one, other, strict=True))
            for line in differences(*pair, f"{where}/{index}")
        ]
    return [] if one == other else [f"{where}: {str(one)[:60]} and {str(other)[:60]}"]


def end_of(output: str) -> dict:
    (run,) = [file.parent for file in Path(output).glob("single/*/run.json")]
    weights = {
        name: torch.load(run / "checkpoints" / f"{name}.pt", map_location="cpu", weights_only=True)
        for name in ("last", "best")
    }
    return weights | {"test": [(run / name).read_text() for name in ("test.json", "test_images.csv")]}


named = dict(argument.split("=", 1) for argument in sys.argv[1:])
(first, folder), *others = named.items()
reference, wrong = end_of(folder), 0
for name, other in others:
    found = differences(reference, end_of(other))
    wrong += bool(found)
    same = "the same bits (last.pt with optimizer, best.pt, test scores)"
    print(f"{first} and {name}: {f'{len(found)} DIFFERENCES, first {found[:3]}' if found else same}")
sys.exit(1 if wrong else 0)
