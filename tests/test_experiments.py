"""Every experiment and setting of conf/: the runs that each one asks for, written out by hand from the reports."""

import functools
import re
from collections.abc import Callable

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from src.base.config import RunConfig
from src.base.identity import identify, setting_of
from src.cli.overrides import CONF, force_overrides, plain_values
from src.training.checks import checked

# model, augmentation, scheduler, optimizer, lr, loss, batch size, epochs, seed
RUNS = {
    "report_a/augmentation": """
        unet           none         cosine    adamw  0.001  bce   32  50  0
        unet           flip_jitter  cosine    adamw  0.001  bce   32  50  0
        resnet34_unet  none         cosine    adamw  0.001  bce  128  50  0
        resnet34_unet  flip_jitter  cosine    adamw  0.001  bce  128  50  0""",
    "report_a/scheduler": """
        unet           flip_jitter  cosine    adamw  0.001  bce   32  50  0
        unet           flip_jitter  onecycle  adamw  0.001  bce   32  50  0
        resnet34_unet  flip_jitter  cosine    adamw  0.001  bce  128  50  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce  128  50  0""",
    "report_a/architecture": """
        unet           flip_jitter  onecycle  adamw  0.001  bce   32  50  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce  128  50  0""",
    "report_a/architecture_same_batch": """
        unet           flip_jitter  onecycle  adamw  0.001  bce   32  50  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce   32  50  0""",
    "report_a/all": """
        unet           none         cosine    adamw  0.001  bce   32  50  0
        unet           flip_jitter  cosine    adamw  0.001  bce   32  50  0
        unet           flip_jitter  onecycle  adamw  0.001  bce   32  50  0
        resnet34_unet  none         cosine    adamw  0.001  bce  128  50  0
        resnet34_unet  flip_jitter  cosine    adamw  0.001  bce  128  50  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce  128  50  0""",
    "report_b/architecture": """
        unet_bias            crop_flip  constant  adam  0.0001  bce    12  100  42
        resnet34_unet_plain  crop_flip  constant  adam  0.0001  bce    32  200  42""",
    "report_b/learning_rate": """
        unet_bias            crop_flip  constant  adam  0.0001  bce    12  100  42
        unet_bias            crop_flip  constant  adam  1e-05   bce    12  100  42""",
    "report_b/loss": """
        unet_bias            crop_flip  constant  adam  0.0001  bce    12  100  42
        unet_bias            crop_flip  constant  adam  0.0001  focal  12  100  42""",
    "report_b/augmentation": """
        unet_bias            crop_flip  constant  adam  0.0001  bce    12  100  42
        unet_bias            none       constant  adam  0.0001  bce    12  100  42""",
    "report_c/bar": """
        unet           flip_jitter  onecycle  adamw  0.001  bce   32  50  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce   32  50  0""",
    "report_d/batch_size_unet": """
        unet_nobn            distort  plateau_report_d  adam  0.0001  cross_entropy   8  50  0
        unet_nobn            distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0""",
    "report_d/batch_size_resnet34_unet": """
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy   8  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  32  50  0""",
    "report_d/architecture": """
        unet_nobn            distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0""",
    "report_d/cbam": """
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0""",
    "report_d/loss": """
        unet_nobn            distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0
        unet_nobn            distort  plateau_report_d  adam  0.0001  bce_dice       16  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  cross_entropy  16  50  0
        resnet34_unet_cbam   distort  plateau_report_d  adam  0.0001  bce_dice       16  50  0""",
    "report_e/architecture": """
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        resnet34_unet_plain  offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0""",
    "report_e/augmentation": """
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0""",
    "report_e/scheduler": """
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        unet                 offline_copies  constant          adam  0.0001  bce  32  30  0
        resnet34_unet_plain  offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        resnet34_unet_plain  offline_copies  constant          adam  0.0001  bce  32  30  0""",
    "report_e/border": """
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0
        unet                 offline_copies  plateau_report_e  adam  0.0001  bce  32  30  0""",
    "best/ingredients": """
        unet           flip_jitter   cosine         adamw  0.001  bce       32  50  0
        unet           flip_jitter   cosine         adamw  0.001  bce_dice  32  50  0
        unet           flip_jitter   cosine         adamw  0.001  bce       32  50  0
        unet           flip_jitter   warmup_cosine  adamw  0.001  bce       32  50  0
        unet           flip_jitter   onecycle       adamw  0.001  bce       32  50  0
        unet           hflip_jitter  cosine         adamw  0.001  bce       32  50  0
        unet           geometric     cosine         adamw  0.001  bce       32  50  0
        unet           color         cosine         adamw  0.001  bce       32  50  0
        unet           strong        cosine         adamw  0.001  bce       32  50  0
        unet           flip_jitter   cosine         adamw  0.001  bce       32  50  0
        unet           flip_jitter   cosine         adamw  0.001  bce       32  50  0
        unet           flip_jitter   cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce_dice  32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   warmup_cosine  adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   onecycle       adamw  0.001  bce       32  50  0
        resnet34_unet  hflip_jitter  cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  geometric     cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  color         cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  strong        cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter   cosine         adamw  0.001  bce       32  50  0""",
    "best/longer": """
        unet           flip_jitter   cosine  adamw  0.001  bce  32   50  0
        unet           flip_jitter   cosine  adamw  0.001  bce  32  100  0
        unet           strong        cosine  adamw  0.001  bce  32   50  0
        unet           strong        cosine  adamw  0.001  bce  32  100  0
        resnet34_unet  flip_jitter   cosine  adamw  0.001  bce  32   50  0
        resnet34_unet  flip_jitter   cosine  adamw  0.001  bce  32  100  0
        resnet34_unet  strong        cosine  adamw  0.001  bce  32   50  0
        resnet34_unet  strong        cosine  adamw  0.001  bce  32  100  0""",
    "best/unet": """
        unet       flip_jitter     cosine            adamw  0.001   bce            32  100   0
        unet       flip_jitter     onecycle          adamw  0.001   bce            32   50   0
        unet_bias  crop_flip       constant          adam   0.0001  bce            12  100  42
        unet_nobn  distort         plateau_report_d  adam   0.0001  cross_entropy  16   50   0
        unet       offline_copies  plateau_report_e  adam   0.0001  bce            32   30   0""",
    "best/resnet34_unet": """
        resnet34_unet        flip_jitter     cosine            adamw  0.001   bce             32  100   0
        resnet34_unet        flip_jitter     onecycle          adamw  0.001   bce            128   50   0
        resnet34_unet_plain  crop_flip       constant          adam   0.0001  bce             32  200  42
        resnet34_unet_cbam   distort         plateau_report_d  adam   0.0001  cross_entropy   16   50   0
        resnet34_unet_plain  offline_copies  plateau_report_e  adam   0.0001  bce             32   30   0""",
    "ideas/loss": """
        unet           flip_jitter  cosine  adamw  0.001  bce       32  50  0
        unet           flip_jitter  cosine  adamw  0.001  bce_dice  32  50  0
        unet           flip_jitter  cosine  adamw  0.001  dice      32  50  0
        unet           flip_jitter  cosine  adamw  0.001  focal     32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce       32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce_dice  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  dice      32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  focal     32  50  0""",
    "ideas/occlusion": """
        unet           distort    cosine  adamw  0.001  bce  32  50  0
        unet           occlusion  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  distort    cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  occlusion  cosine  adamw  0.001  bce  32  50  0""",
    "ideas/mix": """
        unet           flip_jitter  cosine  adamw  0.001  bce  32  50  0
        unet           flip_jitter  cosine  adamw  0.001  bce  32  50  0
        unet           flip_jitter  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce  32  50  0""",
    "ideas/attention": """
        unet           flip_jitter  cosine  adamw  0.001  bce  32  50  0
        unet           flip_jitter  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce  32  50  0
        resnet34_unet  flip_jitter  cosine  adamw  0.001  bce  32  50  0""",
    "ideas/pretrained": """
        resnet34_unet_plain  flip_jitter  cosine  adamw  0.001  bce  32  50  0""",
    "demo": """
        unet           none         cosine    adamw  0.001  bce  4  6  0
        unet           flip_jitter  cosine    adamw  0.001  bce  4  6  0
        unet           flip_jitter  onecycle  adamw  0.001  bce  4  6  0
        resnet34_unet  none         cosine    adamw  0.001  bce  4  6  0
        resnet34_unet  flip_jitter  cosine    adamw  0.001  bce  4  6  0
        resnet34_unet  flip_jitter  onecycle  adamw  0.001  bce  4  6  0""",
}

