"""The command that settles questions: what it refuses, and a whole sweep of it with real runs."""

import json

import pytest

from src.aggregate import aggregate
from src.settle import settle

GRID = ("model=unet", "scheduler=cosine,onecycle")


def test_seeds_and_other_launchers_are_refused(here, small):
    done = here(settle, *GRID, *small, "budget=9", "seed=0,1", "hydra/launcher=basic")
    assert done.returncode == 1
    assert "hydra/launcher: settling takes local, slurm or ray" in done.stderr
    assert "seed: not taken; seeds are chosen round by round, from first_seed on" in done.stderr


@pytest.mark.parametrize(
    ("mistake", "said"), [("scheduler=cosinee", "scheduler: got 'cosinee'; allowed: "), ("debug=fast", "fast")]
)
def test_a_mistake_beside_several_values_is_what_is_said(here, small, mistake, said):
    done = here(settle, "loss=bce,dice", *small, "budget=9", mistake)
    assert done.returncode == 1 and said in done.stderr and "several values" not in done.stderr


@pytest.mark.long
def test_a_budget_is_needed_once_and_claims_must_exist(here, small):
    assert "budget: missing; it takes the runs of the sweep" in here(settle, *GRID, *small).stderr
    done = here(settle, *GRID, *small, "budget=9", "margin=0.01,0.02")
    assert done.returncode == 1 and "margin: got several values in margin=0.01,0.02; it takes one" in done.stderr
    done = here(settle, *GRID, *small, "budget=9", "+hydra.sweeper.params={margin: 0.01}")
    assert done.returncode == 1 and "margin: not taken from a grid" in done.stderr
    done = here(settle, *GRID, *small, "budget=9", "claim_files=none_such")
    assert done.returncode == 1 and "claim_files: got 'none_such'; allowed: auto, null, report_a" in done.stderr


@pytest.mark.long
def test_a_sweep_is_settled_and_reported(here, small, tmp_path):
    arguments = [*GRID, *small, "budget=6", "sweep.name=settled", "trainer.epochs=3"]
    done = here(settle, *arguments)
    assert done.returncode == 0 and "settled with 6 of 6 runs" in done.stdout, done.stderr
    sweep = tmp_path / "runs/settled"
    assert json.loads((sweep / "plan.json").read_text())["commands"][0][0] == "src.settle"
    again = here(settle, *arguments)
    assert again.stdout == done.stdout and "started" not in again.stderr
    elsewhere = here(settle, *arguments, "sweep.name=other", "dry_run=true")
    assert elsewhere.stdout.count("start  ") == 6 and not (tmp_path / "runs/other").exists(), elsewhere.stderr
    reused = here(settle, *arguments, "sweep.name=other")
    assert reused.returncode == 1 and "6 runs had been judged by other rules" in reused.stderr
    assert "Seeds are added to this sweep by src.settle" in here(aggregate, f"sweep={sweep}").stdout
    refused = here(settle, *arguments, "margin=0.01")
    assert refused.returncode == 1 and "have been judged by other rules (margin=0.005)" in refused.stderr
