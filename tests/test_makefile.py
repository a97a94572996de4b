"""The Makefile explains itself."""

import subprocess

from tests.conftest import PROJECT


def test_help_lists_every_target():
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    makefile = (PROJECT / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY")).split()[1:]
    assert [line.split()[0] for line in said.splitlines()] == targets
