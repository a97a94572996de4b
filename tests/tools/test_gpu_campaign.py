"""The campaign for a CUDA machine: what it plans, how it ends, and rehearsed on a CPU with tiny runs of real photos."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tools.gpu.campaign_summary import epochs


def test_the_epochs_that_fit_start_with_compiled_programs(tmp_path):
    for model, seconds, train_seconds, speed in (("unet", 70, 2, 1100), ("resnet34_unet", 50, 1, 1500)):
        run = tmp_path / "warm" / model
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"choices": {"model": model}, "seconds": seconds}))
        rows = [(30, 10), (train_seconds, speed), (train_seconds, speed - 100)]  # the first one compiles
        lines = [json.dumps({"train_seconds": took, "images_per_second": pace}) for took, pace in rows]
        (run / "epochs.jsonl").write_text("\n".join(lines))
    # 18 runs in 3 rounds of 100 s; the longest start takes 70 - (30 + 2 + 2) + 14 = 50 s, 1.3 times that is kept free;
    # 6 runs on the device take 6 * 425.95 * (1/1100 + 1/1500) / 2 = 2.01 s an epoch, a lone one 2 + 0.3 s, and 1.2
    # times that, 2.76 s, is kept free; so (100 - 65) * 0.9 / 2.76 = 11.4
    assert epochs(str(tmp_path / "warm"), str(tmp_path / "none"), 300, "0,1,2", 6) == 11


@pytest.mark.parametrize(
    ("exit_code", "seconds", "says", "ends"), [(0, 60, "0", 0), (3, 60, "3", 1), (3, 1, "left out", 0)]
)
def test_it_ends_with_1_after_a_step_that_failed(exit_code, seconds, says, ends, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(f"#!/bin/sh\n[ $1 = -c ] || exit {exit_code}\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    steps = tmp_path / "out" / "steps.tsv"
    steps.parent.mkdir()
    steps.write_text("smoke\tgpu_tests\t1\t9.0\n")  # of an earlier call
    environment = os.environ | {
        "CAMPAIGN_SECONDS": str(seconds),
        "CAMPAIGN_WORK": str(tmp_path / "work"),
        "OUT": str(tmp_path / "out"),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    ended = subprocess.run(
        ["bash", "tools/gpu/campaign.sh", "exactness"], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    _, *new = [line.split("\t") for line in steps.read_text().splitlines()]
    assert ended.returncode == ends and len(new) == 8, ended.stdout + ended.stderr
    assert says in {code for _, _, code, _ in new}


@pytest.mark.long
@pytest.mark.skipif("OXFORD_PET_ROOT" not in os.environ, reason="no OXFORD_PET_ROOT")
@pytest.mark.parametrize("parts", [("smoke", "exactness", "speed"), ("ablations",)], ids="-".join)
def test_every_step_of_the_campaign_ends_well(parts, tmp_path):
    environment = os.environ | {
        "CAMPAIGN_TINY": "1",
        "CAMPAIGN_SECONDS": "3600",
        "CAMPAIGN_PATIENCE": "20",
        "CAMPAIGN_WORK": str(tmp_path / "work"),
        "SEGSWEEP_CACHE": str(tmp_path / "cache"),
        "OUT": str(tmp_path / "out"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    ended = subprocess.run(
        ["bash", "tools/gpu/campaign.sh", *parts], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    steps = [line.split("\t") for line in (tmp_path / "out" / "steps.tsv").read_text().splitlines()]
    assert ended.returncode == 0 and {exit_code for _, _, exit_code, _ in steps} == {"0"}, ended.stdout + ended.stderr
    assert {part for part, *_ in steps} == set(parts)
    for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines():
        assert "error" not in json.loads(line) or json.loads(line)["error"] is None
