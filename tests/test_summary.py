"""`python -m src.summary`: what a network consists of, for any model= and without data."""

import pytest

from src.summary import summary


def test_report_ds_summary_of_its_unet(here):
    done = here(summary, "model=unet_nobn")  # whose two channels the default loss does not take
    assert done.returncode == 0, done.stderr
    assert "unet_nobn: 31,031,810 parameters; 48.17 G multiply-adds for an image of 256 x 256 (54.65 G" in done.stdout
    assert "parameters 124.13 MB, input 0.79 MB, forward and backward 319.82 MB, total 444.73 MB." in done.stdout
    table = [line.split() for line in done.stdout.splitlines()]
    assert ["decoder.3", "UpBlock", "64", "x", "256", "x", "256", "143,552", "7,784.6", "100.66"] in table


def test_keys_of_the_run_count_and_a_setting_is_named_as_an_experiment(here):
    setting = "experiment=report_a/resnet34_unet_none_cosine"
    done = here(summary, setting, "model.width=8", "data.image_size=64")
    assert done.returncode == 0, done.stderr
    assert "resnet34_unet: " in done.stdout and "an image of 64 x 64" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=unett"], "model: got 'unett'; allowed: external, resnet34_unet"),
        (["model.widht=3"], "model.widht: unknown key"),
        (["data.image_size=8"], "data.image_size: got 8; unet works from 32 pixels on"),
        (["model._target_=os.system"], "model._target_: got 'os.system'"),
        (["-m", "model=unet"], "this command makes no sweeps"),
        (["experiment=nope"], "experiment: got 'nope'; allowed: best/ingredients, "),
        (["experiment=demo,report_a/all"], "one at a time"),
        (
            ["experiment=report_a/architecture"],
            "model: got a sweep over model=unet,resnet34_unet; add model=<one of them>",
        ),
    ],
)
def test_mistakes_get_a_line(here, arguments, said):
    done = here(summary, *arguments)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_one_network_of_a_sweep_is_summarized(here):
    done = here(
        summary, "experiment=report_a/architecture", "model=resnet34_unet", "model.width=8", "data.image_size=64"
    )
    assert done.returncode == 0 and "resnet34_unet: " in done.stdout, done.stderr


def test_options_may_come_from_a_folder_named_by_a_flag_in_two_words(here, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("{name: mine, _target_: src.models.unet.UNet, width: 4}\n")
    said = here(summary, "model=mine", "-cd", str(tmp_path), "data.image_size=64")
    assert (said.returncode, said.stderr) == (0, "") and said.stdout.splitlines()[-2].startswith("mine: ")
