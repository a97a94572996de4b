"""What a command offers and takes of Hydra, and how every command ends."""

import signal

import pytest
from hydra._internal.utils import create_config_search_path
from omegaconf import DictConfig

from src.base.errors import ConfigError
from src.base.record import RunBusy, RunLost
from src.cli.hydra_entry import _Loader, format_hydra_error, hydra_command
from src.cli.overrides import CONF


def test_claims_are_offered_nowhere(train):
    told = train("--help").stdout
    assert "trainer: " in told and "claims" not in told
    loader = _Loader(create_config_search_path(f"file://{CONF}"))  # which completion asks too
    assert "claims" not in loader.list_groups("") and loader.list_groups("claims") == []
    assert loader.get_group_options("claims") == loader.get_group_options("claims/best") == []


@pytest.mark.parametrize(("typed", "offered"), [("size=", "size=full size=small\n"), ("claim", "\n")])
def test_tab_completion_knows_the_options(train, monkeypatch, typed, offered):
    monkeypatch.setenv("COMP_LINE", f"train.py {typed}")
    assert train("-sc", "query=bash").stdout == offered


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (3, 3, ""),
        (128 + signal.SIGTERM, 143, ""),
        (ConfigError(["a: wrong", "b: wrong"]), 1, "the config cannot be used:\n  a: wrong\n  b: wrong\n"),
        (ValueError("x: has no checkpoints"), 1, "x: has no checkpoints\n"),
        (OSError(28, "No space left on device", "/disk/x"), 1, "cannot continue: [Errno 28] No space left on device: "),
        (RunBusy("x: another process is at it"), 1, "x: another process is at it\n"),
        (RunLost("x: taken over"), 130, "interrupted: x: taken over\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_every_end_of_a_command_is_a_line_and_an_exit_code(here, end, code, said):
    @hydra_command("status")
    def command(config: DictConfig) -> int | None:
        assert config.interval == 5
        if isinstance(end, BaseException):
            raise end
        return end

    done = here(command, "interval=5")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said) and done.stderr.count("\n") == said.rstrip("\n").count("\n") + bool(said)


def test_a_bug_keeps_its_traceback(here):
    @hydra_command("status")
    def command(config: DictConfig) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        here(command)


def test_without_overrides_the_message_does_not_say_what_was_got():
    assert format_hydra_error(AssertionError(), []) == "AssertionError"
    assert format_hydra_error(ValueError("wrong"), ["seed=x"]) == "wrong; got 'seed=x'"
