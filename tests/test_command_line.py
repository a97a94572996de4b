"""What is typed reaches our own schema, so that every mistake is named at once."""

import pytest

from src.command_line import forcing_values
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


def test_a_value_of_a_list_can_be_changed(composed):
    assert composed("augmentation.transforms.0.p=0.25")["augmentation"]["transforms"][0]["p"] == 0.25


def test_the_batch_size_may_depend_on_the_network_and_can_be_overridden(composed):
    size = lambda *overrides: composed("trainer=report_a", *overrides)["trainer"]["batch_size"]  # noqa: E731
    assert (size("model=unet"), size("model=resnet34_unet")) == (32, 128)
    assert size("model=resnet34_unet", "trainer.batch_size=64") == 64


def test_an_interpolation_that_leads_nowhere_is_one_line(composed):
    with pytest.raises(ConfigError, match="notes: Interpolation key 'nowhere' not found"):
        composed("notes=${nowhere}")
