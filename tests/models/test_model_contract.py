"""What every network of conf/model promises, new ones too, tried on the real class at a width of 8.

What only ours promise takes `our_choice` or `plain_choice`.
"""

import json

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from src.base.config import node_problems
from src.models.blocks import CBAM, OutChannels, Width
from tests.models.conftest import readme_network

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def build_trained(choice) -> nn.Module:
    """In eval mode, after one batch has moved the running statistics away from 0 and 1."""
    network = choice.build()
    network(random_images(4, 64, 64))
    return network.eval()


def random_images(batch: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def backpropagate(network: nn.Module, images: Tensor) -> Tensor:
    """Backpropagate a random gradient from the logits; returns the logits."""
    logits = network(images)
    seeded = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    logits.backward(seeded.to(logits))
    return logits.detach()


def test_every_choice_spells_out_all_arguments_but_options(plain_choice):
    assert plain_choice.name == plain_choice.path.stem
    annotations = dict(plain_choice.network_class.__init__.__annotations__)
    del annotations["return"]
    needed = {name: kind for name, kind in annotations.items() if name not in ("residual", "attention")}
    assert list(plain_choice.arguments)[: len(needed)] == list(needed)
    kinds = {name: int if kind in (Width, OutChannels) else kind for name, kind in needed.items()}
    assert {name: type(plain_choice.arguments[name]) for name in needed} == kinds
    options = {name: False for name in annotations if name not in needed}
    written = dict(list(plain_choice.arguments.items())[len(needed) :])
    assert written == (options if plain_choice.name in ("unet", "resnet34_unet") else {})
    assert plain_choice.arguments["width"] == 64
    assert plain_choice.arguments["out_channels"] == (
        2 if plain_choice.name in ("unet_nobn", "resnet34_unet_cbam") else 1
    )


@pytest.mark.parametrize("out_channels", [1, 2])
def test_training_step_reaches_every_parameter(choice, out_channels):
    network = choice.build(out_channels=out_channels)
    logits = backpropagate(network, random_images(2, 64, 64))
    assert logits.shape == (2, out_channels, 64, 64)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} is not part of the computation"
        assert parameter.grad.isfinite().all(), name


def test_small_steps_down_the_gradient_lower_the_loss(choice):
    network = choice.build()
    images = random_images(2, 64, 64)
    target = torch.zeros(2, choice.arguments["out_channels"], 64, 64)
    target[:, :, 16:48, 16:48] = 1
    losses = []
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(4):
        loss = nn.functional.binary_cross_entropy_with_logits(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("size", [(64, 64), (250, 333), (97, 35), (63, 130)], ids=str)
def test_logits_come_back_at_the_size_of_the_images(our_choice, size):
    with torch.no_grad():
        assert our_choice.build().eval()(random_images(1, *size)).shape[2:] == size


def test_a_single_image_of_the_smallest_size_can_be_trained_on(our_choice):
    network = our_choice.build()
    smallest = network.minimum_size
    logits = backpropagate(network, random_images(1, smallest, smallest))
    assert logits.shape[2:] == (smallest, smallest)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_smaller_images_are_refused_with_the_size_and_the_remedy(our_choice):
    network = our_choice.build().eval()
    smallest = network.minimum_size
    for height, width in [(smallest - 1, 200), (200, smallest - 1), (1, 1)]:
        with pytest.raises(ValueError) as error:
            network(random_images(1, height, width))
        assert f"{height} x {width} pixels" in str(error.value)
        assert f"at least {smallest} x {smallest}; resize" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"width": 9}, ["model.width: got 9; input should be a multiple of 2"]),
        ({"width": 0, "out_channels": 0}, ["model.width: got 0; ", "model.out_channels: got 0; "]),
        ({"width": -8}, ["model.width: got -8; input should be greater than or equal to 2"]),
    ],
)
def test_widths_and_channels_that_do_not_work_are_refused(plain_choice, arguments, said):
    node = OmegaConf.to_container(OmegaConf.load(plain_choice.path), resolve=True) | arguments
    problems = node_problems("model", node, nn.Module, ())
    assert len(problems) == len(said)
    assert all(problem.startswith(start) for problem, start in zip(problems, said, strict=True))


