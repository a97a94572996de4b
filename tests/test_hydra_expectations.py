"""What a user of Hydra types, row by row: it does what it does in any program of Hydra's, or one line gives the reason.

`pytest -s -m long tests/test_hydra_expectations.py` prints the table. Every row is a process, two at a time.
"""

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.cli.overrides import CONF
from src.display.text import shortened
from tests.conftest import PROJECT, _small

RUN, SWEEP, REFUSED = "finished: test Dice", "2 of 2 runs finished", "the config cannot be used:\n  "
DRY = "hydra.sweeper.dry_run=true"
JOBLIB, OPTUNA, COLORLOG = (f"hydra_plugins.hydra_{it}" for it in ("joblib_launcher", "optuna_sweeper", "colorlog"))
SEARCH = "-m hydra/sweeper=optuna hydra.sweeper.n_trials=2 optimizer.lr=interval(0.001,0.1)"
SLURM = "hydra/launcher: it needs submitit, not installed here; pip install"


@dataclass(frozen=True)
class Row:
    """What is typed after `python -m src.train` or `python` ({own}: a folder of options); a pattern of what it prints.

    `small`: with the overrides of a small run. `needs`: a package without which the row is skipped; `lacks`: one with
    which it is.
    """

    typed: str
    printed: str
    code: int = 0
    small: bool = True
    needs: str = ""
    lacks: str = ""

    @property
    def is_skipped(self) -> bool:
        return bool(self.needs and not _installed(self.needs)) or bool(self.lacks and _installed(self.lacks))


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def asks(typed: str, printed: str) -> Row:
    return Row(typed, printed, small=False)


def refused(typed: str, reason: str, **more: str) -> Row:
    return Row(typed, REFUSED + reason, 1, **more)


