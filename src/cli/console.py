"""A command and its terminal: Ctrl-C is one word and exit code 130, lost output causes no traceback."""

import _thread
import errno
import io
import json
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

from src.base.environment import ARGUMENTS
from src.base.errors import one_line

COLOR = r"\x1b\[(?:0|(?:01;)?3[1-6])m"  # of letters, and back to the usual one
CLEAR = "\x1b[H\x1b[J"  # move to the upper left corner, erase everything after it
INTERRUPTED = 128 + signal.SIGINT
HYDRAS_OWN = "Error executing job with overrides: "  # it prints this before it raises what the command explains
PATIENCE = 5.0  # seconds from Ctrl-C to the end, if something does not return
STARTED = time.monotonic()  # of the command


class _Interrupted(KeyboardInterrupt):
    """Not KeyboardInterrupt itself: after that passed an `eval`, Python ends by a signal even if it was caught."""


def expect_ctrl_c() -> None:
    """Makes Ctrl-C end the process at once, until `console`; called before the imports, which take seconds."""
    signal.signal(signal.SIGINT, _end)


@contextmanager
def console() -> Iterator[None]:
    """Wraps the whole work of a command.

    Ctrl-C unwinds the block, whatever its exception becomes on the way, prints "interrupted" and ends with exit code
    130. Characters that the terminal's encoding lacks, and control characters, are escaped: texts may come from files
    of others. A closed pipe, as of `| head`, changes nothing; if the output cannot be written for another reason, the
    work is done and the exit code is 1.
    """
    output, errors = _Stream(sys.stdout), _Stream(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors), _ctrl_c_in_one_word():
        try:
            yield
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)  # Python would print it unescaped
                sys.exit(1)
            if end.code:
                raise
        finally:
            output.flush()
        if output.error is not None and output.error.errno != errno.EPIPE:
            sys.exit(f"the output cannot be written: {output.error.strerror}")


class _Stream:
    """A text stream (None if the shell has closed it) that keeps the error of a write and ignores later output."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream or Path(os.devnull).open("w")  # noqa: SIM115
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        if text.startswith(HYDRAS_OWN):
            return len(text)
        return self._tried(self.stream.write, _escaped(text)) or len(text)

    def flush(self) -> None:
        self._tried(self.stream.flush)

    def _tried(self, do: Any, *arguments: str) -> Any:
        try:
            return do(*arguments)
        except OSError as error:
            self.error = error
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # else Python itself would try again at exit
            return None


def remember_arguments(name: str = "train") -> None:
    """Keeps the arguments of this command for itself and for the processes that it starts, see `typed_arguments`."""
    words = [*([] if name == "train" else [f"src.{name}"]), *sys.argv[1:]]
    os.environ[ARGUMENTS] = json.dumps([word.encode(errors="replace").decode() for word in words])


def clear_screen() -> None:
    """Clears the terminal."""
    (sys.stdout.stream if isinstance(sys.stdout, _Stream) else sys.stdout).write(CLEAR)


def _escaped(text: str) -> str:
    """`text` without control characters, except the cursor movements of progress bars and the colors of logs."""
    if text.isprintable() or re.fullmatch(r"(\x1b\[A)+", text):
        return text
    body = text.strip("\r")
    before, _, after = text.partition(body) if body else (text, "", "")
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    has_colors = any(type(one).__module__.startswith("colorlog.") for one in formatters)  # hydra/job_logging=colorlog
    parts = re.split(rf"(\n|\t|{COLOR})" if has_colors else r"(\n|\t)", body)
    return before + "".join(one_line(part) if number % 2 == 0 else part for number, part in enumerate(parts)) + after


@contextmanager
def _ctrl_c_in_one_word() -> Iterator[None]:
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if os.getpid() != owner:
            return  # in a loader's worker, which its parent ends
        if _is_importing(frame):
            _end()  # an extension module that an exception passes through may abort the process
        interrupted = True
        expect_ctrl_c()  # a second one ends at once
        logging.disable()
        sys.unraisablehook = threading.excepthook = _say_nothing  # of libraries that are interrupted
        _thread.start_new_thread(_end_later, ())  # a Thread would wait for a lock that this one may hold
        raise _Interrupted

    owner, own_process = os.getpid(), signal.getsignal(signal.SIGINT) is _end
    if own_process:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException as error:  # an import that is interrupted may end in any error
        if not interrupted and not isinstance(error, KeyboardInterrupt):
            raise
        interrupted = True
    finally:
        if own_process and not interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done
    if interrupted:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


def _say_nothing(_: object) -> None: ...


def _end_later() -> None:
    time.sleep(PATIENCE)
    _end()


def _end(*_: object) -> None:
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
