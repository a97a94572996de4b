"""`python -m src.export` as a user meets it: a file to use without segsweep, or what is wrong in a few lines."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import src.export
from src.prediction.load_model import load_model
from src.prediction.predict import predict_photo
from tests.conftest import PROJECT

DOCUMENT = PROJECT / "docs" / "export.md"


@pytest.fixture
def export(here):
    return partial(here, src.export.export)


@pytest.fixture(scope="module")
def network(command, trained_run, tmp_path_factory) -> Path:
    """network.onnx of `trained_run`, written by the command with every warning on; not one of them is printed."""
    output = tmp_path_factory.mktemp("files") / "it's here" / "network.onnx"
    told = command("export", f"run={trained_run}", "format=onnx", f"output={output}", PYTHONWARNINGS="default")
    assert (told.returncode, told.stderr) == (0, "")
    exported, checked, difference = told.stdout.splitlines()
    assert exported == f"exported: {output} ({output.stat().st_size / 1e6:.1f} MB)"
    assert checked.startswith("checked: 2 images of ") and checked.endswith(", in batches of 1, 2, 3")
    assert re.fullmatch(r"largest difference of a probability: \S+e-0[5-9] \(allowed: 1e-04\)", difference)
    assert [path.name for path in output.parent.iterdir()] == ["network.onnx"]
    return output


def documented(heading: str) -> str:
    """The Python code below `heading` in the document."""
    return re.search(r"```python\n(.*?)```", DOCUMENT.read_text().partition(heading)[2], re.DOTALL)[1]


def save_photo(path: Path) -> Path:
    """A photo of 70 x 50 pixels that a camera held upright, which its EXIF data say; coloured squares of 10 pixels."""
    squares = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(squares.repeat(10, axis=0).repeat(10, axis=1)).save(path, exif=turned, quality=95)
    return path


@pytest.mark.long
def test_the_recipe_in_the_documentation_gives_what_segsweep_gives(network, trained_run, tmp_path):
    shutil.copy(network, tmp_path)
    photo = save_photo(tmp_path / "photo.jpg")
    after = "import sys\nassert not {'torch', 'src'} & set(sys.modules)\nnp.save('probability.npy', probability)"
    subprocess.run([sys.executable, "-c", documented("## ONNX") + after], cwd=tmp_path, check=True)
    expected = predict_photo(load_model(trained_run, "cpu"), photo)
    assert expected.mask.shape == (70, 50) and expected.probability.std() > 0.001
    np.testing.assert_allclose(np.load(tmp_path / "probability.npy"), expected.probability, atol=1e-5)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "mask.png")), expected.mask)


@pytest.mark.long
def test_the_file_says_what_it_is_of_and_what_it_expects(network, trained_run):
    model = onnx.load(network)
    onnx.checker.check_model(model, full_check=True)
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}["segsweep"])
    run = json.loads((trained_run / "run.json").read_text())
    kept = ("run_id", "config_id", "status", "best_epoch")
    assert about["run"] == {**{key: run[key] for key in kept}, "test_dice": run["scores"]["test_dice"]}
    assert about["input"]["shape"] == ["batch", 3, 32, 32] and about["input"]["color_order"] == "RGB"
    wanted = about["preprocessing"]
    assert (wanted["height"], wanted["width"], wanted["divide_by"]) == (32, 32, 255)
    assert (wanted["mean"], wanted["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert about["output"]["shape"] == ["batch", 32, 32] and about["output"]["threshold"] == 0.5
    assert {"torch", "onnx", "python"} <= set(about["versions"])
    assert run["machine"]["host"] not in json.dumps(about["run"])


@pytest.mark.long
def test_the_torch_recipe_runs_in_another_process_on_another_batch(export, two_channel_run, tmp_path):
    told = export(f"run={two_channel_run}", "format=torch_export", f"output={tmp_path}/network.pt2")
    assert told.returncode == 0, told.stderr
    images = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    predictor = load_model(two_channel_run, "cpu")
    mean, std = (
        np.float32(values).reshape(3, 1, 1) for values in (predictor.config.data.mean, predictor.config.data.std)
    )
    np.save(tmp_path / "images.npy", (images.numpy() / np.float32(255) - mean) / std)
    before = "import numpy as np, torch\nimages = torch.from_numpy(np.load('images.npy'))\n"
    after = "np.save('logits.npy', logits.numpy())\nprint(about['run']['run_id'])"
    code = before + documented("## torch.export") + after
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == two_channel_run.name
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), predictor.probabilities(images), atol=1e-5)


@pytest.mark.long
def test_a_file_is_replaced_only_when_asked_for(export, run_copy):
    arguments = (f"run={run_copy}", "format=torch_export")
    assert export(*arguments).returncode == 0
    (file,) = (run_copy / "export").iterdir()
    assert file.name == f"{run_copy.name}.pt2"
    file.write_bytes(b"mine")
    refused = export(*arguments)
    assert refused.returncode == 1 and f"output: {file} exists; overwrite=true" in refused.stderr
    assert file.read_bytes() == b"mine"
    assert export(*arguments, "overwrite=true").returncode == 0 and file.stat().st_size > 1000


@pytest.mark.long
def test_without_the_runs_own_data_photos_are_asked_for(export, run_copy, tmp_path):
    config = (run_copy / "config.yaml").read_text()
    (run_copy / "config.yaml").write_text(re.sub(r"  root: .*", f"  root: {tmp_path}/moved", config))
    refused = export(f"run={run_copy}", "format=torch_export")
    assert refused.returncode == 1 and "give a photo or a folder of photos: inputs=<path>" in refused.stderr
    assert not (run_copy / "export").exists() and not (tmp_path / "moved").exists()  # nothing is drawn anew
    photos = tmp_path / "photos, mine"
    photos.mkdir()
    save_photo(photos / "photo.jpg")
    told = export(f"run={run_copy}", "format=torch_export", f"inputs={photos}")
    assert told.returncode == 0 and f"checked: 1 images of {photos}," in told.stdout


@pytest.mark.parametrize("absent", [["onnxruntime"], ["onnx", "onnxscript", "onnxruntime"]])
def test_a_missing_package_is_named_with_the_way_to_install_it(export, monkeypatch, trained_run, tmp_path, absent):
    for package in absent:
        monkeypatch.setitem(sys.modules, package, None)  # then an import fails as where it is not installed
    refused = export(f"run={trained_run}", "format=onnx", f"output={tmp_path}/network.onnx")
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()[1:]
    assert line.strip().startswith(
        f"format: onnx needs {', '.join(absent)}, not installed here; pip install '.[export]'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ["run: missing; it takes the folder of a run"]),
        (
            ["format=tensorrt", "overwrite=perhaps", "inptus=x"],
            [
                "run: missing",
                "format: got 'tensorrt'; input should be 'onnx' or 'torch_export'",
                "overwrite: got",
                "inptus:",
            ],
        ),
        (["run={tmp}/nix"], ["{tmp}/nix: is not the folder of a run"]),
        (["run=~no-such-user/x"], ["run: got '~no-such-user/x'; this user does not exist"]),
        (
            ["run={tmp}", "output={tmp}/a.pt2", "inputs={tmp}"],
            [
                "{tmp}: is not the folder of a run",
                "output: got {tmp}/a.pt2; the file of format=onnx ends in .onnx",
                "inputs: got '{tmp}', which holds no photo (other files: 0)",
            ],
        ),
        (["run={run}", "output={run}/run.json/a.onnx"], ["cannot continue: {run}/run.json is not a folder"]),
        (["run={run}", "inputs={run}/run.json"], ["{run}/run.json: cannot be read as an image"]),
    ],
)
def test_a_mistake_gets_clear_lines_and_exit_code_1(export, trained_run, tmp_path, arguments, said):
    names = {"tmp": tmp_path, "run": trained_run}
    refused = export(*(argument.format(**names) for argument in arguments))
    assert (refused.returncode, refused.stdout) == (1, "")
    lines = refused.stderr.splitlines()[1:]
    assert len(lines) == len(said), refused.stderr
    assert all(line.strip().startswith(words.format(**names)) for words, line in zip(said, lines, strict=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_folder_that_cannot_be_written_to_is_said(export, trained_run):
    refused = export(f"run={trained_run}", "format=torch_export", "output=/proc/nix/network.pt2")
    assert refused.returncode == 1 and refused.stderr.startswith("cannot continue: ")


def test_help_does_not_wait_for_torch():
    code = "import sys, src.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


def test_the_document_stays_short():
    assert len(DOCUMENT.read_text().splitlines()) <= 50
