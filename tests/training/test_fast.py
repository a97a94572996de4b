"""Fast arithmetic: fused steps everywhere, compiled networks and steps that never wait on CUDA."""

from itertools import count

import pytest
import torch
from torch import nn

from src.base.runtime import Numerics, seed_everything
from src.data.loaders import PairFiles, make_train_loader
from src.data.open_data import open_data
from src.training.checks import build_optimizer, checked
from src.training.loop import train_epoch
from src.training.state import Learner, Network, make_learner
from src.training.stopping import StopRequest

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture
def config(composed, small):
    """`config("numerics=fast")`: the real config, small."""
    return lambda *overrides: checked(composed(*small, *overrides))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_fast_steps_are_fused_and_exact_ones_are_not(config, optimizer):
    parameters = [nn.Parameter(torch.zeros(3))]
    fast = build_optimizer(config("numerics=fast", f"optimizer={optimizer}"), parameters)
    exact = build_optimizer(config("numerics=exact", f"optimizer={optimizer}"), parameters)
    assert fast.defaults["fused"] is True and not exact.defaults["fused"]


def test_what_a_config_says_of_an_optimizer_goes_before(config):
    chosen = config("numerics=fast", "optimizer.fused=false")
    assert build_optimizer(chosen, [nn.Parameter(torch.zeros(3))]).defaults["fused"] is False


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_fused_step_is_the_plain_step_but_for_rounding(config, optimizer):
    generator = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(50, generator=generator), torch.randn(20, 50, generator=generator)
    ends = []
    for numerics in ("exact", "fast"):
        parameter = nn.Parameter(start.clone())
        stepping = build_optimizer(config(f"numerics={numerics}", f"optimizer={optimizer}"), [parameter])
        for gradient in gradients:
            parameter.grad = gradient.clone()
            stepping.step()
        ends.append(parameter.detach())
    assert torch.allclose(*ends, atol=1e-6) and not torch.equal(ends[0], start)


def test_ids_of_exact_runs_do_not_know_of_fusing_and_compiling(config):
    assert config("numerics=exact").numerics.fused is None and config("numerics=exact").numerics.compile is None


def test_networks_are_compiled_on_cuda_only(config):
    assert not Numerics(torch.device("cpu"), config("numerics=fast").numerics).compiles
    assert Numerics(torch.device("cuda"), config("numerics=fast").numerics).compiles
    assert not Numerics(torch.device("cuda"), config("numerics=exact").numerics).compiles


def learner_on_cuda(config, model: str) -> Learner:
    seed_everything(0)
    return make_learner(config, Numerics(torch.device("cuda"), config.numerics), steps_per_epoch=5)


@pytest.mark.parametrize("model", [pytest.param(name, marks=needs_cuda) for name in ("unet", "resnet34_unet")])
@pytest.mark.parametrize("scheduler", ["onecycle", "plateau"])
def test_no_step_waits_for_the_device(config, model, scheduler):
    chosen = config(
        "numerics=fast", f"model={model}", f"scheduler={scheduler}", "data.image_size=64", "trainer.ema_decay=0.9"
    )
    splits = open_data(chosen.data)
    loader = make_train_loader(
        splits.train,
        PairFiles(splits.reader),
        64,
        "foreground",
        chosen.augmentation,
        4,
        seed=0,
        workers=0,
        pin_memory=True,
        limit_batches=4,
    )
    learner = learner_on_cuda(chosen, model)
    # the first epoch compiles and picks algorithms, which may wait
    for epoch in count(1):
        torch.cuda.set_sync_debug_mode("error" if epoch == 2 else "default")
        try:
            learner.batch = 0
            train_epoch_without_the_last_wait(learner, loader, chosen)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if epoch == 2:
            break


def train_epoch_without_the_last_wait(learner: Learner, loader, config) -> None:
    """An epoch; the one synchronisation at its end is not a step's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        train_epoch(learner, loader, config.trainer, StopRequest())


@pytest.mark.parametrize("model", [pytest.param(name, marks=needs_cuda) for name in ("unet", "resnet34_unet")])
def test_a_compiled_network_says_what_the_plain_one_says(config, model, tmp_path):
    chosen = config("numerics=fast", f"model={model}", "data.image_size=64")
    network = learner_on_cuda(chosen, model).network
    network.model.eval()
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        compiled = network.logits(images)
        plain = torch.cat([network.logits(images[:2]), network.logits(images[2:])])  # batches of 2 are not compiled
    assert torch.allclose(torch.sigmoid(compiled), torch.sigmoid(plain), atol=0.02)  # bfloat16 has 8 bits


def test_whole_batches_alone_go_through_the_compiled_network(config, monkeypatch):
    """On a CPU, with torch's own wrapper around a backend that compiles nothing but notes what it was given."""
    seen = []

    def backend(graph, inputs):
        return lambda *given: seen.append(len(given[-1])) or graph(*given)

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_with(model, backend=backend))
    monkeypatch.setattr(Numerics, "compiles", True)
    numerics = Numerics(torch.device("cpu"), config("numerics=fast").numerics)
    network = Network(nn.Conv2d(3, 1, 1), numerics, (0.5,) * 3, (0.25,) * 3, batch_size=4)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        whole = network.logits(images)
        parts = torch.cat([network.logits(images[:3]), network.logits(images[3:])])
    assert len(seen) == 1 and torch.allclose(whole, parts, atol=1e-6)