# weight decay, clip_norm, early_stop_patience, accumulate, image_size, load_scale, fold, width
PROTOCOLS = {
    "report_a": (0.01, None, None, 1, 256, 1.0, 0, 64),
    "report_b": (0.0, None, None, 1, 256, 286 / 256, 0, 64),
    "report_c": (0.01, None, None, 1, 256, 1.0, 0, 64),
    "report_d": (0.0, None, 5, 1, 256, 1.0, 0, 64),
    "report_e": (0.0, 1.0, None, 1, 256, 1.0, 0, 64),
    "ideas": (0.01, None, None, 1, 256, 1.0, 0, 64),
    "best": (0.01, None, None, 1, 256, 1.0, 0, 64),
}

SCHEDULERS = {
    "constant": {},
    "cosine": {},
    "onecycle": {
        "pct_start": 0.1,
        "div_factor": 25.0,
        "final_div_factor": 1e4,
        "cycle_momentum": True,
        "base_momentum": 0.85,
        "max_momentum": 0.95,
    },
    "warmup_cosine": {"warmup": 0.05},
    "plateau_report_d": {"monitor": "valid_dice", "patience": 3, "factor": 0.5, "min_lr": 0.0},
    "plateau_report_e": {"monitor": "valid_dice", "patience": 3, "factor": 0.5, "min_lr": 1e-6},
}

