"""What became of each photo: the table that is left beside the masks, and the last words of a command."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.files import replacing
from src.prediction.outputs import SUMMARY
from src.spreadsheets import quoted

HEADER = ("input", "status", "reason", "width", "height", "foreground", "mask")
Status = Literal["written", "kept", "failed"]
NAMED = 5  # failures that are told; the table has them all


@dataclass(frozen=True)
class Outcome:
    """What became of the photo `input`.

    `written`: predicted now; `kept`: its pictures were there; `failed`: neither, see `reason`. `size` is the mask's
    height and width in pixels, `foreground` the share of them in [0, 1], `mask` the file, relative to the output.
    """

    input: Path
    status: Status
    reason: str = ""
    size: tuple[int, int] | None = None
    foreground: float | None = None
    mask: Path | None = None

    def row(self) -> list[object]:
        """The columns of HEADER; what is not known is empty."""
        height, width = self.size or ("", "")
        share = "" if self.foreground is None else f"{self.foreground:.6f}"
        return [
            str(self.input),
            self.status,
            self.reason,
            width,
            height,
            share,
            self.mask.as_posix() if self.mask else "",
        ]


def check_output(folder: Path) -> None:
    """Raises ValueError when `folder` cannot take the outputs, or has a summary that is somebody else's."""
    path = folder / SUMMARY
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ValueError(f"output: got {str(folder)!r}, which is no folder")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"output: got {str(folder)!r}, where nothing may be written")
    if path.is_dir() or (path.exists() and _first_line(path) != ",".join(HEADER)):
        raise ValueError(
            f"output: got {str(folder)!r}, whose {SUMMARY} is no inference's; move it away, or give another folder"
        )


def write_summary(outcomes: Iterable[Outcome], folder: Path) -> Path:
    """Writes `summary.csv`, a row a photo, UTF-8; bytes in a name that are none are written as \\udc…."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SUMMARY
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows(map(quoted, outcome.row()) for outcome in outcomes)
    return path


def told(outcomes: Sequence[Outcome], folder: Path, left_out: int) -> str:
    """One line: how many masks there are, how many photos failed, how many files were none."""
    counts = Counter(outcome.status for outcome in outcomes)
    masks = counts["written"] + counts["kept"]
    notes = [f"{counts[status]:,} {status}" for status in ("kept", "failed") if counts[status]]
    notes += [f"{left_out:,} other files left out"] if left_out else []
    again = "; overwrite=true makes kept ones again" if counts["kept"] else ""
    beside = f"{', '.join(notes)}: see" if notes else "see"
    return f"{masks:,} mask{'' if masks == 1 else 's'} in {folder} ({beside} {folder / SUMMARY}){again}"


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """A line for each of the first photos that failed, and how many more there are."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    lines = [f"failed: {outcome.input}: {outcome.reason}" for outcome in failed[:NAMED]]
    return lines + ([f"failed: {len(failed) - NAMED:,} more"] if len(failed) > NAMED else [])


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(1000).decode("utf-8", errors="replace").rstrip("\r\n")