ROWS = [
    # questions
    asks("--cfg job", r"\nmodel:\n  name: unet\n"),
    asks("--cfg job --resolve", r"\n  width: 64\n"),
    asks("--cfg hydra --resolve", r"^hydra:\n"),
    asks("--cfg all", r"^hydra:\n(.*\n)*model:\n"),
    asks("--cfg job -p model", r"^# @package model\nname: unet\n"),
    asks("--info", r"Config search path"),
    asks("--info defaults", r"\| trainer/default +\| trainer +\| "),
    asks("--info all", r"Installed Hydra Plugins"),
    asks("--hydra-help", r"hydra/launcher: .*local"),
    asks("--version", r"Hydra 1\."),
    asks("--help", r"^`python -m src.train .*(.*\n)*model +external, (.*\n)*seed: 0  "),
    asks("src.aggregate --help", r"^`python -m src.aggregate [^\n]*\n\nKeys, (.*\n)*sweep: \?\?\?  "),
    # own options
    Row("-cd {own} -cn my_train", RUN + r".*/single/mynet-bce-.*-seed5-"),
    Row("-cp {own} -cn my_train seed=6", RUN + r".*/single/mynet-bce-.*-seed6-"),
    Row(
        "--config-dir {own} model=mynet loss=myloss scheduler=mysched setting=myset", RUN + ".*/mynet-myloss-myopt-mysc"
    ),
    Row("--config-dir {own} experiment=mine", RUN + r".*/mine/mynet-bce-.*-seed7-"),
    Row("--config-dir {own} +user=x +mygroup=x --cfg job", r"tags:\n- of user\n(.*\n)*notes: of mygroup\n"),
    asks("experiment=demo --cfg job", r"\n  name: synthetic\n"),
    Row("+experiment=best/unet --cfg job", r"\n  flip_tta: true\n"),
    Row("experiment=best/ema --cfg job", r"\n  ema_decay: 0.99\n"),  # a setting
    # Hydra's own part
    refused("hydra.run.dir=/x", r"hydra\.run\.dir: .*output="),
    refused("-m seed=0,1 hydra.sweep.dir=/x", r"hydra\.sweep\.dir: .*sweep\.name="),
    refused("-m hydra/launcher=slurm seed=0,1", re.escape(SLURM), lacks="submitit"),
    Row("-m hydra/launcher=basic seed=51,52 sweep.name=basic", rf"{RUN}.*/basic/(.*\n)*{RUN}.*/basic/unet-.*-seed52-"),
    Row("-m hydra/launcher=joblib seed=53,54 sweep.name=joblib", RUN + r".*/joblib/", needs=JOBLIB),
    refused("-m hydra/launcher=joblib seed=0,1", "hydra/launcher: got 'joblib'; allowed: ", lacks=JOBLIB),
    Row(f"{SEARCH} hydra.sweeper.direction=maximize", r"Best parameters: \{'optimizer.lr': ", needs=OPTUNA),
    refused(SEARCH, r"hydra\.sweeper\.direction: .*=maximize", needs=OPTUNA),
    refused(SEARCH, "hydra/sweeper: got 'optuna'; allowed: ", lacks=OPTUNA),
    Row(
        "+hydra.callbacks.x._target_=heard.Heard",
        r"on_run_start\n(.*\n)*finished: test Dice.*\non_job_end\non_run_end\n",
    ),
    Row("-m seed=11,12 +hydra.callbacks.x._target_=heard.Heard", r"^on_multirun_start\n(.*\n)*on_multirun_end\n"),
    # overrides
    refused("+key=5", r"key: unknown key \(got 5\); allowed: "),
    refused("++key=5", r"key: unknown key \(got 5\); allowed: "),
    refused("model.widht=5 trainer.epoch=1", r".*'(epochs|width)'\?.*\n  .*'(epochs|width)'\?"),
    Row("~notes ~debug ~optimizer.weight_decay", RUN),
    Row("~optimizer.weight_decay=0.01 --cfg job -p optimizer", r"lr: 0.001\n$"),
    refused("~augmentation", "augmentation: got null; every run needs one"),
    refused("model=", "model: got null; every run needs one"),
    refused("+model@encoder=unet", "encoder: unknown key "),
    # values
    Row("-m seed=choice(21,22)", SWEEP),
    Row("-m seed=range(23,25)", SWEEP),
    Row("-m scheduler=glob(c*)", SWEEP),
    refused("-m model=glob(unet*)", r"model\.out_channels: got 2 with loss=bce.* \(at model=unet_nobn\)"),
    Row(
        "-m model=glob(unet*) hydra.sweeper.skip_invalid=true " + DRY,
        r"left out +model=unet_nobn: (.*\n)*.*model=unet_bias ",
    ),
    Row("-m seed=41,42 " + DRY, r"2 runs in .*\nstart +seed=41 unet-.*\nstart +seed=42 unet-"),
    refused("-m optimizer.lr=interval(0,1)", r"optimizer\.lr: got 'interval\(0,1\)'; a grid takes "),
    refused("trainer.epochs=1,2", r"trainer\.epochs: got '1,2', several values; -m makes a sweep"),
    refused("-m experiment=a,b", "experiment: got 'a,b'; one at a time"),
    asks("model.width=${data.image_size} --cfg job --resolve -p model", r"width: 256\n"),
    asks("notes=${now:%Y} --cfg job --resolve -p notes", r"^20\d\d\n"),
    asks("notes=${hydra:job.name} --cfg job --resolve -p notes", r"^train$"),
    refused("notes=${oc.env:NOPE}", "notes: .*'NOPE' not found"),
    Row("-cd {own} optimizer=myopt --cfg job --resolve -p optimizer", "weight_decay: '?4"),
    # logging
    Row("hydra/job_logging=disabled seed=31", r"^(run unet-.*\n)?finished: test Dice"),
    Row("hydra/job_logging=default seed=32", r"\[src\.training.*\]\[INFO\] - "),
    Row("hydra/job_logging=colorlog seed=33", r"\x1b\[32mINFO\x1b(.*\n)*" + RUN, needs=COLORLOG),
    refused("hydra/job_logging=colorlog", "hydra/job_logging: got 'colorlog'; allowed: ", lacks=COLORLOG),
    Row("hydra.verbose=true seed=34", r"unet-.*-seed34-.* with data [0-9a-f]{64} in (.*\n)*" + RUN),
    refused("-m seed=0,1 hydra.launcher.jobs=0", r"hydra\.launcher\.jobs: got 0; "),
    # other ways to start it
    asks("-sc install=bash", r"complete .* -F hydra_bash_completion"),
    asks("src/train.py --cfg job", r"\nmodel:\n  name: unet\n"),
    refused("--experimental-rerun=x", "--experimental-rerun: not taken; the same command resumes or repeats a run"),
]