# What an ingredient of ours changes beside the choice of a group
INGREDIENTS = {
    "best/plain": {},
    "best/bce_dice": {},
    "best/ema": {"trainer": {"ema_decay": 0.99}},
    "best/warmup": {},
    "best/onecycle": {},
    "best/hflip_jitter": {},
    "best/geometric": {},
    "best/color": {},
    "best/strong": {},
    "best/residual": {"model": {"residual": True}},
    "best/attention": {"model": {"attention": True}},
    "best/flip_tta": {"trainer": {"flip_tta": True}},
}

LARGE = ("best/ingredients", "ideas/loss")  # take seconds to compose
EXPERIMENTS = [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name for name in RUNS]
RECIPES = {f"best/{model}": {"trainer": {"flip_tta": True}} for model in ("unet", "resnet34_unet")}

# What a report printed for a setting, in part
SETTINGS = {
    "report_a/unet_none_cosine": "test Dice 0.9209",
    "report_a/unet_flip_jitter_cosine": "test Dice 0.9269",
    "report_a/unet_flip_jitter_onecycle": "test Dice mean 0.9291, median 0.9528, std 0.0842, min 0.0000, max 0.9982",
    "report_a/resnet34_unet_none_cosine": "no number",
    "report_a/resnet34_unet_flip_jitter_cosine": "no number",
    "report_a/resnet34_unet_flip_jitter_onecycle": "mean 0.9179, median 0.9455, std 0.0937, min 0.0000, max 0.9958",
    "report_b/unet_bias": "test Dice 0.9340; validation Dice 0.9171",
    "report_b/resnet34_unet_plain": "test Dice 0.9223",
    "report_d/unet_nobn_batch_8": "test Dice 0.9226 to 0.9242",
    "report_d/unet_nobn_batch_16": "test Dice 0.9226 to 0.9242",
    "report_d/resnet34_unet_cbam_batch_8": "test Dice 0.9245 to 0.9275",
    "report_d/resnet34_unet_cbam_batch_16": "validation Dice about 0.924",
    "report_d/resnet34_unet_cbam_batch_32": "validation Dice about 0.919",
    "report_e/unet": "IoU about 0.8",
    "report_e/resnet34_unet_plain": "IoU about 0.8",
    **dict.fromkeys((*INGREDIENTS, *RECIPES), "not in any report"),
}

HERE = ("data=synthetic", "device=cpu")  # what a machine without the pets and without a GPU can check
SMALL = (6, 64, 8, 4)  # epochs, image_size, width, batch_size of size=small
FILES = [f"experiment/{name}" for name in RUNS] + [f"setting/{name}" for name in SETTINGS]
Runs = Callable[[str], list[RunConfig]]


