"""Tables of text, written out by hand."""

from src.analysis.tables import markdown_table, plain_table, shortened, shortened_inside

COLUMNS = {"model": ["unet", "resnet34_unet"], "seed": ["0", "10"], "status": ["finished", "failed"]}


def test_a_plain_table():
    assert plain_table(COLUMNS, right=["seed"], floors={}, width=80) == [
        "model          seed  status",
        "unet              0  finished",
        "resnet34_unet    10  failed",
    ]


def test_a_narrow_table_shortens_its_widest_choices_in_the_middle():
    assert plain_table(COLUMNS, right=["seed"], floors={"model": 6}, width=25) == [
        "model      seed  status",
        "unet          0  finished",
        "resn…unet    10  failed",
    ]


def test_it_shortens_nothing_below_its_floor():
    narrow = plain_table(COLUMNS, right=["seed"], floors={"model": 6}, width=10)
    assert narrow[2] == "re…net    10  failed"


def test_a_table_without_rows_has_its_names():
    assert plain_table({"model": [], "seed": []}, right=[], floors={}, width=80) == ["model  seed"]


def test_a_markdown_table():
    assert markdown_table(
        {"n": ["1", "20"], "reason": ["a|b", "a sentence of more than twenty letters"]}, right=["n"]
    ) == (
        "|  n | reason               |\n"
        "| -: | -------------------- |\n"
        "|  1 | a\\|b                 |\n"
        "| 20 | a sentence of more than twenty letters |"
    )


def test_shortening():
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abcde…")
    assert (shortened_inside("abcdef", 6), shortened_inside("abcdefg", 6)) == ("abcdef", "ab…efg")
