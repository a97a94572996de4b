import pytest

from src.evaluation.protocol import Protocol, protocols_of


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (Protocol("foreground", "square", "none", 0.5), "headline"),
        (Protocol("ignore", "square", "none", 0.5), "border_ignore"),  # as a run trained that way writes it itself
        (Protocol("foreground", "native", "none", 0.5), "native"),
        (Protocol("background", "native", "flips", 0.4), "native_border_background_flips_threshold_0.4"),
        (Protocol("foreground", "square", "hflip", 0.5), "hflip"),
        (Protocol("foreground", "square", "none", 0.5, "valid"), "threshold_valid"),
    ],
)
def test_a_name_says_what_differs_from_the_headline(protocol, name):
    assert protocol.name == name


def test_a_threshold_that_validation_chose_never_stands_under_the_name_of_one_that_was_given():
    assert (
        Protocol("foreground", "square", "none", 0.4, "valid").name
        != Protocol("foreground", "square", "none", 0.4).name
    )


def test_every_border_at_every_size_with_the_headline_first():
    names = [protocol.name for protocol in protocols_of("none", 0.5, None)]
    assert names == [
        "headline",
        "border_background",
        "border_ignore",
        "native",
        "native_border_background",
        "native_border_ignore",
    ]
