"""`trainer.flip_tta`: the mean over an image and its mirror image wherever the network is scored, never in training."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.base.config import NumericsSection
from src.base.record import RunRecord
from src.base.runtime import Numerics
from src.data.open_data import open_verified
from src.models.resnet34_unet import ResNet34UNet
from src.models.unet import UNet
from src.training.build import build_loaders, build_train_state
from src.training.checkpoint import load_checkpoint, load_weights
from src.training.checks import checked
from src.training.loop import evaluate
from src.training.state import ModelRunner, WeightAverage, mean_over_mirrored

STANDARDIZED = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(params=[UNet, ResNet34UNet])
def networks(request, composed):
    """A model after one batch, which moved its running statistics: averaging over flips, and not."""
    torch.manual_seed(0)
    model = request.param(width=4)
    model(torch.randn(2, 3, 64, 64))
    numerics = Numerics(torch.device("cpu"), checked(composed("data=synthetic", "device=cpu")).numerics)
    return [ModelRunner(model, numerics, *STANDARDIZED, flip_tta=flip) for flip in (True, False)]


def test_the_mean_over_mirrored_images_by_hand():
    """Columns weigh 1, 2 and 3: the row 1, 10, 100 gives 1, 20, 300, and mirrored, 100, 20, 3, back 3, 20, 100."""
    images = torch.tensor([[[[1.0, 10.0, 100.0], [0.0, 0.0, 2.0]]]])
    mean = mean_over_mirrored(lambda views: views * torch.tensor([1.0, 2.0, 3.0]), images)
    assert mean.tolist() == [[[[2, 20, 200], [0, 0, 4]]]]


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (lambda logits: logits[..., ::2], r"a tensor of shape \(2, 1, 8, 4\)"),
        (lambda logits: logits[:1], r"a tensor of shape \(1, 1, 8, 8\)"),
        (lambda logits: logits.expand(2, 3, 8, 8), r"a tensor of shape \(2, 3, 8, 8\)"),
        (lambda logits: {"out": logits}, "a dict"),
    ],
)
@pytest.mark.parametrize("flip", [True, False])
def test_what_is_not_logits_is_refused_with_what_they_are(networks, returned, got, flip):
    class Odd(nn.Module):
        def forward(self, images):
            return returned(images[:, :1])

    runner = ModelRunner(Odd().eval(), networks[0].numerics, *STANDARDIZED, flip_tta=flip)
    with pytest.raises(ValueError, match=rf"the network returned {got} .*; logits are .*\(2, 1, 8, 8\) or"):
        runner.logits(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_a_mirrored_image_gets_the_mirrored_logits_in_evaluation_mode(networks):
    averaging, plain = networks
    averaging.model.eval()
    images = torch.randint(256, (2, 3, 65, 99), dtype=torch.uint8)
    with torch.no_grad():
        logits, mirrored, once = averaging.logits(images), averaging.logits(images.flip(-1)), plain.logits(images)
        assert torch.equal(logits, (once + plain.logits(images.flip(-1)).flip(-1)) / 2)
    torch.testing.assert_close(mirrored, logits.flip(-1), rtol=0, atol=1e-6)
    assert (logits - once).abs().max() > once.std() / 100  # else the network was symmetric already


def test_it_costs_a_second_pass_when_scored_and_nothing_in_training(networks):
    averaging, plain = networks
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)

    def operations(network):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.logits(images)
        return counter.get_total_flops()

    averaging.model.train()
    assert operations(averaging) == operations(plain)
    averaging.model.eval()
    assert operations(averaging) == 2 * operations(plain)


@pytest.mark.long
def test_a_run_with_it_trains_the_same_weights_and_is_scored_with_the_mean(start):
    plain, averaging = start("trainer.epochs=1"), start("trainer.epochs=1", "trainer.flip_tta=true")
    assert plain.folder != averaging.folder
    rows = [RunRecord(outcome.folder).read_epochs()[0] for outcome in (plain, averaging)]
    assert rows[0]["train_loss"] == rows[1]["train_loss"] and rows[0]["valid_loss"] != rows[1]["valid_loss"]
    losses = [RunRecord(outcome.folder).read_scores("test")["headline"]["loss"] for outcome in (plain, averaging)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("average", ["null", "0.9"])
def test_the_network_that_is_scored_averages_and_so_does_a_moving_average_of_it(composed, small, average):
    config = checked(composed(*small, "trainer.flip_tta=true", f"trainer.ema_decay={average}"))
    assert build_train_state(config, Numerics(torch.device("cpu"), config.numerics), 1).scored.flip_tta


@pytest.mark.parametrize(("debug", "mixes"), [("overfit_batch", False), ("one_batch", True)])
def test_overfitting_mixes_nothing_since_each_step_takes_the_same_batch(composed, small, debug, mixes):
    config = checked(composed(*small, "mix=mixup", f"debug={debug}"))
    state = build_train_state(config, Numerics(torch.device("cpu"), config.numerics), 1)
    assert (state.mix is not None) == mixes


# --- The average of the weights: its formula, what it does with BatchNorm, and that a run is scored with it


@pytest.fixture
def network():
    """BatchNorm after a convolution with one weight."""
    exact = NumericsSection(
        name="exact", deterministic=True, autocast=None, channels_last=False, tf32=False, cpu_threads=1
    )
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.BatchNorm2d(1))
    nn.init.zeros_(model[0].weight)
    return ModelRunner(model, Numerics(torch.device("cpu"), exact), (0.5,) * 3, (0.5,) * 3)


def after(network, decay, weights):
    """The averages after each of the steps that leave `weights`."""
    average, seen = WeightAverage(network, decay), []
    for weight in weights:
        nn.init.constant_(network.model[0].weight, weight)
        average.update()
        seen.append(average.network.model[0].weight[0, 0, 0, 0].item())
    return seen


def test_early_steps_weigh_more_than_the_decay_says(network):
    # d = 1/10, 2/11, 3/12, from an initial weight of 0:
    # 0.1 * 0 + 0.9 * 10 = 9; 2/11 * 9 + 9/11 * 20 = 18; 0.25 * 18 + 0.75 * 30 = 27
    assert after(network, 0.99, [10.0, 20.0, 30.0]) == pytest.approx([9.0, 18.0, 27.0])


def test_no_step_weighs_less_than_the_decay_says(network):
    # d = min(0.15, 1/10), then 0.15: 0.9 * 10 = 9; 0.15 * 9 + 0.85 * 20 = 18.35; 0.15 * 18.35 + 0.85 * 20 = 19.7525
    assert after(network, 0.15, [10.0, 20.0, 20.0]) == pytest.approx([9.0, 18.35, 19.7525])


def test_statistics_of_batch_norm_are_averaged_and_its_counter_copied(network):
    average = WeightAverage(network, 0.99)
    norm = network.model[1]
    norm.running_mean.fill_(10.0)
    norm.running_var.fill_(11.0)  # 1 to begin with
    norm.num_batches_tracked.fill_(7)
    average.update()
    averaged = average.network.model[1]
    assert averaged.running_mean.item() == pytest.approx(9.0)  # 0.1 * 0 + 0.9 * 10
    assert averaged.running_var.item() == pytest.approx(10.0)  # 0.1 * 1 + 0.9 * 11
    assert averaged.num_batches_tracked.item() == 7


@pytest.mark.long
def test_the_network_in_training_does_not_know_of_its_average(start, apart):
    plain, averaged = start(apart("plain")).folder, start("trainer.ema_decay=0.9", apart("averaged")).folder
    assert plain.name != averaged.name  # it is another setting
    one, other = (load_checkpoint(folder / "checkpoints" / "last.pt")["model"] for folder in (plain, averaged))
    assert all(torch.equal(one[key], other[key]) for key in one)
    losses = [[row["train_loss"] for row in RunRecord(folder).read_epochs()] for folder in (plain, averaged)]
    assert losses[0] == losses[1]


def test_the_average_is_what_is_validated_and_kept(start, composed, small):
    folder = start("trainer.ema_decay=0.9", "optimizer.lr=0.03", "seed=1").folder  # the last epoch is the best
    best, last = (load_checkpoint(folder / "checkpoints" / name) for name in ("best.pt", "last.pt"))
    assert best["epoch"] == last["best_epoch"] == 2  # so that both are of the same step
    assert all(torch.equal(best["model"][key], last["average"]["model"][key]) for key in best["model"])
    assert not torch.equal(best["model"]["head.weight"], last["model"]["head.weight"])

    config = checked(composed(*small))
    splits, fingerprint = open_verified(config.data)
    numerics = Numerics(torch.device("cpu"), config.numerics)
    valid = build_loaders(config, splits, fingerprint, numerics).valid
    state = build_train_state(config, numerics, 5)
    state.network.model.load_state_dict(load_weights(folder / "checkpoints" / "best.pt"))
    scores = evaluate(state.network, state.loss, valid, "validation", lambda: None)
    assert scores.dice == RunRecord(folder).read_epochs()[-1]["valid_dice"]


def test_a_mask_with_infinities_is_copied(network):
    network.model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    average = WeightAverage(network, 0.99)
    average.update()
    assert average.network.model.mask.tolist() == [0.0, float("-inf")]
