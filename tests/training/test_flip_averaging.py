"""`trainer.flip_tta`: the mean over an image and its mirror image wherever the network is scored, never in training."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.base.record import RunRecord
from src.base.runtime import Numerics
from src.models.resnet34_unet import ResNet34UNet
from src.models.unet import UNet
from src.training.build import build_train_state
from src.training.checks import checked
from src.training.state import ModelRunner, mean_over_mirrored

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
