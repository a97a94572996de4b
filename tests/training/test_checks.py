"""A config that cannot work is refused before any work, with every reason at once."""

import pytest
import torch

from src.base.errors import ConfigError
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
    found = problems("optimizer.lr=-1", "model.residual=true", "model.conv_bias=true", "device=cuda:9")
    assert [problem.split(":")[0] for problem in found] == ["model", "optimizer", "device"]
    assert "-1" in found[1] and "this machine has" in found[2]


def test_an_image_that_is_too_small_for_the_network(problems):
    assert problems("model=resnet34_unet", "data.image_size=32")[0].startswith(
        "data.image_size: got 32; resnet34_unet works from "
    )


def test_starting_weights_must_be_there_and_fit(problems, tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        (problem,) = problems(f"init_from={path}")
        assert problem == (
            f"init_from: got '{path}', which is not a file; give a run's checkpoints/best.pt or a .pth of weights"
        )
    other = tmp_path / "other.pth"
    torch.save({"head.weight": torch.zeros(1, 64, 3, 3)}, other)
    (problem,) = problems(f"init_from={other}")
    assert "of 118 entries 1 of another kind: head.weight (wanted torch.float32 (1, 64, 1, 1), found " in problem
    (tmp_path / "text.pth").write_text("hello")
    assert "not a readable checkpoint" in problems(f"init_from={tmp_path}/text.pth")[0]


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        (
            "{_target_: albumentations.Crop}",
            "Values for crop should be non negative and equal or smaller than image sizes",
        ),
        ("{_target_: albumentations.PadIfNeeded}", "the transforms gave an image of uint8 (1024, 1024, 3) "),
        ("{_target_: albumentations.RandomScale}", "the transforms gave an image of uint8 ("),
        ("{_target_: albumentations.Normalize}", "the transforms gave an image of float32 "),
        ("{_target_: albumentations.Rotate, limit: [45, 45], fill_mask: 7}", "a transform wrote [7] into the target; "),
        # rare, chosen among others, below others, or missing at times
        (
            "{_target_: albumentations.CenterCrop, height: 32, width: 32, p: 0.001}",
            "the transforms gave an image of uint8",
        ),
        (
            "{_target_: albumentations.OneOf, p: 0.001, transforms: [{_target_: albumentations.Transpose}, "
            "{_target_: albumentations.Normalize}]}",
            "the transforms gave an image of float32 ",
        ),
        (
            "{_target_: albumentations.PadIfNeeded, min_height: 80, min_width: 80}, "
            "{_target_: albumentations.CenterCrop, height: 64, width: 64, p: 0.999}",
            "the transforms gave an image of uint8 (80, 80, 3) ",
        ),
    ],
)
def test_transforms_that_cannot_work_are_refused(problems, transforms, said):
    (problem,) = problems("data.image_size=64", f"augmentation.transforms=[{transforms}]")
    assert problem.startswith(f"augmentation: {said}") and "\n" not in problem
    (problem,) = problems(
        "data.image_size=64", "augmentation=offline_copies", f"augmentation.copy_transforms=[{transforms}]"
    )
    assert problem.startswith(f"augmentation: {said}")


def test_a_size_to_load_at_needs_a_crop(problems):
    (problem,) = problems("augmentation=flip_jitter", "augmentation.load_scale=4", "data.image_size=64")
    assert (
        "an image of uint8 (256, 256, 3) and a target of uint8 (256, 256) (loaded at 256), but data.image_size is 64"
        in problem
    )


def test_transforms_that_work_are_taken(composed):
    for transforms in (
        "{_target_: albumentations.CenterCrop, height: 999, width: 999, p: 0.0}",  # never applied
        "{_target_: albumentations.PadIfNeeded, min_height: 80, min_width: 80}, "
        "{_target_: albumentations.RandomCrop, height: 64, width: 64}",
    ):
        checked(composed("device=cpu", "data.image_size=64", f"augmentation.transforms=[{transforms}]"))


def test_masks_of_a_folder_have_no_border_class(problems, composed):
    assert problems("data=folder", "data.border=ignore") == [
        "data.border: got 'ignore'; the masks of data=folder have no border class, so this key changes nothing: leave "
        "it at 'foreground'"
    ]
    assert checked(composed("data=folder", "device=cpu")).data.border == "foreground"


def test_the_number_of_threads_has_a_bound(problems):
    assert problems("numerics.cpu_threads=50000") == [
        "numerics.cpu_threads: got 50000; input should be less than or equal to 1024"
    ]


def test_a_path_may_begin_with_the_home_folder(composed, problems, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = checked(composed("data=synthetic", "device=cpu", "output='~/x'", "data.root='~/d'", "data.cache_dir='~'"))
    assert (config.output, config.data.root, config.data.cache_dir) == ("/home/me/x", "/home/me/d", "/home/me")
    assert problems("output='~nobody_here/x'") == ["output: got '~nobody_here/x'; this user does not exist"]


def test_what_a_config_names_is_not_run(problems, tmp_path):
    mark = tmp_path / "mark"
    found = problems("model._target_=os.system", f"+model.command='touch {mark}'")
    assert found[0].startswith("model._target_: got 'os.system', which is not a Module")
    assert not mark.exists()
