"""The launcher composes jobs that differ in values only once: the result is what Hydra composes for each by itself."""

import itertools

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext

from hydra_plugins.segsweep.launchers import LocalLauncher
from src.command_line import CONF, plain_values


def test_jobs_are_composed_as_hydra_would_compose_each(monkeypatch):
    models, sizes, seeds = ["unet", "resnet34_unet"], [64, 96], [0, 1]
    grid = [
        ["data=synthetic", f"model={model}", "augmentation=crop_flip", f"++data.image_size={size}", f"++seed={seed}"]
        for model, size, seed in itertools.product(models, sizes, seeds)
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = compose("train", ["hydra.mode=MULTIRUN", "hydra.job.config_name=train"], return_hydra_config=True)
        launcher = LocalLauncher(jobs=1, slots_per_gpu=1, on_error="continue")
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        launcher.setup(hydra_context=context, task_function=lambda config: None, config=config)
        loads = []
        load = loader.load_sweep_config
        monkeypatch.setattr(loader, "load_sweep_config", lambda *given: loads.append(given) or load(*given))
        points = launcher.compose(grid)
        expected = [plain_values(compose("train", overrides)) for overrides in grid]
    assert [plain for plain, _ in points] == expected
    assert len(loads) == len(models)
    # interpolations follow the values: report B's crop is as large as the image
    assert [plain["augmentation"]["transforms"][0]["height"] for plain, _ in points] == [64, 64, 96, 96] * 2
    assert points[1][1] == [
        "data=synthetic",
        "model=unet",
        "augmentation=crop_flip",
        "data.image_size=64",
        "seed=1",
    ]