def test_the_narrowest_network_works(our_choice):
    assert our_choice.build(width=2).eval()(random_images(1, 64, 64)).isfinite().all()


def test_width_scales_every_convolution(our_choice):
    def channels(width: int) -> list[int]:
        network = our_choice.build(width=width)
        fixed = [network.head, *(m for m in network.modules() if isinstance(m, CBAM))]
        exempt = {id(part) for module in fixed for part in module.modules()}
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        return [convolution.out_channels for convolution in convolutions if id(convolution) not in exempt]

    assert channels(16) == [2 * narrow for narrow in channels(8)]


def test_saved_weights_give_identical_logits(choice, tmp_path):
    network = build_trained(choice)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    restored = choice.build().eval()  # its running statistics are still 0 and 1
    for parameter in restored.parameters():
        nn.init.constant_(parameter, 0.1)
    images = random_images(2, 64, 64)
    with torch.no_grad():
        assert not torch.equal(restored(images), network(images))
        restored.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        assert torch.equal(restored(images), network(images))


def test_an_image_gets_the_same_logits_alone_and_in_a_batch(choice):
    network = build_trained(choice)
    images = random_images(3, 64, 64)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    # of what they vary by: attention makes small logits, and an absolute bound would be blind to theirs
    torch.testing.assert_close(alone, together, rtol=0, atol=together.std().item() / 1000)


def test_channels_last_gives_the_same_logits_and_gradients(our_choice):
    network = our_choice.build().double()  # in float32, another order of sums tips some ReLUs
    images = random_images(2, 64, 65).double()
    logits = backpropagate(network, images)
    other = our_choice.build().double().to(memory_format=torch.channels_last)
    other_logits = backpropagate(other, images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(other_logits, logits)
    for expected, got in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


@pytest.mark.parametrize("training", [True, False])
def test_images_are_left_untouched(choice, training):
    images = random_images(2, 64, 64)
    before = images.clone()
    choice.build().train(training)(images)
    assert torch.equal(images, before)


@pytest.mark.long
def test_an_exported_program_says_the_same_at_any_batch(our_choice):
    network = build_trained(our_choice)
    program = torch.export.export(
        network, (random_images(2, 50, 64),), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}}
    ).module()
    with torch.no_grad():
        for batch in (1, 3):
            images = random_images(batch, 50, 64)
            expected = network(images)
            torch.testing.assert_close(program(images), expected, rtol=1e-4, atol=expected.std().item() / 1000)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_exact_numerics_repeat_bit_for_bit(choice, device, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    torch.use_deterministic_algorithms(True)
    try:
        results = [train_once(choice, device) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def train_once(choice, device: str) -> list[Tensor]:
    """Logits and all gradients of one step."""
    network = choice.build().to(device)
    logits = backpropagate(network, random_images(2, 64, 64).to(device))
    return [logits, *(parameter.grad for parameter in network.parameters())]


@pytest.mark.long
def test_the_network_of_the_readme_is_trained_in_a_sweep_beside_ours(small, tmp_path, train, monkeypatch):
    code, _ = readme_network(tmp_path)
    text = (tmp_path / "model" / "my_net.yaml").read_text()
    (tmp_path / "model" / "my_net.yaml").write_text(text.replace("src.models.my_net", "my_net"))
    monkeypatch.setenv("PYTHONPATH", str(code.parent))
    monkeypatch.syspath_prepend(code.parent)
    done = train("-m", f"--config-dir={tmp_path}", *small, "model=my_net,unet", "trainer.epochs=1")
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json")]
    assert sorted((record["choices"]["model"], record["status"]) for record in records) == [
        ("my_net", "finished"),
        ("unet", "finished"),
    ]
