import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from src.base.config import RunConfig, build
from src.base.identity import identify
from src.base.record import RunRecord
from src.data.images import ImageReader, resize_image
from src.prediction.load_model import load_model, read_config, run_id_of_schema_1
from src.training.checkpoint import load_checkpoint, load_weights, save_checkpoint
from tests.prediction.strangers import disguise


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
    assert torch.allclose(load_model(trained_run, "cpu").probabilities(images), by_hand(trained_run, images), atol=1e-6)


def test_flips_average_the_views_after_flipping_them_back(trained_run):
    images = photo_batch()
    plain, across, down = by_hand(trained_run, images), by_hand(trained_run, images.flip(3)).flip(2), None
    down = by_hand(trained_run, images.flip(2)).flip(1)
    both = by_hand(trained_run, images.flip((2, 3))).flip((1, 2))
    predictor = load_model(trained_run, "cpu")
    assert torch.allclose(predictor.probabilities(images, "hflip"), (plain + across) / 2, atol=1e-6)
    assert torch.allclose(predictor.probabilities(images, "flips"), (plain + across + down + both) / 4, atol=1e-6)


def test_two_output_channels_give_the_softmax_of_the_second(two_channel_run):
    images = photo_batch()
    config = yaml.safe_load((two_channel_run / "config.yaml").read_text())
    model = build(config["model"], nn.Module)
    model.load_state_dict(load_weights(two_channel_run / "checkpoints" / "best.pt"))
    mean, std = (torch.tensor(config["data"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        softmax = torch.softmax(model.eval()((images / 255 - mean) / std), dim=1)[:, 1]
    assert torch.allclose(load_model(two_channel_run, "cpu").probabilities(images), softmax, atol=1e-6)


def test_the_scores_of_the_record_come_out_again(trained_run):
    rows = [line.split(",") for line in (trained_run / "test_images.csv").read_text().splitlines()[1:]]
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    images = next(Path(config["data"]["root"]).glob("20-6-48-*/images"))
    predictor = load_model(trained_run, "cpu")
    for row in rows:
        photo = resize_image(ImageReader()(images / f"{row[1]}.jpg"), 32, "pil_bilinear")
        image = torch.from_numpy(photo).permute(2, 0, 1)[None]
        predicted = int((predictor.probabilities(image) > 0.5).sum())
        true_positive, false_positive = int(row[4]), int(row[5])
        assert predicted == true_positive + false_positive


def test_torchs_global_switches_stay_as_they_were(trained_run):
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    load_model(trained_run, "cpu")
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
        "src.data.sources.download.download_oxford_pet",
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
        load_model(run_copy, "cpu")
    assert not proof.exists()


@pytest.mark.parametrize("section", ["loss", "optimizer", "scheduler", "augmentation"])
def test_what_prediction_does_not_need_is_not_even_built(run_copy, section, tmp_path):
    proof = tmp_path / "proof"
    evil = {"_target_": "os.system", "command": f"touch {proof}"}
    if section == "augmentation":
        disguise(run_copy, lambda config: config[section].update(transforms=[evil]))
    else:
        disguise(run_copy, lambda config: config.update({section: {"name": "evil", **evil}}))
    load_model(run_copy, "cpu")
    assert not proof.exists()


def test_a_yaml_tag_is_refused(run_copy, tmp_path):
    proof = tmp_path / "proof"
    (run_copy / "config.yaml").write_text(f"model: !!python/object/apply:os.system ['touch {proof}']\n")
    with pytest.raises(ValueError, match=r"config\.yaml: is not plain YAML .*python/object/apply"):
        load_model(run_copy, "cpu")
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
        load_model(run_copy, "cpu")
    assert not proof.exists()
    pickle.loads(pickle.dumps(Evil(proof)))
    assert proof.exists()  # the attack is real: where pickle is trusted, it works


def test_a_network_said_to_be_enormous_takes_no_memory(run_copy):
    disguise(run_copy, lambda config: config["model"].update(width=500_000))  # 3.8 million GB of weights
    with pytest.raises(ValueError, match=r"these weights do not fit the network that config\.yaml names"):
        load_model(run_copy, "cpu")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"_target_": "src.models.unet.UNet", "width": 10**8}, "cannot be built .*overflow"),
        ({"_target_": "src.models.unet.UNet", "width": -1}, "width: got -1; input should be a multiple of 2"),
        ({"_target_": "src.models.unet.UNet", "width": 2, "out_channels": 3}, "out_channels: got 3; allowed: 1, 2"),
        ({"_target_": "src.models.unet.UNet", "width": 2**70}, "64 bits"),
        (
            {"_target_": "torch.nn.Transformer", "d_model": 8, "nhead": 2, "num_encoder_layers": 10**9},
            "it has too many parts",
        ),
        (
            {"_target_": "torch.nn.Transformer", "d_model": 8, "nhead": 2, "num_decoder_layers": 10**9},
            "it has too many parts",
        ),
        ({"_target_": "torch.nn.ConvTranspose2d", "in_channels": 3, "out_channels": 1, "kernel_size": -1}, "cannot be"),
        ({"_target_": "torch.nn.Linear", "in_features": 10**12, "out_features": 10**12}, "cannot be built .*overflow"),
        ({"_target_": "torch.nn.Upsample", "scale_factor": 100_000}, r"returns \(2, 3, 3200000, 3200000\) for"),
        ({"_target_": "torch.nn.Identity"}, r"returns \(2, 3, 32, 32\) for images"),
        (
            {"_target_": "torch.nn.Conv2d", "in_channels": 4, "out_channels": 1, "kernel_size": 1},
            "fails on images of 32 x 32",
        ),
    ],
)
def test_a_network_that_no_run_is_trained_with_is_refused_in_a_line(run_copy, model, why):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    (run_copy / "config.yaml").write_text(yaml.safe_dump({**config, "model": {"name": "unet", **model}}))
    with pytest.raises(ValueError, match=rf"^{run_copy}/config\.yaml: .*{why}") as raised:
        load_model(run_copy, "cpu")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 700


