"""The campaign for a CUDA machine, rehearsed on a CPU with tiny runs of real photos."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("OXFORD_PET_ROOT" not in os.environ, reason="no OXFORD_PET_ROOT"),
]


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
