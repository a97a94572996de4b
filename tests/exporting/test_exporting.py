"""Every network of conf/model as a file of either format, and what the file says where it is run."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from src.base.config import RunConfig, build, parse_section
from src.base.runtime import Numerics
from src.data.images import ImageReader
from src.exporting.exporting import ExportOptions, describe, export_network, export_run, read_photos
from src.prediction.inputs import find_inputs
from src.prediction.load_model import Predictor, load_model
from src.training.checkpoint import load_weights, save_checkpoint
from src.training.state import ModelRunner
from tests.conftest import PROJECT

# those written by hand, which have a width
MODELS = sorted(path.stem for path in (PROJECT / "conf" / "model").glob("*.yaml") if "\nwidth:" in path.read_text())
# the short tests export unet, see plain_onnx, and unet_nobn, made of the same parts
LONG = ("unet", "unet_bias", "resnet34_unet", "resnet34_unet_plain", "resnet34_unet_cbam")
CPU = torch.device("cpu")


def pictures(count: int = 6, size: int = 64) -> torch.Tensor:
    """RGB uint8 (count, 3, size, size), no two alike."""
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(count)).to(torch.uint8)


def network_of(config: RunConfig, model: nn.Module) -> Predictor:
    network = ModelRunner(model, Numerics(CPU, config.numerics), config.data.mean, config.data.std)
    return Predictor(network, config, Path("a run"), ImageReader())


def initialised(composed, *overrides: str, size: int = 64) -> Predictor:
    """A network of conf/model, 8 channels wide, after one batch has moved its running statistics away from 0 and 1."""
    plain = composed("data=synthetic", "model.width=8", f"data.image_size={size}", *overrides)
    config = parse_section(RunConfig, plain)
    torch.manual_seed(0)
    predictor = network_of(config, build(config.model, nn.Module).train())
    predictor.runner.logits(pictures(size=size))
    predictor.runner.model.eval()
    return predictor


def by_hand(predictor: Predictor, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What a file is given and should answer: normalised images float32 (B, 3, S, S), logits float32 (B, S, S)."""
    mean, std = (
        np.float32(values).reshape(1, 3, 1, 1) for values in (predictor.config.data.mean, predictor.config.data.std)
    )
    normalised = (images.numpy().astype(np.float32) / 255 - mean) / std
    with torch.inference_mode():
        logits = predictor.runner.model(torch.from_numpy(normalised)).numpy()  # (B, C, S, S)
    return normalised, logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def test_all_six_networks_are_covered():
    assert {*LONG, "unet_nobn"} == set(MODELS)


@pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.long) if m in LONG else m for m in MODELS])
def test_every_network_answers_the_same_from_a_file_at_any_batch(composed, model):
    predictor = initialised(composed, f"model={model}")
    onnx_file, _ = export_network(predictor, "onnx", {"made": "here"}, pictures())
    torch_file, _ = export_network(predictor, "torch_export", {"made": "here"}, pictures())
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    program = torch.export.load(io.BytesIO(torch_file)).module()
    for batch in (1, 2, 5):
        images, logits = by_hand(predictor, pictures(batch))
        answers = session.run(["logits"], {"images": images})[0], program(torch.from_numpy(images)).numpy()
        assert all(answer.shape == logits.shape == (batch, 64, 64) for answer in answers)
        # a thousandth of what they vary by: new networks say little more than 0, so an absolute bound would be blind
        assert all(np.abs(answer - logits).max() < logits.std() / 1000 for answer in answers)


@pytest.fixture(scope="module")
def plain_onnx(composed) -> bytes:
    return export_network(initialised(composed), "onnx", {"made": "here"}, pictures())[0]


def test_an_onnx_file_is_valid_and_names_its_axes(plain_onnx):
    model = onnx.load_from_string(plain_onnx)
    onnx.checker.check_model(model, full_check=True)
    assert [axes_of(value) for value in model.graph.input] == [("images", ["batch", 3, 64, 64])]
    assert [axes_of(value) for value in model.graph.output] == [("logits", ["batch", 64, 64])]
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {1}  # float32
    assert {entry.key: entry.value for entry in model.metadata_props} == {"segsweep": '{"made": "here"}'}