def change_mean(config):
    config["data"]["mean"][0] = 0.985


@pytest.mark.parametrize(
    "change",
    [
        change_mean,
        lambda config: config.update(seed=7),
        lambda config: config["data"].update(image_size=64),
        lambda config: config["optimizer"].update(lr=0.5),
        lambda config: config["numerics"].update(tf32=True),
    ],
)
def test_a_config_that_is_not_the_runs_is_refused_with_both_ids(run_copy, change):
    before = json.loads((run_copy / "run.json").read_text())["run_id"]
    sound = (run_copy / "config.yaml").read_text()
    config = yaml.safe_load(sound)
    change(config)
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=rf"config\.yaml: is the config of the run \S+, but run\.json says {before};"):
        load_model(run_copy, "cpu")
    (run_copy / "config.yaml").write_text(sound.replace("workers: 0", "workers: 3"))  # which changes no result
    load_model(run_copy, "cpu")


def test_without_its_record_nothing_tells_whether_the_config_is_the_runs(run_copy):
    (run_copy / "run.json").unlink()
    with pytest.raises(
        ValueError, match=r"has no run\.json, without which nothing tells whether config\.yaml is the run's"
    ):
        load_model(run_copy, "cpu")


def test_a_run_that_began_from_weights_is_known_by_their_digest(run_copy):
    def from_weights(config):
        config["init_from"] = "weights.pth"

    disguise(run_copy, from_weights)
    change_record(run_copy, init_digest="0" * 64)
    with pytest.raises(ValueError, match="is the config of the run"):
        load_model(run_copy, "cpu")
    config = RunConfig.model_validate(yaml.safe_load((run_copy / "config.yaml").read_text()))
    fingerprint = json.loads((run_copy / "run.json").read_text())["data"]["fingerprint"]
    change_record(run_copy, run_id=identify(config, fingerprint, "0" * 64).run_id)
    load_model(run_copy, "cpu")


