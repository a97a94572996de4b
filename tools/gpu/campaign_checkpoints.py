"""Seconds that a checkpoint takes for the full-width networks with AdamW: of training, and of the thread that writes.

campaign_checkpoints.py <folder>...; a JSON line for each network and folder.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
import torch
from hydra import compose, initialize_config_dir

from src.base.record import RunRecord
from src.base.runtime import Numerics, pick_device
from src.cli.overrides import CONF, force_overrides, plain_values
from src.training.build import build_train_state
from src.training.checkpoint_writer import CheckpointWriter
from src.training.checks import checked

width = int(os.environ.get("CAMPAIGN_WIDTH", "64"))


def middle(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 3)


for name in ("unet", "resnet34_unet"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = force_overrides(
            [f"model={name}", f"model.width={width}", "numerics=fast", "numerics.compile=false"]
        )
        config = checked(plain_values(compose("train", overrides)))
    numerics = Numerics(pick_device("auto"), config.numerics)
    state = build_train_state(config, numerics, steps_per_epoch=1000)
    for parameter in state.network.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    for folder in map(Path, sys.argv[1:]):
        record = RunRecord(folder / name)
        record.checkpoints.mkdir(parents=True, exist_ok=True)
        copies, pauses, written = [], [], []
        with CheckpointWriter(state, record, 3600) as writer:
            for _ in range(5):
                if numerics.device.type == "cuda":
                    torch.cuda.synchronize(numerics.device)
                began = time.perf_counter()
                state.keep_as_best(0.5, 0.5)
                copies.append(time.perf_counter() - began)
                state.epoch += 1
                began = time.perf_counter()
                writer.save()
                pauses.append(time.perf_counter() - began)
                writer.wait()
                written.append(time.perf_counter() - began)
        sizes = {kind: round((record.checkpoints / f"{kind}.pt").stat().st_size / 1e6) for kind in ("last", "best")}
        row = {
            "checkpoint": name,
            "folder": str(folder),
            "device": numerics.device.type,
            "last_MB": sizes["last"],
            "best_MB": sizes["best"],
            "keep_as_best_s": middle(copies),
            "training_waits_s": middle(pauses[1:]),  # the first one allocates host memory
            "training_waits_first_s": round(pauses[0], 3),
            "until_written_s": middle(written[1:]),
        }
        print(json.dumps(row), flush=True)
        shutil.rmtree(folder / name)
