import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from src.config import build
from src.data.images import ImageReader, resize_image
from src.prediction.trained import load_trained
from src.training.checkpoint import load_weights, save_checkpoint


def photo_batch(size: int = 32) -> torch.Tensor:
    """Two images, uint8 (2, 3, size, size), unlike their mirror images."""
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_hand(run: Path, images: torch.Tensor) -> torch.Tensor:
    """The probabilities of `images` by the network of `run`, put together without the loader: (B, H, W)."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    model = build(config["model"], nn.Module)
    model.load_state_dict(load_weights(run / "checkpoints" / "best.pt"))
    mean, std = (torch.tensor(config["data"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        return torch.sigmoid(model.eval()((images / 255 - mean) / std))[:, 0]


def test_a_run_gives_the_probabilities_of_its_best_weights(trained_run):
    images = photo_batch()
    assert torch.allclose(
        load_trained(trained_run, "cpu").probabilities(images), by_hand(trained_run, images), atol=1e-6
    )


def test_flips_average_the_views_after_flipping_them_back(trained_run):
    images = photo_batch()
    plain, across, down = by_hand(trained_run, images), by_hand(trained_run, images.flip(3)).flip(2), None
    down = by_hand(trained_run, images.flip(2)).flip(1)
    both = by_hand(trained_run, images.flip((2, 3))).flip((1, 2))
    trained = load_trained(trained_run, "cpu")
    assert torch.allclose(trained.probabilities(images, "hflip"), (plain + across) / 2, atol=1e-6)
    assert torch.allclose(trained.probabilities(images, "flips"), (plain + across + down + both) / 4, atol=1e-6)


def test_two_output_channels_give_the_softmax_of_the_second(two_channel_run):
    images = photo_batch()
    config = yaml.safe_load((two_channel_run / "config.yaml").read_text())
    model = build(config["model"], nn.Module)
    model.load_state_dict(load_weights(two_channel_run / "checkpoints" / "best.pt"))
    mean, std = (torch.tensor(config["data"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        softmax = torch.softmax(model.eval()((images / 255 - mean) / std), dim=1)[:, 1]
    assert torch.allclose(load_trained(two_channel_run, "cpu").probabilities(images), softmax, atol=1e-6)


def test_the_scores_of_the_record_come_out_again(trained_run):
    rows = [line.split(",") for line in (trained_run / "test_images.csv").read_text().splitlines()[1:]]
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    images = next(Path(config["data"]["root"]).glob("20-6-48-*/images"))
    trained = load_trained(trained_run, "cpu")
    for row in rows:
        image = torch.from_numpy(resize_image(ImageReader()(images / f"{row[1]}.jpg"), 32)).permute(2, 0, 1)[None]
        predicted = int((trained.probabilities(image) > 0.5).sum())
        true_positive, false_positive = int(row[4]), int(row[5])
        assert predicted == true_positive + false_positive


def test_torchs_global_switches_stay_as_they_were(trained_run):
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    load_trained(trained_run, "cpu")
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.exec",
        "distutils.spawn.spawn",
        "torch.hub.load",
        "torch.load",
        "torch.nn.os.system",
        "src.train.sys.exit",
        "src.data.download.download_oxford_pet",
        "src.models.unet.nn.Module.__subclasses__",
        "../../../tmp/evil.Network",
    ],
)
def test_nothing_a_strangers_config_names_is_executed(run_copy, target, tmp_path):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    proof = tmp_path / "proof"
    config["model"] = {"name": "unet", "_target_": target, "command": f"touch {proof}", "width": 2}
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="_target_: got"):
        load_trained(run_copy, "cpu")
    assert not proof.exists()


@pytest.mark.parametrize("section", ["loss", "optimizer", "scheduler", "augmentation"])
def test_what_prediction_does_not_need_is_not_even_built(run_copy, section, tmp_path):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    proof = tmp_path / "proof"
    evil = {"_target_": "os.system", "command": f"touch {proof}"}
    if section == "augmentation":
        config[section]["transforms"] = [evil]
    else:
        config[section] = {"name": "evil", **evil}
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    load_trained(run_copy, "cpu")
    assert not proof.exists()


def test_a_yaml_tag_is_refused(run_copy, tmp_path):
    proof = tmp_path / "proof"
    (run_copy / "config.yaml").write_text(f"model: !!python/object/apply:os.system ['touch {proof}']\n")
    with pytest.raises(ValueError, match=r"config\.yaml: is not plain YAML .*python/object/apply"):
        load_trained(run_copy, "cpu")
    assert not proof.exists()


class Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_in_it_is_refused(run_copy, writer, tmp_path):
    proof = tmp_path / "proof"
    best = run_copy / "checkpoints" / "best.pt"
    best.unlink()
    if writer == "torch":
        torch.save({"format": 1, "model": Evil(proof)}, best)
    else:
        best.write_bytes(pickle.dumps(Evil(proof)))
    with pytest.raises(ValueError, match=r"best\.pt: not a readable checkpoint"):
        load_trained(run_copy, "cpu")
    assert not proof.exists()
    pickle.loads(pickle.dumps(Evil(proof)))
    assert proof.exists()  # the attack is real: where pickle is trusted, it works


def test_a_network_said_to_be_enormous_takes_no_memory(run_copy):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    config["model"]["width"] = 500_000  # 3.8 million GB of weights
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"these weights do not fit the network that config\.yaml names"):
        load_trained(run_copy, "cpu")


def test_weights_that_are_no_numbers_are_refused(run_copy):
    best = run_copy / "checkpoints" / "best.pt"
    weights = load_weights(best)
    name = next(iter(weights))
    best.unlink()
    save_checkpoint(best, {"model": {**weights, name: torch.full_like(weights[name], torch.nan)}, "epoch": 1})
    with pytest.raises(ValueError, match="no finite numbers"):
        load_trained(run_copy, "cpu")


def test_a_folder_that_is_no_run_is_named(tmp_path, run_copy):
    with pytest.raises(ValueError, match=r"is no folder of a run .*config\.yaml.*; give one"):
        load_trained(tmp_path, "cpu")
    (run_copy / "checkpoints" / "best.pt").unlink()
    with pytest.raises(ValueError, match=r"has no checkpoints/best\.pt"):
        load_trained(run_copy, "cpu")


def test_all_that_is_wrong_with_a_config_is_said_at_once(run_copy):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    config["seed"], config["data"]["image_size"] = "x", 3
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"(?s)config\.yaml: seed: got 'x'.*config\.yaml: data\.image_size: got 3"):
        load_trained(run_copy, "cpu")
