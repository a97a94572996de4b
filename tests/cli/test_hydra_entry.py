"""What a command offers and takes of Hydra, and how every command ends."""

import logging
import signal
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError, Ended
from src.base.record import RunBusy, RunLost
from src.cli.hydra_entry import errors_of_task, format_hydra_error, hydra_command
from src.cli.overrides import CONF


def test_tab_completion_knows_the_options(train, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "train.py size=")
    assert train("-sc", "query=bash").stdout == "size=full size=small\n"


@pytest.mark.parametrize("folder", ["src", "hydra_plugins"])
def test_nothing_of_hydras_own_inside_is_used(folder):
    files = (CONF.parent / folder).rglob("*.py")
    assert [str(file) for file in files if "_internal" in file.read_text()] == []


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (0.75, 0, ""),  # what a task returns is an objective, not an exit code
        (Ended("x: failed"), 1, "x: failed\n"),
        (Ended("interrupted: x", 128 + signal.SIGTERM), 143, "interrupted: x\n"),
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
    def command(config: DictConfig) -> float:
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


@pytest.fixture
def own(tmp_path):
    """A folder of options of one's own: an own group, network and setting, an experiment, a config of a run."""
    network = (CONF / "model/unet.yaml").read_text().replace("name: unet\n", "name: mine\n")
    files = {
        "model/mine": network,
        "user/me": "# @package _global_\ntags: [me]\n",
        "setting/mine": "# @package _global_\ndefaults:\n  - override /model: mine\n",
        "experiment/mine": "# @package _global_\ndefaults:\n  - override /model: mine\nseed: 7\n",
        "my_train": "defaults:\n  - train\n  - override model: mine\n  - _self_\nseed: 5\n",
    }
    for name, text in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / f"{name}.yaml").write_text(text)
    return str(tmp_path / "own")


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        (["-cd", "{own}", "experiment=mine"], "seed", 7),
        (["-cd", "{own}", "+experiment=mine"], "model.name", "mine"),
        (["-cd", "{own}", "+user=me"], "tags", ["me"]),
        (["-cd", "{own}", "setting=mine"], "model.name", "mine"),
        (["-cd", "{own}", "experiment=best/ema"], "trainer.ema_decay", 0.99),
        (["-cd", "{own}", "-cn", "my_train"], "model.name", "mine"),
        (["-cp", "{own}", "-cn", "my_train", "loss=dice"], "seed", 5),
        (["~notes"], "notes", None),
        (["~debug"], "debug", None),
        (["~optimizer.weight_decay"], "optimizer.weight_decay", None),
    ],
)
def test_whatever_a_user_of_hydra_types_composes(train, own, typed, key, value):
    done = train(*(word.format(own=own) for word in typed), "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert OmegaConf.select(OmegaConf.create(done.stdout), key) == value


@pytest.mark.parametrize(("typed", "taken"), [("interval=5", "interval=5"), ("+interval=5", "++interval=5")])
def test_what_is_typed_stays_unless_hydra_refuses_it(here, typed, taken):
    @hydra_command("status")
    def command(config: DictConfig) -> None:
        print(HydraConfig.get().overrides.task)

    assert here(command, typed).stdout == f"['{taken}']\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs: unknown key (got 2); did you mean 'jobs'? allowed: "),
        ("hydra.launcher=local", "hydra.launcher: an option is chosen with a slash: hydra/launcher=<name>"),
        ("hydra.output_subdir=x", "hydra.output_subdir: not taken; output=<folder> and sweep.name=<name> say"),
    ],
)
def test_what_a_launcher_is_not_asked_for_is_said_with_what_it_takes(train, typed, said):
    done = train("-m", typed)
    assert done.returncode == 1 and done.stderr.startswith(f"the config cannot be used:\n  {said}")


def test_an_own_group_that_nothing_chooses_yet_is_added_with_a_plus(train, own):
    done = train("-cd", own, "user=me")
    assert done.returncode == 1 and "No match in the defaults list; +user=me adds it\n" in done.stderr


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("seed: 7\n", "experiment: its file must begin with the line `# @package _global_`"),
        ("seed: [1, 2\n", 'while parsing a flow sequence in "{file}", line 1, column 7'),
        ("seed: 1\nseed: 2\n", 'found duplicate key seed in "{file}", line 2, column 1'),
    ],
)
def test_what_is_wrong_with_the_file_of_an_experiment_is_said(train, own, content, line):
    file = Path(own) / "experiment/wrong.yaml"
    file.write_text(content)
    done = train("-cd", own, "experiment=wrong")
    assert done.returncode == 1 and done.stderr.count("\n") == 2 and line.format(file=file) in done.stderr


class Heard(Callback):
    """Says which moments it was told."""

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda **_: print(name)
        return super().__getattribute__(name)


def test_callbacks_are_called_around_a_run(here):
    @hydra_command("status")
    def command(config: DictConfig) -> None:
        print("the run")

    done = here(command, f"+hydra.callbacks.x._target_={__name__}.Heard")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["on_run_start", "on_job_start", "the run", "on_job_end", "on_run_end", ""]


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("hydra/job_logging=stdout", "told\n"),
        ("hydra/job_logging=default", "[src.x][INFO] - told\n"),
        ("hydra/job_logging=disabled", ""),
        ("hydra.verbose=true", "a detail\ntold\n"),
    ],
)
def test_logging_is_chosen_as_in_any_program_of_hydras(here, typed, printed):
    @hydra_command("status")
    def command(config: DictConfig) -> None:
        logging.getLogger("src.x").debug("a detail")
        logging.getLogger("src.x").info("told")
        logging.getLogger("filelock").debug("noise")

    levels = logging.root.level, logging.getLogger("src").level
    try:
        done = here(command, typed)
    finally:
        logging.root.setLevel(levels[0])
        logging.getLogger("src").setLevel(levels[1])
    assert done.returncode == 0 and done.stdout.endswith(printed) and bool(done.stdout) == bool(printed)
    assert not (CONF.parent / "status.log").exists()


def test_a_module_of_the_users_cannot_end_a_command_as_if_all_were_well():
    for code in (0, None):
        with pytest.raises(Ended, match="ended the program") as ended, errors_of_task():
            sys.exit(code)
        assert ended.value.code == 1
    with pytest.raises(SystemExit, match="130"), errors_of_task():  # of our own
        sys.exit(130)