@pytest.fixture
def own(tmp_path):
    """A folder of options of the user's, with a class of theirs for callbacks."""
    network = (CONF / "model/unet.yaml").read_text().replace("name: unet\n", "name: mynet\n")
    files = {
        "model/mynet.yaml": network,
        "loss/myloss.yaml": "name: myloss\n_target_: torch.nn.BCEWithLogitsLoss\n",
        "optimizer/myopt.yaml": "name: myopt\n_target_: torch.optim.AdamW\nlr: 0.001\nweight_decay: ${oc.env:NOPE,4}\n",
        "scheduler/mysched.yaml": "name: mysched\nstep: epoch\ngamma: 0.9\n"
        "_target_: torch.optim.lr_scheduler.ExponentialLR\n",
        "setting/myset.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: myopt\n",
        "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /model: mynet\nseed: 7\n",
        "user/x.yaml": "# @package _global_\ntags: [of user]\n",
        "mygroup/x.yaml": "# @package _global_\nnotes: of mygroup\n",
        "my_train.yaml": "defaults:\n  - train\n  - override model: mynet\n  - _self_\nseed: 5\n",
        "heard.py": """
from hydra.experimental.callback import Callback
class Heard(Callback):
    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda **_: print(name, flush=True)
        return super().__getattribute__(name)
""",
    }
    for name, text in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    return tmp_path / "own"


@pytest.mark.long
def test_what_a_user_of_hydra_types_does_as_in_any_program_of_hydras(own, tmp_path, synthetic_root):
    rows = [row for row in ROWS if not row.is_skipped]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda row: _done(row, own, tmp_path / "runs", synthetic_root), rows))
    lines = [_line(row, *ended) for row, ended in zip(rows, done, strict=True)]
    print("\n", *lines, sep="\n")
    assert not [line for line in lines if line.startswith("WRONG")], "\n".join(lines)
    for row, (_, printed) in zip(rows, done, strict=True):
        assert "Traceback" not in printed, (row, printed)
    assert not list(tmp_path.rglob(".hydra")) and not list((tmp_path / "runs").rglob("multirun.yaml"))
    runs = list((tmp_path / "runs").glob("*/*/run.json"))
    assert runs and all((run.parent / "overrides.yaml").exists() for run in runs)  # in place of .hydra


def _done(row: Row, own: Path, output: Path, root: Path) -> tuple[int, str]:
    """The exit code of a row, and what it printed."""
    words = row.typed.format(own=own).split(" ") if "{own}" in row.typed else row.typed.split(" ")
    start = [words.pop(0)] if words[0].startswith("src") else ["-m", "src.train"]
    start = ["-m", *start] if start[0].startswith("src.") else start
    ended = subprocess.run(
        [sys.executable, *start, *words, *(_small(root, output) if row.small else [])],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(own)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout


def _line(row: Row, code: int, printed: str) -> str:
    """The row of the table: whether it is as expected, what was typed, and what was printed that matters."""
    match = re.search(row.printed, printed)
    end = ("works" if code == 0 else "refused") if code == row.code and match else "WRONG"
    if end == "WRONG":
        return f"{end:8} {row.typed:60} {code}: {printed[-600:]}"
    told = match[0].strip().splitlines()[-1] if code == 0 else printed[match.start() :].splitlines()[1].strip()
    return f"{end:8} {row.typed:60} {shortened(told, 150)}"


COMPLETE = """
eval "$({start} -sc install=bash)"
tab() {{
    COMP_LINE=$1 COMP_POINT=${{#1}}; words=($1); COMP_CWORD=$((${{#words[@]}} - 1))
    hydra_bash_completion; echo "${{COMPREPLY[*]}}"
}}
tab "{start} model=resnet34_unet_c"; tab "{start} -m seed=0,1 optimizer.lr"
"""


@pytest.mark.long
@pytest.mark.parametrize("start", ["python src/train.py", "segsweep-train"])
def test_tab_completion_in_a_shell(tmp_path, start):
    script = tmp_path / "segsweep-train"  # as pip writes it
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(PROJECT)!r})\nfrom src.train import train\ntrain()\n"
    )
    script.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = ["bash", "-c", COMPLETE.format(start=start)]
    done = subprocess.run(shell, cwd=PROJECT, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout == "model=resnet34_unet_cbam\noptimizer.lr=\n", done.stderr
