"""Mistakes at the command line, made up by the hundred: each gets one clear message and leaves nothing behind."""

import functools
import itertools
import random
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from src.aggregate import aggregate
from src.benchmark import benchmark
from src.clean import clean
from src.evaluate import evaluate
from src.export import export
from src.inference import inference
from src.prepare import prepare
from src.repeat import repeat
from src.status import status

Refused = Callable[..., str]
LONG = "x" * 5000
NOT_DRAWN = ("output", "data.root", "data.cache_dir", "data.download", "init_from")  # they say where things are
VALUES = [
    *("null", "", "''", "[]", "{}", "[1,2]", "{a: 1}", "[[[]]]", "true", "maybe", "???", "-1", "0", "0.5", "1e400"),
    *("nan", "inf", "9" * 400, LONG, "\x1b[31m", "a\nb", "../..", "@", "a=b", "a: b", "'", '"', "[1", "{", "\\"),
    *("${oops}", "${data.oops}", "${oc.env:SEGSWEEP_NOPE}", "${hydra:oops}", "${oops:1}", "${", "$", "${data}"),
    *("1,2", "1,x", "range(3,1)", "choice(1,null)", "glob(*)", "sort(1,2)", "int(x)", "shuffle(1,2)", "猫"),
]
GROUPS = (
    "model",
    "loss",
    "optimizer",
    "scheduler",
    "augmentation",
    "numerics",
    "trainer",
    "size",
    "data",
    "debug",
    "setting",
)
OPTIONS = ("unett", "", "null", "[]", "{}", "[unet,cosine]", "../../x", "1", "${oops}", LONG, "a b", "é", "unet,cosine")
ENDINGS = ("x", ".x", ".0", "@x", "/x", ":x", "[0]", " ")
SIGNS = string.ascii_letters + string.digits + "=~+@.,:;'\"[]{}()$%\\/ #|&*?!<>-_\t\n\x01\x1b\x7fé猫\u202e"