def change_record(run, **facts):
    file = run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def packed(path, compression=zipfile.ZIP_DEFLATED, padding=b""):
    """The zip at `path` written anew, with an entry of `padding` more."""
    with zipfile.ZipFile(path) as sound:
        entries = [(member.filename, sound.read(member)) for member in sound.infolist()]
    with zipfile.ZipFile(path, "w", compression) as other:
        for name, content in [*entries, *([(f"{entries[0][0].split('/')[0]}/data/x", padding)] if padding else [])]:
            other.writestr(name, content)


def test_weights_that_inflate_are_refused_before_they_are_read(run_copy):
    best = run_copy / "checkpoints" / "best.pt"
    packed(best, padding=bytes(300_000_000))
    assert best.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match=r"best\.pt: .*it is packed, 30\d,\d{3},\d{3} bytes would come out"):
        load_model(run_copy, "cpu")


def test_a_file_much_larger_than_the_networks_weights_is_refused(run_copy):
    with (run_copy / "checkpoints" / "best.pt").open("r+b") as file:
        file.truncate(10**12)  # a hole: it takes no room
    with pytest.raises(ValueError, match=r"best\.pt: has 1,000,000,000,000 bytes; at most "):
        load_model(run_copy, "cpu")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.to(torch.complex64),
        lambda value: value.to(torch.int8),
        lambda value: value.to_sparse(),
        lambda value: value.to("meta"),
        lambda value: torch.zeros(()).expand(10**9, *value.shape),
    ],
)
def test_weights_of_another_kind_are_refused_by_name(run_copy, spoil):
    best = run_copy / "checkpoints" / "best.pt"
    weights = load_weights(best)
    name = next(name for name, value in weights.items() if value.dim() == 4)
    best.unlink()
    save_checkpoint(best, {"model": {**weights, name: spoil(weights[name])}, "epoch": 1})
    with pytest.raises(ValueError, match=r"best\.pt: "):
        load_model(run_copy, "cpu")


def test_a_pipe_in_the_place_of_any_file_is_refused_by_name(run_copy):
    for name in ("run.json", "config.yaml", "checkpoints/best.pt"):
        (run_copy / name).rename(run_copy / "aside")
        os.mkfifo(run_copy / name)
        with pytest.raises(ValueError, match=rf"{name}: is a pipe, socket or device"):
            load_model(run_copy, "cpu")
        (run_copy / "aside").replace(run_copy / name)


def test_weights_that_are_no_numbers_are_refused(run_copy):
    best = run_copy / "checkpoints" / "best.pt"
    weights = load_weights(best)
    name = next(iter(weights))
    best.unlink()
    save_checkpoint(best, {"model": {**weights, name: torch.full_like(weights[name], torch.nan)}, "epoch": 1})
    with pytest.raises(ValueError, match="not finite"):
        load_model(run_copy, "cpu")


def test_a_folder_that_is_no_run_is_named(tmp_path, run_copy):
    with pytest.raises(ValueError, match=r"is not the folder of a run .*config\.yaml.*; give one"):
        load_model(tmp_path, "cpu")
    (run_copy / "checkpoints" / "best.pt").unlink()
    with pytest.raises(ValueError, match=r"has no checkpoints/best\.pt"):
        load_model(run_copy, "cpu")


def test_a_run_that_is_not_finished_is_named_in_a_warning(run_copy, caplog):
    run = json.loads((run_copy / "run.json").read_text())
    (run_copy / "run.json").write_text(json.dumps({**run, "status": "running"}))  # its process is gone
    load_model(run_copy, "cpu")
    assert caplog.messages == [
        f"{run_copy}: is interrupted, not finished; the weights are those of its best epoch so far"
    ]


