"""The launcher composes jobs that differ in seeds only once: the result is what Hydra composes for each by itself."""

import functools
import itertools
import operator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hydra_plugins.segsweep.launchers import LocalLauncher
from src.cli.overrides import CONF, force_overrides, plain_values


@pytest.fixture
def launcher():
    """A launcher inside an initialized Hydra; `compose` of a job is what it is held against."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = compose("train", ["hydra.mode=MULTIRUN", "hydra.job.config_name=train"], return_hydra_config=True)
        launcher = LocalLauncher(jobs=1, slots_per_gpu=1, on_error="continue", budget_hours=None)
        context = HydraContext(config_loader=loader, callbacks=None)
        launcher.setup(hydra_context=context, task_function=lambda config: None, config=config)
        yield launcher


def swept(launcher, *typed, params=None):
    """The configs of the sweep `-m <typed>` with `hydra.sweeper.params`, from the sweeper and the launcher."""
    sweeper = instantiate(launcher.config.hydra.sweeper)
    sweeper.hydra_context, sweeper.launcher = launcher.context, _Composing(launcher)
    runtime = launcher.config.hydra.runtime
    sweeper.config = OmegaConf.create({"hydra": {"sweeper": {"params": params}, "runtime": runtime}})
    sweeper.sweep(force_overrides(["data=synthetic", *typed]))
    return sweeper.launcher.points


class _Composing:
    def __init__(self, launcher):
        self.launcher = launcher

    def launch(self, job_overrides, initial_job_idx):
        self.points = self.launcher.compose(job_overrides)
        return []


def test_jobs_are_composed_as_hydra_would_compose_each(launcher, monkeypatch):
    models, sizes, seeds = ["unet", "resnet34_unet"], [64, 96], [0, 1]
    grid = [
        ["data=synthetic", f"model={model}", "augmentation=crop_flip", f"++data.image_size={size}", f"seed={seed}"]
        for model, size, seed in itertools.product(models, sizes, seeds)
    ]
    loads = []
    load = launcher.context.config_loader.load_sweep_config
    monkeypatch.setattr(
        launcher.context.config_loader, "load_sweep_config", lambda *given: loads.append(given) or load(*given)
    )
    points = launcher.compose(grid)
    assert [plain for plain, _ in points] == [plain_values(compose("train", overrides)) for overrides in grid]
    assert len(loads) == len(models) * len(sizes)  # seeds alone cost nothing
    # interpolations follow the values: report B's crop is as large as the image
    assert [plain["augmentation"]["transforms"][0]["height"] for plain, _ in points] == [64, 64, 96, 96] * 2
    assert points[1][1] == [
        "data=synthetic",
        "model=unet",
        "augmentation=crop_flip",
        "data.image_size=64",
        "seed=1",
    ]


@pytest.mark.parametrize(
    ("typed", "key", "values"),
    [
        (["data.fold=${seed}", "seed=0,1,2"], "data.fold", [0, 1, 2]),
        (["seed=0,1,2", "data.fold=${seed}"], "data.fold", [0, 1, 2]),
        (["trainer.batch_size=${trainer.epochs}", "trainer.epochs=1,2"], "trainer.batch_size", [1, 2]),
        (["trainer.batch_size=8,${trainer.epochs}", "trainer.epochs=1,2"], "trainer.batch_size", [8, 8, 1, 2]),
        (["notes=run ${seed}", "seed=range(2)"], "notes", ["run 0", "run 1"]),
        (["notes='run ${seed}, ${model.name}'", "model=unet,unet_bias"], "notes", ["run 0, unet", "run 0, unet_bias"]),
        (["notes=run \\${seed}", "seed=0,1"], "notes", ["run ${seed}", "run ${seed}"]),
        (["tags=[s${seed},all]", "seed=0,1"], "tags", [["s0", "all"], ["s1", "all"]]),
        (["optimizer.weight_decay=${optimizer.lr}", "optimizer.lr=0.1,0.2"], "optimizer.weight_decay", [0.1, 0.2]),
        (["optimizer.weight_decay=${.lr}", "optimizer.lr=0.1,0.2"], "optimizer.weight_decay", [0.1, 0.2]),
        (["sweep.name=s${seed}", "seed=3,4"], "sweep.name", ["s3", "s4"]),
        (["seed=0,1", "seed=7"], "seed", [7]),
        (["seed=1.0,2.0,3_000,1e3,12x"], "seed", [1, 2, 3000, 1000, "12x"]),
        (["optimizer.lr=0.1,0.2", "optimizer={lr: 0.3}"], "optimizer.lr", [0.3, 0.3]),  # in the order of the overrides
        (["optimizer={lr: 0.3}", "optimizer.lr=0.1,0.2"], "optimizer.lr", [0.1, 0.2]),
    ],
)
def test_what_is_typed_holds_in_each_job(launcher, typed, key, values):
    points = swept(launcher, *typed)
    assert [functools.reduce(operator.getitem, key.split("."), plain) for plain, _ in points] == values


def test_the_overrides_of_a_job_are_recorded_as_typed(launcher):
    assert [overrides for _, overrides in swept(launcher, "data.fold=${seed}", "seed=0,1")] == [
        ["data=synthetic", "data.fold=${seed}", f"seed={seed}"] for seed in (0, 1)
    ]


def test_the_grid_of_an_experiment_holds_in_each_job_too(launcher):
    points = swept(launcher, "seed=0,1", params={"data.fold": "${seed}", "seed": 9, "notes": "fold ${data.fold}"})
    assert [(plain["data"]["fold"], plain["notes"]) for plain, _ in points] == [(0, "fold 0"), (1, "fold 1")]
