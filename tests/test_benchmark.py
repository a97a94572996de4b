"""The benchmark command: its numbers belong together; how fast it is is nobody's business here."""

import json

import pytest
from hydra import initialize_config_dir

from src.benchmark import _has_data, benchmark
from src.cli.overrides import CONF
from src.data.open_data import open_data
from src.training.checks import checked

SCRIPT = """
def make_step(model, device, batch_size, image_size):
    assert (batch_size, image_size) == (4, 32)

    def step(images, masks):
        assert images.shape == (4, 3, 32, 32) and masks.shape == (4, 1, 32, 32)
        assert images.dtype == masks.dtype and set(masks.unique().tolist()) <= {0.0, 1.0} and images.min() < 0
        model(images)[:, -1:].sub(masks).square().mean().backward()

    return step
"""


@pytest.fixture
def tiny(small, tmp_path):
    runs = [override for override in small if not override.startswith("output=")]
    return [*runs, f"output={tmp_path}/out, (1)", "repeats=2", "steps=2", "images=8", "networks=[unet]"]


def test_what_is_measured_is_in_the_file_and_printed(here, tiny, tmp_path):
    script = tmp_path / "theirs (1).py"
    script.write_text(SCRIPT)
    done = here(benchmark, *tiny, f"baseline={script}", "data.workers=1")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out, (1)" / "benchmark.json").read_text())
    assert {"machine", "versions", "device", "numerics", "git"} <= set(found)
    data = found["data_path"]
    ours, reports = (data["images_per_second_and_core"][way] for way in ("ours", "reports"))
    assert ours["min"] <= ours["median"] <= ours["max"] and len(ours["values"]) == 2
    ratios = sorted(one / other for one, other in zip(ours["values"], reports["values"], strict=True))
    assert data["ratio_to_reports"] == pytest.approx(sum(ratios) / 2)
    network = found["networks"]["unet"]
    assert found["loop"]["overhead_over_bare_step"] == network["overhead_over_bare_step"]
    assert network["batch_size"] == 4 and network["image_size"] == 32
    step = network["step_seconds"]["loop"]["median"]
    assert network["images_per_second"] == pytest.approx(4 / step)
    assert network["operations_a_second"] == pytest.approx(
        network["images_per_second"] * network["operations_an_image"]
    )
    baseline, memory = (network["step_seconds"][way]["values"] for way in ("baseline", "memory"))
    ratios = [one / other for one, other in zip(baseline, memory, strict=True)]
    assert network["ratio_to_baseline"] == pytest.approx(sum(ratios) / 2) and network["steps"] == 2
    assert network["peak_memory_bytes"] == dict.fromkeys(("bare", "memory", "loop", "reports", "baseline"))
    assert "unet, the baseline's step: " in done.stdout
    assert "unet, our loop: " in done.stdout and "times the reports' on one core" in done.stdout


def test_photos_that_are_there_are_used_instead_of_drawn_images(monkeypatch, tmp_path, composed, small):
    photos = open_data(checked(composed(*small)).data).train[0].image.parents[1]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        monkeypatch.setenv("OXFORD_PET_ROOT", str(tmp_path))
        assert not _has_data([]) and _has_data(["data=synthetic"]) and _has_data(["data.root=/somewhere"])
        monkeypatch.setenv("OXFORD_PET_ROOT", str(photos))
        assert _has_data(["model.width=4"]) and not _has_data(["data.trainval=100"])


@pytest.mark.long
def test_several_networks_each_with_the_keys_of_a_run(here, tiny, tmp_path):
    done = here(benchmark, *tiny[:-1], "networks=[unet,resnet34_unet]", "data.image_size=64", "numerics=fast")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out, (1)" / "benchmark.json").read_text())
    assert set(found["networks"]) == {"unet", "resnet34_unet"} and found["numerics"]["name"] == "fast"


def test_mistakes_get_a_line_and_nothing_is_written(here, tiny, tmp_path):
    for arguments, said in (
        (["networks=[unett]"], "unett"),
        (["baseline=missing.py"], "baseline: got 'missing.py'; it takes the path of a Python file"),
        (["repeats=0", "output=~no-such-user"], "output: got '~no-such-user'; this user does not exist"),
        (["trainer.epochz=1"], "trainer.epochz: unknown key"),
    ):
        done = here(benchmark, *tiny, *arguments)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out, (1)").exists()
