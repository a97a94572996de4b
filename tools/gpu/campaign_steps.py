"""Times the bare step in many ways, one after the other, a JSON line each.

campaign_steps.py --seconds 90 unet:32:compile,cl unet:16:cl ...
A way is <network>:<batch>:<words>; words: compile, cl (channels last), graphs (compile with CUDA graphs),
exact (numerics=exact), profile, eval. Ends with 1, after all ways, if one of them raised.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
import torch
from hydra import compose, initialize_config_dir

from src.base.runtime import Numerics, pick_device, seed_everything
from src.benchmarking.measurements import BACKWARD_TOO, forward_operations
from src.cli.overrides import CONF, force_overrides, plain_values
from src.data.images import FOREGROUND
from src.training.build import build_train_state
from src.training.checks import checked
from src.training.state import score

PEAK = 790e12  # dense bf16, measured on such a card
parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=1e9)
parser.add_argument("--device", default="auto")
parser.add_argument("--size", type=int, default=256)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--warm-only", action="store_true", help="compile and run 2 steps: fills the cache, times nothing")
parser.add_argument("--profile", default=None, help="file that tables of kernels are added to")
parser.add_argument("ways", nargs="+")
options = parser.parse_args()
began = time.perf_counter()
cuda = False


def wait():
    if cuda:
        torch.cuda.synchronize()


def measure(way: str) -> dict:
    global cuda
    name, batch, words = (*way.split(":"), "")[:3]
    words, batch = set(filter(None, words.split(","))), int(batch)
    overrides = [
        f"model={name}",
        f"model.width={options.width}",
        f"data.image_size={options.size}",
        f"trainer.batch_size={batch}",
        f"device={options.device}",
    ]
    if "exact" in words:
        overrides += ["numerics=exact"]
    else:
        overrides += [
            "numerics=fast",
            f"numerics.compile={'compile' in words or 'graphs' in words}",
            f"numerics.channels_last={'cl' in words}",
        ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(plain_values(compose("train", force_overrides(overrides))))
    numerics = Numerics(pick_device(config.device), config.numerics)
    cuda = numerics.device.type == "cuda"
    numerics.set_up(Path(config.data.cache_dir))
    torch._dynamo.reset()
    seed_everything(0)
    state = build_train_state(config, numerics, steps_per_epoch=1_000_000)
    if "graphs" in words and cuda:
        state._compiled = torch.compile(state._score, mode="reduce-overhead")
    network, optimizer = state.network, state.optimizer
    images = torch.randint(0, 256, (batch, 3, options.size, options.size), dtype=torch.uint8, device=numerics.device)
    targets = torch.randint(0, 2, (batch, options.size, options.size), device=numerics.device) * FOREGROUND
    targets = targets.to(torch.uint8)
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        state.score(images, targets)[0].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def look() -> None:
        with torch.inference_mode():
            score(network, state.loss, images, targets)

    (network.model.eval if "eval" in words else network.model.train)()
    do, parts = (look, 1) if "eval" in words else (step, BACKWARD_TOO)
    started = time.perf_counter()
    do(), wait()
    first = time.perf_counter() - started
    do(), wait()
    if options.warm_only:
        return {"way": way, "first_step_s": round(first, 2)}
    turns = []
    for _ in range(3):
        do(), wait()
        started = time.perf_counter()
        for _ in range(options.steps):
            do()
        wait()
        turns.append((time.perf_counter() - started) / options.steps)
    seconds = sorted(turns)[1]
    operations = parts * forward_operations(config)
    row = {
        "way": way,
        "ms": round(1000 * seconds, 3),
        "images_per_second": round(batch / seconds, 1),
        "tflops": round(batch * operations / seconds / 1e12, 1),
        "mfu_of_790": round(batch * operations / seconds / PEAK, 4),
        "peak_GB": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
        "reserved_GB": round(torch.cuda.max_memory_reserved() / 1e9, 2) if cuda else None,
        "first_step_s": round(first, 2),
        "turns_ms": [round(1000 * one, 2) for one in turns],
    }
    if "profile" in words and options.profile:
        profile(way, do, row)
    return row


def profile(way: str, do, row: dict) -> None:
    kinds = [torch.profiler.ProfilerActivity.CPU] + ([torch.profiler.ProfilerActivity.CUDA] if cuda else [])
    with torch.profiler.profile(activities=kinds) as prof:
        for _ in range(2):
            do()
        wait()
    averages = prof.key_averages()
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    with Path(options.profile).open("a") as file:
        file.write(f"\n===== {way}: 2 steps, {row['ms']} ms a step without the profiler, sorted by {key}\n")
        file.write(averages.table(sort_by=key, row_limit=30, max_name_column_width=110))
        if cuda:
            kernels = [
                one
                for one in averages
                if one.device_type == torch.autograd.DeviceType.CUDA and not getattr(one, "is_user_annotation", False)
            ]
            kernels = [
                one
                for one in kernels
                if not one.key.startswith(
                    ("ProfilerStep", "Optimizer.", "## Call", "Torch-Compiled", "CompiledFunction", "autograd::")
                )
            ]
            total = sum(one.self_device_time_total for one in kernels) / 2000
            file.write(f"\nkernels: {total:.2f} ms a step in {sum(one.count for one in kernels) // 2} launches\n")
            for one in sorted(kernels, key=lambda one: -one.self_device_time_total)[:25]:
                ms = one.self_device_time_total / 2000
                share = 100 * ms / max(total, 1e-9)
                file.write(f"{ms:9.3f} ms {share:5.1f} % {one.count // 2:5d} x  {one.key[:150]}\n")


failed = False
for way in options.ways:
    if time.perf_counter() - began > options.seconds:
        print(json.dumps({"way": way, "left_out": "no time"}), flush=True)
        continue
    try:
        print(json.dumps(measure(way)), flush=True)
    except Exception as error:
        failed = True
        print(json.dumps({"way": way, "error": f"{type(error).__name__}: {str(error)[:300]}"}), flush=True)
    if cuda:
        torch.cuda.empty_cache()
sys.exit(failed)