@pytest.mark.parametrize("change", [{"epoch": 99}, {"valid_dice": 0.123}])
def test_weights_of_another_epoch_or_run_are_refused(run_copy, change):
    best = run_copy / "checkpoints" / "best.pt"
    save_checkpoint(best, load_checkpoint(best) | change)
    with pytest.raises(ValueError, match=r"best\.pt: is of epoch \d+ \(validation Dice .*, but run.json says epoch"):
        load_model(run_copy, "cpu")


def test_all_that_is_wrong_with_a_config_is_said_at_once(run_copy):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    config["seed"], config["data"]["image_size"] = "x", 3
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"(?s)config\.yaml: seed: got 'x'.*config\.yaml: data\.image_size: got 3"):
        load_model(run_copy, "cpu")


# --- Runs of schema 1 are still evaluated, used and exported, if their config.yaml is theirs by the rule of their time

RECORDED = Path(__file__).with_name("config_of_schema_1.yaml")  # of a run that was trained before there was schema 2
RUN_ID = "unet-bce-adamw-cosine-flip_jitter-seed0-c5f58e348"


def test_the_id_of_a_recorded_config_is_the_one_it_was_recorded_under():
    recorded = yaml.safe_load(RECORDED.read_text())
    assert run_id_of_schema_1(recorded, None) == RUN_ID
    assert run_id_of_schema_1({**recorded, "data": {**recorded["data"], "workers": 5}}, None) == RUN_ID
    assert run_id_of_schema_1({**recorded, "trainer": {**recorded["trainer"], "epochs": 3}}, None) != RUN_ID
    assert run_id_of_schema_1(recorded, "0123") != RUN_ID


@pytest.fixture
def old_run(run_copy):
    """A finished run as it was recorded then: its config, its id, and checkpoints of format 1."""
    config = yaml.safe_load(RECORDED.read_text())
    config["model"]["flip_tta"] = True
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    run_id = run_id_of_schema_1(config, None)
    record = json.loads((run_copy / "run.json").read_text()) | {"schema": 1, "run_id": run_id}
    (run_copy / "run.json").write_text(json.dumps(record))
    best = run_copy / "checkpoints" / "best.pt"
    content = load_checkpoint(best) | {"format": 1}
    best.unlink()  # it may be linked
    torch.save(content, best)
    return run_copy.rename(run_copy.with_name(run_id))


def test_it_is_loaded_with_its_keys_under_the_names_of_today(old_run):
    predictor = load_model(old_run, "cpu")
    assert predictor.runner.flip_tta and predictor.config.trainer.flip_tta
    assert predictor.config.data.decode_once is True
    assert RunRecord(old_run).read()["schema"] == 1


@pytest.mark.parametrize(("section", "key", "value"), [("data", "fold", 3), ("model", "flip_tta", None)])
def test_a_changed_config_of_it_is_refused_with_both_ids(old_run, section, key, value):
    config = yaml.safe_load((old_run / "config.yaml").read_text())
    config[section][key] = value
    (old_run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=rf"is the config of the run unet-\S+, but run\.json says {old_run.name}"):
        load_model(old_run, "cpu")


def test_without_its_record_the_folders_name_is_held_against_the_config(old_run):
    (old_run / "run.json").unlink()
    load_model(old_run, "cpu")
    with pytest.raises(ValueError, match=r"has no run\.json, without which nothing tells"):
        load_model(old_run.rename(old_run.with_name("mine")), "cpu")


def test_of_other_starting_weights_without_a_digest_it_is_said_that_nothing_was_checked(old_run, caplog):
    config = yaml.safe_load((old_run / "config.yaml").read_text()) | {"init_from": "weights.pth"}
    (old_run / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_config(old_run).init_from == "weights.pth"
    load_model(old_run, "cpu")
    assert "that config.yaml is the run's cannot be checked" in caplog.text
