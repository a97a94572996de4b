"""Seconds that an epoch's checkpoints take for the full-width networks with AdamW.

campaign_checkpoints.py <folder>...; a JSON line for each network and folder.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
import torch

from src.models.resnet34_unet import ResNet34UNet
from src.models.unet import UNet
from src.training.checkpoint import save_checkpoint

width = int(os.environ.get("CAMPAIGN_WIDTH", "64"))
device = "cuda" if torch.cuda.is_available() else "cpu"


def middle(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 3)


for name, kind in (("unet", UNet), ("resnet34_unet", ResNet34UNet)):
    model = kind(width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    tensors = [
        *model.state_dict().values(),
        *(value for own in optimizer.state_dict()["state"].values() for value in own.values()),
    ]
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    [tensor.cpu() for tensor in tensors]
    to_host = time.perf_counter() - started
    for where in map(Path, sys.argv[1:]):
        where.mkdir(parents=True, exist_ok=True)
        last, best, cpu = [], [], []
        for _ in range(4):
            began, worked = time.perf_counter(), time.process_time()
            save_checkpoint(
                where / "last.pt",
                {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
                previous=where / "previous.pt",
            )
            between = time.perf_counter()
            save_checkpoint(where / "best.pt", {"model": model.state_dict()})
            last.append(between - began)
            best.append(time.perf_counter() - between)
            cpu.append(time.process_time() - worked)
        sizes = {kind: round((where / f"{kind}.pt").stat().st_size / 1e6) for kind in ("last", "best")}
        print(
            json.dumps(
                {
                    "checkpoint": name,
                    "folder": str(where),
                    "device": device,
                    "last_MB": sizes["last"],
                    "best_MB": sizes["best"],
                    "last_s": middle(last),
                    "best_s": middle(best),
                    "last_min_s": round(min(last), 3),
                    "cpu_s_both": middle(cpu),
                    "to_host_s": round(to_host, 3),
                }
            ),
            flush=True,
        )
        [file.unlink() for file in where.iterdir()]
