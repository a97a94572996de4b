"""Lists of a split."""

from pathlib import Path

from src.data.pairs import read_lines


def test_blank_lines_comments_and_spaces_around_do_not_count(tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_text("#Image CLASS-ID\n\nAbyssinian_1 1 1 1\r\n  # more\n  my cat  \n   \n")
    assert read_lines(listed) == ["Abyssinian_1 1 1 1", "my cat"]


def test_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_bytes("Münsterländer_1\n".encode("utf-8-sig"))
    assert read_lines(listed) == ["Münsterländer_1"]
