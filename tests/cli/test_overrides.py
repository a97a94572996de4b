"""What is typed reaches our own schema, so that every mistake is named at once."""

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.base.errors import ConfigError, attempt
from src.cli.overrides import CONF, check_by_model, force_overrides, name_words, quote_paths


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
    assert force_overrides([typed]) == [passed_on]


def test_a_home_folder_may_be_typed_where_hydra_has_no_sign_for_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    typed = ["output=~/runs", "data.root=~/a,~/b", "notes=~/x", "data.cache_dir=~", "output=a~/b"]
    assert force_overrides(typed) == [
        "++output=/home/me/runs",
        "++data.root=/home/me/a,/home/me/b",
        "++notes=~/x",
        "++data.cache_dir=/home/me",
        "++output=a~/b",
    ]


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
@settings(max_examples=10)  # a tenth of a second each
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1).filter("null".__ne__))
def test_any_path_passes_hydra_as_it_is(path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("aggregate", force_overrides(quote_paths([f"sweep={path}", "detect=1"], ["sweep"])))
    assert (config.sweep, config.detect) == (path, 1)


def test_null_stays_null():
    assert quote_paths(["output=null", "sweep=null.txt", "-m"], ["output", "sweep"]) == [
        "output=null",
        "sweep='null.txt'",
        "-m",
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["trainer.by_model={unet:{epochs:3},unett:{batch_size:2}}"],
            [
                "trainer.by_model: got 'unett'; did you mean 'unet'? allowed: resnet34_unet, resnet34_unet_plain, unet",
                "trainer.by_model.unet.epochs: got 3, but trainer.epochs is 50 for every network",
            ],
        ),
        # report D's batch size is the same for every network, and so is one from the command line
        (
            ["trainer=report_d", "trainer.by_model={unet:{batch_size:2}}"],
            ["trainer.by_model.unet.batch_size: got 2, but trainer.batch_size is 16 for every network"],
        ),
        (
            ["trainer.batch_size=4", "trainer.by_model={unet:{batch_size:2}}"],
            ["trainer.by_model.unet.batch_size: got 2, but trainer.batch_size is 4 for every network"],
        ),
        (["trainer=report_b", "trainer.by_model.unet.epochs=3"], []),
        (["trainer=report_a", "model=resnet34_unet", "trainer.batch_size=64"], []),  # replaces an option's
        (["model.name=own", "trainer.by_model={own:{batch_size:2}}"], []),
        (["trainer.by_model=3"], []),  # for the schema to report
        (["trainer.by_model.unet=3"], []),
    ],
)
def test_what_by_model_says_is_read_by_something(composed, overrides, said):
    problems: list[str] = []
    attempt(
        problems,
        lambda: check_by_model(composed(*overrides), overrides, ["resnet34_unet", "resnet34_unet_plain", "unet"]),
    )
    assert problems == said


def test_words_take_the_keys_that_are_not_given_in_their_order():
    assert name_words(["x, y", "sweep=s", "/runs/a=1"], ["a", "b"]) == ["a=x, y", "sweep=s", "b=/runs/a=1"]
    assert name_words(["b=x", "y"], ["a", "b"]) == ["b=x", "a=y"]
    assert name_words(["x", "y", "z"], ["a", "b"]) == ["a=x", "b=y", "z"]
    assert name_words(["x"], []) == ["x"]
