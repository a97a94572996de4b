"""What is typed reaches our own schema, so that every mistake is named at once."""

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.command_line import CONF, forcing_values, quoting_values
from src.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "passed_on"),
    [
        ("trainer.epochz=3", "++trainer.epochz=3"),
        ("+trainer.epochz=3", "++trainer.epochz=3"),
        ("++seed=3", "++seed=3"),
        ("seed=1,2", "++seed=1,2"),
        ("model=unet", "model=unet"),  # config groups are Hydra's business
        ("hydra/launcher=basic", "hydra/launcher=basic"),
        ("hydra.verbose=true", "hydra.verbose=true"),
        ("~debug", "~debug"),
        ("-m", "-m"),
        ("--cfg", "--cfg"),
        ("--config-dir=x", "--config-dir=x"),
        ("notes='a=b'", "++notes='a=b'"),
    ],
)
def test_values_are_forced_in_and_groups_are_not(typed, passed_on):
    assert forcing_values([typed]) == [passed_on]


def test_multirun_may_be_asked_for_anywhere():
    assert forcing_values(["model=unet", "-m", "seed=0,1"]) == ["-m", "model=unet", "++seed=0,1"]
    assert forcing_values(["seed=1", "--config-dir=/own"]) == ["--config-dir=/own", "++seed=1"]


def test_a_value_of_a_list_can_be_changed(composed):
    assert composed("augmentation.transforms.0.p=0.25")["augmentation"]["transforms"][0]["p"] == 0.25


def test_the_batch_size_may_depend_on_the_network_and_can_be_overridden(composed):
    size = lambda *overrides: composed("trainer=report_a", *overrides)["trainer"]["batch_size"]  # noqa: E731
    assert (size("model=unet"), size("model=resnet34_unet")) == (32, 128)
    assert size("model=resnet34_unet", "trainer.batch_size=64") == 64


def test_an_interpolation_that_leads_nowhere_is_one_line(composed):
    with pytest.raises(ConfigError, match="notes: Interpolation key 'nowhere' not found"):
        composed("notes=${nowhere}")


@example("it's.jpg").via("a quote")
@example("IMG (1), copy=2 {x}.jpg").via("Hydra's grammar")
@example("1e5").via("a number")
@example("~/ü猫 #1.jpg").via("a home, a comment")
@example("${oc.env:HOME}").via("an interpolation")
@example("a\\${b}").via("a backslash before one")
@example("ends\\").via("a backslash at the end")
@example("multirun_outputs/report_[ab]*").via("a glob")
@settings(max_examples=25)  # a tenth of a second each
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1).filter("null".__ne__))
def test_any_path_passes_hydra_as_it_is(path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("aggregate", forcing_values(quoting_values([f"sweep={path}", "detect=1"], ["sweep"])))
    assert (config.sweep, config.detect) == (path, 1)


def test_null_stays_null():
    assert quoting_values(["output=null", "sweep=null.txt", "-m"], ["output", "sweep"]) == [
        "output=null",
        "sweep='null.txt'",
        "-m",
    ]