class Recorder:
    """Stands where the launcher does and keeps what the sweeper hands it."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> list[object]:
        self.jobs += job_overrides
        return []


@functools.cache
def asked(experiment: str) -> tuple[DictConfig, RunConfig]:
    """What `experiment=<experiment> size=small` is to Hydra: its own part, and the config that --cfg job prints."""
    overrides = [f"experiment={experiment}", "size=small", *HERE]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", force_overrides(overrides), return_hydra_config=True)
    with open_dict(config):
        hydra = config.pop("hydra")
    return hydra, checked(plain_values(config))


@functools.cache
def jobs_of(experiment: str, *typed: str) -> list[list[str]]:
    """The overrides of each run of `experiment=<experiment> <typed>`, from the sweeper that the config names."""
    hydra, _ = asked(experiment)
    assert hydra.mode == RunMode.MULTIRUN, "it sweeps by itself, without -m"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweeper, recorder = instantiate(hydra.sweeper), Recorder()
        sources = {"config_sources": [{"path": str(CONF), "schema": "file"}]}
        sweeper.launcher = recorder
        sweeper.config = OmegaConf.create({"hydra": {"sweeper": hydra.sweeper, "runtime": sources}})
        sweeper.hydra_context = HydraContext(GlobalHydra.instance().config_loader(), callbacks=None)
        sweeper.sweep(force_overrides([f"experiment={experiment}", *typed]))
    return recorder.jobs


@pytest.fixture(scope="module")
def runs(composed) -> Runs:
    """The checked config of every run of an experiment; of the demo's replicates the first."""

    @functools.cache
    def configs(experiment: str) -> list[RunConfig]:
        jobs = jobs_of(experiment, "seed=0") if experiment == "demo" else jobs_of(experiment)
        return [checked(composed(*job, *HERE)) for job in jobs]

    return configs


def ids(configs: list[RunConfig]) -> set[str]:
    return {identify(config, "").run_id for config in configs}


def row(run: RunConfig) -> list[str]:
    """A run as a line of RUNS."""
    names = [run.model["name"], run.augmentation.name, run.scheduler["name"], run.optimizer["name"]]
    length = [run.trainer.batch_size, run.trainer.epochs]
    return [*names, f"{run.optimizer['lr']:g}", run.loss["name"], *map(str, length), str(run.seed)]


def choices(run: RunConfig) -> list[str]:
    """A run without its length: what `size=small` leaves as it is."""
    return [*row(run)[:6], row(run)[-1]]


def shape(run: RunConfig) -> tuple[int, int, int, int]:
    return run.trainer.epochs, run.data.image_size, run.model["width"], run.trainer.batch_size


def head(file: str) -> list[str]:
    """The comments that a file opens with."""
    lines = (CONF / f"{file}.yaml").read_text().splitlines()
    return lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]


def test_no_file_is_forgotten():
    found = {
        path.relative_to(CONF).with_suffix("").as_posix()
        for group in ("experiment", "setting")
        for path in (CONF / group).rglob("*.yaml")
    }
    assert found == set(FILES)
    assert (len(RUNS), len(SETTINGS)) == (29, 29)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_asks_for_exactly_these_runs_each_once(runs, experiment):
    assert [row(run) for run in runs(experiment)] == [line.split() for line in RUNS[experiment].strip().split("\n")]
    assert len(ids(runs(experiment))) == len(runs(experiment))


@pytest.mark.parametrize("experiment", [one for one in EXPERIMENTS if one not in ("demo", *RECIPES)])
def test_what_an_experiment_does_not_vary_is_its_report_s_protocol(runs, experiment):
    for run in runs(experiment):
        trainer, augmentation = run.trainer, run.augmentation
        if experiment == "report_b/augmentation" and augmentation.name == "none":
            augmentation = augmentation.model_copy(update={"load_scale": 286 / 256})  # crops are what it leaves out
        protocol = (
            run.optimizer["weight_decay"],
            trainer.clip_norm,
            trainer.early_stop_patience,
            trainer.accumulate,
            run.data.image_size,
            augmentation.load_scale,
            run.data.fold,
            run.model["width"],
        )
        assert protocol == PROTOCOLS[experiment.split("/")[0]]
        arguments = {key: value for key, value in run.scheduler.items() if key not in ("name", "_target_")}
        assert arguments == SCHEDULERS[run.scheduler["name"]]
        if experiment != "report_e/border":
            assert run.data.border == "foreground"
        if experiment != "report_e/augmentation":
            assert augmentation.copies == (3 if experiment.startswith("report_e") else 0)
        assert (run.debug, run.init_from, augmentation.mask_as_image) == (None, None, False)


