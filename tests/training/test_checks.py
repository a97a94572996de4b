"""A config that cannot work is refused before any work, with every reason at once."""

import pytest
import torch

from src.errors import ConfigError
from src.training.checks import checked


@pytest.fixture
def problems(composed):
    def find(*overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as refusal:
            checked(composed("data=synthetic", "device=cpu", *overrides))
        return refusal.value.problems

    return find


MODELS = ["unet", "unet_bias", "unet_nobn", "resnet34_unet", "resnet34_unet_plain", "resnet34_unet_cbam"]


@pytest.mark.parametrize("model", MODELS)
def test_every_network_fits_a_loss(composed, model):
    loss = "cross_entropy" if model in ("unet_nobn", "resnet34_unet_cbam") else "bce"
    assert checked(composed("data=synthetic", "device=cpu", f"model={model}", f"loss={loss}")).model["width"] == 64


def test_two_outputs_and_bce_do_not_go_together(problems):
    assert problems("model=unet_nobn", "loss=bce") == [
        "model.out_channels: got 2 with loss=bce, which takes 1; use loss=cross_entropy with 2 output channels and "
        "loss=bce (or another) with 1"
    ]


def test_all_reasons_come_at_once(problems):
    found = problems(
        "trainer.epochs=many",
        "model.widht=8",
        "scheduler.pct_startt=0.1",
        "augmentation.transforms.0.pp=0.5",
        "nothing=1",
    )
    keys = [problem.split(":")[0] for problem in found]
    assert keys[:2] == ["trainer.epochs", "nothing"]
    assert keys[2:4] == ["model.widht", "scheduler.pct_startt"]
    assert "HorizontalFlip" in found[4] and "'pp'" in found[4]
    assert len(found) == 5


def test_values_that_only_a_constructor_can_judge_are_found_too(problems):
    found = problems("optimizer.lr=-1", "model.width=3", "device=cuda:9")
    assert [problem.split(":")[0] for problem in found] == ["model", "optimizer", "device"]
    assert "-1" in found[1] and "this machine has" in found[2]


def test_an_image_that_is_too_small_for_the_network(problems):
    assert problems("model=resnet34_unet", "data.image_size=32")[0].startswith(
        "data.image_size: got 32; resnet34_unet works from "
    )


def test_starting_weights_must_be_there_and_fit(problems, tmp_path):
    assert "which is no file" in problems(f"init_from={tmp_path}/none.pt")[0]
    other = tmp_path / "other.pth"
    torch.save({"head.weight": torch.zeros(1, 64, 3, 3)}, other)
    assert "holds weights of another network; of 118 entries 1 of another shape: " in problems(f"init_from={other}")[0]
    (tmp_path / "text.pth").write_text("hello")
    assert "not a readable checkpoint" in problems(f"init_from={tmp_path}/text.pth")[0]


def test_what_a_config_names_is_not_run(problems, tmp_path):
    mark = tmp_path / "mark"
    found = problems("model._target_=os.system", f"+model.command='touch {mark}'")
    assert found[0].startswith("model._target_: got 'os.system'; allowed are names under src., ")
    assert not mark.exists()
