"""How a command meets its terminal: Ctrl-C is one word and exit code 130, output that is not taken costs no stack."""

import _thread
import errno
import io
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from src.base.errors import one_line

CLEAR = "\x1b[H\x1b[J"  # to the upper left corner, and everything from there on away
INTERRUPTED = 128 + signal.SIGINT
PATIENCE = 5.0  # seconds from Ctrl-C to the end, where something in between does not let go


class _Interrupted(KeyboardInterrupt):
    """Not KeyboardInterrupt itself: where that goes through an `eval`, Python ends by a signal, whoever catches it."""


def expect_ctrl_c() -> None:
    """For the first lines of a command, before imports that take seconds: until `console()` Ctrl-C ends it at once."""
    signal.signal(signal.SIGINT, _end)


@contextmanager
def console() -> Iterator[None]:
    """Around the whole work of a command.

    Ctrl-C unwinds the block, whatever its exception becomes on the way, prints "interrupted" and ends with exit code
    130. Signs that the terminal's encoding lacks, and those that it would obey, are escaped: texts come from files that
    may be a stranger's. A reader that has seen enough, as `| head` has, changes
    nothing; where the output cannot be written for another reason, the work is done and the exit code is 1.
    """
    output, errors = _Stream(sys.stdout), _Stream(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors), _one_word_for_ctrl_c():
        try:
            yield
        except SystemExit as end:
            if not isinstance(end.code, str):
                raise
            print(end.code, file=sys.stderr)  # Python would print it past us
            sys.exit(1)
        finally:
            output.flush()
        if output.error is not None and output.error.errno != errno.EPIPE:
            sys.exit(f"the output cannot be written: {output.error.strerror}")


class _Stream:
    """A text stream (None if the shell has closed it) that keeps a write's error and takes whatever comes after it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream or Path(os.devnull).open("w")  # noqa: SIM115
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return self._tried(self.stream.write, _harmless(text)) or len(text)

    def flush(self) -> None:
        self._tried(self.stream.flush)

    def _tried(self, do: Any, *arguments: str) -> Any:
        try:
            return do(*arguments)
        except OSError as error:
            self.error = error
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # else Python itself would try again at its end
            return None


def clear_screen() -> None:
    """Has the terminal forget what it shows."""
    (sys.stdout.stream if isinstance(sys.stdout, _Stream) else sys.stdout).write(CLEAR)


def _harmless(text: str) -> str:
    """`text` as it can be shown; a progress bar goes back to the beginning of its line, or some lines up."""
    if text.isprintable() or re.fullmatch(r"(\x1b\[A)+", text):
        return text
    body = text.strip("\r")
    before, _, after = text.partition(body) if body else (text, "", "")
    return before + re.sub(r"[^\n\t]+", lambda part: one_line(part[0]), body) + after


@contextmanager
def _one_word_for_ctrl_c() -> Iterator[None]:
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if os.getpid() != owner:
            return  # in a worker process, which its parent ends
        came = True
        expect_ctrl_c()  # the second one is not waited for
        logging.disable()
        sys.unraisablehook = threading.excepthook = _say_nothing  # libraries are in the middle of something
        _thread.start_new_thread(_end_later, ())  # a Thread would wait for a lock that this one may hold
        raise _Interrupted

    owner, own_process = os.getpid(), signal.getsignal(signal.SIGINT) is _end
    if own_process:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException as error:  # an import that is interrupted may end in any error
        if not came and not isinstance(error, KeyboardInterrupt):
            raise
        came = True
    finally:
        if own_process and not came:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done
    if came:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _say_nothing(_: object) -> None: ...


def _end_later() -> None:
    time.sleep(PATIENCE)
    _end()


def _end(*_: object) -> None:
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
