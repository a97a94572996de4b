"""Golden files: one whole output each. `SEGSWEEP_GOLDEN=write make test` writes them again; read the diff."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def assert_golden(name: str, text: str) -> None:
    """`text` is exactly the golden file `name`."""
    path = FOLDER / name
    if os.environ.get("SEGSWEEP_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs; SEGSWEEP_GOLDEN=write updates it"
