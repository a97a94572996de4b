"""Files are whole or absent, and those of strangers are read within bounds."""

import json
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from src.base.files import making, read_json, read_regular, read_yaml, refuse_links, replacing, write_json


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.txt", "old")]


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.txt", "new")]


def test_json_comes_back_and_knows_no_nan(tmp_path):
    write_json(tmp_path / "value.json", {"name": "ü", "dice": 0.5})
    assert read_json(tmp_path / "value.json") == {"name": "ü", "dice": 0.5}
    with pytest.raises(ValueError):
        write_json(tmp_path / "value.json", {"dice": float("nan")})
    assert json.loads((tmp_path / "value.json").read_text()) == {"name": "ü", "dice": 0.5}


EXPLODING = "".join(
    f"{name}: &{name} [{', '.join(inner)}]\n"
    for name, inner in [("a0", ["x"] * 9), *((f"a{n}", [f"*a{n - 1}"] * 9) for n in range(1, 11))]
)  # 9^11 values


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[" * 100_000, "recursion"),
        ('{"a":' * 100_000, "recursion"),
        ("[" * 51 + "]" * 51, "levels"),
        ("[NaN]", "infinite or none"),
        ("[-Infinity]", "infinite or none"),
        ("1e999", "infinite or none"),
        ("9" * 5000, "digits"),
        (str(2**63), "64 bits"),
        ('{"a": "\\ud800"}', "surrogates"),
        ("", "line 1"),
        ("1" * 10_000_001, "at most 10,000,000"),
    ],
)
def test_json_that_no_run_writes_is_refused_by_name(tmp_path, content, why):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"^.*run\.json: .*" + why) as raised:
        read_json(path)
    assert len(str(raised.value)) < 600 and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (EXPLODING, "more than 50,000 values"),
        ("[" * 100_000, "50 levels"),
        ("? " * 100_000, "50 levels"),
        ("- a\n" * 60_000, "more than 50,000 values"),
        ("a: &a [*a]", "a part of itself"),
        ("1:" * 200_000 + "1", "100 digits"),
        ("0x" + "f" * 100_000, "64 bits"),
        ("[{9223372036854775808.0: a}, {9223372036854775808: a}]", "64 bits"),  # equal keys
        ("a: .nan", "infinite or none"),
        ("a: {b: 1, c: 2, b: 3}", "the key b twice"),
        ("a: {<<: {c: 1}, b: 2, b: 3}", "the key b twice"),
        ("a: {<<: {b: 1, b: 2}}", "the key b twice"),
        ("{true: a, yes: b}", "the key True twice"),
        ("{1: a, 0x1: b}", "the key 1 twice"),
        ("{null: a, ~: b}", "the key None twice"),
        ("{=: a, =: b}", "the key = twice"),
        ("a: 2024-13-45", "month"),
        ("!" * 100_000, "constructor"),
        ("? [a]\n: 1", "unhashable"),
        ("a: !!python/object/apply:os.getcwd []", "constructor"),
        ("#" * 1_000_001, "at most 1,000,000"),
    ],
)
def test_yaml_that_no_run_writes_is_refused_by_name(tmp_path, content, why):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"^.*config\.yaml: .*" + why) as raised:
        read_yaml(path)
    assert len(str(raised.value)) < 600 and "\n" not in str(raised.value)


def test_yaml_with_a_few_anchors_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [1, 2.5]\nb: *a\nc: {<<: &d {e: null}}\n")
    assert read_yaml(path) == {"a": [1, 2.5], "b": [1, 2.5], "c": {"e": None}}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (
            "base: &b {a: 1}\nx: {y: &d {<<: *b, a: 2}}\nthird: {<<: *d}",
            {"base": {"a": 1}, "x": {"y": {"a": 2}}, "third": {"a": 2}},
        ),
        (
            "a: &a {b: 1, =: 2}\nc: {<<: [*a, {b: 3, d: 4}], e: 5}",
            {"a": {"b": 1, "=": 2}, "c": {"b": 1, "=": 2, "d": 4, "e": 5}},
        ),
        ("{1: a, '1': b}", {1: "a", "1": "b"}),
    ],
)
def test_keys_that_differ_or_that_others_bring_in_are_not_twice(tmp_path, content, value):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    assert read_yaml(path) == value


def test_what_is_not_a_regular_file_is_refused_without_being_opened(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for path in (pipe, link, tmp_path / "socket", Path("/dev/zero"), tmp_path):
        for read in (read_json, read_yaml):
            with pytest.raises(ValueError, match=rf"^{path}: is a (folder|pipe, socket or device); "):
                read(path)


def test_a_file_that_hides_its_size_is_read_no_further_than_allowed():
    with pytest.raises(ValueError, match=r"has more than 10 bytes"):
        read_regular(Path("/proc/self/status"), 10)
    assert read_regular(Path("/proc/self/cmdline"), 1_000_000) == Path("/proc/self/cmdline").read_bytes()


def test_reading_takes_the_memory_of_the_file_not_of_what_is_allowed(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"a", b"abc"):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            assert read_regular(path, 200_000_000) == content
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
    with pytest.raises(ValueError, match=r"at most 2 are read"):
        read_regular(path, 2)


def test_a_folder_is_whole_or_absent_and_nobody_goes_on_with_what_another_process_left(tmp_path):
    with pytest.raises(RuntimeError), making(tmp_path / "folder") as workplace:
        (workplace / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), making(tmp_path / "folder") as stopped:
        (stopped / "one").touch()
        with making(tmp_path / "folder") as successor:
            (successor / "other").touch()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["folder", "folder/other"]
    with pytest.raises(OSError, match="taken over"), making(tmp_path / "second", refusing("taken over")):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def refusing(reason):
    def check():
        raise OSError(reason)

    return check


def test_a_file_that_may_not_be_written_any_more_is_not_even_begun(tmp_path):
    with pytest.raises(OSError, match="taken over"):
        write_json(tmp_path / "value.json", 1, refusing("taken over"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    report = tmp_path / "report"
    refuse_links(report)  # which is not there yet
    (report / "deep").mkdir(parents=True)
    (report / "page.html").symlink_to(elsewhere / "page.html")  # a file is replaced, not followed
    refuse_links(report)
    (report / "deep" / "figures").symlink_to(elsewhere)
    with pytest.raises(ValueError, match=f"{report}/deep/figures: is a symbolic link to {elsewhere}, where nothing is"):
        refuse_links(report)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="link: is a symbolic link to "):
        refuse_links(tmp_path / "link")
