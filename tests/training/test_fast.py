"""Fast arithmetic: fused steps everywhere, compiled networks and steps that never wait on CUDA."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._inductor.runtime.runtime_utils import default_cache_dir

from src.base.runtime import Numerics, seed_everything
from src.data.datasets import FileReader
from src.data.images import FOREGROUND, IGNORED
from src.data.loaders import TrainLoader
from src.data.open_data import open_data
from src.training.build import build_optimizer, build_train_state
from src.training.checks import checked
from src.training.loop import train_epoch
from src.training.state import TrainState, score

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
    assert not config("numerics=exact").numerics.fused and not config("numerics=exact").numerics.compile


def test_networks_are_compiled_on_cuda_only(config):
    assert not Numerics(torch.device("cpu"), config("numerics=fast").numerics).compiles
    assert Numerics(torch.device("cuda"), config("numerics=fast").numerics).compiles
    assert not Numerics(torch.device("cuda"), config("numerics=exact").numerics).compiles


def learner_on_cuda(config, model: str) -> TrainState:
    seed_everything(0)
    return build_train_state(config, Numerics(torch.device("cuda"), config.numerics), steps_per_epoch=5)


@pytest.mark.parametrize("model", [pytest.param(name, marks=needs_cuda) for name in ("unet", "resnet34_unet")])
@pytest.mark.parametrize("scheduler", ["onecycle", "plateau"])
def test_no_step_waits_for_the_device(config, model, scheduler, monkeypatch):
    chosen = config(
        "numerics=fast", f"model={model}", f"scheduler={scheduler}", "data.image_size=64", "trainer.ema_decay=0.9"
    )
    splits = open_data(chosen.data)
    loader = TrainLoader(
        splits.train,
        FileReader(splits.decoder),
        64,
        "foreground",
        chosen.augmentation,
        4,
        seed=0,
        workers=0,
        pin_memory=True,
        limit_batches=4,
    )
    state = learner_on_cuda(chosen, model)
    # the first epoch compiles and times kernels and algorithms, which waits
    train_epoch(state, loader, chosen.trainer, lambda: None)
    state.batch = 0
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)  # the one at the end of an epoch is not a step's
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_epoch(state, loader, chosen.trainer, lambda: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def random_batch(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (4, 3, S, S) and targets uint8 (4, S, S), a third of them ignored."""
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    return images, torch.tensor([0, IGNORED, FOREGROUND], dtype=torch.uint8)[torch.randint(0, 3, (4, size, size))]


@pytest.mark.parametrize("model", [pytest.param(name, marks=needs_cuda) for name in ("unet", "resnet34_unet")])
def test_a_compiled_step_scores_what_the_plain_one_scores(config, model):
    state = learner_on_cuda(config("numerics=fast", f"model={model}", "data.image_size=64"), model)
    images, targets = random_batch(64)
    state.network.model.train()
    compiled, _ = state.score(images, targets)
    plain, _ = score(state.network, state.loss, images, targets)
    torch.testing.assert_close(compiled, plain, atol=0.02, rtol=0.02)  # bfloat16 has 8 bits


def test_whole_training_batches_alone_are_compiled_as_one_program(config, monkeypatch):
    """On a CPU, with torch's own wrapper around a backend that compiles nothing but notes what it was given."""
    seen = []

    def backend(graph, inputs):
        return lambda *given: seen.append(graph) or graph(*given)

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda program, **_: compile_with(program, backend=backend, fullgraph=True))
    monkeypatch.setattr(Numerics, "compiles", True)
    chosen = config("numerics=fast", "data.image_size=32", "model.width=2", "trainer.batch_size=4")
    state = build_train_state(chosen, Numerics(torch.device("cpu"), chosen.numerics), steps_per_epoch=5)
    images, targets = random_batch(32)
    whole = state.score(images, targets)
    for parts in (slice(0, 3), slice(3, 4)):  # BatchNorm of other batches differs
        state.score(images[parts], targets[parts])
    plain = score(state.network, state.loss, images, targets)
    assert len(seen) == 1
    torch.testing.assert_close(whole, plain)


def test_cudnn_times_its_algorithms_for_whole_training_batches_of_fast_runs(config):
    for name, tuned in (("fast", [True, False]), ("exact", [False, False])):
        chosen = config(f"numerics={name}", "data.image_size=32", "model.width=2", "trainer.batch_size=4")
        numerics = Numerics(torch.device("cpu"), chosen.numerics)
        numerics.set_up(Path("cache"))
        state, seen = build_train_state(chosen, numerics, steps_per_epoch=5), []
        images, targets = random_batch(32)
        for batch in (4, 3):
            state.score(images[:batch], targets[:batch])
            seen.append(torch.backends.cudnn.benchmark)
        assert seen == tuned
        assert not torch.utils.deterministic.fill_uninitialized_memory


FRESH = """
import json, sys, torch
from pathlib import Path
from src.base.runtime import Numerics
from src.training.checks import checked
fast = checked(json.loads(sys.stdin.read())).numerics
Numerics(torch.device("cuda"), fast).set_up(Path(sys.argv[1]))
from torch._inductor import config
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir(), config.compile_threads, config.fx_graph_cache, torch.utils.deterministic.fill_uninitialized_memory)
"""


@pytest.mark.long
@pytest.mark.parametrize("inherited", [False, True])
def test_compiled_code_is_kept_in_the_cache_and_made_with_the_share_of_cores(config, tmp_path, inherited):
    # in a fresh process, as a run's: torch's compiler reads and sets the environment as soon as anything imports it
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORCHINDUCTOR")}
    if inherited:  # from a launcher in which something has imported it
        environment["TORCHINDUCTOR_CACHE_DIR"] = default_cache_dir()
    said = subprocess.run(
        [sys.executable, "-c", FRESH, tmp_path],
        env=environment | {"SEGSWEEP_CORES": "3"},
        input=config("numerics=fast").model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [str(tmp_path / "compiled"), "3", "True", "False"]
