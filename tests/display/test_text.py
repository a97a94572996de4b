"""Durations, numbers and reasons as people read them; tables written out by hand, LaTeX's read by its own programs."""

import math
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from src.display import text as texts
from src.display.text import (
    cell_texts,
    collapse_whitespace,
    human_seconds,
    latex_table,
    markdown_table,
    markdown_text,
    plain_table,
    score_text,
    setting_text,
    shortened,
    shortened_inside,
    status_counts_text,
    write_csv,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (242, "4m 02s"),
        (3600, "1h 00m"),
        (3900, "1h 05m"),
        (86400, "1d 00h"),
        (183600, "2d 03h"),
    ],
)
def test_durations(seconds, text):
    assert human_seconds(seconds) == text


def test_numbers_are_as_short_as_they_go_and_what_is_missing_is_a_dash():
    assert cell_texts([0.001, 1e-5, 16.0, None], setting_text) == ["0.001", "1e-05", "16", "-"]
    assert cell_texts(pd.Series([4294967295, None], dtype="Int64"), setting_text) == ["4294967295", "-"]
    assert cell_texts(["unet", None, True], setting_text) == ["unet", "-", "True"]
    assert cell_texts(pd.Series([0.92345, None]), score_text) == ["0.9234", "-"]


def test_counts_stand_in_the_order_of_a_run_s_life():
    statuses = ["failed", "planned", "finished", "planned", "unreadable"]
    assert status_counts_text(pd.DataFrame({"status": statuses})) == "1 finished, 2 planned, 1 failed, 1 unreadable"


def test_a_reason_is_one_line_that_leaves_the_terminal_alone():
    assert (
        collapse_whitespace("RuntimeError:\n  CUDA \x1b[31mout of\tmemory\r\n")
        == "RuntimeError: CUDA \\x1b[31mout of memory"
    )


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


def test_a_latex_table_with_its_first_row_in_bold_face():
    columns = {"setting": ["unet, flip_jitter", "unet, lr < 0.01"], "test Dice [95 %]": ["0.9 ± 0.1", "−0.2"]}
    assert latex_table(columns, right=["test Dice [95 %]"], best_first=True) == (
        "\\begin{tabular}{lr}\n"
        "\\toprule\n"
        "setting & test Dice [95 \\%] \\\\\n"
        "\\midrule\n"
        "\\textbf{unet, flip\\_jitter} & \\textbf{0.9 $\\pm$ 0.1} \\\\\n"
        "unet, lr $<$ 0.01 & $-$0.2 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


NASTY_NAMES = [
    "under_score, 100 %, $5, a & b, #1",
    "{braces}, \\backslash, \\input{x}, back\\\\slashes",
    "tilde ~, hat ^, x^2, ~/data, quote ' and \"",
    "[in brackets]",
    "*starred",
    "*",
    "a--b---c",
    "a < b > c | d",
    "Müller, ß, é, ñ, Å",
    "− ± – × ÷ ≈ …",
    "",
]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_takes_any_name_in_any_cell(tmp_path):
    columns = {"setting": NASTY_NAMES, "<_%$&#~^\\>": NASTY_NAMES[::-1], "seeds": ["3"] * len(NASTY_NAMES)}
    (tmp_path / "table.tex").write_text(latex_table(columns, right=["seeds"], best_first=True), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table.tex}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert "Missing character" not in log and "! " not in log
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_shortening():
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abcde…")
    assert (shortened_inside("abcdef", 6), shortened_inside("abcdefg", 6)) == ("abcdef", "ab…efg")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](http://evil.example/leak.png)", "![x\\](http\\://evil.example/leak.png)"),
        ("[a][b] www.evil.example", "[a\\][b] www\\.evil.example"),
        ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)>"),
        ("`code` **bold** _slanted_ ~~gone~~", "\\`code\\` \\*\\*bold\\*\\* \\_slanted\\_ \\~~gone\\~~"),
        ("\\](http://a)", "\\\\\\](http\\://a)"),  # a backslash in front of a sign takes nothing off it
        ("&lt;b&gt; & &#60;", "\\&lt;b\\&gt; & \\&#60;"),
        ("a\n# title\x1b[5m", "a # title\\\\x1b[5m"),
        ("# 1 beats > 2", "\\# 1 beats > 2"),
        ("- 1 beats + 2", "\\- 1 beats + 2"),
        ("-", "-"),
        ("flip_jitter, lr < 0.01, −0.2 [−0.5, 0.1]: 3 ~ 4", "flip_jitter, lr < 0.01, −0.2 [−0.5, 0.1]: 3 ~ 4"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown_text(text) == shown


def test_the_first_row_of_a_markdown_table_in_bold_face():
    assert markdown_table({"a": ["*x*", "y"], "b": ["", "z"]}, best_first=True).splitlines()[2:] == [
        "| **\\*x\\*** |   |",
        "| y         | z |",
    ]


def test_texts_of_a_csv_file_are_no_formulas(tmp_path):
    table = pd.DataFrame({"name": ["=1+1", "b", None], "=x": [-0.5, 0.25, 1.0], "sweep": ["+a", "\udc80", "-0.5"]})
    write_csv(tmp_path / "table.csv", table)
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        "name,'=x,sweep",
        "'=1+1,-0.5,'+a",
        "b,0.25,\\udc80",
        ",1.0,-0.5",
    ]


def test_a_csv_file_is_what_pandas_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "ROWS_AT_ONCE", 2)
    table = pd.DataFrame(
        {
            "dice": [0.1, 1e-30, math.nan, 1.0, -0.0],
            "seeds": pd.array([1, None, 3, 2**62, 0], dtype="Int64"),
            "pixels": np.array([0, 1, 2, 3, 4], dtype=np.int32),
            "included": [True, False, True, False, True],
            "name": ["a,b", 'say "a"', None, "two\nlines", " "],
            "value": [1, True, 1.0, "1", None],
            'with "quotes"': pd.Series(["x", pd.NA, "é", "", "a b"], dtype="string"),
        }
    )
    for name, own in {"five rows": table, "one": table[:1], "none": table[:0]}.items():
        write_csv(tmp_path / f"{name}.csv", own)
        expected = own.to_csv(index=False, lineterminator="\n")
        assert (tmp_path / f"{name}.csv").read_bytes().decode() == expected