def test_factors_that_have_no_name(runs):
    assert [run.model["cbam"] for run in runs("report_d/cbam")] == [True, False]
    assert [run.augmentation.copies for run in runs("report_e/augmentation")] == [0, 1, 3, 6]
    assert [run.data.border for run in runs("report_e/border")] == ["foreground", "random"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_config_that_cfg_job_prints_is_one_of_the_runs(runs, experiment):
    _, printed = asked(experiment)
    assert choices(printed) in [choices(run) for run in runs(experiment)]


def test_the_demo_has_replicates():
    seeds = [override for job in jobs_of("demo") for override in job if "seed" in override]
    assert seeds == ["++seed=0", "++seed=1", "++seed=2"] * len(jobs_of("demo", "seed=0"))


def test_report_a_s_whole_is_the_union_of_its_parts(runs):
    parts = [ids(runs(f"report_a/{part}")) for part in ("augmentation", "scheduler", "architecture")]
    assert ids(runs("report_a/all")) == set.union(*parts)
    assert len(ids(runs("report_a/all"))) == 6


@pytest.mark.parametrize(
    ("settings", "experiments"),
    [
        ("report_a/.*_onecycle", ["report_a/architecture"]),
        ("report_b/.*", ["report_b/architecture"]),
        ("report_d/.*", ["report_d/batch_size_unet", "report_d/batch_size_resnet34_unet"]),
        ("report_e/.*", ["report_e/architecture"]),
    ],
)
def test_a_setting_by_itself_is_the_same_run_as_in_its_experiment(runs, composed, settings, experiments):
    alone = [checked(composed(f"setting={name}", *HERE)) for name in SETTINGS if re.fullmatch(settings, name)]
    assert ids(alone) == set.union(*(ids(runs(experiment)) for experiment in experiments))


@pytest.mark.long
@pytest.mark.parametrize("model", ["unet", "resnet34_unet"])
def test_each_ingredient_differs_from_the_starting_point_in_one_thing(runs, model):
    plain, *others = [setting_of(run) for run in runs("best/ingredients") if run.model["name"] == model]
    changed = [{section for section in plain if plain[section] != other[section]} for other in others]
    assert changed == [
        {"loss"},
        {"trainer"},
        *[{"scheduler"}] * 2,
        *[{"augmentation"}] * 4,
        *[{"model"}] * 2,
        {"trainer"},
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_stands_beside_the_settings_of_the_reports_as_they_are(runs, composed, recipe):
    swept = [job[0].partition("=")[2] for job in jobs_of(recipe)]
    assert [recipe, "report_a", "report_b", "report_d", "report_e"] == [swept[0], *(name[:8] for name in swept[1:])]
    assert ids(runs(recipe)) == ids([checked(composed(f"setting={name}", *HERE)) for name in swept])


def test_report_a_s_whole_sweeps_every_setting_of_report_a():
    swept = [job[0] for job in jobs_of("report_a/all")]
    assert swept == [f"setting={name}" for name in SETTINGS if name.startswith("report_a")]


@pytest.mark.parametrize("experiment", RUNS)
def test_a_small_size_shrinks_every_experiment(experiment):
    _, run = asked(experiment)
    assert shape(run) == SMALL


@pytest.mark.parametrize("name", SETTINGS)
def test_a_small_size_shrinks_a_setting_and_changes_nothing_else(composed, name):
    def run(*overrides: str) -> RunConfig:
        return checked(composed(f"setting={name}", *HERE, *overrides))

    batch = int(name.rpartition("_")[2]) if "batch" in name else 4  # of these settings it is the point
    assert shape(run("size=small")) == (*SMALL[:3], batch)
    full = run()
    epochs, image_size, width, batch_size = shape(full)
    length = (f"trainer.epochs={epochs}", f"trainer.batch_size={batch_size}")
    enlarged = run("size=small", *length, f"data.image_size={image_size}", f"model.width={width}")
    ways = {"size": True, "trainer": {"by_model"}}  # by which values come to be
    assert enlarged.model_dump(exclude=ways) == full.model_dump(exclude=ways)


def test_a_number_that_a_user_sets_beats_the_size(composed, tmp_path):
    def shape_of(*overrides: str) -> tuple[int, int, int, int]:
        return shape(checked(composed(*HERE, *overrides)))

    by_model = "trainer.by_model.resnet34_unet.batch_size=2"
    assert shape_of("size=small", "trainer.epochs=3", "model.width=16") == (3, 64, 16, 4)
    assert shape_of("size=small", "model=resnet34_unet", "trainer=report_a", by_model)[3] == 2
    assert shape_of("size=small", "size.epochs=3", "size.width=4") == (3, 64, 4, 4)
    assert shape_of("~size") == (50, 256, 64, 32)


def test_a_number_that_a_users_own_file_sets_beats_the_size(train, small, tmp_path):
    own = tmp_path / "own"
    for file, text in {
        "trainer/mine": "defaults: [default, _self_]\nname: mine\nepochs: 1\nclip_norm: 2.0",
        "model/mine": "defaults: [unet, _self_]\nname: mine\nwidth: 2",
        "setting/mine": "# @package _global_\ndefaults:\n  - override /trainer: mine\n\ndata:\n  image_size: 32",
    }.items():
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / f"{file}.yaml").write_text(text)
    sizes = ("trainer.", "model.", "data.image_size")
    data = [override for override in small if not override.startswith(sizes)]
    done = train(*data, f"--config-dir={own}", "setting=mine", "model=mine", "size=small", "debug=one_batch")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "runs").rglob("config.yaml")
    run = OmegaConf.load(file)
    assert (run.trainer.epochs, run.data.image_size, run.model.width) == (1, 32, 2)
    assert (run.trainer.batch_size, run.trainer.clip_norm, run.size.name) == (4, 2.0, "small")


