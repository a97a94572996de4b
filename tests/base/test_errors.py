"""What a spreadsheet would take for a formula is a text in every CSV file, and the same text again where it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.base.errors import quoted, unquoted


@pytest.mark.parametrize(
    "text",
    ["=1+1", "=1+cmd|' C'!A0", "+1+cmd", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "+a", "'=1"],
)
def test_a_text_that_begins_like_a_formula_gets_a_quote(text):
    assert quoted(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "unet",
        "a=b",
        "0.5",
        "-0.5",
        "+1e-3",
        "+0.62 points",
        "+3.4 %",
        "-0.10 to +0.62",
        "'tis",
        "−0.5",
        "-",
        3,
        -0.5,
        None,
    ],
)
def test_names_and_numbers_stay_as_they_are(value):
    assert quoted(value) == value


@given(st.text(alphabet="'=+-@\t\r\n a1.", max_size=6) | st.text())
def test_what_is_read_is_what_was_written(text):
    assert unquoted(quoted(text)) == text