def keys_of(node: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all values of a config."""
    below = (
        keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key] for key, value in node.items()
    )
    return [key for key in itertools.chain(*below) if key not in NOT_DRAWN]


def spoilt(override: str, place: int, sign: str) -> str:
    return override[:place] + sign + override[place:]


def mistakes(plain: dict[str, Any]) -> st.SearchStrategy[list[str]]:
    """What is typed after the command: an override, mostly with something wrong in it; every tenth time a sweep."""
    keys = keys_of(plain)
    product = functools.partial(itertools.product, ("", "+", "++", "~"))
    values = [f"{key}={value}" for key, value in itertools.product(keys, VALUES)]
    unknown = [f"{sign}{key}{end}=3" for sign, key, end in product(keys, ENDINGS)]
    options = [f"{sign}{group}={option}" for sign, group, option in product(GROUPS, OPTIONS)]
    garbage = st.text(SIGNS, min_size=1, max_size=30)
    one = st.one_of(
        garbage,
        garbage.map("notes={}".format),
        garbage.map("trainer.epochs={}".format),
        st.builds(spoilt, st.sampled_from(values), st.integers(0, 20), st.sampled_from(SIGNS)),
        *(st.sampled_from(random.Random(0).sample(drawn, len(drawn))) for drawn in (values, unknown, options)),
    )
    # flags are argparse's business; a flag of ours in their place would ask for help
    typed = one.filter(lambda override: not override.startswith("-"))
    return st.tuples(st.integers(0, 9), typed).map(lambda both: ["-m", both[1]] if both[0] == 0 else [both[1]])


@pytest.fixture
def refused(train, tmp_path) -> Refused:
    """Types something after `python -m src.train` where no data can be; judges what happened, gives what was said."""
    (tmp_path / "file").touch()
    fixed = [
        "device=cpu",
        f"data.root={tmp_path}/file/data",
        f"data.cache_dir={tmp_path}/cache",
        f"output={tmp_path}/runs",
    ]

    def check(*typed: str) -> str:
        done = train(*fixed, *typed)
        said = done.stdout + done.stderr
        assert done.returncode == 1, (typed, said)
        assert said.startswith(("the config cannot be used:\n  ", "no Oxford-IIIT Pet data in ", "cannot continue: "))
        assert "Traceback" not in said and "HYDRA_FULL_ERROR" not in said, (typed, said)
        assert len(said) < 6000 and all(line.isprintable() for line in said.splitlines()), (typed, said)
        assert [path.name for path in tmp_path.iterdir()] == ["file"], typed
        return said

    return check


def make_up(plain: dict[str, Any], refused: Refused, number: int) -> list[str]:
    """What `number` different mistakes were answered with."""
    answers: dict[tuple[str, ...], str] = {}

    @settings(
        max_examples=2 * number,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mistakes(plain))
    def type_it(typed: list[str]) -> None:
        if tuple(typed) not in answers and len(answers) < number:
            answers[tuple(typed)] = refused(*typed)

    type_it()
    assert len(answers) == number
    return list(answers.values())


def test_mistakes_get_a_clear_message_each_and_leave_nothing(refused, composed):
    answers = make_up(composed(), refused, 25)
    # where nothing was wrong after all, the data that are not there end it
    assert sum(said.startswith("the config cannot be used") for said in answers) > 15


@pytest.mark.long
def test_a_thousand_mistakes(refused, composed):
    make_up(composed(), refused, 1000)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            "'a",
            '"\'a": cannot be read; an override is key=value, with quotes around a value that has any of the signs ',
        ),
        ("trainer.epochs==3", "'trainer.epochs==3': cannot be read; an override is key=value"),
        ("~nothing", "Could not delete from config. 'nothing' does not exist."),
        (
            "model=unett",
            "model: got 'unett'; allowed: external, resnet34_unet, resnet34_unet_cbam, resnet34_unet_plain, ",
        ),
        ("setting=report_a/nothing", "setting/report_a: got 'nothing'; this option does not exist"),
        ("++model=unet", "force-add of config groups is not supported: 'model=unet'"),
        ("model@net=unet", "Could not override 'model@net'. Did you mean to override model?"),
        ("data.mean.7=3", "Error merging override data.mean.7=3: list index out of range"),
        ("data.mean.x=3", "invalid literal for int() with base 10: 'x'; got '"),
        ("output=", "output: got ''; string should have at least 1 character"),
        ("data.std=[0,1,1]", "data.std.0: got 0; input should be greater than 0"),
        ("seed=1,2", "seed: got '1,2', several values; -m makes a sweep of them, [...] a list"),
        ("seed=${oc.env:SEGSWEEP_NOPE}", "seed: KeyError raised while resolving interpolation: "),
        ("model.width=-1", "model.width: got -1; input should be a multiple of 2"),
        ("model.name=../../up", "model.name: got '../../up'; string should match pattern"),
        ("augmentation.name=../../up", "augmentation.name: got '../../up'; string should match pattern"),
        ("allow_targets=[../up]", "allow_targets.0: got '../up'; string should match pattern"),
        (f"notes=[{LONG}]", f"notes: got ['{LONG[:198]}… (5,004 characters); input should be a valid string"),
        ("trainer=small", "trainer: got 'small'; renamed to size=small\n"),
        ("augmentation=colour", "augmentation: got 'colour'; renamed to augmentation=color\n"),
        ("setting=best/colour", "setting/best: got 'colour'; renamed to setting=best/color\n"),
        ("data.cache=x", "data.cache: renamed to data.cache_dir\n"),
        ("data.cached=false", "data.cached: renamed to data.decode_once\n"),
        (
            "claims=report_a",
            "claims: unknown key; python -m src.aggregate takes claim_files, as claim_files=report_a\n",
        ),
        ("+claims/best=recipe", "claims: unknown key; python -m src.aggregate takes claim_files"),
        (
            "hydra.run.dir=elsewhere",
            "hydra.run.dir: not taken; output=<folder> and sweep.name=<name> say where runs are kept",
        ),
        ("hydra.launcher.jobs=0", "hydra.launcher.jobs=0: one run has no launcher and no sweeper; -m makes a sweep\n"),
        ("+hydra.callbacks.x.y=1", "hydra.callbacks.x: got {'y': 1}; it takes a _target_ and its arguments"),
        ("+hydra.callbacks.x._target_=nowhere.X", "hydra.callbacks.x: No module named 'nowhere'"),
        ("hydra.verbose=3", "hydra.verbose=3: allowed are true, false and names of loggers\n"),
        ("hydra/launcher=none", "hydra/launcher: got 'none'; allowed: basic, "),
        ("--config-dir=/nowhere", "--config-dir: got '/nowhere', which is not a folder"),
        ("--config-name=other", "--config-name: got 'other'; this option does not exist"),
        ("--config-path=/nowhere", "--config-path: got '/nowhere', which is not a folder"),
    ],
)
def test_the_message_says_what_was_got_and_what_is_allowed(refused, typed, line):
    said = refused(typed)
    assert said.startswith(f"the config cannot be used:\n  {line}"), said
    assert said.count("\n") == 2


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            ["seed=x,1"],
            "seed: got 'x'; input should be a valid integer, unable to parse string as an integer (at seed=x)",
        ),
        (["hydra.launcher.jobs=1,2"], "hydra.launcher.jobs: got '1,2'; all runs of a sweep share Hydra's own part"),
        (["hydra.launcher.jobs=many"], "hydra.launcher.jobs: got 'many'; input should be a valid integer"),
        (["hydra.launcher.job=2"], "hydra.launcher.job: unknown key (got 2); did you mean 'jobs'? allowed: "),
        (["model=unet,unett"], "model: got 'unett'; allowed: external, resnet34_unet, "),
        (["data.mean.x=3,4"], "invalid literal for int() with base 10: 'x'; got '"),
    ],
)
def test_a_sweep_is_refused_before_its_first_run(refused, typed, line):
    assert f"  {line}" in refused("-m", *typed)


@pytest.mark.parametrize("main", [aggregate, benchmark, clean, evaluate, export, inference, prepare, repeat, status])
def test_every_command_answers_so(here, main):
    for typed in ("'a", "x", "nothing=3", "+hydra.callbacks.x.y=1", "--config-name=x"):
        done = here(main, typed)
        assert done.returncode == 1 and done.stderr, (typed, done)
        assert "Traceback" not in done.stderr and "HYDRA_FULL_ERROR" not in done.stderr
    assert here(main, "-m").returncode == 1


@pytest.mark.parametrize("name", ["train", "status", "prepare"])
def test_a_process_ends_with_exit_code_1_and_one_line(command, name):
    done = command(name, "notes='a", "device=cpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr.startswith('the config cannot be used:\n  "notes=\'a": cannot be read')
        and done.stderr.count("\n") == 2
    )
