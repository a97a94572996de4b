"""The combinations that a sweep hands to its launcher: grids together, keys that move together, what is left out."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from omegaconf import OmegaConf

from hydra_plugins.segsweep.sweeper import GridSweeper
from src.base.errors import ConfigError
from src.cli.overrides import CONF, force_overrides


class Recorder:
    """Stands where the launcher does and keeps what the sweeper hands it."""

    def launch(self, job_overrides, initial_job_idx):
        self.jobs = [" ".join(override.lstrip("+") for override in job) for job in job_overrides]
        return []


def jobs_of(settings, *typed):
    """The overrides of each job of `-m <typed>` with these `settings` of hydra.sweeper, in order."""
    sweeper = GridSweeper()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweeper.hydra_context = HydraContext(GlobalHydra.instance().config_loader(), callbacks=None)
        runtime = {"config_sources": [{"path": str(CONF), "schema": "file"}]}
        sweeper.config = OmegaConf.create({"hydra": {"sweeper": settings, "runtime": runtime}})
        sweeper.launcher = Recorder()
        sweeper.sweep(force_overrides(list(typed)))
    return sweeper.launcher.jobs


def test_a_combination_with_all_values_of_a_rule_is_left_out():
    rules = [{"model": "unet_nobn", "loss": "bce"}, {"optimizer.lr": 0.001, "loss": ["bce", "dice"]}]
    jobs = jobs_of({"exclude": rules}, "model=unet,unet_nobn", "loss=bce,dice", "optimizer.lr=1e-3,0.01")
    assert jobs == [  # of 8: one by the first rule alone, all 4 with 0.001 by the second
        "model=unet loss=bce optimizer.lr=0.01",
        "model=unet loss=dice optimizer.lr=0.01",
        "model=unet_nobn loss=dice optimizer.lr=0.01",
    ]


def test_the_values_of_a_pair_move_together_and_others_multiply_them():
    pairs = {"pairs": [["model", "trainer.batch_size"]], "params": {"trainer.batch_size": "8,4"}}
    assert jobs_of(pairs, "seed=0,1", "model=unet,unet_bias") == [
        "model=unet trainer.batch_size=8 seed=0",
        "model=unet trainer.batch_size=8 seed=1",
        "model=unet_bias trainer.batch_size=4 seed=0",
        "model=unet_bias trainer.batch_size=4 seed=1",
    ]


def test_several_grids_are_one_sweep():
    grids = [
        {"model": "unet", "scheduler": ["cosine", "poly"]},
        {"model": "unet_bias,unet_nobn", "mix": [None], "tags": ["[NoneNet]"]},
    ]
    assert jobs_of({"params": {"seed": "0,1", "loss": "dice"}, "grids": grids}, "seed=7", "notes=x") == [
        "seed=7 loss=dice model=unet scheduler=cosine notes=x",
        "seed=7 loss=dice model=unet scheduler=poly notes=x",
        "seed=7 loss=dice model=unet_bias mix=null tags=[NoneNet] notes=x",
        "seed=7 loss=dice model=unet_nobn mix=null tags=[NoneNet] notes=x",
    ]


@pytest.mark.parametrize(
    ("value", "override"),
    [
        ("a, b", "'a, b'"),
        ("it's", r"'it\'s'"),
        ("NoneSuch", "NoneSuch"),
        ("[a,b]", "[a,b]"),
        ([None, "a, b", True], "[null,'a, b',True]"),
    ],
)
def test_a_value_in_a_list_is_one_value(value, override):
    assert jobs_of({"grids": [{"notes": [value, "c"]}]}) == [f"notes={override}", "notes=c"]


def test_a_value_of_yaml_that_is_not_a_text_is_the_same_value_in_the_run():
    params = {"mix": None, "tags": ["a, b", None], "trainer.by_model": {"unet": {"epochs": 3}}, "seed": "0,1"}
    shared = "mix=null tags=['a, b',null] trainer.by_model={unet:{epochs:3}}"
    assert jobs_of({"params": params}) == [f"{shared} seed=0", f"{shared} seed=1"]


def test_true_leaves_out_no_1():
    jobs = ["seed=0 mix=True", "seed=1 mix=0", "seed=1 mix=True"]
    assert jobs_of({"exclude": [{"seed": [True, 0], "mix": [0]}]}, "seed=0,1", "mix=0,true") == jobs


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exclude": [{"los": "bce"}]}, "hydra.sweeper.exclude: got 'los', which is not swept; did you mean 'loss'?"),
        ({"exclude": [{"loss": "focal"}]}, "hydra.sweeper.exclude: got {'loss': 'focal'}, which leaves out nothing"),
        ({"exclude": [{"loss": "bce"}, {"loss": "dice"}]}, "hydra.sweeper.exclude: leaves out every combination"),
        ({"exclude": {"loss": "bce"}}, "hydra.sweeper.exclude: got {'loss': 'bce'}; input should be a valid list"),
        ({"exclude": [{}]}, "hydra.sweeper.exclude.0: got {}; dictionary should have at least 1 item"),
        ({"pairs": [["loss", "seed"]]}, "hydra.sweeper.pairs: got 2 of loss, 3 of seed; values that move together are"),
        ({"pairs": [["loss", "model"]]}, "hydra.sweeper.pairs: got 'model', which is not swept; allowed: loss, seed"),
        ({"pairs": [["loss", "loss"]]}, "hydra.sweeper.pairs: got 'loss' twice; a key moves with one pair"),
        ({"pairs": [["loss"]]}, "hydra.sweeper.pairs.0: got ['loss']; list should have at least 2 items"),
        ({"grids": ["loss"]}, "hydra.sweeper.grids.0: got 'loss'; input should be a valid dictionary"),
        ({"grids": [{"model": []}]}, "the grid is empty"),
        (
            {"max_batch_size": 2},
            "hydra.sweeper.max_batch_size: unknown key (got 2); allowed: dry_run, exclude, grids, pairs",
        ),
        ({"dry_run": "yes"}, "hydra.sweeper.dry_run: got 'yes'; true or false"),
        ({"params": "loss"}, "hydra.sweeper.params: got 'loss'; input should be a valid dictionary"),
    ],
)
def test_what_a_grid_cannot_be_is_one_line(settings, said):
    with pytest.raises(ConfigError) as error:
        jobs_of(settings, "loss=bce,dice", "seed=0,1,2")
    assert len(error.value.problems) == 1 and error.value.problems[0].startswith(said)


def test_a_switch_may_be_an_interpolation(monkeypatch):
    monkeypatch.setenv("SKIP", "false")
    assert jobs_of({"skip_invalid": "${oc.decode:${oc.env:SKIP}}"}, "seed=0,1") == ["seed=0", "seed=1"]
    monkeypatch.setenv("SKIP", "1")
    with pytest.raises(ConfigError, match="skip_invalid: got 1; true or false"):
        jobs_of({"skip_invalid": "${oc.decode:${oc.env:SKIP}}"}, "seed=0,1")
