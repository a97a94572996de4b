"""Progress of long work on standard error: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from typing import Any

from tqdm import tqdm

PAUSE = 30.0  # seconds from the start of the outermost bar to its first line, and between two


class ProgressBar(tqdm):
    """tqdm's bar. Without a terminal all open bars share one plain line, at most every PAUSE seconds.

    `TQDM_DISABLE=1` in the environment turns off both.
    """

    last_line = 0.0
    open_bars: "dict[ProgressBar, None]" = {}  # noqa: RUF012, of all instances, the outermost first

    def __init__(self, *args: Any, **options: Any) -> None:
        self.on_terminal = sys.stderr.isatty()
        if not self.on_terminal:
            options["bar_format"] = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"
        super().__init__(*args, **options)
        if not self.open_bars:
            ProgressBar.last_line = time.monotonic()
        if not self.on_terminal and not self.disable:
            self.open_bars[self] = None

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draws the bar, or prints the line if it is due; tqdm calls it whenever the count has changed."""
        if self.on_terminal:
            return super().display(msg, pos)
        if self in self.open_bars and time.monotonic() - ProgressBar.last_line >= PAUSE:
            ProgressBar.last_line = time.monotonic()
            print("; ".join(map(str, self.open_bars)), file=sys.stderr, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Erases the bar; a line stays."""
        if self.on_terminal:
            super().clear(nolock)

    def close(self) -> None:
        """Ends the bar."""
        if self.open_bars.pop(self, self) is None:
            self.disable = True  # there is nothing to erase
        super().close()
