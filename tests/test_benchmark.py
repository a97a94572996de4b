"""The benchmark command: its numbers belong together; how fast it is is nobody's business here."""

import json

import pytest

from src.benchmark import benchmark


@pytest.fixture
def tiny(small, tmp_path):
    runs = [override for override in small if not override.startswith("output=")]
    return [*runs, f"output={tmp_path}/out, (1)", "repeats=2", "steps=2", "images=8", "networks=[unet]"]


def test_what_is_measured_is_in_the_file_and_printed(here, tiny, tmp_path):
    done = here(benchmark, *tiny)
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
    assert "unet, our loop: " in done.stdout and "times the reports' on one core" in done.stdout


@pytest.mark.long
def test_several_networks_each_with_the_keys_of_a_run(here, tiny, tmp_path):
    done = here(benchmark, *tiny[:-1], "networks=[unet,resnet34_unet]", "data.image_size=64", "numerics=fast")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out, (1)" / "benchmark.json").read_text())
    assert set(found["networks"]) == {"unet", "resnet34_unet"} and found["numerics"]["name"] == "fast"


def test_mistakes_get_a_line_and_nothing_is_written(here, tiny, tmp_path):
    for arguments, said in (
        (["networks=[unett]"], "unett"),
        (["steps=9"], "steps: got 9, but 18 training images are 4 whole batches of 4"),
        (["repeats=0", "output=~no-such-user"], "output: got '~no-such-user'; this user does not exist"),
        (["trainer.epochz=1"], "trainer.epochz: unknown key"),
    ):
        done = here(benchmark, *tiny, *arguments)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out, (1)").exists()