@pytest.mark.parametrize("file", FILES)
def test_a_body_holds_nothing_that_a_group_could_say(file):
    body = OmegaConf.to_container(OmegaConf.load(CONF / f"{file}.yaml"))
    group, report = file.split("/")[:2]
    expected = {"defaults": body["defaults"]} if "defaults" in body else {}
    if group == "experiment":
        params = body["hydra"]["sweeper"]["params"]
        assert all(isinstance(values, str) for values in params.values()), "to Hydra a YAML list is one value"
        expected["hydra"] = {"mode": "MULTIRUN", "sweeper": {"params": params}}
    if report == "report_b":
        expected |= {"seed": 42, "data": {"resize": "cv2_linear"}}
    if group == "setting" and report == "report_d":
        expected["trainer"] = {"batch_size": int(file.rpartition("_")[2])}
    if group == "setting":
        expected |= (INGREDIENTS | RECIPES).get(file.partition("/")[2], {})
    assert body == expected


@pytest.mark.parametrize("file", FILES)
def test_a_head_tells_the_command_the_cost_and_what_was_reported(file):
    group, name = file.split("/", maxsplit=1)
    package, *rest = head(file)
    assert package == "# @package _global_"
    labels = [match[1] for line in rest if (match := re.match(r"# (Command|Cost|Reported): \S", line))]
    assert labels == ["Command", "Cost", "Reported"]
    assert f"# Command: python -m src.train {group}={name}" in rest
    if group == "setting":
        assert SETTINGS[name] in " ".join(rest)
    else:
        (count,) = re.findall(r"# Cost: (\d+) runs?", "\n".join(rest))
        assert int(count) == len(jobs_of(name))


def test_typed_values_replace_those_of_the_experiment():
    assert len(jobs_of("report_b/learning_rate", "optimizer.lr=1e-3,1e-4,1e-5")) == 3
    assert len(jobs_of("report_a/scheduler", "model=unet")) == 2
    assert len(jobs_of("demo", "seed=7")) == 6
    assert len(jobs_of("report_a/all", "seed=0,1,2,3,4")) == 30
    assert len(jobs_of("report_b/learning_rate", "model=unet_bias,resnet34_unet_plain")) == 4


def test_a_typed_value_is_the_run_s(composed):
    def only_run(experiment: str, *typed: str) -> RunConfig:
        (job,) = jobs_of(experiment, *typed)
        return checked(composed(*job, *HERE))

    run = only_run("report_b/architecture", "model=unet_bias", "seed=3", "trainer.epochs=7", "scheduler=cosine")
    assert row(run) == ["unet_bias", "crop_flip", "cosine", "adam", "0.0001", "bce", "12", "7", "3"]
    run = only_run("report_a/all", "setting=report_d/unet_nobn_batch_8", "trainer.batch_size=4", "optimizer=sgd")
    assert row(run) == ["unet_nobn", "distort", "plateau_report_d", "sgd", "0.01", "cross_entropy", "4", "50", "0"]


@pytest.mark.long
def test_the_command_sweeps_an_experiment_by_itself(train, small, tmp_path):
    quick = ("model=unet", "trainer.epochs=1", "debug=one_batch", "hydra.launcher.jobs=2")
    swept = train("experiment=report_a/scheduler", *small, *quick)
    assert swept.returncode == 0, swept.stderr
    folders = [path.parent for path in tmp_path.rglob("run.json")]
    assert {folder.parent for folder in folders} == {tmp_path / "runs" / "report_a_scheduler"}
    assert {re.sub("-c[0-9a-f]{8}$", "", folder.name) for folder in folders} == {
        "unet-bce-adamw-cosine-flip_jitter-seed0",
        "unet-bce-adamw-onecycle-flip_jitter-seed0",
    }
    assert len(folders) == 2
