"""The table of promises names tests that are there."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def test_every_test_in_the_table_of_promises_exists():
    missing, named = [], 0
    for row in (PROJECT / "docs" / "reliability.md").read_text().splitlines():
        file = None
        for path, name in re.findall(r"(tests/[\w/]+\.py)?(?:::(test_\w+))?", row):
            file = path or file
            if path and not (PROJECT / path).is_file():
                missing.append(path)
            if name:
                named += 1
                where = [PROJECT / file] if file else sorted((PROJECT / "tests").rglob("test_*.py"))
                if not any(re.search(rf"def {name}\(", one.read_text()) for one in where if one.is_file()):
                    missing.append(f"{file}::{name}")
    assert missing == [] and named > 40
