"""What fits into the time, and what the runs took.

campaign_summary.py epochs <warm sweep> <results.jsonl> <seconds> <seeds> <slots>: how many epochs fit
campaign_summary.py runs <sweep> <gpu.csv>: a JSON line for each run, and what the GPU did meanwhile
"""

import json
import statistics
import sys
from pathlib import Path

TRAIN, VALID = 353, 40
FIRST_EPOCH = 14.0  # seconds with compiled programs from the cache; the longest of 28 runs, 6 at a time


def records(sweep: str) -> list[tuple[dict, list[dict]]]:
    found = []
    for file in sorted(Path(sweep).glob("*/run.json")):
        lines = file.parent / "epochs.jsonl"
        found.append(
            (
                json.loads(file.read_text()),
                [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else [],
            )
        )
    return found


def epochs(warm: str, results: str, seconds: float, seeds: str, slots: int) -> int:
    """How many epochs fit, so that every run ends: in rounds of `slots` runs, which share the device and 16 cores."""
    speed, beside, start = {"unet": 1000.0, "resnet34_unet": 1400.0}, [0.6], [28.0]
    for run, rows in records(warm):
        if len(rows) > 1:
            speed[run["choices"]["model"]] = max(row["images_per_second"] for row in rows[1:])
            # not its own first epoch, which compiled what the sweep's runs find in the cache
            start.append(run["seconds"] - sum(row["train_seconds"] for row in rows) + FIRST_EPOCH)
            beside.append(statistics.median(row["train_seconds"] for row in rows[1:]) + 0.3)
    if Path(results).exists():
        for line in Path(results).read_text().splitlines():
            row = json.loads(line)
            name, _, words = str(row.get("way", "")).partition(":")
            if "images_per_second" in row and words in ("32:compile,cl,profile", "128:compile,cl,profile"):
                speed[name] = max(speed[name], row["images_per_second"])
    rounds = -(-6 * len(seeds.split(",")) // slots)
    images = TRAIN * 1.15 + VALID / 2  # 1.15: the smaller last batch runs uncompiled
    device = slots * statistics.mean(images / one for one in speed.values())  # an epoch of as many runs
    epoch = 1.2 * max(device, *beside)
    fit = 0.9 * (seconds / rounds - 1.3 * max(start)) / epoch
    print(
        f"images/s {speed}; {rounds} rounds; start {max(start):.1f} s, an epoch {epoch:.2f} s; {fit:.1f} would fit",
        file=sys.stderr,
    )
    return max(3, min(50, int(fit)))


def runs(sweep: str, samples: str) -> None:
    for run, rows in records(sweep):
        tail = rows[1:] or rows
        middle = {
            key: round(statistics.median(row[key] for row in tail), 3) if tail else None
            for key in ("train_seconds", "images_per_second")
        }
        print(
            json.dumps(
                {
                    "run": run["run_id"],
                    "status": run["status"],
                    "seconds": run["seconds"],
                    "epochs": len(rows),
                    "first_epoch_s": rows and round(rows[0]["train_seconds"], 2),
                    "train_s": middle["train_seconds"],
                    "images_per_second": middle["images_per_second"],
                    "sum_train_s": round(sum(row["train_seconds"] for row in rows), 1),
                    "peak_GB": rows and round(rows[-1]["peak_memory_bytes"] / 1e9, 2),
                    "device_jobs": sorted({row["device_jobs"] or 0 for row in rows}),
                    "test_dice": run["scores"].get("test_dice"),
                    "error": run.get("error"),
                }
            )
        )
    if Path(samples).exists():
        use = [
            [float(word) for word in line.split(",")[1:4]]
            for line in Path(samples).read_text().splitlines()
            if line.count(",") >= 4
        ]
        if use:
            print(
                json.dumps(
                    {
                        "gpu_utilisation_percent": round(statistics.mean(row[0] for row in use), 1),
                        "most_memory_MiB": max(row[1] for row in use),
                        "watts": round(statistics.mean(row[2] for row in use)),
                        "samples": len(use),
                    }
                )
            )


if __name__ == "__main__":
    if sys.argv[1] == "epochs":
        print(epochs(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5], int(sys.argv[6])))
    else:
        runs(sys.argv[2], sys.argv[3])