def axes_of(value: onnx.ValueInfoProto) -> tuple[str, list[str | int]]:
    return value.name, [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def test_an_onnx_file_has_all_weights_inside(plain_onnx):
    assert not any(
        onnx.external_data_helper.uses_external_data(w) for w in onnx.load_from_string(plain_onnx).graph.initializer
    )


def test_a_torch_export_file_brings_its_description_along(composed):
    content, _ = export_network(initialised(composed), "torch_export", {"made": "here"}, pictures())
    extra = {"segsweep.json": ""}
    torch.export.load(io.BytesIO(content), extra_files=extra)
    assert json.loads(extra["segsweep.json"]) == {"made": "here"}
    assert str(PROJECT).encode() not in content


def test_a_file_does_not_tell_the_folders_of_the_machine_it_was_made_on(plain_onnx):
    assert str(PROJECT).encode() not in plain_onnx


@pytest.mark.long
def test_channels_last_and_a_size_that_does_not_halve_evenly_can_be_exported(composed):
    predictor = initialised(composed, "numerics=fast", size=50)
    export_network(predictor, "onnx", {}, pictures(size=50))


def test_exporting_leaves_the_network_as_it_was(composed):
    predictor = initialised(composed, "numerics=fast")
    before = {name: (value.clone(), value.stride()) for name, value in predictor.runner.model.named_parameters()}
    export_network(predictor, "torch_export", {}, pictures())
    after = dict(predictor.runner.model.named_parameters())
    assert all(torch.equal(after[name], value) for name, (value, _) in before.items())
    assert all(after[name].stride() == stride and after[name].requires_grad for name, (_, stride) in before.items())


class Undecided(nn.Module):
    """Goes one of two ways, as the values of the images have it: no program without Python can follow."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :1] if images.sum() > 0 else -images[:, :1]


class OneImageOnly(nn.Module):
    """Mixes up the images of a batch, unless there is only one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.reshape(2, -1, *images.shape[2:])[:, :1]


class OtherwiseWhenExported(nn.Module):
    """Takes a short cut while it is exported, as some libraries' layers do, and comes to another answer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :1] * (0.5 if torch.compiler.is_exporting() else 1.0)


@pytest.mark.parametrize("format_name", ["onnx", "torch_export"])
def test_a_file_that_says_something_else_than_the_network_is_refused(composed, format_name):
    config = parse_section(RunConfig, composed("data=synthetic", "data.image_size=64"))
    # the red of a white pixel: (1 - 0.485) / 0.229 = 2.249, of which the file says half: sigmoid 0.9046 and 0.7548
    white = torch.full((6, 3, 64, 64), 255, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"nothing was written, .*: by 1\.5e-01 in a probability"):
        export_network(network_of(config, OtherwiseWhenExported()), format_name, {}, white)


@pytest.mark.parametrize("network", [Undecided, OneImageOnly])
@pytest.mark.parametrize("format_name", ["onnx", "torch_export"])
def test_a_network_that_no_program_can_follow_is_refused_in_one_line(composed, network, format_name):
    predictor = network_of(parse_section(RunConfig, composed("data=synthetic", "data.image_size=64")), network())
    with pytest.raises(ValueError, match=rf"^a run: this network cannot be exported as {format_name} \(\w+: .*\)$"):
        export_network(predictor, format_name, {}, pictures())


def options(run: Path, **changes: object) -> ExportOptions:
    return ExportOptions(
        **{"format": "onnx", "output": None, "inputs": None, "overwrite": False, **changes, "run": str(run)}
    )


def make_overflow(run: Path) -> None:
    """Turns the first layer up so far that its sums leave float32, and what follows is no number."""
    best = run / "checkpoints" / "best.pt"
    weights = load_weights(best)
    best.unlink()
    first = next(iter(weights))
    save_checkpoint(best, {"model": {**weights, first: weights[first].sign() * 3e38}, "epoch": 1})


def test_a_network_that_gives_no_numbers_is_not_written(run_copy):
    make_overflow(run_copy)
    before = sorted(run_copy.rglob("*"))
    with pytest.raises(ValueError, match=r"nothing was written, .*: by nan in a probability"):
        export_run(options(run_copy, format="torch_export"))
    assert sorted(run_copy.rglob("*")) == before


def test_the_file_of_a_run_says_which_run_it_is_of(run_copy):
    file = run_copy / "export" / f"{run_copy.name}.pt2"
    assert export_run(options(run_copy, format="torch_export")).startswith(f"exported: {file} (")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    extra = {"segsweep.json": ""}
    torch.export.load(file, extra_files=extra)
    described = json.loads(extra["segsweep.json"])
    assert described == describe(load_model(run_copy, "cpu"), "torch_export")
    assert set(described["run"]) == {"run_id", "config_id", "status", "best_epoch", "test_dice"}
    assert described["run"]["test_dice"] == json.loads((run_copy / "run.json").read_text())["scores"]["test_dice"]
    assert str(run_copy.parent) not in json.dumps(described)


def test_a_run_without_scores_is_described_without_them(run_copy):
    file = run_copy / "run.json"
    changed = {"status": "interrupted", "scores": {}, "best_epoch": None}
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    told = describe(load_model(run_copy, "cpu"), "torch_export")["run"]
    assert (told["status"], told["test_dice"], told["best_epoch"]) == ("interrupted", None, None)


def test_photos_given_by_the_user_are_what_the_file_is_checked_on(run_copy, synthetic_root):
    photo = next(synthetic_root.glob("20-6-48-0/images/*.jpg"))
    told = export_run(options(run_copy, format="torch_export", inputs=str(photo)))
    assert f"checked: 1 images of {photo}, in batches of 1, 2, 3" in told


def test_everything_that_is_wrong_is_said_at_once(run_copy, tmp_path):
    (run_copy / "checkpoints" / "best.pt").unlink()
    output = tmp_path / "there.pt2"
    output.touch()
    with pytest.raises(ValueError) as error:
        export_run(options(run_copy, format="torch_export", output=str(output), inputs=str(tmp_path / "nix")))
    said = str(error.value).splitlines()
    assert len(said) == 3
    assert "has no checkpoints/best.pt" in said[0] and "overwrite=true" in said[1] and "inputs:" in said[2]


def test_a_folder_that_is_no_run_is_named_once(tmp_path):
    with pytest.raises(ValueError) as error:
        export_run(options(tmp_path))
    assert len(str(error.value).splitlines()) == 1 and "is not the folder of a run" in str(error.value)


# --- exporting/test_images


@pytest.fixture
def greys(tmp_path) -> Path:
    """13 images of 4 x 6 pixels, each of one grey: 0, 10, 20 to 120; and what is no photo."""
    for index in range(13):
        Image.fromarray(np.full((6, 4, 3), 10 * index, dtype=np.uint8)).save(tmp_path / f"{index:02d}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.png").touch()
    return tmp_path


@pytest.fixture
def predictor() -> SimpleNamespace:
    """What reading photos needs of one: 8 pixels."""
    return SimpleNamespace(reader=ImageReader(), image_size=8)


def photos(source: Path) -> list[Path]:
    return find_inputs(str(source)).photos


def test_images_are_spread_evenly_over_many(greys, predictor):
    images = read_photos(photos(greys), predictor)
    assert images.shape == (6, 3, 8, 8) and images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 20, 50, 70, 100, 120]  # 0, 2.4, 4.8, 7.2, 9.6 and 12, rounded


def test_few_images_are_taken_several_times(greys, predictor):
    images = read_photos(photos(greys)[1:3], predictor)
    assert images[:, 2, 7, 7].tolist() == [10, 10, 10, 20, 20, 20]


def test_a_file_that_is_not_an_image_is_named(greys, predictor):
    with pytest.raises(ValueError, match=r"notes\.txt: cannot be read as an image"):
        read_photos(photos(greys / "notes.txt"), predictor)
